"""An expert is asked once: what becomes of 300 labels when templates, rows, samples and files change, and what other keys lose."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import polars as pl
import pytest

from workbench_pipelines_tests.project_world import Kept, Project
from workbench_pipelines_tests.ticket_world import (
    collection,
    define,
    project_at,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)  # fmt: skip

ITEMS, LABELED = 400, 300
WORDS = {
    "1.0.0": "Which team? {{ subject }}",
    "2.0.0": "Route this ticket: {{ subject }}",
    "3.0.0": "{{ subject }} ({{ note }})",
}


class Standing(NamedTuple):
    """What stands after a change: the labeled items that are in the TrainingSheet, those of them whose pair is approved, those
    that stand in the queue again, and how many labels the keys of others would find no more."""

    there: int
    approved: int
    asked_again: int
    lost_by_prompt: int
    lost_by_row: int


def labels_of(refs: list[str]) -> str:
    rows = [
        {"sheet": "tickets", "label_type": "team", "item_ref": ref, "label_data": {"team": "other"}} for ref in refs
    ]
    return "".join(json.dumps(row | {"labeled_at": "2026-03-01T12:00:00Z"}) + "\n" for row in rows)


class World:
    """A project whose experts labeled 300 of 400 tickets under the first version of their template."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.rows = tickets(ITEMS)
        self.labeled = sorted(random.Random(5).sample(self.rows["ticket"].to_list(), LABELED))
        self.file = project.write("labels.jsonl", labels_of(self.labeled))
        put(project, self.rows)
        self.define("1.0.0")
        self.take()
        assert project("run").code in (0, 5)
        self.first = self.keys()

    def define(self, version: str, items: Mapping[str, object] | None = None) -> None:
        versions = [template(WORDS[one], version=one) for one in sorted(WORDS) if one <= version]
        asked = training_sheet(labeling_mode="manual", **({"items": items} if items else {}))
        define(self.project, sheet(), asked, collection("routing", "drafted"), *versions)

    def take(self) -> int:
        ran = self.project("label", "import", str(self.file), "--json")
        assert ran.code == 0, ran.err
        return int(ran.json["decisions"])

    def keys(self) -> dict[str, tuple[str, str]]:
        """The hash of everything a prompt holds and of everything a row holds, as other tools key what they know of it."""
        prompts = self.project.table("generate", "rendered_prompts")
        known = prompts.filter(pl.col("item_ref").is_in(self.labeled)).select("item_ref", "prompt_hash", "item_hash")
        return {ref: (prompt, row) for ref, prompt, row in known.iter_rows()}

    def standing(self) -> Standing:
        assert self.project("run").code in (0, 5)
        pairs = self.project.table("label", "labeled_pairs").filter(pl.col("item_ref").is_in(self.labeled))
        queued = self.project.table("label", "review_queue")["item_ref"]
        now = self.keys()
        assert set(now) == set(pairs["item_ref"])
        lost = [[was != is_now for was, is_now in zip(self.first[ref], now[ref], strict=True)] for ref in now]
        return Standing(
            pairs.height,
            pairs.filter(pl.col("status") == "labeled").height,
            len(set(queued) & set(self.labeled)),
            *(sum(column) for column in zip(*lost, strict=True)),
        )


@pytest.fixture(scope="module")
def first_version(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Kept]]:
    with project_at(tmp_path_factory.mktemp("labeled") / "project") as project:
        world = World(project)
        yield world, Kept(project)


@pytest.fixture
def world(first_version: tuple[World, Kept]) -> World:
    world, kept = first_version
    kept.put_back()
    return world


def test_three_hundred_labels_outlive_every_regeneration_and_nobody_is_asked_again(world: World) -> None:
    assert world.standing() == Standing(LABELED, LABELED, 0, 0, 0)

    world.define("2.0.0")
    assert world.standing() == Standing(LABELED, LABELED, 0, lost_by_prompt=LABELED, lost_by_row=0)

    world.define("3.0.0")  # it shows a column that no expert saw
    assert world.standing() == Standing(LABELED, LABELED, 0, lost_by_prompt=LABELED, lost_by_row=0)

    put(world.project, world.rows.sample(fraction=1.0, shuffle=True, seed=3))
    assert world.standing() == Standing(LABELED, LABELED, 0, lost_by_prompt=LABELED, lost_by_row=0)

    world.define("3.0.0", {"sample": {"size": 200, "method": "random", "seed": 1}})
    sampled = world.standing()
    assert 0 < sampled.there < LABELED
    assert sampled == Standing(sampled.there, sampled.there, 0, lost_by_prompt=sampled.there, lost_by_row=0)

    world.define("3.0.0")
    assert world.standing() == Standing(LABELED, LABELED, 0, lost_by_prompt=LABELED, lost_by_row=0)

    assert world.take() == 0  # the file comes again: not one decision, not one label twice
    put(world.project, world.rows.with_columns(pl.lit("another note").alias("note")))
    assert world.standing() == Standing(LABELED, LABELED, 0, lost_by_prompt=LABELED, lost_by_row=LABELED)

    assert world.project.table("label", "decisions").height == LABELED
    assert set(world.project.table("label", "canonical_labels")["version"]) == {1}


def test_what_experts_saw_sends_back_just_the_pairs_whose_items_changed_and_no_longer_than_that(world: World) -> None:
    edited = world.labeled[:7]
    other = pl.when(pl.col("ticket").is_in(edited)).then(pl.lit("Something else")).otherwise("subject")
    put(world.project, world.rows.with_columns(other.alias("subject")))
    changed = world.standing()
    assert (changed.approved, changed.asked_again) == (LABELED - 7, 7)
    queue = world.project.table("label", "review_queue").filter(pl.col("item_ref").is_in(edited))
    assert set(queue["need"]) == {"stale"}
    assert all("subject" in detail for detail in queue["detail"])

    put(world.project, world.rows)
    assert world.standing() == Standing(LABELED, LABELED, 0, 0, 0)
