"""What runs by itself: only what changed, only behind sound data, and only where it costs nothing or somebody said so."""

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

from workbench_pipelines.launching import report_arrival
from workbench_pipelines_tests.definition_world import make_document, template_document
from workbench_pipelines_tests.project_world import Project

pytestmark = pytest.mark.filterwarnings(
    "ignore:Specifying a partitions_def on an AssetCheckSpec", "ignore:Parameter `include_sources`"
)
Requested = dict[str, set[str]]
ROOMS = {
    "data": ("sheet_snapshot",),
    "generate": ("prompt_templates", "derived_items", "rendered_prompts", "generated_pairs"),
    "label": ("canonical_labels", "labelset_coverage", "agreement", "example_store", "labeled_pairs", "review_queue"),
    "train": ("governed_export", "trained_model", "eval_report"),
}
# A member that the Collection shares with no other, one that a paid model drafts, and the same with leave to do so.
TRAINING_SHEETS: dict[str, dict[str, Any]] = {
    "measured": {"sheet": "a", "labeling_mode": "existing_column", "column": "x"},
    "drafted": {"sheet": "b", "model": "local/smollm2", "few_shot": {"store": "default"}},
    "paid": {"sheet": "b", "model": "openai/gpt-4o-mini"},
    "allowed": {"sheet": "b", "model": "openai/gpt-4o-mini", "automation": True},
}


def _named(partitions: Iterable[str | None]) -> set[str]:
    return {name for name in partitions if name is not None}


class Graph:
    """The real definitions of a project, on an instance where partitions are said to be made and checked."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        from workbench_pipelines.definitions import definitions

        self.defs, self.instance = definitions(), instance
        self._cursor: Any = None
        self._tick = dt.datetime.now(dt.UTC)
        self._versions = 0

    def ask(self) -> Requested:
        """What the sensor would request now, by asset; each look is a little later than the one before."""
        self._tick += dt.timedelta(seconds=15)
        result = dg.evaluate_automation_conditions(
            self.defs, self.instance, cursor=self._cursor, evaluation_time=self._tick
        )
        self._cursor = result.cursor
        keys = self.defs.resolve_asset_graph().get_all_asset_keys()
        asked = {key.to_user_string(): _named(result.get_requested_partitions(key)) for key in keys}
        return {name: partitions for name, partitions in asked.items() if partitions}

    def make(self, asset: str, *partitions: str, version: str | None = None) -> None:
        """New content in these partitions, or the same where `version` is that of the last time."""
        self._versions += 1
        for partition in partitions:
            report_arrival(self.instance, asset.split("/"), {partition: version or str(self._versions)})

    def check(self, asset: str, name: str, partition: str, passed: bool, blocking: bool = True) -> None:
        key = dg.AssetKey(asset.split("/"))
        about = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition])
        newest = self.instance.fetch_materializations(about, limit=1).records[0]
        target = AssetCheckEvaluationTargetMaterializationData(
            storage_id=newest.storage_id, run_id=newest.run_id, timestamp=newest.timestamp
        )
        said = dg.AssetCheckEvaluation(
            key, name, passed, target_materialization_data=target, partition=partition, blocking=blocking
        )
        self.instance.report_runless_asset_event(said)

    def make_everything(self) -> None:
        for room, names in ROOMS.items():
            for name in names:
                definition = self.defs.resolve_asset_graph().get(dg.AssetKey([room, name])).partitions_def
                assert definition is not None
                self.make(f"{room}/{name}", *definition.get_partition_keys(), version="first")
        assert self.ask() == {}


@pytest.fixture
def graph(project: Project) -> Iterator[Graph]:
    documents = [make_document("Sheet", name, primary_table=f"{name}.csv", item_ref="x") for name in ("a", "b")]
    documents += [make_document("TrainingSheet", name, template="t", **spec) for name, spec in TRAINING_SHEETS.items()]
    members = [{"training_sheet": "measured"}, {"training_sheet": "drafted"}]
    documents.append(make_document("Collection", "both", members=members))
    project.write("sheets/all.yaml", yaml.safe_dump_all(documents))
    project.write("templates/t.yaml", yaml.safe_dump(template_document()))
    with dg.DagsterInstance.ephemeral() as instance:
        graph = Graph(instance)
        graph.make_everything()
        yield graph


def test_a_first_look_at_what_is_there_asks_for_nothing(graph: Graph) -> None:
    assert graph.ask() == {}


def test_an_identical_snapshot_moves_nothing(graph: Graph) -> None:
    graph.make("data/sheet_snapshot", "a", "b", version="first")
    assert graph.ask() == {}


def test_a_changed_snapshot_moves_its_own_partitions_through_the_rooms(graph: Graph) -> None:
    graph.make("data/sheet_snapshot", "a")
    moved = {"generate/rendered_prompts": {"measured"}, "label/canonical_labels": {"a"}}
    moved |= {"label/labelset_coverage": {"a"}, "label/agreement": {"a"}}
    assert graph.ask() == {**moved, "label/example_store": {"default"}}
    graph.make("generate/rendered_prompts", "measured")
    graph.make("label/canonical_labels", "a", version="first")
    graph.make("label/example_store", "default", version="first")
    assert graph.ask() == {"generate/generated_pairs": {"measured"}, "label/labeled_pairs": {"measured"}}
    graph.make("generate/generated_pairs", "measured")
    graph.make("label/labeled_pairs", "measured")
    assert graph.ask() == {"train/governed_export": {"both"}, "label/review_queue": {"measured"}}
    graph.make("train/governed_export", "both")
    graph.make("label/review_queue", "measured")  # nothing is made of it: people are
    assert graph.ask() == {}


def test_a_change_that_changes_no_prompt_stops_there(graph: Graph) -> None:
    graph.make("data/sheet_snapshot", "a")
    graph.ask()
    graph.make("generate/rendered_prompts", "measured", version="first")
    graph.make("label/canonical_labels", "a", version="first")
    graph.make("label/example_store", "default", version="first")
    assert graph.ask() == {}


def test_a_paid_model_is_not_asked_unless_the_training_sheet_says_so(graph: Graph) -> None:
    graph.make("generate/rendered_prompts", "drafted", "paid", "allowed")
    assert graph.ask()["generate/generated_pairs"] == {"drafted", "allowed"}


def test_a_decision_leads_to_the_labels_of_its_sheet_alone(graph: Graph) -> None:
    graph.make("label/decisions", "b")
    assert graph.ask() == {"label/canonical_labels": {"b"}}


def test_changed_labels_lead_to_the_store_and_the_store_to_those_who_show_it(graph: Graph) -> None:
    graph.make("label/canonical_labels", "a")
    assert graph.ask() == {
        "label/example_store": {"default"},
        "label/labelset_coverage": {"a"},
        "label/agreement": {"a"},
        "label/labeled_pairs": {"measured"},
        "label/review_queue": {"measured"},
        "generate/generated_pairs": {"measured"},
    }
    graph.make("generate/generated_pairs", "measured", version="first")
    graph.make("label/labeled_pairs", "measured", version="first")
    graph.make("label/example_store", "default", version="first")  # an unchanged store moves nothing
    assert graph.ask() == {}
    graph.make("label/example_store", "default")
    assert graph.ask() == {"generate/rendered_prompts": {"drafted"}}


def test_a_store_that_failed_its_check_is_not_shown(graph: Graph) -> None:
    graph.make("label/example_store", "default")
    graph.check("label/example_store", "every_example_permits_few_shot", "default", passed=False)
    assert graph.ask() == {}


def test_a_decision_that_is_announced_again_moves_nothing(graph: Graph) -> None:
    graph.make("label/decisions", "b", version="one decision")
    graph.ask()
    graph.make("label/canonical_labels", "b", version="first")
    graph.make("label/decisions", "b", version="one decision")
    assert graph.ask() == {}


CHECK = ("label/labeled_pairs", "every_labeled_pair_has_an_answer")


def test_one_failed_training_sheet_of_two_holds_the_collection_back(graph: Graph) -> None:
    graph.make("label/labeled_pairs", "measured", "drafted")
    graph.check(*CHECK, "drafted", passed=False)
    graph.check(*CHECK, "measured", passed=True)  # a passing member does not make up for a failed one
    assert graph.ask() == {"label/review_queue": {"measured"}}


def test_a_failed_partition_holds_back_no_other_collection(graph: Graph) -> None:
    graph.make("generate/rendered_prompts", "measured", "drafted")
    graph.check("generate/rendered_prompts", "every_item_is_asked_once", "drafted", passed=False)
    graph.check("generate/rendered_prompts", "every_item_is_asked_once", "measured", passed=True)
    assert graph.ask() == {"generate/generated_pairs": {"measured"}, "label/labeled_pairs": {"measured"}}


def test_a_failed_check_that_does_not_block_holds_nothing_back(graph: Graph) -> None:
    graph.make("label/canonical_labels", "a")
    graph.check("label/canonical_labels", "no_label_is_stale", "a", passed=False, blocking=False)
    assert graph.ask()["label/labeled_pairs"] == {"measured"}


def test_feedback_of_any_day_is_taken_in(graph: Graph) -> None:
    today = dt.datetime.now(dt.UTC).date().isoformat()
    graph.make("monitor/feedback_inbox", "2026-01-05", today)
    assert graph.ask() == {"monitor/feedback": {"2026-01-05", today}}
    graph.make("monitor/feedback", "2026-01-05", today)
    assert graph.ask() == {}


def test_feedback_from_before_the_first_day_disturbs_nothing(graph: Graph) -> None:
    graph.make("monitor/feedback_inbox", "2019-05-01")
    assert graph.ask() == {}


class Checked:
    """Two checked partitions that one Collection takes, run for real with the condition of the rooms."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        from workbench_pipelines.defs.automation import WHEN_UPSTREAM_CHANGES

        members, collection = dg.StaticPartitionsDefinition(["t1", "t2"]), dg.StaticPartitionsDefinition(["c"])
        self.says: dict[str, bool] = {}
        self.while_checking: list[set[str]] = []
        self._instance = instance
        self._cursor: Any = None

        @dg.asset(partitions_def=members)
        def pairs() -> None: ...

        @dg.asset_check(asset=pairs, blocking=True, partitions_def=members)
        def they_are_sound(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
            self.while_checking.append(self.ask())
            return dg.AssetCheckResult(passed=self.says[context.partition_key])  # a KeyError where it says nothing

        @dg.asset(
            partitions_def=collection,
            ins={
                "pairs": dg.AssetIn(
                    dagster_type=dg.Nothing, partition_mapping=dg.StaticPartitionMapping({"t1": "c", "t2": "c"})
                )
            },
            automation_condition=WHEN_UPSTREAM_CHANGES,
        )
        def export() -> None: ...

        job = dg.define_asset_job("job", dg.AssetSelection.assets(pairs))
        self._defs = dg.Definitions([pairs, export], asset_checks=[they_are_sound], jobs=[job])
        self.ask()

    def make(self, partition: str, passed: bool | None = True) -> None:
        self.says = {} if passed is None else {partition: passed}
        self._defs.resolve_job_def("job").execute_in_process(
            instance=self._instance, partition_key=partition, raise_on_error=False
        )

    def ask(self) -> set[str]:
        result = dg.evaluate_automation_conditions(self._defs, self._instance, cursor=self._cursor)
        self._cursor = result.cursor
        return _named(result.get_requested_partitions(dg.AssetKey("export")))


@pytest.fixture
def checked() -> Iterator[Checked]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Checked(instance)


def test_data_is_not_handed_on_before_its_check_came_to_an_end(checked: Checked) -> None:
    checked.make("t2")
    checked.while_checking.clear()
    checked.make("t1")
    assert checked.while_checking == [set()]
    assert checked.ask() == {"c"}


@pytest.mark.parametrize("passed", [False, None], ids=["a failed check", "a check that crashed"])
def test_a_collection_waits_until_its_last_member_passes(checked: Checked, passed: bool | None) -> None:
    checked.make("t2")
    checked.make("t1", passed)
    assert checked.ask() == set()
    checked.make("t1")
    assert checked.ask() == {"c"}
    assert checked.ask() == set()  # once is enough
