"""The lifecycle from source to lineage, through the real command line: what is asked, what is kept, what may be used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from workbench_pipelines_tests.invoice_world import DRAFTED, LABELED, NAME, Trained, trained_invoices
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    TEAMS,
    collection,
    define,
    one_line,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)  # fmt: skip

# What holds the rows of a restricted source: the source itself, its snapshot, and what its prompts and pairs are.
KEEPS_NAMES = ("sheets/data/", ".workbench/lake/data/", ".workbench/lake/generate/", ".workbench/lake/label/")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    with trained_invoices(tmp_path_factory.mktemp("invoices") / "project") as made:
        yield made


def test_a_first_run_asks_once_for_each_item_that_no_expert_labeled(trained: Trained) -> None:
    assert trained.first.code == 0
    assert trained.planned.json["calls"] == DRAFTED - len(LABELED)
    asked = trained.project.table("generate", "generated_pairs").filter(pl.col("request_hash").is_not_null())
    assert asked.height == DRAFTED - len(LABELED)
    assert not set(asked["item_ref"]) & set(LABELED)
    assert trained.first.json["llm_calls"] == trained.calls


def test_a_second_run_asks_nobody_and_changes_no_version(trained: Trained, capfd: pytest.CaptureFixture[str]) -> None:
    versions = trained.project.table("records", "training_sheets").sort("training_sheet")
    ran = trained.project("run", "--json")
    assert ran.code == 0
    assert ran.json["llm_calls"] == 0
    assert trained.provider.calls == trained.calls
    assert ran.json["exports"] == trained.first.json["exports"]
    assert ran.json["models"] == trained.first.json["models"]
    assert trained.project.table("records", "training_sheets").sort("training_sheet").equals(versions)
    assert trained.project.table("records", "export_versions").height == 1
    assert trained.project.table("records", "model_training_lineage").height == 1
    seen = capfd.readouterr()
    assert NAME not in seen.out + seen.err + ran.out + ran.err


def test_rows_are_joined_filtered_and_named_as_their_sheet_says(trained: Trained) -> None:
    items = trained.project.table("data", "sheet_snapshot", "invoices")
    assert items["item_ref"].to_list()[:2] == ["001", "002"]
    assert items.height == 39  # the one of no amount is left out
    assert items.filter(pl.col("provider") == "000")["house"].unique().to_list() == ["North"]


def test_what_shows_a_restricted_column_is_excluded_with_its_reason_and_the_same_items_train_without_it(
    trained: Trained,
) -> None:
    folder = Path(trained.first.json["exports"][0]["path"])
    excluded = pl.read_parquet(folder / "exclusions.parquet")
    exported = pl.concat([pl.read_parquet(folder / f"{split}.parquet") for split in ("train", "val", "test")])
    pairs = trained.project.table("label", "labeled_pairs").select("pair_id", "training_sheet")
    by_patient = excluded.join(pairs.filter(pl.col("training_sheet") == "by_patient"), on="pair_id")
    assert by_patient.height == 39
    assert set(by_patient["gate"]) == {"permitted"}
    assert by_patient["reason"].str.contains("PHI").all()
    assert by_patient["reason"].str.contains("no name leaves the house").all()
    assert set(exported.join(pairs, on="pair_id")["training_sheet"]) == {"by_codes", "drafted"}


def test_rows_that_a_rule_marks_are_excluded_from_training_alone(trained: Trained) -> None:
    pairs = trained.project.table("label", "labeled_pairs").filter(pl.col("training_sheet") == "by_codes")
    marked = pairs.filter(pl.col("tags").list.contains("CONFIDENTIAL"))
    assert marked["item_ref"].to_list() == ["009", "019", "029", "039"]
    rows = trained.project.table("train", "governed_export")
    assert set(rows.filter(pl.col("item_ref").is_in(marked["item_ref"].implode()))["split"]) <= {"test"}


def test_no_restricted_value_leaves_the_tables_that_hold_it(trained: Trained) -> None:
    found = set()
    for file in trained.project.folder.rglob("*"):
        place = file.relative_to(trained.project.folder).as_posix()
        if file.is_file() and not place.startswith(KEEPS_NAMES) and NAME.encode() in content(file):
            found.add(place)
    assert found == set()
    assert NAME not in trained.first.out + trained.first.err + trained.planned.out


def content(file: Path) -> bytes:
    return pl.read_parquet(file).write_ndjson().encode() if file.suffix == ".parquet" else file.read_bytes()


def test_a_model_is_registered_without_pickle_and_its_lineage_lists_its_pairs(trained: Trained) -> None:
    (model,) = trained.first.json["models"]
    assert (model["name"], model["version"]) == ("invoices.fast", "1")
    lineage = trained.project.table("records", "model_training_lineage").row(0, named=True)
    export = trained.project.table("train", "governed_export").filter(pl.col("split") != "test").sort("pair_id")
    assert lineage["pair_ids"] == export["pair_id"].to_list()
    assert lineage["pair_hashes"] == export["pair_hash"].to_list()
    assert lineage["training_sheets"] == ["by_codes", "drafted"]
    assert lineage["train_pair_count"] == trained.first.json["exports"][0]["train"]
    state = trained.project.folder / ".workbench"
    assert [file for file in state.rglob("*") if file.suffix in (".pkl", ".pickle", ".joblib")] == []
    pickles = [file for file in state.rglob("*") if file.is_file() and file.read_bytes()[:2] == b"\x80\x04"]
    assert pickles == []


def test_the_charts_of_an_evaluation_stand_in_mlflow_and_in_the_materialization(trained: Trained) -> None:
    images = {file.name for file in (trained.project.folder / ".workbench/mlartifacts").rglob("*.png")}
    assert {"confusion_matrix.png", "per_class.png"} <= images
    with dg.DagsterInstance.from_config(str(trained.project.home)) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["train", "eval_report"]))
    assert event is not None
    assert event.asset_materialization is not None
    chart = event.asset_materialization.metadata["fast_confusion_matrix"]
    assert isinstance(chart, dg.MarkdownMetadataValue)
    assert chart.md_str is not None
    assert "data:image/png;base64," in chart.md_str


def asked(trained: Trained, query: str, parameter: str) -> list[dict[str, Any]]:
    ran = trained.project("sql", "--query", query, "-p", parameter, "--json")
    assert ran.code == 0, ran.err
    rows: list[dict[str, Any]] = ran.json
    return rows


def test_the_four_questions_of_lineage_have_their_answers(trained: Trained) -> None:
    export = trained.first.json["exports"][0]
    (model,) = asked(trained, "models_of_training_sheet", "training_sheet=by_codes")
    assert (model["model_name"], model["train_pair_count"]) == ("invoices.fast", export["train"])
    assert asked(trained, "models_of_training_sheet", "training_sheet=by_patient") == []
    taught = asked(trained, "training_sheets_of_model", "model=invoices.fast")
    assert [row["training_sheet"] for row in taught] == ["by_codes", "drafted"]
    assert sum(row["pairs"] for row in taught) == export["train"] + export["val"]
    pairs = asked(trained, "pairs_of_model", "model=invoices.fast/1")
    assert len(pairs) == export["train"] + export["val"]
    assert {row["since_training"] for row in pairs} == {"unchanged"}
    figures = asked(trained, "models_compared", "training_sheet=by_codes")
    assert {row["metric"] for row in figures} >= {"accuracy", "macro_f1"}


def test_a_collection_with_nothing_approved_says_how_many_pairs_wait_for_whom(project: Project) -> None:
    define(
        project, sheet(), training_sheet("asked", labeling_mode="manual"), collection("routing", "asked"), template()
    )
    put(project, tickets(3))
    ran = project("run", "--json")
    assert ran.code == 5
    assert one_line(ran) == "Collection routing: 0 of 3 pairs approved; 3 pairs of asked wait for a reviewer"
    assert ran.json["ok"] is False
    assert not project.workbench.lake.exists("train", "governed_export")
    (state,) = project("status", "--json").json["training_sheets"]
    assert (state["unlabeled"], state["waits_for"]) == (3, ["a reviewer"])


def test_sources_of_every_format_make_the_same_snapshot(project: Project) -> None:
    rows = tickets(5)
    data = project.folder / "sheets/data"
    (data / "parts").mkdir(parents=True)
    rows.write_parquet(data / "tickets.parquet")
    rows.write_ndjson(data / "tickets.ndjson")
    rows.write_excel(data / "tickets.xlsx", worksheet="open")
    rows.write_delta(data / "delta")
    rows[:2].write_csv(data / "parts/a.csv")
    rows[2:].write_csv(data / "parts/b.csv")
    tables = ["tickets.parquet", "tickets.ndjson", "tickets.xlsx", "delta", "parts"]
    define(
        project, *(sheet(name.partition(".")[0] + str(number), f"data/{name}") for number, name in enumerate(tables))
    )
    ran = project("run", "--json")
    assert ran.code == 0, ran.err
    snapshots = [
        project.table("data", "sheet_snapshot", name) for name in sorted(project.workbench.catalog().names("Sheet"))
    ]
    assert len(snapshots) == len(tables)
    for snapshot in snapshots:
        assert (
            snapshot.select("item_ref", "subject", "team", "item_hash")
            .sort("item_ref")
            .equals(snapshots[0].select("item_ref", "subject", "team", "item_hash").sort("item_ref"))
        )


def test_the_embedded_model_drafts_answers_that_fit_without_key_or_network(project: Project) -> None:
    define(project, sheet(), training_sheet(model="local/smollm2"), template())
    put(project, tickets(3))
    ran = project("run", "--json")
    assert (ran.code, ran.json["llm_calls"], ran.json["cost_usd"]) == (5, 3, 0.0)
    drafts = project.table("generate", "generated_pairs")
    assert set(drafts["response"]) <= {f'{{"team":"{team}"}}' for team in TEAMS}
    assert set(drafts["model"]) == {"local/smollm2"}
