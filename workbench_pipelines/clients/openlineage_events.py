"""OpenLineage events of exports, a line each in a file beside them, for tools that gather lineage.

Names are those of the lake, never paths of this machine. An event that is written again has the same run, so whoever
gathers them counts it once.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench_pipelines import __version__
from workbench_pipelines.export_formats import PARQUET_ROWS

EVENTS = "openlineage.ndjson"
NAMESPACE = "workbench"


def record_export(
    folder: Path, manifest: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]], at: dt.datetime
) -> None:
    """Append the event of a finished export to the file of its Collection.

    Args:
        folder: the folder of the Collection's exports.
        manifest: by `export_manifest.manifest`.
        files: what its manifest says of each file.

    Raises:
        OSError: where it can not be written.
    """
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
    from openlineage.client.facet_v2 import (
        dataset_version_dataset,
        job_type_job,
        output_statistics_output_dataset,
        schema_dataset,
    )
    from openlineage.client.transport.file import FileConfig, FileTransport

    collection, version = manifest["collection"], manifest["version"]
    versions = manifest["delta_versions"]

    def table(name: str, partition: str) -> InputDataset:
        known = versions.get(name)
        facets: dict[str, Any] = (
            {}
            if known is None
            else {"version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=str(known))}
        )
        return InputDataset(namespace=NAMESPACE, name=f"{name}/{partition}", facets=facets)

    pairs = sum(manifest["counts"].values())
    fields = [schema_dataset.SchemaDatasetFacetFields(name=n, type=str(dtype)) for n, dtype in PARQUET_ROWS.items()]
    output = OutputDataset(
        namespace=NAMESPACE,
        name=f"exports/{collection}",
        facets={
            "version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=str(version)),
            "schema": schema_dataset.SchemaDatasetFacet(fields=fields),
        },
        outputFacets={
            "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                rowCount=pairs, size=sum(int(one["bytes"]) for one in files.values()), fileCount=len(files)
            )
        },
    )
    event = RunEvent(
        eventType=RunState.COMPLETE,
        eventTime=at.isoformat(),
        run=Run(runId=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{collection}/{version}/{manifest['merkle_root']}"))),
        job=Job(
            namespace=NAMESPACE,
            name=f"train/governed_export/{collection}",
            facets={
                "jobType": job_type_job.JobTypeJobFacet(processingType="BATCH", integration="DAGSTER", jobType="EXPORT")
            },
        ),
        inputs=[table("label/labeled_pairs", member["training_sheet"]) for member in manifest["members"]],
        outputs=[output],
        producer=f"workbench-pipelines/{__version__}",
    )
    FileTransport(FileConfig(log_file_path=str(folder / EVENTS), append=True)).emit(event)
