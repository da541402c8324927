"""Each kind of task knows what its labels look like, and a LabelType may say so itself."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from workbench_pipelines.catalog.template_specs import LabelTypeSpec
from workbench_pipelines.fields import schema_violation
from workbench_pipelines.label_form import form_fields

BOX = {"label": "car", "x": 4, "y": 8.5, "width": 20, "height": 10}
TRIANGLE = {"label": "van", "points": [[0, 0], [10, 0], [5, 8]]}


def label_schema(kind: str, **said: Any) -> dict[str, Any]:
    return LabelTypeSpec.model_validate({"kind": kind, **said}).label_schema


FITTING = [
    ("classification", {"classes": ["a", "b"]}, {"label": "a"}),
    ("document_type", {"classes": ["invoice", "letter"]}, {"document_type": "letter"}),
    ("entity_extraction", {}, {"entities": [{"text": "Anna", "label": "person", "start": 3, "end": 7}]}),
    ("entity_extraction", {"classes": ["person"]}, {"entities": [{"text": "Anna", "label": "person"}]}),
    ("entity_extraction", {}, {"entities": []}),
    ("qa", {}, {"question": "Who?", "answer": "Anna"}),
    ("generation", {}, {"text": "Dear Anna,"}),
    ("summarization", {}, {"summary": "Anna came."}),
    ("localization", {"classes": ["car", "van"]}, {"boxes": [BOX], "polygons": [TRIANGLE]}),
    ("localization", {}, {"boxes": []}),
    ("root_cause", {}, {"root_cause": "a worn belt", "evidence": "dust", "contributing_factors": ["heat"]}),
    ("root_cause", {"classes": ["belt", "motor"]}, {"root_cause": "motor"}),
    ("pass_fail", {}, {"result": "fail", "reason": "a crack"}),
]


@pytest.mark.parametrize(("kind", "said", "label"), FITTING)
def test_a_label_of_a_kind_fits_its_schema(kind: str, said: dict[str, Any], label: dict[str, Any]) -> None:
    assert schema_violation(label, label_schema(kind, **said)) is None


MISFITS = [
    ("classification", {"classes": ["a"]}, {"label": "c"}, "label is none of the allowed values"),
    ("entity_extraction", {}, {"entities": [{"text": "Anna"}]}, "entities.0 lacks label"),
    (
        "entity_extraction",
        {},
        {"entities": [{"text": "Anna", "label": "person", "start": 7, "end": 3}]},
        "entities.0: start < end does not hold",
    ),
    (
        "entity_extraction",
        {},
        {"entities": [{"text": "A", "label": "p", "start": 7}]},
        "entities.0 breaks dependentRequired",
    ),
    ("localization", {}, {}, "the answer breaks minProperties 1"),
    ("localization", {}, {"boxes": [BOX | {"width": 0}]}, "boxes.0.width breaks exclusiveMinimum 0"),
    ("localization", {"classes": ["van"]}, {"boxes": [BOX]}, "boxes.0.label is none of the allowed values"),
    (
        "localization",
        {},
        {"polygons": [TRIANGLE | {"points": [[0, 0], [1, 1]]}]},
        "polygons.0.points breaks minItems 3",
    ),
    ("pass_fail", {}, {"result": "maybe"}, "result is none of the allowed values"),
    ("qa", {}, {"question": "Who?"}, "the answer lacks answer"),
    ("summarization", {}, {"summary": ""}, "summary breaks minLength 1"),
]


@pytest.mark.parametrize(("kind", "said", "label", "reason"), MISFITS)
def test_a_label_that_does_not_fit_is_told_by_its_place(
    kind: str, said: dict[str, Any], label: dict[str, Any], reason: str
) -> None:
    assert (schema_violation(label, label_schema(kind, **said)) or "").startswith(reason)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"kind": "classification"}, "kind classification needs `classes`"),
        ({"kind": "other"}, "kind other has no schema of its own"),
        ({"kind": "qa", "classes": ["a"]}, "`classes` go with the kinds"),
        ({"kind": "qa", "fields": [{"name": "answer"}], "classes": ["a"]}, "`classes` go with the schema of the kind"),
        ({"kind": "qa", "fields": [{"name": "answer"}], "schema": {}}, "give either `fields` or `schema`"),
    ],
)
def test_a_label_type_that_says_too_little_or_too_much_is_refused(said: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        LabelTypeSpec.model_validate(said)


def test_a_schema_of_ones_own_goes_before_that_of_the_kind() -> None:
    own = {"type": "object", "properties": {"vehicles": {"type": "integer"}}}
    assert label_schema("localization", schema=own) == own
    assert label_schema("qa", fields=[{"name": "reply"}])["required"] == ["reply"]


def test_boxes_and_polygons_are_drawn_and_classes_are_chosen() -> None:
    drawn = form_fields(label_schema("localization", classes=["car", "van"]))
    assert [(field.name, field.kind, field.labels) for field in drawn] == [
        ("boxes", "box", ("car", "van")),
        ("polygons", "polygon", ("car", "van")),
    ]
    (choice,) = form_fields(label_schema("document_type", classes=["invoice", "letter"]))
    assert choice.kind == "choice"
    assert [shown for _, shown in choice.options] == ["invoice", "letter"]
