"""From twenty corrections of users to exactly one new model, and back from the model to the twenty."""

from __future__ import annotations

import dagster as dg
import polars as pl

from workbench_pipelines.launching import dagster_instance
from workbench_pipelines_tests.loop_world import corrections, plant
from workbench_pipelines_tests.project_world import Project, forget_definitions


class Runs:
    """What a daemon would run, here and now."""

    def __init__(self, project: Project, instance: dg.DagsterInstance) -> None:
        forget_definitions()
        from workbench_pipelines.definitions import definitions

        self.project, self.instance, self.defs = project, instance, definitions()
        self.cursor: str | None = None

    def job(self, name: str, partition: str, *assets: str, **tags: str) -> None:
        job = self.defs.resolve_job_def(name)
        if assets:
            job = job.get_subset(asset_selection={dg.AssetKey(asset.split("/")) for asset in assets})
        assert job.execute_in_process(instance=self.instance, partition_key=partition, tags=tags).success

    def look(self) -> list[dg.RunRequest]:
        from workbench_pipelines.defs.improve.sensors import retrain_on_feedback

        context = dg.build_sensor_context(
            self.instance, cursor=self.cursor, resources={"workbench": self.project.workbench}
        )
        result = retrain_on_feedback(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        return list(result.run_requests or [])

    def retrain(self) -> int:
        """Runs what the sensor asks for until it asks for nothing; how many runs that were."""
        count = 0
        while requests := self.look():
            for request in requests:
                assert request.partition_key is not None
                self.job("collections", request.partition_key, **{"dagster/run_key": str(request.run_key)})
                count += 1
        return count


def versions(project: Project) -> tuple[int, int]:
    """How many versions the export and the model have."""
    exports = project.table("records", "export_versions").filter(pl.col("collection") == "iris")
    return exports.height, project.table("records", "model_training_lineage").height


def test_twenty_corrections_make_one_new_model_that_names_them(project: Project) -> None:
    plant(project)
    assert project("run").code == 0
    assert versions(project) == (1, 1)
    file = corrections(project, range(20), "virginica")
    assert project("feedback", "import", str(file), "--json").json["rows"] == 20
    assert project("feedback", "approve", "--json").json["rows"] == 20

    with dagster_instance(project.home) as instance:
        runs = Runs(project, instance)
        assert runs.retrain() == 0  # no pair says so yet
        runs.job("sheets", "iris")
        runs.job("training_sheets", "measured")
        runs.job("collections", "iris", "train/governed_export")  # automation may well be there first
        assert versions(project) == (2, 1)
        assert runs.retrain() == 1
        assert versions(project) == (2, 2)

        assert project("feedback", "import", str(file), "--json").json == {
            "ok": True, "rows": 0, "repeated": 20, "refused": []
        }  # fmt: skip
        assert project("feedback", "approve", "--json").json["rows"] == 0
        runs = Runs(project, instance)
        assert runs.retrain() == 1  # the cursor is lost, and Dagster itself would know the run key ...
        assert versions(project) == (2, 2)  # ... but even a run trains nothing twice

    query = ("sql", "--query", "feedback_behind_model", "--json", "-p")
    behind = project(*query, "model=iris.forest/2").json
    assert {row["feedback_id"] for row in behind} == {f"feedback-{number:03}" for number in range(1, 21)}
    assert {row["used_for"] for row in behind} == {"training", "evaluation"}
    assert project(*query, "model=iris.forest/1").json == []


def statuses(project: Project) -> dict[str, int]:
    return dict(project.table("monitor", "feedback").group_by("status").len().iter_rows())


def test_a_run_without_a_name_tells_how_feedback_stands_now(project: Project) -> None:
    plant(project)
    project("feedback", "import", str(corrections(project, range(2), "virginica")))
    assert {"asset": "monitor/feedback", "rows": 2} in [
        {name: one[name] for name in ("asset", "rows")} for one in project("run", "--json").json["partitions"]
    ]
    assert statuses(project) == {"pending": 2}
    assert project("feedback", "approve", "--json").json["rows"] == 2
    project("run")
    assert statuses(project) == {"approved": 2}
    assert "monitor/feedback" not in {one["asset"] for one in project("run", "--json").json["partitions"]}
