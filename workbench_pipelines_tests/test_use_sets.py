"""Sets for uses that no run is for: the gate of exports lets pairs in, and who took what stays on record."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.spreadsheet_text import restored
from workbench_pipelines.usage import USES
from workbench_pipelines.use_sets import COLUMNS, admit, known_set_use, without_pairs, written
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.export_world import frame_of, make_pair
from workbench_pipelines_tests.project_world import Kept, Project, Ran
from workbench_pipelines_tests.ticket_world import (
    collection,
    define,
    error_lines,
    one_line,
    project_at,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

USAGE: dict[str, Any] = {
    "allowed_uses": ["training", "validation", "evaluation", "testing", "distillation"],
    "data_classification": "internal",
    "rows": [{"when": "ticket = 'T-003'", "tags": ["LICENSED"]}, {"when": "ticket = 'T-004'", "tags": ["CLOSED"]}],
}
POLICY = make_document(
    "UsagePolicy",
    "house",
    uses=["distillation"],
    tags={
        "LICENSED": {"prohibited_uses": ["testing"], "reason": "the licence has ended"},
        "CLOSED": {"data_classification": "restricted"},
    },
)
ACCESS = make_document("Access", "people", reviewers=["ann"], stewards=["ann", "bob"], see_restricted=["bob"])


def stated(project: Project, count: int = 10, usage: dict[str, Any] = USAGE, **of_told: Any) -> None:
    define(
        project,
        sheet(usage=usage),
        training_sheet("told", column="team", **of_told),
        collection("routing", "told"),
        template(),
        POLICY,
        ACCESS,
    )
    put(project, tickets(count))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """Ten tickets and their teams, made once and exported."""
    with project_at(tmp_path_factory.mktemp("told") / "project") as project:
        stated(project)
        assert project("run", "told").code == 0
        yield Kept(project)


@pytest.fixture
def told(exported: Kept) -> Project:
    return exported.put_back()


def take(project: Project, *arguments: str) -> Ran:
    return project("export", "set", "routing", *arguments, "--json")


def refs_in(path: str | Path) -> list[str]:
    return sorted(json.loads(line)["item_ref"] for line in Path(path).read_text().splitlines())


def refused(project: Project) -> dict[str, tuple[str, str]]:
    rows = project.table("records", "use_set_refusals")
    return {row["item_ref"]: (row["gate"], row["reason"]) for row in rows.to_dicts()}


def test_a_set_holds_the_labeled_pairs_that_permit_its_use_and_the_others_say_who_refuses(told: Project) -> None:
    ran = take(told, "--out", str(told.folder / "set.jsonl"))
    assert (ran.code, ran.json["pairs"], ran.json["refused"]) == (0, 8, 2), ran.err
    path = told.folder / "set.jsonl"
    assert refs_in(path) == [f"T-{n:03d}" for n in range(10) if n not in (3, 4)]
    assert path.stat().st_mode & 0o077 == 0
    row = json.loads(path.read_text().splitlines()[0])
    assert tuple(row) == COLUMNS
    assert row["messages"][-1]["content"].endswith(row["inputs"]["subject"])
    assert row["response"]["team"] in ("access", "billing")
    by_rule = "the set needs testing: tag LICENSED by row rule 1 prohibits testing: the licence has ended"
    closed = "it is restricted, and ann may not see that; the Access document names who may"
    assert refused(told) == {"T-003": ("permitted", by_rule), "T-004": ("seen", closed)}
    kept = told.table("records", "use_sets")
    assert sorted(kept["item_ref"]) == refs_in(path)
    assert kept.select("collection", "use", "path", "by").unique().rows() == [("routing", "testing", str(path), "ann")]
    learned = told.table("train", "governed_export").filter(
        (pl.col("collection") == "told") & pl.col("split").is_in(["train", "val"])
    )
    assert ran.json["learned_from"]["told"] == len(set(learned["item_ref"]) & set(refs_in(path)))


def test_what_is_restricted_is_for_those_who_may_see_it(told: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_USER", "bob")
    ran = take(told)
    assert ran.json["pairs"] == 9
    assert "T-004" in refs_in(ran.json["path"])
    assert set(told.table("records", "use_sets")["by"]) == {"bob"}


def test_a_use_of_the_projects_own_has_its_sets_too(told: Project) -> None:
    ran = take(told, "--use", "distillation")
    assert ran.json["pairs"] == 9
    assert "T-003" in refs_in(ran.json["path"])


@pytest.mark.parametrize(
    ("use", "said"),
    [
        ("training", "--use training: no set is taken for it; `workbench run` exports it with its splits"),
        ("few_shot", "--use few_shot: no set is taken for it; `workbench examples` has what permits it"),
        ("destillation", "--use: unknown use 'destillation'; did you mean 'distillation'?"),
    ],
)
def test_what_has_a_door_of_its_own_or_is_not_known_is_refused(use: str, said: str) -> None:
    with pytest.raises(ArgumentError) as error:
        known_set_use(use, [*USES, "distillation"])
    assert error.value.line == said


def test_nothing_approved_and_nothing_permitted_make_no_file(project: Project) -> None:
    stated(project, trusted=False)
    assert project("run", "told").code == 5
    ran = take(project, "--out", str(project.folder / "set.jsonl"))
    assert ran.code == 5
    assert (
        one_line(ran) == "workbench: Collection routing: 0 of 10 pairs approved; there is nothing to take for testing"
    )
    stated(project, usage=USAGE | {"allowed_uses": ["training", "validation", "evaluation"]})
    assert project("run", "told").code == 0
    ran = take(project, "--out", str(project.folder / "set.jsonl"))
    assert ran.code == 1
    assert one_line(ran) == (
        "workbench: Collection routing: none of 10 approved pairs may be taken for testing; most common: the set needs testing: "
        "sheet tickets does not allow testing"
    )
    assert not (project.folder / "set.jsonl").exists()
    assert not project.workbench.lake.exists("records", "use_sets")


def test_what_was_tightened_or_changed_since_the_last_run_is_let_out_by_no_old_row(told: Project) -> None:
    rows = [*USAGE["rows"], {"when": "ticket = 'T-005'", "tags": ["LICENSED"]}]
    stated(told, usage=USAGE | {"rows": rows})
    changed = tickets(10).with_columns(
        subject=pl.when(pl.col("ticket") == "T-006").then(pl.lit("Late")).otherwise("subject")
    )
    put(told, changed.filter(pl.col("ticket") != "T-007"))
    label = '{"sheet": "tickets", "item_ref": "T-008", "label_type": "team", "label_data": {"team": "access"}}'
    file = told.write("labels.jsonl", label[:-1] + ', "prohibited_uses": ["testing"], "usage_reason": "a client"}')
    assert told("label", "import", str(file)).code == 0
    assert refs_in(take(told).json["path"]) == ["T-000", "T-001", "T-002", "T-009"]
    said = refused(told)
    assert said["T-005"][1].startswith("by what is stated now, the set needs testing: tag LICENSED by row rule")
    another = "it is another pair by now, or none: run its TrainingSheet again"
    assert {said[ref][1] for ref in ("T-006", "T-007", "T-008")} == {another}


def test_what_was_lifted_is_let_out_once_a_run_has_put_that_on_record(told: Project) -> None:
    stated(told, usage=USAGE | {"rows": []})
    assert take(told).json["pairs"] == 8
    assert told("run", "told").code == 0
    assert take(told).json["pairs"] == 10


def test_a_sample_is_the_same_for_the_same_seed_and_another_one_for_another(told: Project) -> None:
    taken = [refs_in(take(told, "--sample", "3", "--seed", seed).json["path"]) for seed in ("1", "1", "2")]
    assert len(taken[0]) == 3
    assert taken[0] == taken[1] != taken[2]


def test_a_file_that_is_there_is_not_overwritten_and_another_ending_is_none(told: Project) -> None:
    there = told.write("set.jsonl", "mine")
    assert "is there already" in one_line(take(told, "--out", str(there)))
    assert there.read_text() == "mine"
    assert "a set is written as .jsonl or .csv" in one_line(take(told, "--out", str(told.folder / "set.xlsx")))


def test_status_names_a_set_that_holds_what_may_not_be_used_any_more(told: Project) -> None:
    path = take(told).json["path"]
    assert error_lines(told("status")) == []
    rows = [*USAGE["rows"], {"when": "ticket = 'T-005'", "tags": ["LICENSED"]}]
    stated(told, usage=USAGE | {"rows": rows})
    told("run", "told")
    (line,) = [line for line in error_lines(told("status")) if line.startswith("set ")]
    assert line.startswith(
        f"set {path} was taken for testing by ann: 1 of its 8 pairs may not be used for that any more; "
    )
    assert line.endswith("the licence has ended; delete it, and take it anew: `workbench export set routing`")
    listed = told("export", "sets", "--json")
    assert (listed.code, listed.json["sets"][0]["refused_now"]) == (1, 1)


def test_recall_names_the_sets_and_an_erasure_takes_its_pairs_out_of_them(told: Project) -> None:
    path = Path(take(told, "--out", str(told.folder / "set.jsonl")).json["path"])
    table = Path(take(told, "--out", str(told.folder / "set.csv")).json["path"])
    gone = Path(take(told).json["path"])
    gone.unlink()
    found = told("recall", "--item", "tickets/T-005", "--json").json["sets"]
    assert [(one["path"], one["pairs"]) for one in found] == [(str(one), 1) for one in (path, table, gone)]
    ran = told("erase", "tickets/T-005", "--reason", "asked", "--yes", "--json")
    assert ran.json["left"] == [
        f"the set {gone.name} of routing, taken for testing by ann: its file is not where it was written, or was changed; "
        "delete every copy"
    ], ran.err
    assert refs_in(path) == [f"T-{n:03d}" for n in range(10) if n not in (3, 4, 5)]
    assert "number 5" not in path.read_text() + table.read_text()
    assert "T-005" not in told.table("records", "use_sets")["item_ref"]


def test_a_table_is_read_back_and_no_cell_of_it_is_run(tmp_path: Path) -> None:
    odd = '=1+1\n"quoted", and \u2028 a line'
    messages = [{"role": "user", "content": odd, "parts": None}]
    rows = frame_of(make_pair("=a", messages=messages, inputs=json.dumps({"x": odd})), make_pair("b"))
    file = tmp_path / "set.csv"
    file.write_bytes(written(rows, "csv"))
    with file.open(newline="") as text:
        head, first, second = csv.reader(text)
    assert tuple(head) == COLUMNS
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in (*first, *second))
    by_ref = {restored(row[1]): row for row in (first, second)}
    assert json.loads(restored(by_ref["=a"][head.index("messages")]))[0]["content"] == odd
    left = without_pairs(file.read_bytes(), "csv", {by_ref["=a"][0]})
    assert left == written(rows.filter(pl.col("item_ref") == "b"), "csv")
    lines = written(rows, "jsonl")
    assert len(lines.decode().splitlines()) == 2
    for kind in ("jsonl", "csv"):
        shown = without_pairs(written(rows, kind), kind, (), ['=1+1\n"quo'])
        assert shown == written(rows.filter(pl.col("item_ref") == "b"), kind)
    assert without_pairs(lines, "jsonl", {by_ref["b"][0]}) == written(rows.filter(pl.col("item_ref") == "=a"), "jsonl")


@pytest.mark.parametrize(
    "given",
    [
        {"status": "unlabeled"},
        {"response": None},
        {"allowed_uses": ["training"]},
        {"allowed_uses": None},
        {"prohibited_uses": ["testing"]},
        {"allowed_uses": ["testing", "tasting"]},
        {"data_classification": "restricted"},
        {"data_classification": None},
    ],
)
@pytest.mark.parametrize("when", ["then", "now"])
def test_whatever_is_not_said_to_be_permitted_is_refused(given: dict[str, Any], when: str) -> None:
    """Of what decides now, only what can change without the pair being another one."""
    if when == "now" and not set(given) <= {"allowed_uses", "prohibited_uses", "data_classification"}:
        return
    then, now = make_pair(), make_pair()
    (then if when == "then" else now).update(given)
    now["pair_hash"] = then["pair_hash"]
    admitted, refusals = admit(frame_of(then), frame_of(now), "testing", USES, sees_restricted=False, person="ann")
    assert (admitted.height, refusals.height) == (0, 1)
    assert refusals["reason"][0]
