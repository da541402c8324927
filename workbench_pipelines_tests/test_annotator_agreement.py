"""What several people said of the same items on their own, by task: all of them, and each two."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from workbench_pipelines import identity
from workbench_pipelines.agreement import krippendorff_alpha
from workbench_pipelines.annotator_agreement import ANNOTATOR_AGREEMENT, annotator_agreement, too_low
from workbench_pipelines.consensus import Panel, Panels
from workbench_pipelines.identity import canonical_text
from workbench_pipelines_tests.pair_world import SCHEMA, later, ledger, make_decision, make_snapshot

NUMBER = {"type": "object", "properties": {"answer": {"type": "number"}}}
TEXT = {"type": "object", "properties": {"answer": {"type": "string"}}}
PANELS = Panels({"s": Panel(2)}, {}, {"t": SCHEMA, "number": NUMBER, "text": TEXT})


def says(item: str, by: str, answer: Any, minutes: int = 0, **given: Any) -> dict[str, Any]:
    shown = canonical_text({"answer": answer})
    name = f"{item}-{by}-{minutes}-{shown}-{given.get('label_type')}"
    return make_decision(item, label_data=shown, by=by, at=later(minutes), decision_id=name, **given)


def found(*decisions: dict[str, Any], snapshot: pl.DataFrame | None = None) -> pl.DataFrame:
    return annotator_agreement("s", ledger(*decisions), snapshot, PANELS)


ANSWERS = {"ann": "yynn", "bob": "ynnn", "eve": "yy"}
SAID = [
    says(f"i{n}", by, "yes" if answer == "y" else "no") for by, told in ANSWERS.items() for n, answer in enumerate(told)
]


def test_each_task_has_its_measures_of_all_and_of_each_two() -> None:
    rows = found(*SAID)
    assert rows.schema == ANNOTATOR_AGREEMENT
    assert rows.filter(pl.col("annotator_a").is_null())["measure"].to_list() == ["raw", "fleiss", "alpha_nominal"]
    assert rows.filter(pl.col("measure") == "cohen").select("annotator_a", "annotator_b", "n").rows() == [
        ("ann", "bob", 4),
        ("ann", "eve", 2),
        ("bob", "eve", 2),
    ]
    (cohen,) = rows.filter((pl.col("measure") == "cohen") & (pl.col("n") == 4)).to_dicts()
    assert cohen["value"] == pytest.approx(0.5)  # 3/4 agreed, by chance 1/2 * 1/4 + 1/2 * 3/4 = 1/2
    alpha = rows.filter(pl.col("annotator_a").is_null() & (pl.col("measure") == "alpha_nominal"))
    assert alpha["value"][0] == pytest.approx(krippendorff_alpha(["yyy", "yny", "nn", "nn"]).value)
    nothing = rows.filter(pl.col("annotator_a") == "ann", pl.col("annotator_b") == "eve", pl.col("measure") == "cohen")
    assert nothing.select("value", "undefined").rows() == [(None, "both people always gave the same one answer")]


def test_numbers_texts_and_choices_are_measured_as_what_they_are() -> None:
    said = [says("a", by, answer, label_type="number") for by, answer in (("ann", 1), ("bob", 3))]
    said += [says("b", by, 3, label_type="number") for by in ("ann", "bob")]
    said += [says("a", by, answer, label_type="text") for by, answer in (("ann", "one two"), ("bob", "two three"))]
    whole = found(*said).filter(pl.col("annotator_a").is_null())
    assert whole.select("label_type", "measure").rows() == [
        ("number", "raw"), ("number", "alpha_interval"), ("text", "raw"), ("text", "f1"),
    ]  # fmt: skip
    assert whole.filter(pl.col("measure") == "f1")["value"].to_list() == [0.5]


def test_what_was_said_in_view_of_the_others_or_of_the_item_as_it_was_is_left_out() -> None:
    between = says("i1", "stella", "yes", 5, adjudicates=True)
    assert found(*SAID, between).equals(found(*SAID))
    alone = annotator_agreement("s", ledger(*SAID), None, Panels(schemas={"t": SCHEMA}))
    assert alone.is_empty()

    def seen(value: str) -> dict[str, str]:
        return {"seen_hash": identity.seen_hash({"x": value}, ["x"])}

    was, is_now = says("a", "ann", "no", **seen("red")), says("a", "bob", "yes", 1, **seen("blue"))
    assert found(was, is_now, snapshot=make_snapshot(a="blue"))["n"].to_list() == [0, 0, 0]


def test_tasks_on_which_people_agree_too_little_are_named_with_their_figure() -> None:
    (line,) = too_low(found(*SAID), 0.7)
    # ten answers, five of each: 1 - (2 / 10) / (2 * 25 / 90)
    assert line.startswith("t: alpha_nominal 0.640")
    assert too_low(found(*[one for one in SAID if one["by"] != "bob"]), 0.7) == []
    text = found(*[says("a", by, answer, label_type="text") for by, answer in (("ann", "one two"), ("bob", "two"))])
    assert too_low(text, 0.7) == ["text: f1 0.667 of 1 items"]
    assert too_low(text, 0.6) == []
