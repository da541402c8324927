"""What a tag says of a column holds however the column is reached: as a key, through a join, or beside the prompt."""

from __future__ import annotations

import json

import polars as pl

from workbench_pipelines.labels import fold_labels
from workbench_pipelines_tests.pair_world import later, ledger, make_decision
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import quiet

SHEET = """
apiVersion: workbench/v1
kind: Sheet
metadata: {{name: visits}}
spec:
  primary_table: data/visits.csv
  item_ref: {key}
  {join}
  usage: {{allowed_uses: [training, validation, evaluation], data_classification: internal}}
  columns: {{patient: {{tags: [PHI]}}}}
---
apiVersion: workbench/v1
kind: PromptTemplate
metadata: {{name: ward}}
spec:
  version: "1.0.0"
  status: published
  label_type: ward
  user_prompt_template: "Which ward? {{{{ codes }}}}"
  output_schema: [{{name: ward, enum: [a, b]}}]
---
apiVersion: workbench/v1
kind: TrainingSheet
metadata: {{name: by_codes}}
spec: {{sheet: visits, template: ward, labeling_mode: existing_column, column: ward, trusted: true}}
"""
JOIN = """secondary_sources:
    - {name: places, path: data/places.csv, join_keys: [place], usage: {allowed_uses: [evaluation]}}"""


def visits(project: Project, *, key: str = "visit", join: str = "") -> Project:
    quiet(project)
    rows = "\n".join(f"{n},Secretname{n},C{n},{'ab'[n % 2]},P{n % 2}" for n in range(6))
    project.write("sheets/data/visits.csv", f"visit,patient,codes,ward,place\n{rows}\n")
    project.write("sheets/data/places.csv", "place,town\nP0,Secrettown\nP1,Othertown\n")
    project.write("sheets/visits.yaml", SHEET.format(key=key, join=join))
    return project


def test_a_key_that_may_not_be_seen_is_refused_before_anything_is_written(project: Project) -> None:
    checked = visits(project, key="patient")("validate")
    assert checked.code == 2
    assert "spec.item_ref: the key column 'patient' carries the tag PHI" in checked.err
    assert project("run", "by_codes").code != 0
    assert not (project.folder / ".workbench/lake/data").exists()


def test_columns_of_a_source_that_limits_uses_stay_out_of_the_attributes(project: Project) -> None:
    assert visits(project, join=JOIN)("run", "by_codes").code == 0
    pairs = project.table("label", "labeled_pairs")
    assert not pairs["attributes"].str.contains("Secrettown|town").any()
    assert pairs["allowed_uses"].list.contains("training").all()


REPORTS = """
---
apiVersion: workbench/v1
kind: PromptTemplate
metadata: {{name: {name}}}
spec:
  version: "1.0.0"
  status: published
  label_type: {label_type}
  user_prompt_template: "{prompt}"
  output_schema: [{field}]
---
apiVersion: workbench/v1
kind: TrainingSheet
metadata: {{name: {name}}}
spec: {{sheet: visits, template: {name}, labeling_mode: manual}}
"""
FIELDS = {"free": "{name: said}", "listed": "{name: said, enum: [Ann came, nobody came]}"}


def test_a_text_an_expert_wrote_in_view_of_a_tagged_column_keeps_what_is_stated_of_it(project: Project) -> None:
    visits(project)
    with (project.folder / "sheets/visits.yaml").open("a") as file:
        for label_type, field in FIELDS.items():
            for view, prompt in (("full", "Who came? {{ patient }}"), ("bare", "Who came? {{ codes }}")):
                named = f"{label_type}_{view}"
                file.write(REPORTS.format(name=named, label_type=label_type, prompt=prompt, field=field))
    said = [
        {"sheet": "visits", "item_ref": "1", "label_type": label_type, "label_data": {"said": "Ann came"}}
        for label_type in FIELDS
    ]
    labels = project.write("labels.jsonl", "\n".join(map(json.dumps, said)))
    assert project("label", "import", str(labels)).code == 0
    project("run", "free_bare", "free_full", "listed_bare", "listed_full")
    pairs = project.table("label", "labeled_pairs").filter(pl.col("status") == "labeled")
    permitted = {row["training_sheet"]: "training" in row["allowed_uses"] for row in pairs.to_dicts()}
    assert permitted == {"free_bare": False, "free_full": False, "listed_bare": True, "listed_full": False}
    (reason,) = pairs.filter(pl.col("training_sheet") == "free_bare")["usage_reason"]
    assert "its label prohibits training: made in view of tag PHI on column patient" in reason
    # The ledger keeps what was imported: the file that comes again is known.
    assert project("label", "import", str(labels), "--json").json["repeated"] == 2


def test_restrictions_add_up_until_a_restore() -> None:
    first = make_decision(
        action="restrict", at=later(1), uses='{"prohibited_uses":["training"],"data_classification":"restricted"}'
    )
    second = make_decision(
        action="restrict", at=later(2), uses='{"prohibited_uses":["evaluation"],"data_classification":"public"}'
    )
    (label,) = fold_labels(ledger(make_decision(), first, second), None).to_dicts()
    assert label["prohibited_uses"] == ["evaluation", "training"]
    assert label["data_classification"] == "restricted"
    lifted = fold_labels(ledger(make_decision(), first, second, make_decision(action="restore", at=later(3))), None)
    assert lifted["prohibited_uses"].to_list() == [[]]


def test_a_label_that_is_given_back_is_as_restricted_as_it_was() -> None:
    restricted = make_decision(action="restrict", at=later(1), uses='{"prohibited_uses":["training"]}')
    withdrawn = make_decision(action="reject", at=later(2))
    given_back, lifting = (make_decision(action="restore", at=later(minutes)) for minutes in (3, 4))
    said = [make_decision(), restricted, withdrawn]
    (label,) = fold_labels(ledger(*said, given_back), None).to_dicts()
    assert (label["active"], label["prohibited_uses"]) == (True, ["training"])
    (label,) = fold_labels(ledger(lifting, given_back, *said), None).to_dicts()
    assert (label["active"], label["prohibited_uses"]) == (True, [])


def test_a_correction_that_does_not_count_is_said(project: Project) -> None:
    visits(project)
    row = (
        '{"sheet": "visits", "item_ref": "1", "label_type": "ward", "label_data": {"ward": "%s"}, "labeled_at": "%s"}\n'
    )
    assert project("label", "import", str(project.write("one.jsonl", row % ("a", "2026-01-02T00:00:00Z")))).code == 0
    older = project("label", "import", str(project.write("two.jsonl", row % ("b", "2026-01-01T00:00:00Z"))), "--json")
    (line,) = older.json["outdated"]
    assert "item 1 of visits: taken and not in force" in line


def test_a_training_sheet_of_which_every_item_is_refused_says_why(project: Project) -> None:
    visits(project).write("sheets/visits.yaml", SHEET.format(key="visit", join="").replace("enum: [a, b]", "enum: [x]"))
    ran = project("run", "by_codes")
    assert ran.code == 1
    assert "6 items refused, column_breaks_schema: item 0:" in ran.err
    assert "there is no pair" in ran.err


def test_an_export_holds_nothing_of_a_hidden_column_is_verified_and_a_changed_byte_is_found(project: Project) -> None:
    (export,) = visits(project)("run", "by_codes", "--json").json["exports"]
    exported = pl.concat(
        [pl.read_parquet(file) for file in (project.folder / ".workbench/lake/exports/by_codes/v1").glob("t*.parquet")]
    )
    assert "Secretname" not in str(exported.to_dicts())
    assert not project.table("label", "labeled_pairs")["attributes"].str.contains("Secretname").any()
    assert project("verify", export["path"]).code == 0
    (project.folder / export["path"] / "train.parquet").write_bytes(b"changed")
    found = project("verify", export["path"])
    assert (found.code, "train.parquet has changed" in found.err) == (1, True)
