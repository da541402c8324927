"""The net of each Sheet as its project states it: with presidio where it is needed, the key of its pseudonyms, and what the lake
knows of its items. Where nothing is stated there is none, and no text is looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from workbench_pipelines.catalog import Catalog, Sheet
from workbench_pipelines.clients.personal_data import INSTALL, is_installed, spans_in
from workbench_pipelines.clients.pseudonym_key import pseudonym_of
from workbench_pipelines.errors import MissingPart
from workbench_pipelines.known_values import NOTHING_KNOWN, PERSONAL_TAGS, KnownValues, known_values
from workbench_pipelines.netted_rows import netted_answers, netted_drafts, netted_labels, netted_prompts, what_stands
from workbench_pipelines.personal_data import FLAG, KNOWN_VALUE, PSEUDONYMISE, REFUSED, Span
from workbench_pipelines.personal_data_net import Net, Token
from workbench_pipelines.usage import statements_from_json
from workbench_pipelines.workbench import Workbench


def net_of(workbench: Workbench, catalog: Catalog, sheet: str, snapshot: pl.DataFrame | None = None) -> Net | None:
    """The net of a Sheet; None where its policy does nothing but flag.

    Args:
        snapshot: the items of the Sheet, where they are at hand; else those of `data/sheet_snapshot`.

    Raises:
        DefinitionError: for a broken UsagePolicy or Sheet.
        MissingPart: where the policy asks for what is not installed, or the key of the pseudonyms is another one.
    """
    policy = catalog.personal_data(sheet)
    acting = policy.acting
    if not acting:
        return None
    by_pattern = sorted(acting - {KNOWN_VALUE})
    if by_pattern and not is_installed():
        raise MissingPart(
            f"Sheet {sheet}: personal_data says {policy.action(by_pattern[0])} of {by_pattern[0]}, and presidio, which finds it, is "
            f"not there; {INSTALL}"
        )
    token: Token = _no_token
    if any(policy.action(kind) == PSEUDONYMISE for kind in acting):
        token = pseudonym_of(workbench.settings, workbench.lake, policy.key_version)
    known = NOTHING_KNOWN
    if policy.action(KNOWN_VALUE) != FLAG and sheet in catalog.names("Sheet"):
        known = known_of(workbench, catalog.sheet(sheet), snapshot)
    return Net(policy, _spans if by_pattern else _nothing, token, known)


def known_of(workbench: Workbench, sheet: Sheet, snapshot: pl.DataFrame | None = None) -> KnownValues:
    """What the columns of a Sheet that are tagged PHI or PII hold of each item, those of joined sources included."""
    if snapshot is None:
        if not workbench.lake.exists("data", "sheet_snapshot", sheet.name):
            return NOTHING_KNOWN
        snapshot = workbench.lake.read("data", "sheet_snapshot", sheet.name)
    columns = [name for name, spec in sheet.spec.columns.items() if PERSONAL_TAGS & set(spec.tags)]
    if any(PERSONAL_TAGS & set(source.source_tags) for source in sheet.spec.secondary_sources):
        columns += _of_tagged_sources(snapshot)
    return known_values(snapshot, columns)


def policy_content(catalog: Catalog, sheet: str) -> list[Any]:
    """What of the policy is part of what an asset was made of: nothing where it does nothing but flag."""
    policy = catalog.personal_data(sheet)
    return [policy.content] if policy.acting else []


def nets_of(workbench: Workbench, catalog: Catalog, sheets: Iterable[str]) -> dict[str, Net]:
    """The nets of those of these Sheets that have one."""
    found = {name: net_of(workbench, catalog, name) for name in sorted(set(sheets))}
    return {name: net for name, net in found.items() if net is not None}


def netted_sources(
    net: Net, rendered: pl.DataFrame, generated: pl.DataFrame, labels: pl.DataFrame, schema: Mapping[str, Any]
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """What pairs are made of as it may leave, whatever was done to it before: prompts, drafts, labels, and rows of
    `generation.REFUSALS` for the pairs that there are none of.

    Args:
        rendered: rows of `generate/rendered_prompts` of one TrainingSheet.
        generated: rows of `generate/generated_pairs` of it.
        labels: rows of `label/canonical_labels` of its Sheet.
        schema: what the answers have to fit.
    """
    prompts, unshown = netted_prompts(rendered, net)
    drafts, unsaid = netted_drafts(generated, net, schema)
    said, blocked = netted_labels(labels, net)
    # A label that does not hold now says nothing, and what it says keeps nothing back.
    blocked = blocked.filter(pl.col("active") & ~pl.col("stale")).select("item_ref", "label_type", "refused")
    held = drafts.join(blocked, on=["item_ref", "label_type"], how="inner").select(
        "training_sheet",
        "item_ref",
        "pair_id",
        pl.lit(REFUSED).alias("reason"),
        pl.format("its label: {}", "refused").alias("detail"),
    )
    refusals = pl.concat([unshown, unsaid, held]).unique("pair_id", keep="first", maintain_order=True)
    drafts = drafts.join(refusals, on="pair_id", how="anti", maintain_order="left")
    return prompts, drafts, said, refusals.sort("item_ref", "pair_id")


def netted_decisions(nets: Mapping[str, Net], decisions: pl.DataFrame) -> pl.DataFrame:
    """Decisions as what they say may leave, without those that hold what may not; for what is exported of them.

    Input columns: those of `label/decisions`.
    """
    parts = []
    for (sheet,), rows in decisions.group_by("sheet", maintain_order=True):
        net = nets.get(str(sheet))
        for column in ("label_data", "proposed_response") if net is not None else ():
            assert net is not None
            found = netted_answers(rows, net, {}, column)
            rows = rows.with_row_index("row").join(found, on="row", how="left", maintain_order="left")
            rows = rows.filter(pl.col("refused").is_null()).with_columns(pl.coalesce("netted", column).alias(column))
            rows = rows.drop("row", "netted", "refused")
        parts.append(rows)
    return pl.concat(parts) if parts else decisions


def stated_of(catalog: Catalog, sheets: Iterable[str]) -> dict[str, Any]:
    """By Sheet, what is done with each kind of personal data; Sheets of which nothing is but flagged are left out."""
    found = {name: policy_content(catalog, name) for name in sorted(set(sheets))}
    return {name: content[0] for name, content in found.items() if content}


def withheld_pairs(nets: Mapping[str, Net], pairs: pl.DataFrame) -> dict[str, str]:
    """By pair, why it may not leave, looked at anew whatever was done to it before; only pairs of Sheets that have a net.

    Input columns: sheet, pair_id, item_ref, messages, response, inputs.
    """
    found: dict[str, str] = {}
    for name, net in nets.items():
        found |= what_stands(pairs.filter(pl.col("sheet") == name), net)
    return found


def _spans(texts: Iterable[str]) -> Mapping[str, list[Span]]:
    return spans_in(pl.Series(list(texts), dtype=pl.String))


def _nothing(texts: Iterable[str]) -> Mapping[str, list[Span]]:
    return {}


def _no_token(kind: str, value: str) -> str:
    raise AssertionError("a policy without pseudonyms makes no token")


def _of_tagged_sources(snapshot: pl.DataFrame) -> list[str]:
    begin = tuple(f"tag {tag} on source " for tag in sorted(PERSONAL_TAGS))
    texts = snapshot["usage_statements"].unique()
    said = (one for text in texts for one in statements_from_json(text))
    return sorted({column for one in said if one.source.startswith(begin) for column in one.columns or ()})
