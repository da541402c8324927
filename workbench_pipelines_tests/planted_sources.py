"""The sources and definitions of a hospital in which every way into a pair carries a plant of its own (`planted_world`)."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from workbench_pipelines.identity import unit_interval
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import put

WARDS = ("cardiology", "radiology", "surgery")
_SIGNS = {"cardiology": "palpitation", "radiology": "fracture", "surgery": "appendix"}
ALL_USES = ["training", "validation", "evaluation", "few_shot", "testing"]
LEARNING = ["training", "validation", "evaluation"]
JUDGE = "openai/judge"
FORMATS = [
    "openai", "anthropic", "gemini", "alpaca", "sharegpt", "chatml", "dpo", "dspy", "csv", "parquet", "hf",
]  # fmt: skip

OPEN, OPEN_LABEL, OPEN_EDIT, CLOSED, UNSHOWN = "open", "openlabel", "openedit", "closed", "unshown"
"""Plants that may be learned from: of an open Sheet, in an answer or an edit of one who saw nothing closed, of a restricted Sheet
whose uses are allowed, and of a label that is not to be an example."""
FREE = (OPEN, OPEN_LABEL, OPEN_EDIT, CLOSED, UNSHOWN)
ROW, TABLE, COLUMN, JOINED = "rowrule", "table", "column", "joined"
LABEL, SEEN, EDIT, INPUT, FEEDBACK, ECHO = "label", "seen", "edit", "input", "feedback", "echo"
EXAMPLE, RUBRIC, TRACE = "example", "rubric", "trace"
HELD = (ROW, TABLE, COLUMN, JOINED, LABEL, SEEN, EDIT, INPUT, FEEDBACK, ECHO, EXAMPLE, RUBRIC, TRACE)
"""Plants that no file to train on may hold, by the way they came."""


def canary(kind: str, number: int = 0) -> str:
    return f"{mark(kind)}{number:05d}"


def mark(kind: str) -> str:
    """What every plant of a kind begins with."""
    return f"zq{kind}x"


@dataclass(frozen=True)
class Scale:
    """How many items each Sheet has; `pairs` says what that comes to."""

    visits: int = 30
    psychiatry: int = 15
    closed: int = 15
    open: int = 20
    desk: int = 50
    labeled: int = 30
    queue: int = 20
    letters: int = 48

    @property
    def pairs(self) -> int:
        """Visits are asked about in three ways, letters in two."""
        return 3 * self.visits + self.psychiatry + self.closed + self.open + self.desk + self.queue + 2 * self.letters


FULL = Scale(visits=2500, psychiatry=400, closed=100, open=400, desk=800, labeled=440, queue=160, letters=320)
"""10,000 pairs; of so many labels at the desk that its judge may approve."""


def ward(number: int) -> str:
    return WARDS[number % 3]


def complaint(sheet: str, number: int, planted: str = "") -> str:
    """What a patient says: words of its own, one that tells the ward, and a plant, if any."""
    words = random.Random(f"{sheet} {number}").choices(_WORDS, k=9)
    return " ".join([*([planted] if planted else []), _SIGNS[ward(number)], *words])


_WORDS = [
    f"{first}{second}{third}"
    for first in ("bo", "ca", "di", "fe", "gu", "ha", "jo", "ku", "le", "mi")
    for second in ("ran", "sel", "tip", "vor", "wum", "lan", "dek", "fil")
    for third in ("a", "es", "ing", "or")
]


def is_vip(number: int) -> bool:
    return number % 10 == 7


def ref(sheet: str, number: int) -> str:
    return f"{sheet[0].upper()}-{number:05d}"


def items(sheet: str, count: int, **planted: Any) -> pl.DataFrame:
    """Rows of a Sheet; `planted` gives the kind of the plant in the complaint of a number, or the text of a further column."""
    kind = planted.pop("kind", lambda number: None)
    rows = []
    for number in range(count):
        plant = kind(number)
        row: dict[str, Any] = {"ref": ref(sheet, number)}
        row["complaint"] = complaint(sheet, number, canary(plant, number) if plant else "")
        row["ward"] = ward(number)
        row |= {name: of(number) for name, of in planted.items()}
        rows.append(row)
    return pl.DataFrame(rows)


def write_sources(project: Project, scale: Scale) -> None:
    def patient(number: int) -> str:
        return canary(COLUMN, number)

    def vip(number: int) -> str:
        return "yes" if is_vip(number) else "no"

    insurers = pl.DataFrame({"insurer": [f"i{n}" for n in range(50)], "policy": [canary(JOINED, n) for n in range(50)]})
    tables = {
        "visits": items(
            "visits",
            scale.visits,
            kind=lambda n: ROW if is_vip(n) else None,
            vip=vip,
            patient=patient,
            insurer=lambda n: f"i{n % 50}",
        ),
        "psychiatry": items("psychiatry", scale.psychiatry, kind=lambda n: TABLE),
        "closed": items("closed", scale.closed, kind=lambda n: CLOSED),
        "open": items("open", scale.open, kind=lambda n: OPEN),
        "desk": items("desk", scale.desk, kind=lambda n: desk_plant(scale, n), vip=vip),
        "queue": items("queue", scale.queue),
        # Each says nearly what some patients of the queue say, so that it is an example for them.
        "teaching": items("teaching", 6, kind=lambda n: EXAMPLE),
        "letters": items(
            "letters",
            scale.letters,
            kind=lambda n: ECHO if letter_plant(n) == ECHO else None,
            patient=patient,
            vip=lambda n: "yes" if letter_plant(n) == ECHO else "no",
        ),
        "insurers": insurers,
    }
    for name, rows in tables.items():
        put(project, rows, f"sheets/data/{name}.csv")


def desk_plant(scale: Scale, number: int) -> str | None:
    if is_vip(number):
        return TRACE
    return UNSHOWN if number < scale.labeled and number % 10 == 5 else OPEN


def documents(scale: Scale) -> list[dict[str, Any]]:
    allowed: dict[str, Any] = {"allowed_uses": ALL_USES, "data_classification": "internal"}
    vips = allowed | {"rows": [{"when": "vip = 'yes'", "tags": ["PHI"]}]}
    named = {"columns": {"patient": {"tags": ["PHI"]}}}
    insurers = {"name": "insurers", "path": "data/insurers.csv", "join_keys": ["insurer"]}
    insurers["usage"] = {"prohibited_uses": [*LEARNING, "few_shot"], "data_classification": "restricted"}
    rubric = {
        "model": JUDGE,
        "rubric": f"As it was with {canary(RUBRIC)}, a palpitation goes to cardiology.",
        "usage": {"prohibited_uses": LEARNING, "reason": "it quotes a patient"},
        "auto_approve": True,
    }

    def sheet(name: str, usage: Mapping[str, Any] = allowed, **spec: Any) -> dict[str, Any]:
        return make_document("Sheet", name, primary_table=f"data/{name}.csv", item_ref="ref", usage=dict(usage), **spec)

    def taken(name: str, of: str, template: str = "complaint", **spec: Any) -> dict[str, Any]:
        return make_document("TrainingSheet", name, sheet=of, template=template, **spec)

    def asks(name: str, text: str, label_type: str = "ward", *fields: dict[str, Any]) -> dict[str, Any]:
        spec: dict[str, Any] = {"version": "1.0.0", "status": "published", "label_type": label_type}
        spec |= {"base_model": "openai/scripted", "max_tokens": 60}
        output = [{"name": "ward", "type": "string", "enum": list(WARDS)}, *fields]
        return make_document("PromptTemplate", name, user_prompt_template=text, output_schema=output, **spec)

    trusted: dict[str, Any] = {"labeling_mode": "existing_column", "column": "ward", "trusted": True}
    why = {"name": "why", "type": "string"}
    members = ["by_complaint", "by_patient", "by_policy", "by_psychiatry", "by_closed", "by_open", "judged", "queued",
               "written", "named"]  # fmt: skip
    return [
        make_document(
            "Access",
            "people",
            reviewers=["ann"],
            approvers=["bob"],
            stewards=["stella"],
            see_restricted=["bob"],
        ),
        sheet("visits", vips, secondary_sources=[insurers], **named),
        sheet("psychiatry", source_tags=["PHI"]),
        sheet("closed", allowed | {"data_classification": "restricted"}),
        sheet("open"),
        sheet("desk", vips),
        sheet("queue", {"allowed_uses": LEARNING, "data_classification": "internal"}),
        sheet("teaching", {"allowed_uses": ["few_shot"], "data_classification": "restricted"}),
        sheet("letters", vips, **named),
        make_document("ExampleStore", "wards", label_types=["ward"]),
        taken("by_complaint", "visits", **trusted),
        taken("by_patient", "visits", "patient", **trusted),
        taken("by_policy", "visits", "policy", **trusted),
        taken("by_psychiatry", "psychiatry", **trusted),
        taken("by_closed", "closed", **trusted),
        taken("by_open", "open", **trusted),
        taken("judged", "desk", quality={"judge": rubric}),
        taken("queued", "queue", labeling_mode="manual", few_shot={"store": "wards", "k": 2}),
        taken("written", "letters", "letter"),
        taken("named", "letters", "named_letter", labeling_mode="manual"),
        taken("abroad", "desk", items={"filter_condition": f"ref >= '{ref('desk', scale.labeled)}'"},
              model="openai/abroad"),
        make_document(
            "Collection",
            "care",
            members=[{"training_sheet": name} for name in members],
            splits={"train": 0.6, "val": 0.2, "test": 0.2, "seed": 3},
            formats=FORMATS,
            trainers=[{"name": "router", "target": "ward", "features": "text"}],
            evaluation={"promote_if": "macro_f1 >= majority.macro_f1", "base_model_items": 4},
        ),
        asks("complaint", "Which ward? {{ complaint }}"),
        asks("patient", "Which ward for {{ patient }}? {{ complaint }}"),
        asks("policy", "Which ward, insured as {{ policy }}? {{ complaint }}"),
        asks("letter", "Which ward, and why? {{ complaint }}", "letter", why),
        asks("named_letter", "Which ward for {{ patient }}, and why? {{ complaint }}", "letter", why),
    ]  # fmt: skip


def _right_ward(text: str) -> str:
    # The last sign: examples stand before the question.
    return max(WARDS, key=lambda one: text.rfind(_SIGNS[one]))


def answer(body: Mapping[str, Any]) -> str:
    """Drafts of which four in five are right, and a judge that nearly always knows; letters are answered with a reason."""
    asked = str(body["messages"][-1]["content"])
    if body["model"] == "judge":
        material = json.loads(asked)
        is_right = material["answer"]["ward"] == _right_ward(material["question"][-1]["content"])
        return json.dumps({"probability": 0.97 if is_right else 0.04})
    right = _right_ward(asked)
    drafted = right if unit_interval("draft", asked) < 0.8 else WARDS[(WARDS.index(right) + 1) % 3]
    # A model says what it was told.
    return json.dumps({"ward": drafted, **({"why": f"since {asked.partition('? ')[2]}"} if "and why" in asked else {})})


LETTER_PLANTS = (OPEN_LABEL, LABEL, SEEN, EDIT, INPUT, FEEDBACK, ECHO, OPEN_EDIT)


def letter_plant(number: int) -> str:
    """What is planted into the answer to a letter, or the letter itself."""
    return LETTER_PLANTS[number % 8]
