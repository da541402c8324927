"""An export that was permitted and is no more is marked, with its models, until the constraint is lifted: on record both."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from workbench_pipelines.errors import ExportError
from workbench_pipelines.export_taints import keep_taints, refuse_tainted, tainted_exports
from workbench_pipelines.lineage import MODEL_TRAINING_LINEAGE
from workbench_pipelines.tainting import EXPORT_TAINTS, EXPORTED, new_taints, open_taints, refused_now, taint_states
from workbench_pipelines.usage import USES, UsageStatement, statements_to_json
from workbench_pipelines_tests.export_world import frame_of, make_pair
from workbench_pipelines_tests.pair_world import later
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    USAGE,
    collection,
    define,
    project_at,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

NO_PROMPTS = pl.DataFrame(schema={"pair_id": pl.String, "usage_statements": pl.String})
NO_TAINTS = EXPORT_TAINTS.to_frame()


def exported(*pairs: tuple[str, str], version: int = 1) -> pl.DataFrame:
    rows = [("c", version, "ts", pair_id, split) for pair_id, split in pairs]
    return pl.DataFrame(rows, schema=EXPORTED, orient="row")


def now(**allowed: list[str]) -> pl.DataFrame:
    """Pairs with what is allowed of them now."""
    return frame_of(*(make_pair(name, pair_id=name, allowed_uses=uses) for name, uses in allowed.items()))


def test_a_pair_taints_the_split_that_needs_what_it_does_not_permit_now() -> None:
    held = exported(("a", "train"), ("b", "val"), ("c", "test"), ("d", "train"))
    pairs = now(a=["validation"], b=["validation"], c=["training"], d=[*USES])
    refused = refused_now(held, pairs, NO_PROMPTS, USES).sort("pair_id")
    assert refused.select("pair_id", "use").rows() == [("a", "training"), ("c", "evaluation")]
    assert refused["reason"][0] == "train needs training: training is not in allowed_uses"


def test_a_pair_that_is_withheld_from_models_by_now_is_judged_by_its_prompt() -> None:
    phi = UsageStatement("tag PHI", prohibited_uses=("training",), data_classification="restricted", reason="health")
    text = statements_to_json([UsageStatement("sheet s", USES), phi])
    prompts = pl.DataFrame({"pair_id": ["a"], "usage_statements": [text]})
    (row,) = refused_now(exported(("a", "train"), ("gone", "train")), now(b=[]), prompts, USES).to_dicts()
    assert (row["pair_id"], row["reason"]) == ("a", "train needs training: tag PHI prohibits training: health")


def test_a_taint_is_written_once_cleared_with_its_time_and_opened_again() -> None:
    held, strict, free = exported(("a", "train")), now(a=[]), now(a=[*USES])
    history = NO_TAINTS
    for minute, pairs, rows, are_open in (
        (1, strict, 1, 1),
        (2, strict, 1, 1),
        (3, free, 2, 0),
        (4, free, 2, 0),
        (5, strict, 3, 1),
    ):
        found = new_taints(refused_now(held, pairs, NO_PROMPTS, USES), held, history, "ts", later(minute))
        history = pl.concat([history, found])
        assert (history.height, open_taints(history).height) == (rows, are_open)
    assert history.select("at", "cleared_at").rows() == [
        (later(1), None),
        (later(1), later(3)),
        (later(5), None),
    ]


def test_a_pair_that_can_not_be_judged_any_more_clears_nothing() -> None:
    held = exported(("a", "train"))
    first = new_taints(refused_now(held, now(a=[]), NO_PROMPTS, USES), held, NO_TAINTS, "ts", later(1))
    none = refused_now(held, now(b=[*USES]), NO_PROMPTS, USES)
    assert new_taints(none, held.clear(), first, "ts", later(2)).is_empty()


def test_a_tainted_export_names_its_models() -> None:
    held = exported(("a", "train"), ("b", "train"), version=2)
    taints = new_taints(refused_now(held, now(a=[], b=[]), NO_PROMPTS, USES), held, NO_TAINTS, "ts", later(1))
    rows = [
        {"model_name": "m", "model_version": v, "collection": "c", "export_version": n} for v, n in (("1", 1), ("2", 2))
    ]
    (state,) = taint_states(taints, pl.DataFrame(rows, schema=MODEL_TRAINING_LINEAGE))
    assert (state["version"], state["pairs"], state["uses"], state["models"]) == (2, 2, {"training": 2}, ["m/2"])


class Routed:
    """A project whose tickets train a model, and the sensor that watches its exports."""

    def __init__(self, project: Project, instance: dg.DagsterInstance) -> None:
        self.project, self.instance = project, instance
        self.cursor: str | None = None

    def define(self, **stated: Any) -> None:
        trainers = [{"name": "fast", "target": "team", "features": "text"}]
        define(
            self.project,
            sheet(usage=USAGE | stated),
            training_sheet("told", column="team"),
            template(),
            collection("routing", "told", trainers=trainers, evaluation={"base_model_items": 0, "promote_if": None}),
        )

    def look(self) -> tuple[list[dg.RunRequest], list[Any]]:
        from workbench_pipelines.defs.improve.taints import retrain_on_taint

        context = dg.build_sensor_context(
            self.instance, cursor=self.cursor, resources={"workbench": self.project.workbench}
        )
        result = retrain_on_taint(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        return list(result.run_requests or []), list(result.asset_events or [])

    @property
    def tainted(self) -> list[dict[str, Any]]:
        return [
            one
            for state in self.project("status", "--json").json["collections"]
            if state["collection"] == "routing"
            for one in state["tainted"]
        ]


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routed]:
    with project_at(tmp_path_factory.mktemp("routed")) as project, dg.DagsterInstance.ephemeral() as instance:
        world = Routed(project, instance)
        put(project, tickets(40))
        world.define()
        assert project("run", "routing").code == 0
        yield world


def test_tightening_taints_the_export_names_its_model_and_asks_once_for_a_retrain(routed: Routed) -> None:
    project = routed.project
    assert routed.look() == ([], [])
    assert routed.tainted == []
    routed.define(rows=[{"when": "ticket < 'T-010'", "tags": ["NO_TRAIN"]}])
    assert project("run", "routing").code == 0
    (state,) = routed.tainted
    assert (state["version"], state["models"]) == (1, ["routing.fast/1"])
    assert "row rule 1 prohibits" in state["reason"]
    assert "export routing v1 is tainted" in project("status").err
    (row,) = project("sql", "select count(*) as n from export_taints where cleared_at is null", "--json").json
    assert row["n"] == state["pairs"]


def test_where_nothing_can_be_exported_any_more_the_export_is_tainted_all_the_same(routed: Routed) -> None:
    project = routed.project
    routed.define(prohibited_uses=["training", "validation", "evaluation"], reason="the client left")
    assert project("run", "routing").code != 0
    versions = {state["version"] for state in routed.tainted}
    assert 1 in versions
    newest = max(one["version"] for one in project.table("records", "export_versions").to_dicts())
    assert newest in versions
    (request,), (evaluation,) = routed.look()
    assert request.partition_key == "routing"
    assert str(request.run_key).startswith("routing:taint:")
    assert (evaluation.passed, evaluation.partition, evaluation.check_name) == (
        False,
        "routing",
        "exports_are_not_tainted",
    )
    assert routed.look() == ([], [])
    routed.cursor = None
    assert [again.run_key for again in routed.look()[0]] == [request.run_key]


def test_what_is_tainted_is_not_trained_on_and_not_evaluated(routed: Routed) -> None:
    rows = routed.project.table("train", "governed_export")
    with pytest.raises(ExportError, match=r"may not be used any more: .*the client left; run `workbench run routing`"):
        refuse_tainted(routed.project.workbench, "routing", rows)


def test_a_lifted_constraint_is_on_record_and_the_check_is_told(routed: Routed) -> None:
    project = routed.project
    before = project.table("records", "export_taints").height
    routed.define()
    assert project("run", "routing").code == 0
    assert routed.tainted == []
    taints = project.table("records", "export_taints")
    assert taints.height > before
    assert taints["cleared_at"].max() > dt.datetime.now(dt.UTC) - dt.timedelta(minutes=10)
    requests, (evaluation,) = routed.look()
    assert (requests, evaluation.passed) == ([], True)
    refuse_tainted(project.workbench, "routing", project.table("train", "governed_export"))


def test_exports_whose_files_are_gone_are_known_by_their_models(routed: Routed) -> None:
    project = routed.project
    workbench = project.workbench
    for row in project.table("records", "export_versions").to_dicts():
        (Path(row["path"]) / "train.parquet").unlink()
    pairs = project.table("label", "labeled_pairs").with_columns(allowed_uses=pl.lit([], pl.List(pl.String)))
    prompts = project.table("generate", "rendered_prompts")
    assert keep_taints(workbench, workbench.catalog(), "told", pairs, prompts) > 0
    assert {one["version"] for one in tainted_exports(workbench)} >= {1}
