"""What docs/governance.md says is so: its questions have answers, its doors have who closes them and a test each."""

from __future__ import annotations

import re

import pytest
import yaml

from workbench_pipelines.audit_questions import AUDIT_QUESTIONS
from workbench_pipelines.restrictions import MASK
from workbench_pipelines.settings import CHECKOUT
from workbench_pipelines.validation.project import check_project
from workbench_pipelines_tests.definition_world import make_catalog, make_document
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    USAGE,
    collection,
    define,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

DOCS = (CHECKOUT / "docs/governance.md").read_text()
DOORS = re.findall(r"^\| ([^|]+) \| `([\w.]+)` \| `(\w+)\.(test_\w+)` \|$", DOCS, re.M)


def test_the_documented_questions_are_those_that_are_asked() -> None:
    for name, one in AUDIT_QUESTIONS.items():
        assert f"### `{name}`\n\n{one.question}" in DOCS
        assert f"```sql\n{one.sql}\n```" in DOCS


def test_there_is_a_door_for_each_way_out() -> None:
    told = " ".join(door for door, *_ in DOORS)
    for way in ("export", "evaluation", "example store", "few-shot prompts", "judge prompts", "traces", "samples"):
        assert way in told
    for way in ("check results", "review page", "review files", "Label Studio", "sql", "edits"):
        assert way in told
    assert "`testing`" in DOCS


@pytest.mark.parametrize(("door", "closes", "module", "test"), DOORS)
def test_each_door_has_who_closes_it_and_the_test_that_shows_it(door: str, closes: str, module: str, test: str) -> None:
    place, _, name = closes.rpartition(".")
    sources = [
        file.read_text() for file in (CHECKOUT / "workbench_pipelines").rglob("*.py") if place in (file.stem, "Roles")
    ]
    assert any(re.search(rf"^ *(def |class )?{name}\b( =|\()", text, re.M) for text in sources), (door, closes)
    tests = (CHECKOUT / "workbench_pipelines_tests" / f"{module}.py").read_text()
    assert f"def {test}(" in tests, door


def test_the_policy_it_shows_is_one() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", DOCS, re.S)
    catalog = make_catalog(yaml.safe_load(block))
    assert check_project(catalog, columns_of=lambda sheet: {}) == []
    assert "distillation" in catalog.vocabulary()
    assert catalog.tag_policies()["LICENSED"].prohibited_uses == ("training",)


@pytest.fixture
def marked(project: Project) -> Project:
    """A project whose labels, Sheet and column were marked one after the other, and its export with them."""

    def as_stated(usage: dict[str, object], **spec: object) -> None:
        define(
            project,
            sheet(usage=usage, **spec),
            training_sheet("told", column="team"),
            template(),
            collection("routing", "told"),
            make_document("Access", "people", reviewers=["ann"], stewards=["ann"]),
        )
        assert project("run").code == 0

    put(project, tickets(40))
    label = '{"sheet": "tickets", "item_ref": "T-003", "label_type": "team", "label_data": {"team": "billing"}}'
    as_stated(USAGE)
    assert project("label", "import", str(project.write("labels.jsonl", label))).code == 0
    assert (
        project("label", "restrict", "tickets", "T-003", "team", "--why", "a client", "--prohibit", "training").code
        == 0
    )
    as_stated(USAGE | {"rows": [{"when": "ticket < 'T-020'", "tags": ["NO_TRAIN"]}]})
    (open_label,) = project("sql", "--query", "who_marked_this", "-p", "this=T-003", "--json").json
    assert open_label["reason"] == "a client"
    as_stated(USAGE | {"data_classification": "confidential"}, columns={"note": {"tags": ["PII"]}})
    return project


def test_an_audit_is_answered_through_the_command_line(marked: Project) -> None:
    def ask(name: str, **params: str) -> list[dict[str, object]]:
        given = [part for key, value in params.items() for part in ("-p", f"{key}={value}")]
        ran = marked("sql", "--query", name, *given, "--json")
        assert ran.code == 0, ran.err
        found = ran.json
        assert isinstance(found, list)
        return found

    (label,) = ask("who_marked_this", this="T-003")
    # Its Sheet holds a column that is restricted by now, and a person's words may tell of it.
    assert (label["by"], label["reason"], label["new_prohibited_uses"]) == ("ann", MASK, ["training"])
    assert [row["by"] for row in ask("who_marked_this", this="column tickets.note")] == ["ann"]
    (change,) = ask("when_classification_changed", this="sheet tickets")
    assert (change["old_data_classification"], change["new_data_classification"]) == ("internal", "confidential")
    subjects = [str(row["subject"]) for row in ask("changed_in_30_days")]
    assert {"sheet tickets", "column tickets.note"} < set(subjects)
    assert any(subject.startswith("label ") for subject in subjects)
    tainted = ask("tainted_exports")
    assert {(row["collection"], row["version"], row["use"]) for row in tainted} == {("routing", 1, "training")}
    assert all(row["pairs"] for row in tainted)
    listed = marked("sql", "--queries", "--json").json
    assert set(AUDIT_QUESTIONS) < {row["query"] for row in listed}
