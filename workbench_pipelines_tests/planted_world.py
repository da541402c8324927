"""A hospital's project in which every way into a pair carries health information of its own, to be looked for afterwards.

Each plant is a word that stands nowhere else (`canary`), of a kind that says by which way it came. What may be learned from
has its kinds too (`FREE`): a search that does not find those proves nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aiohttp.resolver import ThreadedResolver

from workbench_pipelines.clients.byte_search import find_texts
from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.review_inbox import receive
from workbench_pipelines_tests.planted_sources import (
    ECHO,
    EDIT,
    FEEDBACK,
    FREE,
    HELD,
    INPUT,
    LABEL,
    LEARNING,
    OPEN_EDIT,
    OPEN_LABEL,
    SEEN,
    UNSHOWN,
    Scale,
    answer,
    canary,
    complaint,
    desk_plant,
    documents,
    letter_plant,
    mark,
    ref,
    ward,
    write_sources,
)
from workbench_pipelines_tests.project_world import Project, Ran
from workbench_pipelines_tests.ticket_world import define, project_at


@dataclass
class Planted:
    """The project after its lifecycle, what was said on the way, and who was asked what."""

    project: Project
    scale: Scale
    provider: ScriptedProvider
    outside: ScriptedProvider
    said: dict[str, Ran] = field(default_factory=dict)

    def run(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> Ran:
        """Runs a command, and keeps what it said."""
        ran = self.project(*arguments)
        assert ran.code in codes, (arguments, ran.code, ran.err[-2000:])
        self.said[" ".join(arguments)] = ran
        return ran

    def pairs(self, training_sheet: str) -> pl.DataFrame:
        rows = self.project.table("label", "labeled_pairs")
        return rows.filter(pl.col("training_sheet") == training_sheet)

    @property
    def export(self) -> Path:
        (row,) = self.project.table("records", "export_versions").filter(pl.col("collection") == "care").to_dicts()
        return Path(row["path"])

    @property
    def exclusions(self) -> pl.DataFrame:
        return pl.read_parquet(self.export / "exclusions.parquet")


def label_rows(scale: Scale) -> Iterator[dict[str, Any]]:
    """Experts' labels, of the desk, the queue, what is taught, and some letters."""
    closed = {"prohibited_uses": LEARNING, "usage_reason": "the patient asked", "data_classification": "restricted"}

    def row(sheet: str, number: int, label_type: str = "ward", **more: Any) -> dict[str, Any]:
        label = {"ward": ward(number), **more.pop("label", {})}
        return {"sheet": sheet, "item_ref": ref(sheet, number), "label_type": label_type, "label_data": label, **more}

    for number in range(scale.labeled):
        unshown = {"prohibited_uses": ["few_shot"], "usage_reason": "not to be shown"}
        yield row("desk", number, **(unshown if desk_plant(scale, number) == UNSHOWN else {}))
    yield from (row("queue", number) for number in range(scale.queue))
    yield from (row("teaching", number) for number in range(6))
    for number in range(scale.letters):
        plant = letter_plant(number)
        if plant in (OPEN_LABEL, LABEL, SEEN):
            more = {LABEL: closed, SEEN: {}, OPEN_LABEL: {}}[plant]
            seen = ["complaint", "patient"] if plant == SEEN else ["complaint"]
            text = f"for {canary(plant, number)}"
            yield row("letters", number, "letter", label={"why": text}, seen_columns=seen, **more)


def judgements(planted: Planted) -> Iterator[dict[str, Any]]:
    """Edits of answers and of prompts by somebody who saw the patient's name or did not, and approvals of drafts."""
    for number in range(planted.scale.letters):
        kind = letter_plant(number)
        if kind not in (EDIT, OPEN_EDIT, INPUT, ECHO):
            continue
        (pair,) = planted.pairs("written").filter(pl.col("item_ref") == ref("letters", number)).to_dicts()
        said: dict[str, Any] = {
            name: pair[name] for name in ("sheet", "item_ref", "label_type", "training_sheet", "pair_id")
        }
        said |= {"action": "edit", "proposed_response": pair["response"], "by": "bob", "at": "2026-01-02T12:00:00Z"}
        text = canary(kind, number)
        if kind == ECHO:
            said["action"] = "approve"
        elif kind in (EDIT, OPEN_EDIT):
            said["label_data"] = {"ward": ward(number), "why": f"as {text} said"}
        else:
            said["label_data"] = {"ward": ward(number), "why": "as it says"}
            said["inputs"] = {"complaint": f"{text} {complaint('letters', number)}"}
        said["seen_columns"] = ["complaint"] if kind in (OPEN_EDIT, ECHO) else ["complaint", "patient"]
        yield said


def feedback(scale: Scale) -> str:
    """Corrections and words of people who use a model, of some letters."""
    lines = []
    for number in range(scale.letters):
        if letter_plant(number) != FEEDBACK:
            continue
        text = canary(FEEDBACK, number)
        line: dict[str, Any] = {"feedback_id": f"f{number}", "created_at": "2026-01-03T12:00:00Z", "created_by": "zoe"}
        line |= {"input": {"sheet": "letters", "item_ref": ref("letters", number)}, "output": f"said of {text}"}
        lines.append(
            line | {"feedback_type": "correction", "correction": {"ward": ward(number), "why": f"since {text}"}}
        )
        lines.append(line | {"feedback_id": f"c{number}", "feedback_type": "comment", "feedback_value": f"poor {text}"})
    return "".join(json.dumps(line) + "\n" for line in lines)


_resolve = ThreadedResolver.resolve


async def resolve_to_here(self: ThreadedResolver, host: str, *args: Any, **how: Any) -> list[Any]:
    """What a name server would say that knows `models.example.org` as this machine."""
    return await _resolve(self, "127.0.0.1" if host == "models.example.org" else host, *args, **how)


@contextmanager
def planted_hospital(folder: Path, scale: Scale) -> Iterator[Planted]:
    """The project from its sources to a trained model, with everything planted on the way."""
    with (
        project_at(folder) as project,
        ScriptedProvider() as provider,
        ScriptedProvider() as outside,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("OPENAI_API_KEY", "test")
        patch.setenv("OPENAI_API_BASE", provider.url)
        for one in (provider, outside):
            one.answer_by(answer)
        write_sources(project, scale)
        planted = Planted(project, scale, provider, outside)
        # Before there is anything that follows of it, the drafts that people are to edit.
        define(project, *(one for one in documents(scale) if one["metadata"]["name"] != "care"))
        planted.run("validate")
        lines = "".join(json.dumps(row) + "\n" for row in label_rows(scale))
        planted.run("label", "import", str(project.write("labels.jsonl", lines)))
        planted.run("run", "written", "named", codes=(0, 1, 5))
        assert receive(project.workbench, judgements(planted), "files")
        planted.run("feedback", "import", str(project.write("feedback.jsonl", feedback(scale))))
        planted.run("feedback", "approve", "--by", "bob")
        define(project, *documents(scale))
        planted.run("run", "care", "--json")
        # A name with a dot may lead anywhere, and counts as outside the house: this one leads here.
        patch.setattr(ThreadedResolver, "resolve", resolve_to_here)
        patch.setenv("OPENAI_API_BASE", outside.url.replace("127.0.0.1", "models.example.org"))
        planted.run("run", "abroad", codes=(0, 1, 5))
        yield planted


KEEPS = (
    "sheets/data/",
    "labels.jsonl",
    "feedback.jsonl",
    ".workbench/lake/data/sheet_snapshot/",
    ".workbench/lake/generate/rendered_prompts/",
    ".workbench/lake/generate/generated_pairs/",
    ".workbench/lake/generate/typed_answers/",
    ".workbench/lake/label/decisions/",
    ".workbench/lake/label/canonical_labels/",
    ".workbench/lake/label/labeled_pairs/",
    ".workbench/lake/label/review_queue/",
    ".workbench/lake/records/label_history/",
    ".workbench/lake/records/review_inbox/",
    ".workbench/lake/records/requests/",
    ".workbench/requests/",
    ".workbench/lake/monitor/feedback_inbox/",
    ".workbench/lake/monitor/feedback/",
)
"""What holds rows as they are: sources, files that were handed in, and the tables that `workbench sql` masks."""


def found_in(*places: Path, kinds: tuple[str, ...] = (*FREE, *HELD)) -> dict[str, list[Path]]:
    """The kinds of plants that stand somewhere below some places, unpacked or not, each with the files."""
    found: dict[str, list[Path]] = {}
    for hit in find_texts(places, [mark(kind) for kind in kinds]):
        assert hit.text >= 0, f"{hit.path} can not be looked into"
        found.setdefault(kinds[hit.text], []).append(hit.path)
    return found


def kinds_in(text: str) -> set[str]:
    return {kind for kind in (*FREE, *HELD) if mark(kind) in text}
