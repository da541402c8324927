"""What an export says of itself: the manifest that proves it, and the dataset card that people read.

Neither holds a time of the clock, an attribute or a message, so that the same export has the same bytes wherever it is
made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import polars as pl
import yaml

from workbench_pipelines.catalog import Collection
from workbench_pipelines.errors import ExportError
from workbench_pipelines.exports import Export, export_identity
from workbench_pipelines.formats.role_tokens import MADE_PLAIN, pairs_with_role_tokens
from workbench_pipelines.gates import GATES
from workbench_pipelines.identity import digest
from workbench_pipelines.lengths import MAX_COUNTED, Lengths, histogram
from workbench_pipelines.merkle import SCHEME
from workbench_pipelines.splits import SPLITS
from workbench_pipelines.usage import CLASSIFICATIONS

# An output field whose values repeat is a class; more of them, or longer ones, are texts, which no table shows.
MAX_CLASSES = 20
MAX_CLASS_LENGTH = 60
MAX_REASONS = 20
LENGTHS_CHART = "lengths.png"
_HUB_SPLITS = {"train": "train", "val": "validation", "test": "test"}


def policies_hash(
    policies: Sequence[str], vocabulary: Sequence[str], personal_data: Mapping[str, Any] | None = None
) -> str:
    """The usage policies under which an export was judged.

    Args:
        policies: what definitions stated when its pairs were judged (`stated_policies`).
        personal_data: by Sheet, what is done with each kind, where anything is.
    """
    also = {"personal_data": dict(personal_data)} if personal_data else {}
    return digest({"policies": sorted(policies), "uses": sorted(vocabulary), **also})


def manifest(
    export: Export,
    collection: Collection,
    version: int,
    *,
    training_sheet_versions: Mapping[str, int | None],
    policy_hash: str,
    policies: Sequence[str] = (),
    delta_versions: Mapping[str, int] | None = None,
    vocabulary: Sequence[str] = (),
    renamed_sheets: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What an export was made of and what it holds; `sealed` adds its files.

    Args:
        training_sheet_versions: the version of each member's TrainingSheet, by name.
        policy_hash: by `policies_hash`.
        policies: what it was made of beside the vocabulary and what is done with personal data.
        delta_versions: the commit of each table of the lake that was read, by its name.
        vocabulary: the uses that were known.
        renamed_sheets: by former name of a Sheet its name: the ledger of splits was read with them.
    """
    spec = collection.spec
    templates = export.rows.select("training_sheet", "template", "template_version").unique().sort(pl.all())
    versions: dict[str, dict[str, list[str]]] = {}
    for training_sheet, template, template_version in templates.iter_rows():
        versions.setdefault(training_sheet, {}).setdefault(template, []).append(template_version)
    exported = Counter(export.rows["training_sheet"])
    return {
        "manifest_version": 1,
        "collection": export.collection,
        "version": version,
        "merkle_root": export.merkle_root,
        "merkle_scheme": SCHEME,
        "export_identity": export_identity(export, collection),
        "counts": {split: export.counts[split] for split in SPLITS},
        "excluded": export.counts["excluded"],
        "excluded_by_gate": _by_gate(export),
        "members": [
            {
                "training_sheet": member.training_sheet,
                "version": training_sheet_versions.get(member.training_sheet),
                "weight": member.weight,
                "split": member.split,
                "pairs": exported[member.training_sheet],
                "template_versions": versions.get(member.training_sheet, {}),
            }
            for member in sorted(spec.members, key=lambda one: one.training_sheet)
        ],
        "seed": spec.splits.seed,
        "splits": spec.splits.model_dump(mode="json"),
        "largest_deviation": _largest_deviation(export.deviation),
        "data_classification": export.data_classification,
        "formats": sorted(set(spec.formats)),
        "role_tokens": pairs_with_role_tokens(export.rows),
        "policy_hash": policy_hash,
        "policies": list(policies),
        "delta_versions": dict(sorted((delta_versions or {}).items())),
        "spec_digest": digest(spec.model_dump(mode="json")),
        # What an export is made of again (`workbench replay`), whatever the definitions say by then.
        "definition": collection.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "uses": sorted(vocabulary),
        "renamed_sheets": dict(sorted((renamed_sheets or {}).items())),
    }


def sealed(manifest: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The manifest with its files (name: sha256, bytes, rows) and its own digest, which any flipped byte breaks."""
    whole = {**manifest, "files": {name: dict(files[name]) for name in sorted(files)}}
    whole.pop("manifest_digest", None)
    return {**whole, "manifest_digest": digest(whole)}


def manifest_bytes(manifest: Mapping[str, Any]) -> bytes:
    """The one form in which a manifest is written."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(manifest, option=options)


def read_manifest(content: bytes) -> dict[str, Any]:
    """The manifest that these bytes are.

    Raises:
        ExportError: when they are not, byte for byte, what was sealed.
    """
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise ExportError("manifest.json is no JSON") from None
    if not isinstance(found, dict) or not isinstance(found.get("files"), dict):
        raise ExportError("manifest.json is no manifest of an export")
    if manifest_bytes(sealed(found, found["files"])) != content:
        raise ExportError("manifest.json is not what was published: its manifest_digest does not hold")
    return found


def card(
    export: Export,
    collection: Collection,
    manifest: Mapping[str, Any],
    lengths: Lengths | None = None,
    encoding: str = "",
) -> str:
    """The dataset card (README.md): what is in the export, what is not and why, and how to verify it.

    Args:
        manifest: by `manifest`; its files are not needed.
        lengths: by `lengths.measure_lengths`, counted in tokens of `encoding`; without them it shows none.
    """
    title = f"{export.collection} v{manifest['version']}"
    configs = [{"split": _HUB_SPLITS[split], "path": f"{split}.parquet"} for split in SPLITS if export.counts[split]]
    head = {
        "pretty_name": title,
        "configs": [{"config_name": "default", "data_files": configs}],
        "tags": [export.collection, *sorted(set(export.rows["label_type"]))],
        "data_classification": export.data_classification,
        "merkle_root": export.merkle_root,
    }
    counts = [(split, export.counts[split], f"{getattr(collection.spec.splits, split):.0%}") for split in SPLITS]
    members = [
        (one["training_sheet"], one["version"], _versions(one["template_versions"]), one["pairs"], one["weight"])
        for one in manifest["members"]
    ]
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---",
        f"# {title}",
        collection.metadata.description or "A governed export of approved pairs.",
        f"Data classification: {export.data_classification}. Every pair is approved by a person or a trusted column, "
        "and every source that reached it permits its use (training, validation and evaluation for its splits).",
        "## Pairs\n\n" + _table(("split", "pairs", "asked for"), counts),
        "## Sources\n\n" + _table(("TrainingSheet", "version", "templates", "pairs", "weight"), members),
        "Sheets: " + ", ".join(sorted(set(export.rows["sheet"]))) + ".",
        "## Labels\n\n" + _labels(export),
        "## Lengths\n\n" + _lengths(lengths, encoding) if lengths else "",
        "## Role tokens\n\n" + _role_tokens(manifest) if manifest.get("role_tokens") else "",
        f"## Left out\n\n{export.counts['excluded']} of {export.counts['pairs']} pairs, each with its reason in "
        "`exclusions.parquet`.",
        _table(("gate", "reason", "pairs"), _exclusions(export)) if export.exclusions.height else "",
        "## Verify\n\n`workbench verify FOLDER` recomputes the hash of every file in `manifest.json` and, from the "
        f"Parquet files, the Merkle root `{export.merkle_root}`; it needs no network.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _by_gate(export: Export) -> dict[str, int]:
    counts = Counter(export.exclusions["gate"])
    # A gate that came later is named where it refused something: what was exported before has the same manifest again.
    return {gate: counts[gate] for gate in GATES if counts[gate] or gate != "personal_data"}


def _largest_deviation(deviation: Mapping[str, Any]) -> dict[str, float]:
    """The largest distance from a share that was asked for, over all and in any stratum; no stratum is named."""

    def largest(one: Mapping[str, Any]) -> float:
        return max((abs(one[split]) for split in SPLITS if split in one), default=0.0)

    strata = [largest(one) for one in deviation["strata"].values()]
    return {"overall": largest(deviation["overall"]), "strata": max(strata, default=0.0)}


def _exclusions(export: Export) -> list[tuple[Any, ...]]:
    counted = export.exclusions.group_by("gate", "reason").len("pairs")
    rows = counted.sort(["pairs", "gate", "reason"], descending=[True, False, False]).rows()
    rest = sum(row[2] for row in rows[MAX_REASONS:])
    return [*rows[:MAX_REASONS], *([("", "other reasons", rest)] if rest else [])]


def _labels(export: Export) -> str:
    if export.data_classification == CLASSIFICATIONS[-1]:  # a card is passed around more freely than its files
        return "Not shown: the export is restricted."
    return _label_tables(export.rows) or "The answers are texts; no class repeats."


def _label_tables(rows: pl.DataFrame) -> str:
    """A table for each output field that holds classes: its values by split."""
    counted: dict[tuple[str, str], Counter[tuple[Any, str]]] = {}
    totals: Counter[tuple[str, str]] = Counter()
    answers = rows.group_by("label_type", "response", "split").len().sort("label_type", "response", "split")
    for label_type, response, split, n in answers.iter_rows():
        for field, value in orjson.loads(response).items():
            shown = value if isinstance(value, str) else orjson.dumps(value).decode()
            counted.setdefault((label_type, field), Counter())[(shown, split)] += n
            totals[(label_type, field)] += n
    tables = []
    for (label_type, field), counts in sorted(counted.items()):
        classes = sorted({value for value, _ in counts})
        repeats = len(classes) * 2 <= totals[(label_type, field)]
        if len(classes) <= MAX_CLASSES and repeats and all(len(one) <= MAX_CLASS_LENGTH for one in classes):
            lines = [(one, *(counts[(one, split)] for split in SPLITS)) for one in classes]
            tables.append(f"{label_type}, `{field}`:\n\n" + _table(("value", *SPLITS), lines))
    return "\n\n".join(tables)


def _lengths(lengths: Lengths, encoding: str) -> str:
    sampled = any(one.is_estimate for one in lengths.values())
    of = f", of the {MAX_COUNTED:,} pairs of each split with the lowest pair_ids" if sampled else ""
    totals = [
        (split, f"{len(one.tokens):,}", f"{'about ' if one.is_estimate else ''}{one.total:,}", one.median, one.p95)
        for split, one in lengths.items()
    ]
    bins = [(f"{low + 1:,} to {high:,}", *counts.values()) for low, high, counts in histogram(lengths)]
    return "\n\n".join(
        [
            f"Tokens ({encoding}) of all messages and the answer, without a chat template and without images{of}.",
            _table(("split", "pairs counted", "tokens", "median", "95 % have at most"), totals),
            _table(("tokens of a pair", *lengths), bins),
            f"![How long the pairs are, by split]({LENGTHS_CHART})",
        ]
    )


def _role_tokens(manifest: Mapping[str, Any]) -> str:
    """Who has to look out for texts that a tokenizer would read as turns."""
    plain = [name for name in manifest["formats"] if name in MADE_PLAIN]
    as_they_are = ["parquet", *(name for name in manifest["formats"] if name not in {*MADE_PLAIN, "parquet"})]
    made = f" In {', '.join(plain)} they are made plain." if plain else ""
    return (
        f"Pairs that hold role tokens as text (`<|im_start|>`, `[INST]`, `### Response:`): {manifest['role_tokens']}.{made} "
        f"In {', '.join(as_they_are)} texts are as they are: whoever applies a chat template tells the tokenizer that they hold no "
        "special tokens (`split_special_tokens=True` in transformers)."
    )


def _versions(templates: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"{name} {' '.join(versions)}" for name, versions in templates.items())


def _table(head: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in rows)


def _cell(value: Any) -> str:
    text = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return " ".join(text.replace("|", "\\|").split())
