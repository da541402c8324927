"""Tickets that experts labeled become examples; other tickets are drafted by a model that is shown them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import polars as pl

from workbench_pipelines_tests.project_world import Project, Ran
from workbench_pipelines_tests.ticket_world import collection, define, put, sheet, template, training_sheet

ALL_USES = ["training", "validation", "evaluation", "few_shot", "testing"]
OPEN = {"allowed_uses": ALL_USES, "data_classification": "internal"}
# Words enough for every ticket to be its own, few enough that some are close.
PLACES = ("Berlin", "Lyon", "Oslo", "Porto", "Riga", "Turin", "Vienna", "Zurich")
TROUBLES = {
    "access": ("password is refused at the door of", "badge does not open the gate in", "account is locked again in"),
    "billing": ("invoice arrived twice from", "amount is wrong on the bill of", "refund never reached the office in"),
}


def subject(number: int) -> str:
    team = "billing" if number % 2 else "access"
    trouble = TROUBLES[team][number % 3]
    return f"{trouble.capitalize()} {PLACES[number % len(PLACES)]} since the {number}th visit"


def tickets(count: int, start: int = 0) -> pl.DataFrame:
    numbers = range(start, start + count)
    return pl.DataFrame(
        {
            "ticket": [f"T-{number:03d}" for number in numbers],
            "subject": [subject(number) for number in numbers],
            "customer": [f"Customer {number % 5}" for number in numbers],
        }
    )


def few_shot(k: int = 2, **given: Any) -> dict[str, Any]:
    return {"few_shot": {"store": "default", "k": k, **given}}


def plant(project: Project, *more: dict[str, Any], count: int = 24, asked: dict[str, Any] | None = None) -> None:
    """Tickets with one TrainingSheet that takes examples, all of whose groups stand in train."""
    define(project, *documents(few_shot() if asked is None else asked), *more)
    put(project, tickets(count))


def documents(asked: dict[str, Any], **of_sheet: Any) -> list[dict[str, Any]]:
    return [
        sheet(**{"usage": OPEN, **of_sheet}),
        training_sheet("drafted", **asked),
        # Its own name: this is the only Collection that takes the TrainingSheet, and everything stands in train.
        collection("drafted", "drafted", splits={"train": 1.0, "val": 0.0, "test": 0.0}),
        template(),
    ]


def label(project: Project, *numbers: int, sheet_name: str = "tickets", **more: Any) -> None:
    """Imports the labels of these tickets."""
    rows = [
        {
            "sheet": sheet_name,
            "item_ref": f"T-{number:03d}",
            "label_type": "team",
            "label_data": {"team": "billing" if number % 2 else "access"},
            **more,
        }
        for number in numbers
    ]
    file = project.write("labels.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    ran = project("label", "import", str(file), "--json")
    assert ran.code == 0, ran.err


def run(project: Project, *names: str) -> Ran:
    """A run in which nothing goes wrong but that people are waited for."""
    ran = project("run", *names, "--json")
    assert ran.code in (0, 5), ran.err
    assert ran.json["failed_checks"] == []
    return ran


def prompts(project: Project, training_sheet_name: str = "drafted") -> dict[str, dict[str, Any]]:
    rows = project.table("generate", "rendered_prompts").filter(pl.col("training_sheet") == training_sheet_name)
    return {row["item_ref"]: row for row in rows.to_dicts()}


def store(project: Project, name: str = "default") -> pl.DataFrame:
    return project.table("label", "example_store").filter(pl.col("store") == name).sort("item_ref")


def shown_refs(project: Project, names: Iterable[str], store_name: str = "default") -> list[str]:
    """The items behind these examples, in the order of the names."""
    kept = project.table("records", "examples").filter(pl.col("store") == store_name)
    by_name = dict(kept.select("example_id", "item_ref").iter_rows())
    return [by_name[name] for name in names]


def snapshots(project: Project, name: str = "default") -> list[int]:
    rows = project.table("records", "example_snapshots").filter(pl.col("store") == name)
    return sorted(rows["snapshot"])
