"""What a judge is worth: its scores against experts' labels, and how often at most it is wrong about what it would approve.

Half of the labeled items, by the hash of the item, turn the judge's scores into probabilities (isotonic regression: more score
is never less probability, and nothing else is assumed). The other half was seen by nobody: of the answers there that the judge
would approve, the share that is wrong has an upper bound of 95 % confidence, one-sided, after Clopper and Pearson (Biometrika
26, 1934), which holds for every number of answers. A pair is approved without a person only where a TrainingSheet asks for that,
where the bound is at most its `max_error`, and where at least 200 labels were held out.

The bound speaks of items that are like the labeled ones; labels of easy items say nothing of hard ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from workbench_pipelines.decisions import UTC_TIME
from workbench_pipelines.identity import unit_interval

JUDGEMENTS = pl.Schema(
    {
        "training_sheet": pl.String(),
        "pair_id": pl.String(),
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "judge": pl.String(),
        "half": pl.String(),
        "response_hash": pl.String(),
        "request_hash": pl.String(),
        "score": pl.Float64(),
        "probability": pl.Float64(),
        "right": pl.Boolean(),
        "judged_at": UTC_TIME,
    }
)
"""Columns of `records/judge_judgements`: a labeled item a row, with what the judge said of a draft and what the label says of it;
`half` is `calibration` or `held_out`."""

JUDGE_CALIBRATIONS = pl.Schema(
    {
        "training_sheet": pl.String(),
        "judge": pl.String(),
        "calibrated_on": pl.Int64(),
        "held_out": pl.Int64(),
        "approvable": pl.Int64(),
        "wrong": pl.Int64(),
        "error_bound": pl.Float64(),
        "max_error": pl.Float64(),
        "auto_approve": pl.Boolean(),
        "may_approve": pl.Boolean(),
    }
)
"""Columns of `records/judge_calibrations`, a TrainingSheet a row: of the `held_out` labels so many answers were `approvable`, and so
many of these `wrong`; `may_approve` says whether the judge approves anything."""

CALIBRATION, HELD_OUT = "calibration", "held_out"
CONFIDENCE = 0.95
# Labels that the judge was never calibrated on. With none wrong, 59 would do for a bound of 5 %; two hundred leave room for
# four wrong ones, and for strata that hold a tenth of the items.
LEAST_HELD_OUT = 200


@dataclass(frozen=True)
class Calibration:
    """Scores to probabilities: rising steps with straight lines between them, level beyond their ends."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def probability(self, score: float) -> float:
        import numpy as np

        return float(np.interp(score, self.scores, self.probabilities))


@dataclass(frozen=True)
class Bound:
    """How often at most the judge is wrong about what it would approve.

    Attributes:
        held_out: labels that the judge was never calibrated on.
        approvable: answers among them that it would approve, and `wrong` those of these that are wrong.
        error: the upper bound of the share of wrong ones, with 95 % confidence; 1 where it would approve none.
    """

    held_out: int
    approvable: int
    wrong: int
    error: float

    def permits(self, max_error: float) -> bool:
        """Whether what the judge approves may stand without a person."""
        return self.held_out >= LEAST_HELD_OUT and self.error <= max_error

    @property
    def line(self) -> str:
        return (
            f"wrong in at most {self.error:.2%} of what it approves (95 % Clopper-Pearson: {self.wrong} wrong of "
            f"{self.approvable}, of {self.held_out} labels it was never calibrated on)"
        )


def half_of(sheet: str, item_ref: str) -> str:
    """The half that an item belongs to, whatever else there is; what is derived of an item goes with it."""
    root = item_ref.partition("#")[0]
    return CALIBRATION if unit_interval("judge", sheet, root) < 0.5 else HELD_OUT


def calibrate(scores: Sequence[float], rights: Sequence[bool]) -> Calibration | None:
    """How likely an answer of each score is right, by these; None where there are none."""
    if not scores:
        return None
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(
        list(scores), [float(one) for one in rights]
    )
    return Calibration(tuple(map(float, fitted.X_thresholds_)), tuple(map(float, fitted.y_thresholds_)))


def upper_bound(wrong: int, of: int, confidence: float = CONFIDENCE) -> float:
    """The one-sided Clopper-Pearson bound of a share of which `wrong` of `of` were seen; 1 where nothing was."""
    if wrong >= of:
        return 1.0
    from scipy.stats import beta

    return float(beta.ppf(confidence, wrong + 1, of - wrong))


def approves(probability: float | None, max_error: float) -> bool:
    """Whether the judge would approve an answer of this calibrated probability."""
    return probability is not None and probability >= 1 - max_error


def measure(judgements: pl.DataFrame, max_error: float) -> tuple[pl.DataFrame, Calibration | None, Bound]:
    """The judgements with their probabilities, what turns scores into these, and what the judge may be trusted with.

    Input columns: sheet, item_ref, score, right.

    Output columns: the same, half and probability; null where there is nothing to calibrate on.
    """
    halves = [half_of(*row) for row in judgements.select("sheet", "item_ref").iter_rows()]
    halved = judgements.with_columns(pl.Series("half", halves, pl.String))
    seen, unseen = (halved.filter(pl.col("half") == half) for half in (CALIBRATION, HELD_OUT))
    calibration = calibrate(seen["score"].to_list(), seen["right"].to_list())
    likely = [None if calibration is None else calibration.probability(one) for one in halved["score"]]
    measured = halved.with_columns(pl.Series("probability", likely, pl.Float64))
    return measured, calibration, bound_of(measured, max_error) if unseen.height else Bound(0, 0, 0, 1.0)


def bound_of(judgements: pl.DataFrame, max_error: float) -> Bound:
    """The bound that judgements of labeled items bear out, by those of the held out half alone.

    Input columns: half, probability, right.
    """
    unseen = judgements.filter(pl.col("half") == HELD_OUT)
    approvable = [
        right for likely, right in unseen.select("probability", "right").iter_rows() if approves(likely, max_error)
    ]
    wrong = approvable.count(False)
    return Bound(unseen.height, len(approvable), wrong, upper_bound(wrong, len(approvable)))


def agrees(response: str, label: str, fields: Sequence[str] = ()) -> bool:
    """Whether an answer says what an expert's label says, in these fields or in all; case and blanks of texts do not count."""
    import json

    one, other = json.loads(response), json.loads(label)
    names = fields or sorted({*one, *other})
    return all(_plain(one.get(name)) == _plain(other.get(name)) for name in names)


def _plain(value: object) -> object:
    if isinstance(value, str):
        return " ".join(value.casefold().split())
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return value
