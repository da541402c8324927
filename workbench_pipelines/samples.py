"""Samples: which items of a Sheet are taken, by hash, so that new rows disturb the choice as little as possible."""

from __future__ import annotations

import polars as pl

from workbench_pipelines.catalog import SampleSpec
from workbench_pipelines.errors import DefinitionError, nearest
from workbench_pipelines.identity import unit_interval

_ROW = "__row"
_HASH = "__hash"
_STRATUM = "__stratum"
_TURN = "__turn"


def sample_items(frame: pl.DataFrame, sample: SampleSpec | None, where: str) -> pl.DataFrame:
    """The sampled rows of a frame, in the order they stood in.

    `head` takes the first rows. `random` takes the lowest hashes of (seed, item_ref): the choice does not depend on
    the order of the rows, and n new rows replace at most n. `stratified` takes the lowest hashes of each stratum and
    gives the strata seats in proportion to their rows; rows without a stratum are a stratum of their own.

    A seat goes to the stratum with the highest rows / (2 * seats + 1), one by one (Sainte-Laguë's method). With the
    method of the largest remainder a few new rows can move seats between strata they do not belong to; here a new
    row moves at most one seat, so that n new rows replace at most n items.

    Input columns: item_ref, and the stratum column of a stratified sample.

    Raises:
        DefinitionError: when there is no such stratum column, or it holds lists or structs.
    """
    if sample is None or sample.size >= frame.height:
        if sample is not None and sample.by is not None:
            _check_stratum(frame, sample.by, where)
        return frame
    if sample.method == "head":
        return frame.head(sample.size)
    hashes = [unit_interval(sample.seed, item_ref) for item_ref in frame["item_ref"]]
    ranked = frame.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias(_ROW),
        pl.col("item_ref"),
        pl.Series(_HASH, hashes, dtype=pl.Float64),
    )
    if sample.method == "stratified":
        assert sample.by is not None, "a stratified SampleSpec has `by`"
        order = _by_turns(ranked, _check_stratum(frame, sample.by, where))
    else:
        order = ranked.sort(_HASH, "item_ref")
    return frame[order.head(sample.size)[_ROW].sort()]


def _check_stratum(frame: pl.DataFrame, by: str, where: str) -> pl.Series:
    if by not in frame.columns:
        raise DefinitionError(f"{where}: sample.by: unknown column '{by}'{nearest(by, frame.columns)}")
    if frame[by].dtype.is_nested():
        raise DefinitionError(f"{where}: sample.by: the column '{by}' holds lists or structs, which are no strata")
    return frame[by]


def _by_turns(ranked: pl.DataFrame, stratum: pl.Series) -> pl.DataFrame:
    """All rows in the order in which a sample that grows would take them."""
    # The k-th row of a stratum of n rows is taken before another one's where (2k - 1) / n is smaller. Strata that are
    # equally far take their turns in the order of their text, which no new row changes.
    rows = ranked.with_columns(stratum.cast(pl.String).alias(_STRATUM)).sort(_HASH, "item_ref")
    turn = (2 * pl.int_range(1, pl.len() + 1).over(_STRATUM) - 1) / pl.len().over(_STRATUM)
    return rows.with_columns(turn.alias(_TURN)).sort(_TURN, pl.col(_STRATUM), _HASH, "item_ref")
