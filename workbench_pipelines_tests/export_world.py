"""A small world for tests of exports: pairs as `label/labeled_pairs` holds them, and a Collection of them."""

from __future__ import annotations

from typing import Any

import polars as pl

from workbench_pipelines import identity
from workbench_pipelines.catalog import Collection
from workbench_pipelines.exports import Export, prepare_export
from workbench_pipelines.pairs import LABELED_PAIRS
from workbench_pipelines.splits import SPLIT_ASSIGNMENTS
from workbench_pipelines.usage import USES

EVERY_SPLIT = ("train", "val", "test")
NO_LEDGER = SPLIT_ASSIGNMENTS.to_frame()


def make_pair(item_ref: str = "a", training_sheet: str = "ts", answer: str = "yes", **given: Any) -> dict[str, Any]:
    """One approved pair that everything is permitted for."""
    pair: dict[str, Any] = dict.fromkeys(LABELED_PAIRS) | {
        "training_sheet": training_sheet,
        "sheet": "s",
        "item_ref": item_ref,
        "template": "q",
        "template_version": "1.0.0",
        "label_type": "t",
        "messages": [{"role": "user", "content": f"Is {item_ref} right?", "parts": None}],
        "response": identity.canonical_text({"answer": answer}),
        "inputs": identity.canonical_text({"x": item_ref}),
        "attributes": "{}",
        "tags": [],
        "status": "labeled",
        "labeling_mode": "canonical",
        "allowed_uses": sorted(USES),
        "prohibited_uses": [],
        "data_classification": "internal",
    }
    pair |= given
    pair["pair_id"] = given.get("pair_id") or identity.pair_id(training_sheet, pair["sheet"], item_ref)
    prompt = identity.prompt_hash(pair["messages"])
    pair["pair_hash"] = identity.pair_hash(prompt, pair["response"], pair["label_type"], pair["canonical_label_id"])
    return pair


def frame_of(*pairs: dict[str, Any]) -> pl.DataFrame:
    extra = {name: pl.String() for pair in pairs for name in pair if name not in LABELED_PAIRS}
    return pl.DataFrame(list(pairs), schema={**LABELED_PAIRS, **extra})


def make_collection(*members: str | dict[str, Any], **spec: Any) -> Collection:
    named = [{"training_sheet": member} if isinstance(member, str) else member for member in members or ("ts",)]
    return Collection.model_validate(
        {
            "apiVersion": "workbench/v1",
            "kind": "Collection",
            "metadata": {"name": "c"},
            "spec": {"members": named, **spec},
        }
    )


def make_export(
    *pairs: dict[str, Any], collection: Collection | None = None, ledger: pl.DataFrame = NO_LEDGER
) -> Export:
    return prepare_export(collection or make_collection(), frame_of(*pairs), ledger, USES)


def many_pairs(n: int = 40, **given: Any) -> list[dict[str, Any]]:
    """As many items as it takes for every split to hold some."""
    return [make_pair(f"item-{at}", answer="yes" if at % 3 else "no", **given) for at in range(n)]
