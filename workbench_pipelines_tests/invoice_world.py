"""A project of invoices with everything on its road: a join, a filter, row rules, restricted names, labels, a model.

One TrainingSheet shows the codes of an invoice and is trusted, one shows the patient's name as well, and one is drafted by
the scripted provider, with labels of an expert for some of its items.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Project, Ran
from workbench_pipelines_tests.ticket_world import define, project_at, provider_that_says

DEPARTMENTS = ("cardiology", "radiology", "surgery")
CODES = {"cardiology": "ECG heart rhythm", "radiology": "X-ray image of bones", "surgery": "operation theatre"}
NAME = "Quillfeather"  # no patient of any other project, and no word of any other text
ITEMS = 40
DRAFTED = 10
LABELED = tuple(f"{number:03d}" for number in range(1, 7))
FIELD = {"name": "department", "type": "string", "enum": [*DEPARTMENTS, "other"]}
ALL_USES = ["training", "validation", "evaluation", "few_shot", "testing"]


@dataclass(frozen=True)
class Trained:
    """The project after its first run, with what was said on the way there."""

    project: Project
    provider: ScriptedProvider
    planned: Ran
    first: Ran
    calls: int


def department(number: int) -> str:
    return DEPARTMENTS[number % 3]


def write_invoices(project: Project) -> None:
    """Invoices 001 to 040; one of no amount, four of a large one, each with a patient."""
    lines = ["invoice,codes,total,provider,patient,department"]
    for number in range(1, ITEMS + 1):
        total = 0 if number == 40 else 5000 + number if number % 10 == 9 else 100 + number
        codes = f"{CODES[department(number)]} {number}"
        lines.append(f"{number:03d},{codes},{total},00{number % 2},{NAME} {number},{department(number)}")
    project.write("sheets/data/invoices.csv", "\n".join(lines) + "\n")
    project.write("sheets/data/providers.csv", "provider,house\n000,North\n001,South\n002,West\n")


def write_labels(project: Project) -> Path:
    rows = [
        {
            "sheet": "invoices",
            "item_ref": ref,
            "label_type": "department",
            "label_data": {"department": department(int(ref))},
        }
        for ref in LABELED
    ]
    return project.write("labels.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def documents() -> list[dict[str, Any]]:
    def template(name: str, text: str) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "version": "1.0.0",
            "status": "published",
            "label_type": "department",
            "output_schema": [FIELD],
        }
        spec |= {"base_model": "openai/scripted", "max_tokens": 40, "system_prompt": "You route invoices."}
        return make_document("PromptTemplate", name, user_prompt_template=text, **spec)

    def taken(name: str, template_name: str, **spec: Any) -> dict[str, Any]:
        return make_document("TrainingSheet", name, sheet="invoices", template=template_name, **spec)

    trusted = {"labeling_mode": "existing_column", "column": "department", "trusted": True}
    of_labeled = {"filter_condition": f"invoice <= '{DRAFTED:03d}'"}
    source = {"name": "providers", "path": "data/providers.csv", "join_keys": ["provider"]}
    usage: dict[str, Any] = {"allowed_uses": ALL_USES, "data_classification": "internal"}
    usage |= {"rows": [{"when": "total > 5000", "tags": ["CONFIDENTIAL"]}]}
    prohibited = {
        "prohibited_uses": ALL_USES,
        "data_classification": "restricted",
        "reason": "no name leaves the house",
    }
    return [
        make_document("UsagePolicy", "house", tags={"PHI": prohibited}),
        make_document(
            "Sheet",
            "invoices",
            primary_table="data/invoices.csv",
            item_ref="invoice",
            secondary_sources=[source],
            filter_condition="total > 0",
            usage=usage,
            columns={"patient": {"tags": ["PHI"]}},
        ),
        taken("by_codes", "codes", **trusted),
        taken("by_patient", "patients", **trusted),
        taken("drafted", "codes", items=of_labeled),
        make_document(
            "Collection",
            "invoices",
            members=[{"training_sheet": name} for name in ("by_codes", "by_patient", "drafted")],
            splits={"train": 0.5, "val": 0.2, "test": 0.3, "seed": 3},
            trainers=[{"name": "fast", "target": "department", "features": "text"}],
            evaluation={"promote_if": "macro_f1 >= majority.macro_f1", "base_model_items": 4},
        ),
        template("codes", "Which department? {{ codes }} at {{ house }}"),
        template("patients", "Which department treats {{ patient }}? {{ codes }}"),
    ]


@contextmanager
def trained_invoices(folder: Path) -> Iterator[Trained]:
    """The project planned and run once, its provider still there."""
    with project_at(folder) as project, provider_that_says('{"department": "other"}') as provider:
        write_invoices(project)
        define(project, *documents())
        assert project("label", "import", str(write_labels(project))).code == 0
        planned = project("plan", "--json")
        first = project("run", "--json")
        yield Trained(project, provider, planned, first, provider.calls)
