"""Every problem of the definitions is one line that names file and field, and a whole project has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.catalog import ProjectFile, Sheet, load_catalog
from workbench_pipelines.errors import SourceError
from workbench_pipelines.publishing import parse_lock, updated_lock
from workbench_pipelines.validation import check_project
from workbench_pipelines_tests.definition_world import make_catalog, make_document, template_document

COLUMNS = {"id": pl.String(), "x": pl.String(), "total": pl.Float64(), "answered": pl.String()}


def columns_of(_: Sheet) -> Mapping[str, pl.DataType]:
    return COLUMNS


def world(**given: dict[str, Any]) -> list[dict[str, Any]]:
    """A whole project, with the specs of some documents changed."""
    specs: dict[str, dict[str, Any]] = {
        "Sheet": {"primary_table": "s.csv", "item_ref": "id", "usage": {"allowed_uses": ["training"]}},
        "TrainingSheet": {"sheet": "s", "template": "t"},
        "Collection": {"members": [{"training_sheet": "ts"}]},
    }
    names = {"Sheet": "s", "TrainingSheet": "ts", "Collection": "c", "LabelType": "l", "UsagePolicy": "p"}
    documents = [
        make_document(kind, names[kind], **{**specs.get(kind, {}), **given.get(kind, {})})
        for kind in names
        if kind in specs or kind in given
    ]
    return [*documents, template_document(**{"text": "Is {{ x }}?", **given.get("PromptTemplate", {})})]


def lines(*documents: dict[str, Any], **given: Any) -> list[str]:
    return [one.line for one in check_project(make_catalog(*documents), **{"columns_of": columns_of, **given})]


def test_a_whole_project_has_no_problem() -> None:
    everything = world(
        TrainingSheet={"bindings": {"x": "answered"}, "items": {"filter_condition": "total > 1"}},
        Collection={
            "trainers": [{"name": "fast", "target": "answer"}],
            "splits": {"group_by": "total", "stratify_by": "answered"},
        },
        LabelType={"kind": "classification", "fields": [{"name": "answer", "enum": ["yes", "no", "unsure"]}]},
        UsagePolicy={"uses": ["benchmarking"], "tags": {"OWN": {"prohibited_uses": ["benchmarking"]}}},
        Sheet={"source_tags": ["OWN", "PHI"]},
        PromptTemplate={
            "input_schema": [{"name": "x"}],
            "examples": [{"inputs": {"x": 1}, "output": {"answer": "no"}}],
        },
    )
    assert lines(*everything) == []


@pytest.mark.parametrize(
    ("kind", "spec", "line"),
    [
        ("TrainingSheet", {"sheet": "ss"}, "spec.sheet: there is no Sheet 'ss'; did you mean 's'?"),
        ("TrainingSheet", {"template": "tt"}, "spec.template: there is no PromptTemplate 'tt'; did you mean 't'?"),
        (
            "TrainingSheet",
            {"template": "t@1.0.1"},
            "spec.template: template 't' has no version 1.0.1; did you mean '1.0.0'?",
        ),
        (
            "TrainingSheet",
            {"bindings": {"x": "totl"}},
            "spec.bindings.x: Sheet 's' has no column 'totl'; did you mean 'total'?",
        ),
        (
            "TrainingSheet",
            {"bindings": {"xx": "x"}},
            "spec.bindings.xx: template 't' 1.0.0 has no variable 'xx'; did you mean 'x'?",
        ),
        (
            "TrainingSheet",
            {"labeling_mode": "existing_column", "column": "answer"},
            "spec.column: Sheet 's' has no column 'answer'; did you mean 'answered'?",
        ),
        (
            "TrainingSheet",
            {"items": {"sample": {"size": 3, "method": "stratified", "by": "totals"}}},
            "spec.items.sample.by: Sheet 's' has no column 'totals'; did you mean 'total'?",
        ),
        (
            "TrainingSheet",
            {"few_shot": {"store": "defaults"}},
            "spec.few_shot.store: there is no ExampleStore 'defaults'; did you mean 'default'?",
        ),
        (
            "Collection",
            {"members": [{"training_sheet": "tss"}]},
            "spec.members: there is no TrainingSheet 'tss'; did you mean 'ts'?",
        ),
        (
            "Collection",
            {"members": [{"training_sheet": "ts"}] * 2},
            "spec.members: 'ts' stands 2 times; name it once and give it a weight",
        ),
        ("Collection", {"formats": ["openia"]}, "spec.formats: unknown format 'openia'; did you mean 'openai'?"),
        (
            "Collection",
            {"trainers": [{"name": "fast", "target": "anser"}]},
            "spec.trainers.fast.target: no member's template answers with 'anser'; did you mean 'answer'?",
        ),
        (
            "Collection",
            {"trainers": [{"name": "fast"}, {"name": "fast"}]},
            "spec.trainers: the name 'fast' stands twice",
        ),
        (
            "Collection",
            {"splits": {"group_by": "totl"}},
            "spec.splits.group_by: no member's Sheet has a column 'totl'; did you mean 'total'?",
        ),
        (
            "Collection",
            {"evaluation": {"metrics": ["acuracy"]}},
            "spec.evaluation.metrics: unknown metric 'acuracy'; did you mean 'accuracy'?",
        ),
        (
            "Collection",
            {"evaluation": {"promote_if": "acuracy > 0.5"}},
            "spec.evaluation.promote_if: no metric is called 'acuracy'; did you mean 'accuracy'?",
        ),
        (
            "Sheet",
            {"usage": {"allowed_uses": ["trainng"]}},
            "spec.usage.allowed_uses: unknown use 'trainng'; did you mean 'training'?",
        ),
        (
            "Sheet",
            {"usage": {"data_classification": "secret"}},
            "spec.usage.data_classification: unknown data_classification 'secret'; "
            "known: confidential, internal, public, restricted",
        ),
        (
            "Sheet",
            {"columns": {"x": {"tags": ["NOTRAIN"]}}},
            "spec.columns.x: unknown tag 'NOTRAIN'; did you mean 'NO_TRAIN'?",
        ),
        (
            "Sheet",
            {"usage": {"rows": [{"when": "total > 1", "tags": ["NOTRAIN"]}]}},
            "spec.usage.rows.0: unknown tag 'NOTRAIN'; did you mean 'NO_TRAIN'?",
        ),
        (
            "UsagePolicy",
            {"tags": {"OWN": {"prohibited_uses": ["trainng"]}}},
            "spec.tags.OWN.prohibited_uses: unknown use 'trainng'; did you mean 'training'?",
        ),
        (
            "PromptTemplate",
            {"text": "{{ x y }}"},
            "version 1.0.0: spec.user_prompt_template line 1: expected token 'end of print statement', got 'y'",
        ),
        (
            "PromptTemplate",
            {"text": "{{ x }}", "input_schema": [{"name": "xs"}]},
            "version 1.0.0: spec.input_schema: the text uses 'x', which is not declared; did you mean 'xs'?",
        ),
        (
            "PromptTemplate",
            {"input_schema": [{"name": "x"}, {"name": "x"}]},
            "version 1.0.0: spec.input_schema: the field 'x' stands twice",
        ),
        (
            "PromptTemplate",
            {"output_schema": [{"name": "answer", "type": "integer", "enum": ["yes"]}]},
            "version 1.0.0: spec.output_schema.answer: enum holds a value that is not of type integer",
        ),
        (
            "PromptTemplate",
            {"examples": [{"inputs": {"x": 1}, "output": {"answer": "perhaps"}}]},
            "version 1.0.0: spec.examples.0.output: answer is none of the allowed values",
        ),
    ],
)
def test_what_is_wrong_in_one_document_is_one_line_with_its_nearest_word(
    kind: str, spec: dict[str, Any], line: str
) -> None:
    documents = world(**{kind: spec})
    number = next(number for number, document in enumerate(documents) if document["kind"] == kind)
    assert lines(*documents) == [f"{number}.yaml: {kind} {documents[number]['metadata']['name']}: {line}"]


def test_a_variable_that_no_column_binds_names_template_sheet_and_remedy() -> None:
    assert lines(*world(PromptTemplate={"text": "{{ answer }}"})) == [
        "1.yaml: TrainingSheet ts: spec.template: no column binds variable 'answer' of template 't' 1.0.0: "
        "Sheet 's' has no column 'answer'; bind it with spec.bindings: {answer: answered}"
    ]
    optional = {"text": "{{ note or '' }}", "input_schema": [{"name": "note", "required": False}]}
    assert lines(*world(PromptTemplate=optional)) == []


def test_a_bad_filter_names_its_field() -> None:
    (line,) = lines(*world(TrainingSheet={"items": {"filter_condition": "totl > 1"}}))
    assert line.startswith("1.yaml: TrainingSheet ts: spec.items.filter_condition: ")
    assert "'total'" in line


def test_a_broken_sheet_is_told_for_itself_and_for_what_points_at_it() -> None:
    documents = world(Sheet={"itemref": "id"})
    broken = "0.yaml: Sheet s: spec.itemref: unknown field; did you mean 'item_ref'?"
    assert lines(*documents) == [broken, f"1.yaml: TrainingSheet ts: spec.sheet: {broken}"]


def test_a_source_that_can_not_be_read_is_told_once_however_many_use_it() -> None:
    def unreadable(sheet: Sheet) -> Mapping[str, pl.DataType]:
        raise SourceError(f"0.yaml: Sheet {sheet.name}: spec.primary_table: there is no file 's.csv'")

    second = make_document("TrainingSheet", "ts2", sheet="s", template="t")
    assert lines(*world(), second, columns_of=unreadable, sheet_problems=lambda _: ["never asked"]) == [
        "0.yaml: Sheet s: spec.primary_table: there is no file 's.csv'"
    ]


def test_what_the_caller_finds_in_the_sources_is_told_with_the_sheet() -> None:
    assert lines(*world(), sheet_problems=lambda _: ["spec.item_ref: there is no column 'id'"]) == [
        "0.yaml: Sheet s: spec.item_ref: there is no column 'id'"
    ]


LABEL = {"kind": "classification"}


@pytest.mark.parametrize(
    ("label", "line"),
    [
        (
            {"fields": [{"name": "answer", "enum": ["yes"]}]},
            "the enum of 'answer' has values that are none of label_type 'l': no",
        ),
        (
            {"fields": [{"name": "answer", "type": "float"}]},
            "the field 'answer' is of type string, of label_type 'l' it is number",
        ),
        (
            {"fields": [{"name": "answer"}, {"name": "why"}]},
            "the field 'why' of label_type 'l' is missing or not required",
        ),
        (
            {"schema": {"type": "object", "properties": {"reply": {}}, "additionalProperties": False}},
            "'answer' is no field of label_type 'l'; known: reply",
        ),
    ],
)
def test_answers_that_could_be_no_label_of_the_declared_task_are_named(label: dict[str, Any], line: str) -> None:
    assert lines(*world(LabelType={**LABEL, **label})) == [
        f"4.yaml: PromptTemplate t: version 1.0.0: spec.output_schema: {line}"
    ]


def test_a_label_type_whose_schema_is_none_says_where() -> None:
    (line,) = lines(*world(LabelType={**LABEL, "schema": {"properties": {"answer": {"type": "text"}}}}))[:1]
    assert line.startswith("3.yaml: LabelType l: spec.schema: no JSON Schema at properties.answer.type: ")


def test_two_versions_of_a_template_may_answer_with_different_fields() -> None:
    more = [{"name": "answer"}, {"name": "why"}]
    assert lines(*world(), template_document("Is {{ x }}?", version="1.1.0", output_schema=more)) == []


def test_a_changed_published_version_is_a_problem_of_the_project() -> None:
    lock = parse_lock(updated_lock(make_catalog(*world()), {}))
    assert lines(*world(), lock=lock) == []
    (line,) = lines(*world(PromptTemplate={"text": "Or {{ x }}?"}), lock=lock)
    assert "version 1.0.0 was published" in line


def test_a_file_that_is_no_yaml_leaves_the_others_checked() -> None:
    catalog = load_catalog([ProjectFile("bad.yaml", "kind: [")])
    (line,) = [one.line for one in check_project(catalog, columns_of=columns_of)]
    assert line.startswith("bad.yaml: line 1: ")
