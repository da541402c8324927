"""What runs leave in Dagster for everybody to read: enough to recognise rows by, and no restricted value."""

from __future__ import annotations

import dagster as dg
import polars as pl
import pytest
import yaml

from workbench_pipelines.defs.reporting import one_line_failures, sample_table
from workbench_pipelines.errors import SourceError
from workbench_pipelines.restrictions import MASK, Mask
from workbench_pipelines_tests.definition_world import make_document, template_document
from workbench_pipelines_tests.project_world import Project, forget_definitions

SECRETS = ("Lovelace", "cardiology", "radiology")


def rows(**columns: list[str | None]) -> pl.DataFrame:
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def test_a_sample_shows_the_first_rows_and_cuts_long_cells() -> None:
    table = sample_table(rows(a=["x" * 200, "one | two\nthree", None, "", "5", "6"]), Mask())
    assert len(table.splitlines()) == 2 + 5
    assert "x" * 79 + "…" in table
    assert "one \\| two three" in table


def test_masked_columns_are_named_and_not_shown() -> None:
    table = sample_table(rows(name=["Lovelace"], town=["London"]), Mask(frozenset({"name"})))
    assert "| name | town |" in table
    assert f"| {MASK} | London |" in table


def test_what_states_no_classification_is_masked() -> None:
    frame = rows(inputs=["Lovelace", "Hopper", "Turing"], data_classification=[None, "restricted", "public"])
    table = sample_table(frame, Mask(frozenset({"inputs"}), classified=True))
    assert "Turing" in table
    assert "Lovelace" not in table
    assert "Hopper" not in table


def test_a_failure_is_one_line_without_its_cause() -> None:
    @one_line_failures
    def body() -> None:
        try:
            raise ValueError("Lovelace")
        except ValueError as error:
            raise SourceError("patients.csv:\n row 3 is\n no row") from error

    with pytest.raises(dg.Failure) as failed:
        body()
    assert failed.value.description == "patients.csv: row 3 is no row"
    assert failed.value.allow_retries is False
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__


def test_no_event_of_a_run_holds_a_restricted_value(project: Project) -> None:
    """From the snapshot to the export, of a Sheet that is restricted and may be learned from all the same."""
    lines = [f"p{number:02},Lovelace {number},{SECRETS[1 + number % 2]}" for number in range(40)]
    project.write("sheets/data/patients.csv", "\n".join(["patient,name,department", *lines]) + "\n")
    usage = {"allowed_uses": ["training", "validation", "evaluation"], "data_classification": "restricted"}
    sheet = {"labeling_mode": "existing_column", "column": "department", "trusted": True}
    documents = [
        make_document("Sheet", "patients", primary_table="data/patients.csv", item_ref="patient", usage=usage),
        make_document("TrainingSheet", "routed", sheet="patients", template="t", **sheet),
        make_document(
            "Collection",
            "wards",
            members=[{"training_sheet": "routed"}],
            splits={"train": 0.6, "val": 0.1, "test": 0.3, "seed": 13},
            trainers=[{"name": "router", "kind": "classifier", "target": "department"}],
            evaluation={"base_model_items": 0},
        ),
    ]
    project.write("sheets/all.yaml", yaml.safe_dump_all(documents))
    output = [{"name": "department", "type": "string", "enum": list(SECRETS[1:])}]
    template = template_document(
        "Where does {{ name }} go?", output_schema=output, input_schema=[{"name": "name", "type": "string"}]
    )
    project.write("templates/t.yaml", yaml.safe_dump(template))
    forget_definitions()
    from workbench_pipelines.definitions import definitions

    defs = definitions()
    with dg.DagsterInstance.ephemeral() as instance:
        for job, key in (("templates", "t"), ("sheets", "patients"), ("training_sheets", "routed")):
            assert defs.resolve_job_def(job).execute_in_process(instance=instance, partition_key=key).success
        export = defs.resolve_job_def("collections").get_subset(
            asset_selection={dg.AssetKey(["train", "governed_export"])}
        )
        assert export.execute_in_process(instance=instance, partition_key="wards").success
        said = [
            str(event)
            for run in instance.get_runs()
            if run.job_name != "templates"
            for event in instance.all_logs(run.run_id)
        ]
    assert len(said) > 100
    for secret in SECRETS:
        leaks = [text for text in said if secret in text]
        assert leaks == [], leaks[0][:2000]


def test_the_names_of_restricted_classes_are_masked(project: Project) -> None:
    closed = {"usage": {"allowed_uses": ["training"], "data_classification": "restricted"}}
    open_ = {"usage": {"allowed_uses": ["training"], "data_classification": "public"}}
    documents = [
        make_document("Sheet", name, primary_table="x.csv", item_ref="x", **usage)
        for name, usage in (("closed", closed), ("open", open_))
    ]
    project.write("sheets/all.yaml", yaml.safe_dump_all(documents))
    forget_definitions()
    from workbench_pipelines.defs.train.assets import mask_of_classes

    assert mask_of_classes(project.workbench, pl.DataFrame({"sheet": ["open"]})) == Mask()
    for sheets in (["closed"], ["open", "closed"]):
        mask = mask_of_classes(project.workbench, pl.DataFrame({"sheet": sheets}))
        assert "radiology" not in sample_table(rows(classes=["radiology"], metric=["recall.radiology"]), mask)
