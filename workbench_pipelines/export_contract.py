"""The data contract of an export (`contract.odcs.yaml`), in the Open Data Contract Standard v3: what a consumer may count on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
import yaml

from workbench_pipelines.catalog import Collection
from workbench_pipelines.export_formats import PARQUET_ROWS
from workbench_pipelines.exports import Export
from workbench_pipelines.gates import USE_OF_SPLIT
from workbench_pipelines.splits import SPLITS

CONTRACT = "contract.odcs.yaml"
API_VERSION = "v3.1.0"

DESCRIPTIONS: Mapping[str, str] = {
    "pair_id": "Name of the pair, stable across versions",
    "pair_hash": "SHA-256 of what the pair holds: prompt, answer, task and the label that vouches for it",
    "training_sheet": "TrainingSheet that the pair belongs to",
    "item_ref": "Name of the item that was asked about",
    "label_type": "Task that the answer is an answer of",
    "canonical_label_id": "Label of an expert behind the answer; null where a trusted column is",
    "messages": "The prompt: role, content and parts (images) of each message",
    "response": "The approved answer, as canonical JSON",
    "inputs": "The variables that the prompt was made of, as canonical JSON",
    "split": "train, val or test",
    "weight": "How much the pair counts in training",
}
_OPTIONAL = frozenset({"canonical_label_id"})


def contract(export: Export, collection: Collection, manifest: Mapping[str, Any]) -> bytes:
    """The contract of an export as YAML.

    Args:
        manifest: by `export_manifest.manifest`.
    """
    version = manifest["version"]
    document = {
        "apiVersion": API_VERSION,
        "kind": "DataContract",
        "id": f"{export.collection}-v{version}",
        "name": export.collection,
        "version": f"{version}.0.0",
        "status": "active",
        "description": {
            "purpose": collection.metadata.description or "Approved pairs for training, validation and evaluation.",
            "usage": "; ".join(f"{split}: {use}" for split, use in USE_OF_SPLIT.items()),
            "limitations": f"Classified as {export.data_classification}. Every use but the one of its split is excluded.",
        },
        "tags": [collection.name, *sorted(set(export.rows["label_type"]))],
        "schema": [_table(split, export.counts[split], export.data_classification) for split in SPLITS],
        "customProperties": [
            {"property": "merkleRoot", "value": export.merkle_root},
            {"property": "policyHash", "value": manifest["policy_hash"]},
            {"property": "manifest", "value": "manifest.json"},
        ],
    }
    owner = collection.metadata.owner
    if owner:
        document["team"] = {"name": owner}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120).encode()


def _table(split: str, rows: int, classification: str) -> dict[str, Any]:
    return {
        "name": split,
        "physicalName": f"{split}.parquet",
        "physicalType": "parquet",
        "logicalType": "object",
        "description": f"Pairs that permit {USE_OF_SPLIT[split]}",
        "properties": [_property(name, dtype, classification) for name, dtype in PARQUET_ROWS.items()],
        "quality": [{"type": "library", "metric": "rowCount", "mustBe": rows}],
    }


def _property(name: str, dtype: Any, classification: str) -> dict[str, Any]:
    kinds = {pl.String(): ("string", "string"), pl.Float64(): ("number", "double")}
    logical, physical = kinds.get(dtype, ("array", "list<struct<role, content, parts>>"))
    found: dict[str, Any] = {
        "name": name,
        "description": DESCRIPTIONS[name],
        "logicalType": logical,
        "physicalType": physical,
        "required": name not in _OPTIONAL,
        "classification": classification,
    }
    if name == "pair_id":
        found |= {"primaryKey": True, "primaryKeyPosition": 1, "unique": True}
    if logical == "array":
        texts = ("role", "content", "parts")
        items = [{"name": one, "logicalType": "string", "physicalType": "string"} for one in texts]
        found["items"] = {"logicalType": "object", "properties": items}
    return found
