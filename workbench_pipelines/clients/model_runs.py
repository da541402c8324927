"""What the run of a model keeps in MLflow: settings, figures, images and the export it read."""

from __future__ import annotations

import io
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench_pipelines.identity import canonical_text

if TYPE_CHECKING:
    from mlflow import MlflowClient

MAX_PARAMETER = 500  # legible in a list; classifier.json holds every setting whole
MAX_NAME = 200  # MLflow takes 250
MAX_DIGEST = 36  # MLflow's limit; the whole Merkle root is a tag
MAX_BATCH = 500  # MLflow takes 1,000 metrics at once


@dataclass(frozen=True)
class ExportUsed:
    """The export a model was trained on, as the registry records it."""

    collection: str
    export_version: int
    merkle_root: str
    train_parquet: str
    training_sheets: Sequence[str]
    template_versions: Mapping[str, str] = field(default_factory=dict)


def log_parameters(client: MlflowClient, run_id: str, config: Mapping[str, Any]) -> None:
    """The settings, one parameter a leaf: `forest.n_estimators`."""
    from mlflow.entities import Param

    leaves: dict[str, str] = {}
    for name, value in config.items():
        inner = {f"{name}.{key}": leaf for key, leaf in value.items()} if isinstance(value, Mapping) else {name: value}
        for key, leaf in inner.items():
            leaves[_name(key)] = (leaf if isinstance(leaf, str) else canonical_text(leaf))[:MAX_PARAMETER]
    client.log_batch(run_id, params=[Param(key, value) for key, value in leaves.items()][:100])


def log_metrics(client: MlflowClient, run_id: str, metrics: Mapping[str, float]) -> None:
    """All figures in one call: one by one takes twenty times as long."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    found = [Metric(_name(name), float(value), now, 0) for name, value in metrics.items()]
    for start in range(0, len(found), MAX_BATCH):
        client.log_batch(run_id, metrics=found[start : start + MAX_BATCH])


def log_images(client: MlflowClient, run_id: str, images: Mapping[str, bytes]) -> None:
    """PNG images under `charts/`."""
    from PIL import Image

    for name, png in images.items():
        client.log_image(run_id, Image.open(io.BytesIO(png)), artifact_file=f"charts/{_name(name)}.png")


def log_dataset(client: MlflowClient, run_id: str, export: ExportUsed) -> None:
    """The export as the run's dataset: its address and Merkle root, none of its rows."""
    from mlflow.data.dataset_source_registry import resolve_dataset_source
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow lists its own local source twice and calls that ambiguous
        source = resolve_dataset_source(export.train_parquet)
    dataset = MetaDataset(  # type: ignore[abstract]
        source,
        name=f"{export.collection} v{export.export_version}",
        digest=export.merkle_root[:MAX_DIGEST],
    )
    context = InputTag("mlflow.data.context", "training")
    client.log_inputs(run_id, [DatasetInput(dataset=dataset._to_mlflow_entity(), tags=[context])])


def _name(text: str) -> str:
    """A name as MLflow takes it: letters, digits and ``_ - . / : space``."""
    return re.sub(r"[^\w\-. /:]", "_", text)[:MAX_NAME]
