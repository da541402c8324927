"""What figures and charts call a class: an answer of a restricted Sheet is not read off them."""

from __future__ import annotations

import polars as pl
import pytest

from workbench_pipelines.class_names import shown_classes
from workbench_pipelines.evaluation import OTHER, renamed, score
from workbench_pipelines_tests.definition_world import make_catalog, make_document, template_document

CLASSES = ["Jane Doe", "John Roe", "nobody", OTHER]
SECRET = {"Jane Doe": "(class 1)", "John Roe": "(class 2)"}


@pytest.mark.parametrize(("classification", "hidden"), [("internal", {}), ("restricted", SECRET), (None, SECRET)])
def test_classes_of_a_restricted_sheet_are_counted_unless_a_template_names_them(
    classification: str | None, hidden: dict[str, str]
) -> None:
    usage = {"allowed_uses": ["training"]} | ({"data_classification": classification} if classification else {})
    catalog = make_catalog(
        make_document("Sheet", "s", primary_table="x.csv", item_ref="x", usage=usage),
        make_document("TrainingSheet", "told", sheet="s", template="t"),
        make_document("TrainingSheet", "other", sheet="s", template="few"),
        make_document("Collection", "c", members=[{"training_sheet": "told"}, {"training_sheet": "other"}]),
        template_document("{{ x }}", name="t", label_type="a", output_schema=[{"name": "who", "type": "string"}]),
        template_document("{{ x }}", name="few", label_type="b", output_schema=[{"name": "who", "enum": ["nobody"]}]),
    )
    rows = pl.DataFrame({"sheet": ["s"]})
    found = shown_classes(catalog, catalog.collection("c"), rows, "who", CLASSES)
    assert found == {name: name for name in CLASSES} | hidden


def test_scores_are_the_same_under_other_names() -> None:
    before = score("model", ["Jane Doe", "John Roe", "Jane Doe"], ["Jane Doe", "Jane Doe", None])
    after = renamed(before, SECRET)
    assert after.metrics() == before.metrics()
    assert after.confusion == before.confusion
    assert after.figures()["recall.(class 1)"] == before.figures()["recall.Jane Doe"]
    assert "Jane" not in str(after)
