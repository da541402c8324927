"""Flowers that a column names, a Collection that learns from them, and users who correct its model."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import polars as pl
import yaml

from workbench_pipelines.labels import fold_labels
from workbench_pipelines.pairs import LABELED_PAIRS
from workbench_pipelines.workbench import Workbench
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import quiet

SPECIES = ("setosa", "versicolor", "virginica")
NOON = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)


def flower_documents(threshold: int) -> list[dict[str, object]]:
    """A Sheet of flowers, their species from a column, and the Collection `iris` that trains on it."""
    return [
        make_document(
            "Sheet",
            "iris",
            primary_table="data/iris.csv",
            item_ref="flower",
            usage={"allowed_uses": ["training", "validation", "evaluation"], "data_classification": "public"},
        ),
        make_document(
            "TrainingSheet",
            "measured",
            sheet="iris",
            template="iris_species",
            labeling_mode="existing_column",
            column="species",
            trusted=True,
        ),
        make_document(
            "Collection",
            "iris",
            members=[{"training_sheet": "measured"}],
            splits={"train": 0.6, "val": 0.1, "test": 0.3, "seed": 13},
            trainers=[{"name": "forest", "kind": "classifier", "target": "species"}],
            evaluation={"base_model_items": 0},
            retrain={"min_corrections": threshold},
        ),
    ]


def plant(project: Project, threshold: int = 20, *more: dict[str, object]) -> None:
    """Writes the starter flowers as a project of their own, without a model to ask."""
    quiet(project)
    project.copy("sheets/data/iris.csv", "templates/iris_species.yaml")
    project.write("sheets/iris.yaml", yaml.safe_dump_all([*flower_documents(threshold), *more]))


def corrections(
    project: Project, items: range, species: str | None = None, name: str = "feedback", at: dt.datetime = NOON
) -> Path:
    """A feedback file in which users correct the species of flowers; without `species` to the next one of the list."""
    flowers = pl.read_csv(project.folder / "sheets/data/iris.csv", schema_overrides={"flower": pl.String})
    lines = []
    for item in flowers[list(items)].iter_rows(named=True):
        wrong = SPECIES[(SPECIES.index(item["species"]) + 1) % len(SPECIES)]
        row = {
            "feedback_id": f"{name}-{item['flower']}",
            "model_name": "iris.forest",
            "input": {column: value for column, value in item.items() if column not in ("flower", "species")}
            | {"sheet": "iris", "item_ref": item["flower"]},
            "output": {"species": item["species"]},
            "feedback_type": "correction",
            "correction": {"species": species or wrong},
            "created_by": "a user",
            "created_at": at.isoformat(),
        }
        lines.append(json.dumps(row))
    return project.write(f"{name}.jsonl", "\n".join(lines) + "\n")


def label_lines(items: range, species: str, at: dt.datetime | None = None) -> str:
    """A label file that gives flowers a species, now or at another time."""
    return "".join(
        json.dumps(
            {
                "sheet": "iris",
                "item_ref": f"{number + 1:03}",
                "label_type": "iris_species",
                "label_data": {"species": species},
                "labeled_by": "ann",
                **({"labeled_at": at.isoformat()} if at else {}),
            }
        )
        + "\n"
        for number in items
    )


def settle(workbench: Workbench, *, labels: bool = True, pairs: bool = True) -> None:
    """Makes the labels, and the pairs that hold them, as the rooms do; without either as a run in between leaves it."""
    if labels:
        folded = fold_labels(workbench.decisions(), None)
        workbench.lake.replace_partition("label", "canonical_labels", frame=folded, partition_by="sheet", keys=["iris"])
    if not pairs:
        return
    known = workbench.lake.read("label", "canonical_labels").select("item_ref", "label_data")
    items = workbench.read_items(workbench.catalog().sheet("iris")).select("item_ref", "species")
    labeled = pl.col("label_data").is_not_null()
    column = pl.concat_str(pl.lit('{"species":"'), pl.col("species"), pl.lit('"}'))
    rows = items.join(known, on="item_ref", how="left").with_columns(
        pl.lit("measured").alias("training_sheet"),
        pl.lit("iris").alias("sheet"),
        pl.lit("iris_species").alias("label_type"),
        pl.col("item_ref").alias("pair_id"),
        pl.lit("labeled").alias("status"),
        pl.when(labeled).then(pl.lit("canonical")).otherwise(pl.lit("existing_column")).alias("labeling_mode"),
        pl.when(labeled).then("label_data").otherwise(column).alias("response"),
    )
    frame = rows.select(
        [
            (pl.col(name) if name in rows.columns else pl.lit(None)).cast(dtype).alias(name)
            for name, dtype in LABELED_PAIRS.items()
        ]
    )
    workbench.lake.replace_partition(
        "label", "labeled_pairs", frame=frame, partition_by="training_sheet", keys=["measured"]
    )
