"""Judgements as back ends deliver them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench_pipelines.access import Roles
from workbench_pipelines.decisions import Seen
from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.identity import canonical_text, pair_id, response_hash
from workbench_pipelines.review import Judged, Judgement, decide_judgements
from workbench_pipelines.usage import USES
from workbench_pipelines_tests.pair_world import SCHEMA, later

ROLES = Roles(frozenset({"ann", "rob"}), frozenset({"bob"}), frozenset({"stella"}), frozenset({"bob"}))
NO = canonical_text({"answer": "no"})


def make_judgement(action: str = "label", item_ref: str = "a", minutes: int = 0, **given: Any) -> dict[str, Any]:
    """What ann says of an item; of its pair where the action is one of a pair."""
    said: dict[str, Any] = {"sheet": "s", "item_ref": item_ref, "label_type": "t", "action": action, "by": "ann"}
    said["at"] = later(minutes).isoformat()
    if action in ("label", "edit"):
        said["label_data"] = {"answer": "yes"}
    if action in ("approve", "edit", "reject", "flag"):
        said |= {"training_sheet": "ts", "pair_id": pair_id("ts", "s", item_ref), "response_hash": response_hash(NO)}
    if action in ("approve", "edit"):
        said["proposed_response"] = NO
    return said | given


def decide(*judgements: Mapping[str, Any], roles: Roles = ROLES, schema: Mapping[str, Any] = SCHEMA) -> Judged:
    def seen(judgement: Judgement) -> Seen:
        if judgement.item_ref == "missing":
            raise ArgumentError("Sheet s has no item 'missing'")
        return Seen(("x",), "hash-of-x")

    rows = [(f"row {number}", one) for number, one in enumerate(judgements, start=1)]
    return decide_judgements(rows, schema_of=lambda _: schema, seen=seen, roles=roles, vocabulary=USES)
