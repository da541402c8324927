"""Croissant metadata of an export (`croissant.json`): its files by hash and its rows by column, for tools that load datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import polars as pl

from workbench_pipelines.catalog import Collection
from workbench_pipelines.export_contract import DESCRIPTIONS
from workbench_pipelines.export_formats import PARQUET_ROWS
from workbench_pipelines.exports import Export
from workbench_pipelines.splits import SPLITS

CROISSANT = "croissant.json"
CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_MEDIA_TYPES = {
    ".parquet": "application/x-parquet",
    ".jsonl": "application/jsonlines",
    ".csv": "text/csv",
    ".json": "application/json",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}


def croissant(
    export: Export, collection: Collection, manifest: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]]
) -> bytes:
    """The Croissant description of an export as JSON-LD. It states no licence: that is for who publishes it.

    Args:
        manifest: by `export_manifest.manifest`.
        files: sha256 and bytes of the files that hold its pairs, by name.
    """
    document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": export.collection,
        "description": collection.metadata.description or "A governed export of approved pairs.",
        "version": f"{manifest['version']}.0.0",
        "keywords": [collection.name, *sorted(set(export.rows["label_type"]))],
        "url": f"urn:sha256:{export.merkle_root}",
        "distribution": [_file(name, files[name]) for name in sorted(files)],
        "recordSet": [_records(split) for split in SPLITS if export.counts[split]],
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"


def _file(name: str, said: Mapping[str, Any]) -> dict[str, Any]:
    ending = name[name.rfind(".") :]
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{said['bytes']} B",
        "encodingFormat": _MEDIA_TYPES.get(ending, "application/octet-stream"),
        "sha256": said["sha256"],
    }


def _records(split: str) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": split,
        "name": split,
        "key": {"@id": f"{split}/pair_id"},
        "field": [_field(split, name, dtype) for name, dtype in PARQUET_ROWS.items() if name != "messages"],
    }


def _field(split: str, name: str, dtype: Any) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{split}/{name}",
        "name": name,
        "description": DESCRIPTIONS[name],
        "dataType": "sc:Float" if dtype == pl.Float64() else "sc:Text",
        "source": {"fileObject": {"@id": f"{split}.parquet"}, "extract": {"column": name}},
    }
