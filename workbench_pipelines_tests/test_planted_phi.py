"""Health information that was planted at every way into a pair is in no file to train on, and nowhere that anybody may look.

Some 300 pairs in the suite; the same with 10,000 by `make chaos`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from workbench_pipelines.clients.export_folder import ExportFolder
from workbench_pipelines.clients.lake_sql import lake_tables, query
from workbench_pipelines.export_manifest import manifest
from workbench_pipelines.exports import prepare_export
from workbench_pipelines.formats import FILE_FORMATS
from workbench_pipelines.restrictions import MASK, restrictions_of
from workbench_pipelines.splits import SPLIT_ASSIGNMENTS
from workbench_pipelines_tests.page_world import at_the_page
from workbench_pipelines_tests.planted_sources import (
    ALL_USES,
    CLOSED,
    COLUMN,
    ECHO,
    EDIT,
    EXAMPLE,
    FEEDBACK,
    FREE,
    FULL,
    HELD,
    INPUT,
    LABEL,
    OPEN,
    OPEN_EDIT,
    OPEN_LABEL,
    ROW,
    RUBRIC,
    SEEN,
    TRACE,
    UNSHOWN,
    Scale,
    is_vip,
    letter_plant,
    mark,
    ref,
)
from workbench_pipelines_tests.planted_world import (
    KEEPS,
    Planted,
    found_in,
    kinds_in,
    planted_hospital,
)

SECRET = {*HELD, CLOSED}
"""What whoever may not see restricted items is shown nowhere."""


@pytest.fixture(
    scope="module", params=[pytest.param(Scale(), id="300"), pytest.param(FULL, id="10000", marks=pytest.mark.chaos)]
)
def planted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    with planted_hospital(tmp_path_factory.mktemp("hospital") / "project", request.param) as made:
        yield made


def test_every_pair_is_there(planted: Planted) -> None:
    pairs = planted.project.table("label", "labeled_pairs").filter(pl.col("training_sheet") != "abroad")
    assert pairs.height == planted.scale.pairs
    assert planted.scale is not FULL or pairs.height == 10_000


def test_no_file_to_train_on_holds_what_may_not_be_learned_from(planted: Planted) -> None:
    exports = planted.export.parent.parent
    assert found_in(exports, kinds=HELD) == {}
    learned = found_in(exports, kinds=FREE)
    assert set(learned) == set(FREE)
    # The search looks into every format: what may be learned from stands in each.
    in_train = {path.name for path in learned[OPEN] if path.name.startswith("train.")}
    assert in_train == {
        "train.parquet",
        *(f"train.{one.ending}" for name, one in FILE_FORMATS.items() if name != "dpo"),
    }
    assert {path.name for path in learned[OPEN_EDIT] if ".dpo." in path.name}
    assert any(path.parent.name == "train" for path in learned[OPEN])  # the folder of datasets


def test_each_exclusion_is_of_a_plant_and_names_who_refuses_it(planted: Planted) -> None:
    scale = planted.scale
    vips = [sum(is_vip(number) for number in range(count)) for count in (scale.visits, scale.labeled)]
    letters = Counter(letter_plant(number) for number in range(scale.letters))
    shown = planted.pairs("queued").filter(pl.col("messages").list.eval(
        pl.element().struct.field("content").str.contains(mark(EXAMPLE), literal=True)).list.any())  # fmt: skip
    unlabeled = planted.pairs("judged").filter(pl.col("canonical_label_id").is_null())
    approved = unlabeled.filter(pl.col("status") == "labeled")
    approved_vips = approved.filter(pl.col("tags").list.contains("PHI")).height
    expected = {
        ("by_complaint", "by row rule 1"): vips[0],
        ("by_patient", "on column patient"): scale.visits,
        ("by_policy", "source insurers prohibits"): scale.visits,
        ("by_psychiatry", "tag PHI prohibits"): scale.psychiatry,
        ("judged", "status is unlabeled"): unlabeled.height - approved.height,
        ("judged", "by row rule 1"): vips[1] + approved_vips,
        ("judged", "judge's rubric of judged prohibits"): approved.height - approved_vips,
        ("queued", "sheet teaching does not allow"): shown.height,
        ("written", "made in view of tag PHI on column patient"): sum(
            letters[one] for one in (SEEN, EDIT, INPUT, FEEDBACK)
        ),
        ("written", "by row rule 1"): letters[ECHO],
        ("written", "its label prohibits"): letters[LABEL],
        ("named", "on column patient"): scale.letters,
    }
    told: Counter[tuple[str, str]] = Counter()
    for of, reason in planted.exclusions.select("training_sheet", "reason").iter_rows():
        assert "the patient asked" not in reason
        witnesses = [witness for sheet, witness in expected if sheet == of and witness in reason]
        assert witnesses, (of, reason)
        told[of, witnesses[0]] += 1
    assert told == {key: count for key, count in expected.items() if count}
    assert shown.height
    assert shown.height < scale.queue
    if scale is FULL:
        assert approved.height > 100
    exported = planted.project.table("train", "governed_export").filter(pl.col("collection") == "care")
    assert exported.height + planted.exclusions.height == scale.pairs


def test_without_the_gate_every_plant_would_be_there(planted: Planted, tmp_path: Path) -> None:
    """The same pairs with everything permitted: each way in leads into the files, so that the gate alone keeps it out."""
    members = planted.project.workbench.catalog().collection("care")
    free = planted.project.table("label", "labeled_pairs").filter(pl.col("training_sheet") != "abroad")
    free = free.with_columns(
        pl.lit("labeled").alias("status"),
        pl.lit(ALL_USES, pl.List(pl.String)).alias("allowed_uses"),
        pl.lit([], pl.List(pl.String)).alias("prohibited_uses"),
    )
    export = prepare_export(members, free, SPLIT_ASSIGNMENTS.to_frame(), ALL_USES).numbered(1)
    made = manifest(export, members, 1, training_sheet_versions={}, policy_hash="", delta_versions={})
    formats = ["openai", "parquet"]
    done = ExportFolder(str(tmp_path)).publish("care", 1, export, formats=formats, manifest=made, card="# c")
    found = found_in(Path(done.path), kinds=HELD)
    print(set(found), export.exclusions["reason"].value_counts().to_dicts(), export.counts)
    # A rubric is nowhere in a pair; what it did to one is.
    assert set(HELD) - set(found) == {RUBRIC}


def test_rows_stand_in_the_tables_that_mask_them_and_nowhere_else(planted: Planted) -> None:
    found = found_in(planted.project.folder)
    lake = ".workbench/lake/"
    further = {
        **dict.fromkeys(FREE, (f"{lake}exports/", f"{lake}train/governed_export/")),
        OPEN: (f"{lake}exports/", f"{lake}train/", f"{lake}label/example_store/", f"{lake}records/examples/",
               ".workbench/mlflow.db", "dagster_home/"),
        OPEN_LABEL: (f"{lake}exports/", f"{lake}train/governed_export/", "dagster_home/"),
        OPEN_EDIT: (f"{lake}exports/", f"{lake}train/governed_export/", "dagster_home/"),
        UNSHOWN: (f"{lake}exports/", f"{lake}train/governed_export/", ".workbench/mlflow.db"),
        # What may be shown as an example and not be learned from is in the store, and masked there.
        EXAMPLE: (f"{lake}label/example_store/", f"{lake}records/examples/"),
        RUBRIC: ("sheets/all.yaml",),
    }  # fmt: skip
    strays = {
        (kind, place)
        for kind, paths in found.items()
        for place in (path.relative_to(planted.project.folder).as_posix() for path in paths)
        if not place.startswith((*KEEPS, *further.get(kind, ())))
    }
    assert strays == set()
    assert set(found) == {*FREE, *HELD}


def test_mlflow_and_dagster_keep_what_is_open_alone(planted: Planted) -> None:
    state = planted.project.folder / ".workbench"
    traces = found_in(state / "mlflow.db", state / "mlartifacts")
    assert OPEN in traces
    assert not SECRET & set(traces)
    told = found_in(planted.project.home)
    assert OPEN in told
    assert not SECRET & set(told)


def test_the_example_store_holds_what_permits_that_and_shows_what_is_open(planted: Planted) -> None:
    store = kinds_in(str(planted.project.table("label", "example_store").to_dicts()))
    assert store == {OPEN, EXAMPLE}
    for command in (("list",), ("search", "palpitation")):
        shown = planted.run("examples", *command, "--store", "wards", "--json")
        assert kinds_in(shown.out) == {OPEN}
    assert MASK in planted.said["examples list --store wards --json"].out
    prompts = planted.project.table("generate", "rendered_prompts")
    assert UNSHOWN not in kinds_in(str(prompts.filter(pl.col("training_sheet") == "queued").to_dicts()))


def test_a_model_outside_the_house_is_asked_of_open_items_alone(planted: Planted) -> None:
    asked = json.dumps(planted.outside.bodies)
    assert kinds_in(asked) == {OPEN}
    withheld = planted.project.table("generate", "generated_pairs_refusals")
    assert set(withheld["reason"]) == {"withheld"}
    assert withheld.height == sum(is_vip(number) for number in range(planted.scale.labeled, planted.scale.desk))
    # The house's own model and judge are shown what the templates show.
    assert {TRACE, RUBRIC} <= kinds_in(json.dumps(planted.provider.bodies))


def test_no_command_said_a_restricted_value(planted: Planted, tmp_path: Path) -> None:
    (model,) = planted.project.table("records", "model_training_lineage")["model_name"].unique()
    pair = planted.pairs("by_complaint").filter(pl.col("item_ref") == ref("visits", 7))["pair_id"][0]
    (label,) = planted.pairs("written").filter(pl.col("item_ref") == ref("letters", 1))["canonical_label_id"]
    planted.run("status")
    planted.run("status", "--json")
    planted.run("plan", "--json", codes=(0, 1))
    for name in planted.project.workbench.catalog().names("TrainingSheet"):
        planted.run("preview", name, "--items", "20")
    for name in ("by_open", "by_closed"):
        planted.run("export", "preview", name, "--limit", "5")
    planted.run("export", "preview", "care", "--limit", "40", "--format", "csv")
    planted.run("trace", pair)
    planted.run("trace", model, "--json")
    planted.run("recall", "--item", f"visits/{ref('visits', 7)}", "--json")
    planted.run("recall", "--label", label, "--json")
    planted.run("recall", "--annotator", "bob", "--json")
    planted.run("recall", "--source", "visits.csv", "--json")
    planted.run("collection", "status", "care", "--json")
    planted.run("export", "set", "care", "--out", str(tmp_path / "set.jsonl"), "--sample", "2000")
    planted.run("export", "sets", "--json")
    planted.run("label", "history", "letters", ref("letters", 1), "--json")
    planted.run("label", "export", str(tmp_path / "labels.jsonl"))
    planted.run("store", "export", str(tmp_path / "answers.jsonl"))
    assert not SECRET & set(found_in(tmp_path))
    planted.run("store", "stats", "--json")
    planted.run("verify", str(planted.export), "--json")
    planted.run("prove", pair, "--export", str(planted.export), codes=(0, 1))
    planted.run("erase", f"visits/{ref('visits', 7)}", "--reason", "none", "--dry-run", "--json", codes=(0, 2))
    for table in ("labeled_pairs", "decisions", "requests", "review_inbox", "feedback_inbox", "sheet_snapshot_visits"):
        planted.run("sql", f"select * from {table}")
    leaks = {command: SECRET & kinds_in(ran.out + ran.err) for command, ran in planted.said.items()}
    assert {command: kinds for command, kinds in leaks.items() if kinds} == {}
    assert OPEN in kinds_in(planted.said["preview by_open --items 20"].out)
    assert MASK in planted.said["preview by_patient --items 20"].out


def test_no_table_tells_by_sql_what_is_restricted(planted: Planted) -> None:
    workbench = planted.project.workbench
    restrictions = restrictions_of(workbench.catalog())
    tables = {table: name for name, table in lake_tables(restrictions).items() if "." not in name}
    seen: set[str] = set()
    for table, name in tables.items():
        if workbench.lake.exists(*table.parts):
            rows = query(workbench.lake, f'select * from "{name}"', restrictions=restrictions)
            kinds = kinds_in(str(rows.to_dicts()))
            assert not SECRET & kinds, name
            seen |= kinds
    assert OPEN in seen


def test_whoever_may_not_see_it_is_shown_nothing_of_it_in_a_review(planted: Planted, tmp_path: Path) -> None:
    names = ("judged", "written", "named", "by_patient", "by_closed")
    for name in names:
        file = tmp_path / f"{name}.jsonl"
        planted.run("review", "export", name, str(file), "--for", "ann")
        assert not SECRET & kinds_in(file.read_text() if file.exists() else "")
    texts = {"ann": "", "bob": ""}
    with at_the_page(planted.project.workbench, "ann", "bob") as people:
        for name, person in zip(texts, people, strict=True):
            pages = ["/", "/tasks"]
            for of in (*names, "by_complaint"):
                pages += [f"/queue/{of}", f"/queue/{of}/next"]
                pages += [f"/pair/{of}/{pair_id}" for pair_id in planted.pairs(of)["pair_id"][:12]]
            texts[name] = "".join(person.get(page) for page in pages)
    assert not SECRET & kinds_in(texts["ann"])
    assert {COLUMN, ROW, CLOSED} <= kinds_in(texts["bob"])
