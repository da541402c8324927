"""The graph as the UI shows it: every asset named, described, owned, guarded, and where the design says it is."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import dagster as dg
import pytest
import yaml

from workbench_pipelines.settings import CHECKOUT
from workbench_pipelines_tests.project_world import forget_definitions

# asset: partition set, whether a run makes it, the assets it is made of; the tables of the sources lie before it.
GRAPH = {
    "data/sheet_snapshot": ("sheet", True, ()),
    "generate/prompt_templates": ("template", True, ()),
    "generate/derived_items": ("training_sheet", True, ("data/sheet_snapshot", "generate/prompt_templates")),
    "generate/rendered_prompts": (
        "training_sheet",
        True,
        ("data/sheet_snapshot", "generate/derived_items", "generate/prompt_templates", "label/example_store"),
    ),
    "generate/generated_pairs": ("training_sheet", True, ("generate/rendered_prompts", "label/canonical_labels")),
    "label/decisions": ("sheet", False, ()),
    "label/canonical_labels": ("sheet", True, ("data/sheet_snapshot", "label/decisions")),
    "label/example_store": ("store", True, ("data/sheet_snapshot", "label/canonical_labels")),
    "label/labeled_pairs": (
        "training_sheet",
        True,
        ("generate/generated_pairs", "generate/rendered_prompts", "label/canonical_labels", "label/pair_quality"),
    ),
    "label/pair_quality": (
        "training_sheet",
        True,
        ("generate/generated_pairs", "generate/rendered_prompts", "label/canonical_labels"),
    ),
    "label/labelset_coverage": ("sheet", True, ("data/sheet_snapshot", "label/canonical_labels")),
    "label/agreement": ("sheet", True, ("data/sheet_snapshot", "label/canonical_labels")),
    "label/review_queue": (
        "training_sheet",
        True,
        ("label/canonical_labels", "label/labeled_pairs", "label/pair_quality"),
    ),
    "train/governed_export": ("collection", True, ("label/labeled_pairs",)),
    "train/trained_model": ("collection", True, ("train/governed_export",)),
    "train/eval_report": ("collection", True, ("train/governed_export", "train/trained_model")),
    "monitor/feedback_inbox": ("day", False, ()),
    "monitor/feedback": ("day", True, ("monitor/feedback_inbox",)),
}
MADE = sorted(name for name, (_, made, _) in GRAPH.items() if made)
# The gates: nothing is read past them.
BLOCKING = {
    "data/sheet_snapshot": {
        "every_item_has_exactly_one_row",
        "every_item_states_its_uses",
        "the_columns_meet_the_expectations_of_the_sheet",
    },
    "generate/prompt_templates": {"every_published_version_is_as_it_was_published"},
    "generate/derived_items": {"every_derived_item_has_a_name_of_its_own"},
    "generate/rendered_prompts": {"every_item_is_asked_once", "every_prompt_shows_only_examples_that_it_may"},
    "generate/generated_pairs": {"every_answer_fits_its_schema", "no_labeled_item_was_asked"},
    "label/canonical_labels": {"every_item_has_one_truth_per_task"},
    "label/example_store": {"every_example_permits_few_shot", "every_item_gives_one_example_per_task"},
    "label/pair_quality": {"every_answer_was_looked_at"},
    "label/labeled_pairs": {
        "every_labeled_pair_has_an_answer",
        "every_pair_has_a_name_of_its_own",
        "every_judge_that_approves_keeps_its_bound",
    },
    "train/governed_export": {
        "every_training_pair_permits_training",
        "every_exported_pair_is_approved",
        "exports_are_not_tainted",
        "no_ground_truth_is_trained_on",
        "no_item_appears_in_two_splits",
        "no_near_duplicate_crosses_splits",
        "the_rows_meet_the_expectations_of_the_collection",
    },
    "train/trained_model": {"every_model_names_its_pairs"},
    "train/eval_report": {"every_model_beats_its_baseline"},
}


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    forget_definitions()
    from workbench_pipelines.definitions import definitions

    return definitions()


@pytest.fixture(scope="module")
def specs(defs: dg.Definitions) -> dict[str, dg.AssetSpec]:
    """All but the tables of the sources, which are named after their files."""
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs() if spec.key.path[0] != "source"}


def test_the_graph_is_that_of_the_design(specs: dict[str, dg.AssetSpec]) -> None:
    from workbench_pipelines.defs.partitions import PARTITIONS

    sets = {
        name: getattr(PARTITIONS, name)
        for name in ("sheet", "template", "training_sheet", "collection", "store", "day")
    }
    assert set(specs) == set(GRAPH)
    for name, (partitions, _, upstream) in GRAPH.items():
        assert specs[name].partitions_def == sets[partitions], name
        inside = {dep.asset_key.to_user_string() for dep in specs[name].deps if dep.asset_key.path[0] != "source"}
        assert inside == set(upstream), name


def test_the_tables_of_the_sources_come_first_and_are_made_by_no_run(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    sources = {key for key in graph.get_all_asset_keys() if key.path[0] == "source"}
    assert graph.get(dg.AssetKey(["data", "sheet_snapshot"])).parent_keys == sources
    assert not sources & graph.materializable_asset_keys
    for key in sources:
        assert graph.get(key).group_name == "source"
        assert graph.get(key).description


def test_what_services_write_is_made_by_no_run(defs: dg.Definitions) -> None:
    executable = {key.to_user_string() for key in defs.resolve_asset_graph().materializable_asset_keys}
    assert sorted(executable) == MADE


@pytest.mark.parametrize("name", sorted(GRAPH))
def test_every_asset_says_what_it_is_and_whose(specs: dict[str, dg.AssetSpec], name: str) -> None:
    spec = specs[name]
    room = name.partition("/")[0]
    assert spec.group_name == room
    assert spec.tags["room"] == room
    assert [owner for owner in spec.owners if owner.startswith("team:")]
    assert spec.kinds
    first = (spec.description or "").strip().split("\n\n")[0]
    assert first.endswith("."), "the first sentence is what people read in the UI"
    assert "\n\n" not in first
    if name in MADE:
        assert spec.code_version
        assert "Output columns:" in (spec.description or "")


def test_an_asset_lies_in_the_folder_of_its_room() -> None:
    defs = CHECKOUT / "workbench_pipelines" / "defs"
    for name in GRAPH:
        room, rows = name.split("/")
        # In a file with what makes it, not in one that only reads it.
        made = [file for file in sorted((defs / room).glob("*.py")) if "@dg.asset(" in file.read_text()]
        assert any(f'["{room}", "{rows}"]' in file.read_text() for file in made or [defs / room / "assets.py"])


@pytest.mark.parametrize("name", ["label/decisions", "label/canonical_labels", "label/example_store"])
def test_what_people_say_has_no_generated_ancestor(defs: dg.Definitions, name: str) -> None:
    graph = defs.resolve_asset_graph()
    seen: set[dg.AssetKey] = set()
    todo = [dg.AssetKey(name.split("/"))]
    while todo:
        key = todo.pop()
        seen.add(key)
        todo += graph.get(key).parent_keys - seen
    assert {key.path[0] for key in seen} <= {"label", "data", "source"}
    assert dg.AssetKey(["label", "labeled_pairs"]) not in seen


def test_every_asset_that_is_made_is_checked_and_the_gates_block(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    checked: dict[str, set[str]] = {}
    blocking: dict[str, set[str]] = {}
    for key in graph.asset_check_keys:
        spec = graph.get_check_spec(key)
        assert (spec.description or "").endswith("."), f"{key.name} says nothing"
        checked.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
        if spec.blocking:
            blocking.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
    assert sorted(checked) == MADE
    assert blocking == BLOCKING


def test_a_blocking_check_speaks_of_single_partitions(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    blocking = [key for key in graph.asset_check_keys if graph.get_check_spec(key).blocking]
    for key in blocking:  # else one bad Sheet would hold back every Collection
        assert graph.get(key).partitions_def == graph.get(key.asset_key).partitions_def


def test_every_job_takes_one_partition_set_and_every_made_asset_has_its_job(defs: dg.Definitions) -> None:
    names = ["templates", "sheets", "stores", "training_sheets", "collections", "feedback_days"]
    of_jobs = [
        key.to_user_string() for name in names for key in defs.resolve_job_def(name).asset_layer.executable_asset_keys
    ]
    assert sorted(of_jobs) == MADE
    for name in names:
        assert defs.resolve_job_def(name).partitions_def is not None


def test_sensors_and_the_schedule_are_there_and_the_free_ones_run(defs: dg.Definitions) -> None:
    for name in ("automation", "retrain_on_feedback", "retrain_on_taint", "notify_subscribers"):
        assert defs.resolve_sensor_def(name).default_status == dg.DefaultSensorStatus.RUNNING
    assert defs.resolve_schedule_def("nightly_snapshots").cron_schedule == "0 3 * * *"


def test_loading_warns_of_nothing() -> None:
    """Every module on its own: while a whole code location loads, Dagster keeps some warnings to itself."""
    forget_definitions()
    package = importlib.import_module("workbench_pipelines.defs")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for module in pkgutil.walk_packages(package.__path__, "workbench_pipelines.defs."):
            importlib.import_module(module.name)
        importlib.import_module("workbench_pipelines.definitions").definitions().resolve_asset_graph()
    ours = str(CHECKOUT / "workbench_pipelines")
    kinds = (DeprecationWarning, FutureWarning, dg.BetaWarning, dg.PreviewWarning, dg.SupersessionWarning)
    found = [
        f"{Path(one.filename).name}:{one.lineno} {one.message}"
        for one in caught
        if (one.filename.startswith(ours) or issubclass(one.category, kinds))
        and "`backfill_policy`" not in str(one.message)  # beta for years, and the only way to a single run
    ]
    forget_definitions()
    assert found == []


def test_the_location_has_one_name() -> None:
    workspace = yaml.safe_load((CHECKOUT / "workspace.yaml").read_text())["load_from"][0]["python_module"]
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    assert workspace["location_name"] == project["code_location_name"]
    assert workspace["module_name"] == project["code_location_target_module"]


def test_the_definitions_pass_dg() -> None:
    dg_command = str(Path(sys.executable).parent / "dg")
    listed = subprocess.run(
        [dg_command, "list", "defs", "--json"], cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False
    )
    assert listed.returncode == 0, listed.stderr
    said = json.loads(listed.stdout)
    assert {asset["asset_key"] for asset in said["assets"]} >= set(GRAPH)
    assert "Warning" not in listed.stderr
