"""A planted graph for recall: who reached what is known by construction, nothing of it was made by a run.

Of the Sheet `s`, the TrainingSheet `drafted` has the pairs a to f. `a` has a label and became an example, which the prompts of
`b` and `c` showed when v1 was exported; since then `b` shows it no more, and v2 was exported. `e#1` was derived from `e`, and
became an example that `f` shows. `known` has a pair of `a` as well.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import polars as pl
import yaml

from workbench_pipelines import identity
from workbench_pipelines.catalog import Collection, Sheet
from workbench_pipelines.clients.export_folder import ExportFolder
from workbench_pipelines.decisions import DECISIONS
from workbench_pipelines.examples import KEPT_EXAMPLES
from workbench_pipelines.export_manifest import manifest
from workbench_pipelines.exports import version_row
from workbench_pipelines.labels import CANONICAL_LABELS
from workbench_pipelines.lineage import MODEL_EVALUATIONS, lineage_row
from workbench_pipelines.prompts import RENDERED_PROMPTS
from workbench_pipelines.requests import REQUEST_USES, REQUESTS
from workbench_pipelines.stated_policies import sheet_policy
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.export_world import frame_of, make_collection, make_export, make_pair
from workbench_pipelines_tests.project_world import Project

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
LABEL_A = identity.canonical_label_id("s", "a", "t")
SHEET = make_document("Sheet", "s", primary_table="data/s.csv", item_ref="key")
POLICIES = [sheet_policy(Sheet.model_validate(SHEET), {})]
TRAIN, TEST = ("a", "b", "c", "d", "e", "e#1"), ("f",)
COLLECTION = make_collection(
    "drafted", {"training_sheet": "known", "split": "test"}, splits={"train": 1, "val": 0, "test": 0}
)


@dataclass(frozen=True)
class Planted:
    """The project, and the pairs by short names: `drafted/a`, `known/a`, ..."""

    project: Project
    names: dict[str, str]

    def called(self, pair_ids: Any) -> set[str]:
        short = {pair_id: name for name, pair_id in self.names.items()}
        return {short[one] for one in pair_ids}


def trace_of(parents: list[str], examples: list[str]) -> dict[str, Any]:
    params = identity.canonical_text({"example_ids": examples})
    return {"parent_ids": parents, "steps": [{"name": "examples", "at": None, "params": params}] if examples else []}


def drafted(ref: str, *, shows: tuple[str, ...] = (), parents: tuple[str, ...] = (), **given: Any) -> dict[str, Any]:
    said = f"Is {ref} right?" + "".join(f" As in {one}." for one in shows)
    messages = [{"role": "user", "content": said, "parts": None}]
    trace = trace_of(list(parents), list(shows))
    return make_pair(ref, "drafted", messages=messages, trace=trace, **{"policies": POLICIES, **given})


def pairs_then(b_shows: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        drafted("a", canonical_label_id=LABEL_A),
        drafted("b", shows=b_shows),
        drafted("c", shows=("ex-a",)),
        drafted("d", reviewed_at=NOON),  # whoever rejected it was heard
        drafted("e"),
        drafted("e#1", parents=("e",)),
        drafted("f", shows=("ex-e1", "ex-d")),
        # In other words: what asks and answers the same of one item is exported once.
        make_pair(
            "a",
            "known",
            canonical_label_id=LABEL_A,
            messages=[{"role": "user", "content": "And a?", "parts": None}],
            policies=POLICIES,
        ),
    ]


def plant(project: Project) -> Planted:
    documents = [
        SHEET,
        make_document("TrainingSheet", "drafted", sheet="s", template="q"),
        make_document("TrainingSheet", "known", sheet="s", template="q", labeling_mode="existing_column", column="x"),
        COLLECTION.model_dump(mode="json", by_alias=True, exclude_defaults=True),
    ]
    documents[-1]["kind"] = "Collection"
    project.write("sheets/all.yaml", yaml.safe_dump_all(documents))
    lake = project.workbench.lake
    then, now = pairs_then(("ex-a",)), pairs_then(())
    lake.append("label", "labeled_pairs", frame=frame_of(*then), partition_by="training_sheet")
    publish(project, COLLECTION, 1, then)
    keys = ["drafted", "known"]
    lake.replace_partition("label", "labeled_pairs", frame=frame_of(*now), partition_by="training_sheet", keys=keys)
    publish(project, COLLECTION, 2, now)
    label = {"canonical_label_id": LABEL_A, "sheet": "s", "item_ref": "a", "label_type": "t", "labeled_by": "ann"}
    lake.append("label", "canonical_labels", frame=pl.DataFrame([label], schema=CANONICAL_LABELS))
    by_d = identity.canonical_label_id("s", "d", "t")
    kept = [
        {"example_id": name, "store": "default", "sheet": "s", "item_ref": ref, "canonical_label_id": of}
        for name, ref, of in (("ex-a", "a", LABEL_A), ("ex-e1", "e#1", None), ("ex-d", "d", by_d))
    ]
    lake.append("records", "examples", frame=pl.DataFrame(kept, schema=KEPT_EXAMPLES), partition_by="store")
    names = {f"{one['training_sheet']}/{one['item_ref']}": one["pair_id"] for one in now}
    said = [
        {
            "decision_id": "1",
            "sheet": "s",
            "item_ref": "a",
            "label_type": "t",
            "action": "label",
            "by": "ann",
            "at": NOON,
        },
        {
            "decision_id": "2",
            "sheet": "s",
            "item_ref": "d",
            "label_type": "t",
            "action": "reject",
            "by": "bob",
            "at": NOON,
        }
        | {"pair_id": names["drafted/d"]},
    ]
    lake.append("label", "decisions", frame=pl.DataFrame(said, schema=DECISIONS), partition_by="sheet")
    train(project, "1", 1, [one for one in then if one["item_ref"] in TRAIN])
    train(project, "2", 2, [one for one in now if one["item_ref"] in ("d", "f")])
    asked = [("h-b", names["drafted/b"], 0.25), ("h-c", names["drafted/c"], 0.75)]
    uses = [
        {"request_hash": h, "training_sheet": "drafted", "sheet": "s", "item_ref": "x", "pair_id": p}
        for h, p, _ in asked
    ]
    answers = [{"answer_id": h, "request_hash": h, "cost_usd": cost} for h, _, cost in asked]
    lake.append("records", "request_uses", frame=pl.DataFrame(uses, schema=REQUEST_USES))
    lake.append("records", "requests", frame=pl.DataFrame(answers, schema=REQUESTS))
    return Planted(project, names)


def rendered(pairs: list[dict[str, Any]]) -> pl.DataFrame:
    """The prompts of pairs, as rows of `RENDERED_PROMPTS`."""
    rows = frame_of(*pairs).with_columns(usage_statements=pl.lit("[]"))
    there = [name for name in RENDERED_PROMPTS if name in rows.columns]
    return pl.concat(
        [RENDERED_PROMPTS.to_frame(), rows.select(there).cast({"tags": pl.List(pl.String)})], how="diagonal"
    )


def publish(project: Project, collection: Collection, version: int, pairs: list[dict[str, Any]]) -> None:
    workbench = project.workbench
    export = make_export(*pairs, collection=collection).numbered(version)
    made = manifest(
        export,
        collection,
        version,
        training_sheet_versions={},
        policy_hash="p",
        delta_versions={"label/labeled_pairs": workbench.lake.version("label", "labeled_pairs")},
    )
    done = ExportFolder(workbench.lake.uri).publish(
        collection.name, version, export, formats=["parquet"], manifest=made, card="# c"
    )
    row = version_row(
        export, collection, version, path=done.path, manifest_sha256=done.manifest_sha256, created_at=NOON
    )
    workbench.lake.append_new("records", "export_versions", frame=row, key=["collection", "version"])


def train(project: Project, version: str, export_version: int, pairs: list[dict[str, Any]]) -> None:
    rows = frame_of(*pairs).with_columns(pl.lit("train").alias("split"))
    lineage = lineage_row(
        model_name="c.fast",
        model_version=version,
        collection="c",
        export_version=export_version,
        pairs=rows,
        training_config={},
        mlflow_run_id=f"run-{version}",
        trained_at=NOON,
        created_by="ann",
    )
    project.workbench.lake.append("records", "model_training_lineage", frame=lineage)
    figure = {"model_name": "c.fast", "model_version": version, "collection": "c", "export_version": export_version}
    figure |= {
        "trainer": "fast",
        "predictor": "model",
        "metric": "accuracy",
        "value": 1.0,
        "n": 1,
        "evaluated_at": NOON,
    }
    project.workbench.lake.append(
        "records", "model_evaluations", frame=pl.DataFrame([figure], schema=MODEL_EVALUATIONS)
    )
