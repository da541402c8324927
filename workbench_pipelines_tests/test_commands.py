"""The command line: what each command prints, in which shape, with which exit code, and what it says when it can not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import polars as pl
import pytest

from workbench_pipelines.cli.commands import workbench as root
from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.restrictions import MASK
from workbench_pipelines_tests.project_world import Project, Ran
from workbench_pipelines_tests.ticket_world import (
    collection,
    define,
    error_lines,
    one_line,
    project_at,
    provider,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)  # fmt: skip

__all__ = ["provider"]


def commands(group: click.Group = root, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that name it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield (*path, name), command


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Ran]]:
    """A project of twelve routed tickets, run once; one more Sheet shows what is restricted."""
    with project_at(tmp_path_factory.mktemp("commands") / "project") as project:
        put(project, tickets(12))
        tagged = sheet("tagged", columns={"subject": {"tags": ["SECRET"]}})
        shown = training_sheet("shown", sheet="tagged", column="team")
        splits = {"train": 0.5, "val": 0.2, "test": 0.3, "seed": 3}
        routed = training_sheet("routed", column="team")
        policy = {
            "apiVersion": "workbench/v1",
            "kind": "UsagePolicy",
            "metadata": {"name": "own"},
            "spec": {"tags": {"SECRET": {"data_classification": "restricted"}}},
        }
        define(
            project, policy, sheet(), tagged, routed, shown, collection("routing", "routed", splits=splits), template()
        )
        yield project, project("run", "routing", "shown", "--json")


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=[" ".join(path) for path, _ in commands()])
def test_every_command_explains_itself_and_speaks_json(
    project: Project, path: tuple[str, ...], command: click.Command
) -> None:
    ran = project(*path, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: workbench {' '.join(path)}")
    assert command.help
    assert " ".join(command.help.split())[:60] in " ".join(ran.out.split())
    assert "--json" in ran.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rum"], "No such command 'rum'"),
        (["run", "--jsn"], "No such option"),
        (["run", "ticket"], "there is no Sheet, TrainingSheet or Collection 'ticket'; did you mean 'tickets'?"),
        (["plan", "draftd"], "there is no Sheet, TrainingSheet or Collection 'draftd'; did you mean 'drafted'?"),
        (["preview", "draftd"], "there is no TrainingSheet 'draftd'; did you mean 'drafted'?"),
        (["sql"], "give either a statement or --query NAME"),
        (["sql", "drop table labeled_pairs"], ""),
        (["sql", "select 1; select 2"], ""),
        (["sql", "select * from '/etc/passwd'"], ""),
        (["sql", "select * from labeled_pair"], "there is no table 'labeled_pair' in the lake; did you mean 'labeled_pairs'?"),
        (["sql", "select sheep from labeled_pairs"], "sheep"),
        (["sql", "--query", "pairs_of_modl"], "there is no query 'pairs_of_modl'; did you mean 'pairs_of_model'?"),
        (["sql", "--query", "pairs_of_model"], "model"),
        (["sql", "--query", "pairs_of_model", "-p", "model"], "write it NAME=VALUE"),
        (["label", "import", "none.jsonl"], "there is no file none.jsonl"),
        (["label", "import"], "Missing argument"),
        (["label", "import", "labels.txt"], "a label file ends in .jsonl, .csv or .xlsx"),
        (["label", "import", "latin.csv"], "latin.csv: not UTF-8 at byte 8"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "says",
)  # fmt: skip
def test_a_wrong_argument_is_one_line_and_exit_code_2(
    project: Project, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    define(project, sheet(), training_sheet(), template())
    put(project, tickets(2))
    project.write("labels.txt", "")
    (project.folder / "latin.csv").write_bytes(b"item_ref\xe9\n")
    monkeypatch.chdir(project.folder)
    ran = project(*arguments)
    assert one_line(ran).startswith("workbench: ")
    assert said in one_line(ran)
    assert (ran.code, ran.out) == (2, "")
    assert not (project.folder / ".workbench/lake/data").exists()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("WORKBENCH_PROJECT", "/nowhere/at/all", "WORKBENCH_PROJECT: all is no folder"),
        ("WORKBENCH_BUDGET_USD", "much", "WORKBENCH_BUDGET_USD: 'much' is no amount; write it like 2.50"),
    ],
)
def test_a_variable_that_makes_no_sense_is_one_line(
    project: Project, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    for command in ("status", "run"):
        ran = project(command)
        assert said in one_line(ran)
        assert ran.code == 2


def test_a_project_without_definitions_says_so(project: Project) -> None:
    assert project("validate").out == "no definitions: all in order\n"
    ran = project("run")
    assert (ran.code, one_line(ran)) == (2, "workbench: there is nothing to run: sheets/ defines no Sheet")


def test_a_run_ends_with_the_object_that_programs_read(made: tuple[Project, Ran]) -> None:
    _, ran = made
    told = ran.json
    assert ran.code == 0
    assert {"ok", "partitions", "llm_calls", "store_hits", "cost_usd", "exports", "models", "failed_checks"} <= set(
        told
    )
    assert told["ok"] is True
    assert {"asset": "data/sheet_snapshot", "partition": "tickets", "rows": 12, "refused": 0} in told["partitions"]
    (export,) = [one for one in told["exports"] if one["collection"] == "routing"]
    columns = {"collection", "version", "merkle_root", "path", "train", "val", "test", "excluded"}
    assert set(export) == columns
    assert export["train"] + export["val"] + export["test"] == 12
    assert (Path(export["path"]) / "manifest.json").is_file()
    assert (told["llm_calls"], told["store_hits"], told["cost_usd"]) == (0, 0, 0)
    assert told["models"] == told["failed_checks"] == []


def test_a_run_for_people_says_what_it_made_and_where(project: Project) -> None:
    define(project, sheet())
    put(project, tickets(2))
    ran = project("run")
    assert ran.code == 0
    assert "data/sheet_snapshot\ttickets\t2\t" in ran.out
    assert f"lake: {project.settings.lake}" in ran.out
    assert error_lines(ran) == []


def test_a_plan_says_what_the_run_then_does(project: Project, provider: ScriptedProvider) -> None:
    define(project, sheet(), training_sheet(), template())
    put(project, tickets(6))
    project.write("labels.jsonl", label_line("T-000") + label_line("T-001"))
    assert project("label", "import", str(project.folder / "labels.jsonl")).code == 0
    (planned,) = project("plan", "--json").json["training_sheets"]
    assert not project.workbench.lake.exists("data", "sheet_snapshot", "tickets")
    assert provider.calls == 0
    shape = {
        "training_sheet": "drafted",
        "model": "openai/scripted",
        "items": 6,
        "calls": 4,
        "store_hits": 0,
        "covered": 2,
    }
    assert shape.items() <= planned.items()
    assert planned["max_cost_usd"] is None  # nobody knows the price of this model, which is not nothing
    ran = project("run", "--json").json
    assert (ran["llm_calls"], ran["store_hits"], ran["cost_usd"]) == (4, 0, None)
    again = project("plan", "--json").json
    assert (again["calls"], again["store_hits"], again["covered"]) == (0, 4, 2)


def test_status_says_how_everything_stands(made: tuple[Project, Ran]) -> None:
    told = made[0]("status", "--json").json
    sheets = {one["training_sheet"]: one for one in told["training_sheets"]}
    assert (sheets["routed"]["version"], sheets["routed"]["status"], sheets["routed"]["labeled"]) == (1, "approved", 12)
    collections = {one["collection"]: one for one in told["collections"]}
    assert collections["routing"]["export"]["version"] == 1
    assert "routed\t1\tapproved\t12" in made[0]("status").out


def test_a_preview_renders_prompts_and_hides_what_is_restricted(made: tuple[Project, Ran]) -> None:
    told = made[0]("preview", "routed", "--items", "2", "--json").json
    assert [one["messages"][-1]["content"] for one in told["preview"]] == [
        "Which team? Log in number 0",
        "Which team? Invoice number 1",
    ]
    assert (told["prompts"], told["refused"]) == (12, [])
    hidden = made[0]("preview", "shown")
    assert hidden.code == 0
    assert MASK in hidden.out
    assert "number" not in hidden.out


def test_sql_answers_select_and_masks_what_is_restricted(made: tuple[Project, Ran]) -> None:
    project = made[0]
    counted = project(
        "sql", "select training_sheet, count(*) as pairs from labeled_pairs group by 1 order by 1", "--json"
    )
    assert counted.json == [{"training_sheet": "routed", "pairs": 12}, {"training_sheet": "shown", "pairs": 12}]
    seen = project("sql", "select distinct subject from sheet_snapshot_tagged", "--json").json
    assert seen == [{"subject": MASK}]
    shown = project("sql", "select messages, inputs from labeled_pairs where training_sheet = 'shown'")
    assert shown.code == 0
    assert "number" not in shown.out
    assert "number" in project("sql", "select inputs from labeled_pairs where training_sheet = 'routed'").out


def test_sql_lists_its_documented_queries(made: tuple[Project, Ran]) -> None:
    listed = made[0]("sql", "--queries").out
    for name in ("models_of_training_sheet", "training_sheets_of_model", "pairs_of_model", "models_compared"):
        assert name in listed
    rows = made[0]("sql", "--queries", "--json").json
    assert {row["query"] for row in rows} >= {"pairs_of_model"}


def test_validate_counts_what_is_in_order(made: tuple[Project, Ran]) -> None:
    ran = made[0]("validate", "--json")
    assert (ran.code, ran.json["ok"], ran.json["problems"]) == (0, True, [])
    assert ran.json["definitions"]["TrainingSheet"] == 2
    strict = made[0]("validate", "--strict")
    assert strict.code == 2
    assert one_line(strict) == "templates/published.lock lacks team 1.0.0; run `workbench publish`"


def label_line(item_ref: str, **more: object) -> str:
    row = {"sheet": "tickets", "item_ref": item_ref, "label_type": "team", "label_data": {"team": "billing"}}
    return json.dumps({**row, **more}) + "\n"


def test_labels_come_in_as_jsonl_csv_and_xlsx_alike(project: Project) -> None:
    define(project, sheet(), training_sheet(), template())
    put(project, tickets(4))
    row = {
        "sheet": "tickets",
        "label_type": "team",
        "label_data": '{"team": "billing"}',
        "allowed_uses": "training;testing",
    }
    jsonl = project.write("a.jsonl", label_line("T-000", allowed_uses=["training", "testing"]))
    csv, xlsx = project.folder / "b.csv", project.folder / "c.xlsx"
    pl.DataFrame([{**row, "item_ref": "T-001"}]).write_csv(csv)
    pl.DataFrame([{**row, "item_ref": "T-002"}]).write_excel(xlsx)
    taken = project("label", "import", *(str(file) for file in (jsonl, csv, xlsx)), "--json")
    assert taken.json == {"ok": True, "decisions": 3, "repeated": 0, "outdated": [], "refused": []}
    ledger = project.table("label", "decisions").sort("item_ref")
    assert ledger["label_data"].to_list() == ['{"team":"billing"}'] * 3
    assert ledger["uses"].n_unique() == 1
    assert ledger["by"].unique().to_list() == ["ann"]
    again = project("label", "import", *(str(file) for file in (jsonl, csv, xlsx)), "--json")
    assert (again.json["decisions"], again.json["repeated"]) == (0, 3)


def test_a_bad_label_row_is_named_and_the_good_ones_are_taken(project: Project) -> None:
    define(project, sheet(), training_sheet(), template())
    put(project, tickets(4))
    bad = [
        label_line("T-000"),
        "{not json\n",
        label_line("T-999"),
        label_line("T-001", label_data={"team": "sales"}),
        label_line("T-001", label_type="taem"),
        label_line("T-001", allowed_uses=["trainig"]),
        label_line("T-001", sheet="tikkets"),
        label_line("T-001", labled_by="ann"),
        label_line("T-001", data_classification="secrt"),
    ]
    ran = project("label", "import", str(project.write("labels.jsonl", "".join(bad))))
    said = [
        "labels.jsonl line 2: is no JSON",
        "labels.jsonl line 3: Sheet tickets has no item 'T-999'",
        "labels.jsonl line 4: item T-001: label_data: team is none of the allowed values",
        "labels.jsonl line 5: unknown label_type 'taem'; did you mean 'team'?",
        "labels.jsonl line 6: item T-001: unknown use 'trainig'; did you mean 'training'?",
        "labels.jsonl line 7: there is no Sheet 'tikkets'; did you mean 'tickets'?",
        "labels.jsonl line 8: unknown column labled_by; did you mean 'labeled_by'?",
        "labels.jsonl line 9: item T-001: ",
    ]
    assert ran.code == 1
    assert [line.startswith(start) for line, start in zip(error_lines(ran), said, strict=True)] == [True] * 8
    assert ran.out == "1 labels taken, 0 known already, 8 refused\n"
    assert project.table("label", "decisions")["item_ref"].to_list() == ["T-000"]
