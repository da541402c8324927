"""The model registry: trained classifiers in MLflow, with what they were trained on, how, and how good they are.

Everything goes through MLflow's client with its address as an argument: no global tracking address, no active run, no
pickle. A registration is complete when its last tag is written; one that a crash cut short is never found again.
"""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from workbench_pipelines.clients.model_runs import ExportUsed, log_dataset, log_images, log_metrics, log_parameters
from workbench_pipelines.clients.served_classifier import ARTIFACT, load_classifier, write_model
from workbench_pipelines.errors import LakeError, MissingPart, WorkbenchError
from workbench_pipelines.identity import digest
from workbench_pipelines.training import TrainedClassifier

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

TAG_CONFIG, TAG_COMPLETE = "workbench.config_digest", "workbench.complete"


class RegistryError(WorkbenchError):
    """MLflow refused, in one line."""


@dataclass(frozen=True)
class Registered:
    """A registered model: `model_uri` is what `mlflow models serve -m` and `ModelRegistry.load` take."""

    model_name: str
    model_version: str
    run_id: str
    model_uri: str
    created: bool = True
    """False where it was found, not made."""


def registration_digest(export: ExportUsed, trainer: str, config: Mapping[str, Any]) -> str:
    """What makes two trainings the same: collection, trainer, content of the export, every setting."""
    return digest([export.collection, trainer, export.merkle_root, dict(config)])


class ModelRegistry:
    """One MLflow tracking address (`sqlite:///...` or a server), and the folder of artifacts where it is a database."""

    def __init__(self, tracking_uri: str, artifact_dir: Path | str | None = None) -> None:
        self.tracking_uri = tracking_uri
        self.artifact_dir = Path(artifact_dir).absolute() if artifact_dir is not None else None
        self._ready = False

    def prepare(self) -> None:
        """Make the database ready; the first time takes some seconds, so set-up calls it."""
        with one_line_errors():
            self._client()

    def find(self, model_name: str, config_digest: str) -> Registered | None:
        """The complete registration with this digest (see `registration_digest`), the oldest of several, or None."""
        with one_line_errors():
            client = self._client()
            found = client.search_model_versions(f"name = '{model_name}' AND tag.`{TAG_CONFIG}` = '{config_digest}'")
            for version in sorted(found, key=lambda one: int(one.version)):
                if version.tags.get(TAG_COMPLETE) == "true" and self._folder(version) is not None:
                    return _registered(version, created=False)
        return None

    def register(
        self,
        trained: TrainedClassifier,
        export: ExportUsed,
        *,
        trainer: str,
        charts: Mapping[str, bytes] | None = None,
        lineage: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Registered:
        """Log and register a classifier as `<collection>.<trainer>`; the same training again finds the first.

        Keeps: settings as parameters, validation metrics, charts (PNG by name), the export as dataset input, lineage as
        `lineage.json`, the model with signature and an invented input example. No row of the export is copied.

        Raises:
            RegistryError: MLflow refused.
        """
        name = f"{export.collection}.{trainer}"
        config_digest = registration_digest(export, trainer, trained.config)
        self.prepare()
        with self._locked():
            if (known := self.find(name, config_digest)) is not None:
                return known
            with one_line_errors():
                return self._register(trained, export, name, config_digest, charts or {}, lineage or {}, tags or {})

    def log_evaluation(
        self, run_id: str, metrics: Mapping[str, float], images: Mapping[str, bytes] | None = None
    ) -> None:
        """Add figures in one batch, and PNG images by name, to the run of a model."""
        with one_line_errors():
            client = self._client()
            log_metrics(client, run_id, metrics)
            log_images(client, run_id, images or {})

    def load(self, model: Registered | str) -> TrainedClassifier:
        """The classifier behind a registration or a `models:/name/version` address, read without MLflow's loader.

        Raises:
            LakeError: there is no such model, or its files are missing or not trusted.
        """
        uri = model if isinstance(model, str) else model.model_uri
        name, _, version = uri.removeprefix("models:/").rpartition("/")
        with one_line_errors():
            client = self._client()
            folder = self._folder(client.get_model_version(name, version))
        if folder is None:
            raise LakeError(f"model {name} version {version}: its files are missing")
        return load_classifier(folder / "artifacts" / ARTIFACT)

    def _register(
        self,
        trained: TrainedClassifier,
        export: ExportUsed,
        name: str,
        config_digest: str,
        charts: Mapping[str, bytes],
        lineage: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> Registered:
        from mlflow.entities import LoggedModelOutput
        from mlflow.exceptions import MlflowException

        client = self._client()
        every_tag = {
            "collection": export.collection,
            "export_version": str(export.export_version),
            "merkle_root": export.merkle_root,
            "training_sheets": ",".join(sorted(export.training_sheets)),
            "template_versions": orjson.dumps(dict(export.template_versions), option=orjson.OPT_SORT_KEYS).decode(),
            **tags,
            TAG_CONFIG: config_digest,
        }
        logged_name = name.replace(".", "-")  # a registered model may hold a dot, a logged one may not
        experiment_id = self._experiment(client, export.collection)
        run = client.create_run(experiment_id, tags=every_tag, run_name=f"{name} v{export.export_version}")
        run_id = run.info.run_id
        try:
            log_parameters(client, run_id, trained.config)
            log_metrics(client, run_id, trained.metrics)
            log_images(client, run_id, charts)
            client.log_dict(run_id, dict(lineage), "lineage.json")
            log_dataset(client, run_id, export)
            logged = client.create_logged_model(experiment_id, name=logged_name, source_run_id=run_id, tags=every_tag)
            with tempfile.TemporaryDirectory(prefix="workbench-model-") as scratch:
                folder = write_model(trained, Path(scratch), model_id=logged.model_id, run_id=run_id)
                client.log_model_artifacts(logged.model_id, str(folder))
            client.finalize_logged_model(logged.model_id, "READY")
            client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
            try:
                client.create_registered_model(name, tags={"collection": export.collection})
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            # Its files by address, not as models:/<id>: MLflow looks the id up at the global tracking address.
            version = client.create_model_version(
                name, source=logged.artifact_location, run_id=run_id, tags=every_tag, model_id=logged.model_id
            )
            client.set_terminated(run_id, "FINISHED")
            client.set_model_version_tag(name, version.version, TAG_COMPLETE, "true")
        except BaseException:
            with suppress(Exception):  # the first failure is the one to tell
                client.set_terminated(run_id, "FAILED")
            raise
        return _registered(version, created=True)

    def experiment(self, name: str) -> str:
        """The id of an experiment, made where there is none.

        Raises:
            RegistryError: MLflow refused.
        """
        with one_line_errors():
            return self._experiment(self._client(), name)

    def _client(self) -> MlflowClient:
        path = _sqlite_file(self.tracking_uri)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        if not self._ready:
            with self._locked():  # two processes must not migrate one database
                _client(self.tracking_uri).search_experiments(max_results=1)
            self._ready = True
        return _client(self.tracking_uri)

    def _experiment(self, client: MlflowClient, collection: str) -> str:
        found = client.get_experiment_by_name(collection)
        if found is not None:
            return str(found.experiment_id)
        location = (self.artifact_dir / collection).as_uri() if self.artifact_dir is not None else None
        return str(client.create_experiment(collection, artifact_location=location))

    def _folder(self, version: ModelVersion) -> Path | None:
        """The folder of a version's files, fetched where they are not on this disk; None where they are gone."""
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        try:
            folder = Path(download_artifacts(artifact_uri=version.source, tracking_uri=self.tracking_uri))
        except (MlflowException, OSError):
            return None
        return folder if (folder / "MLmodel").is_file() else None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One registration at a time on this machine: two runs of one training make one version."""
        folder = self.artifact_dir or getattr(_sqlite_file(self.tracking_uri), "parent", None)
        if folder is None:
            yield
            return
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".registering").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _sqlite_file(tracking_uri: str) -> Path | None:
    return Path(tracking_uri.removeprefix("sqlite:///")) if tracking_uri.startswith("sqlite:///") else None


@lru_cache(maxsize=4)
def _client(tracking_uri: str) -> MlflowClient:
    # Set before MLflow is imported: no call home, no progress bars and addresses on the terminal, no pickle.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    try:
        from mlflow import MlflowClient
    except ImportError:
        raise MissingPart("model registry: the package 'mlflow' is not installed; run `make`") from None
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """MLflow's and the database's errors as one line."""
    try:
        yield
    except WorkbenchError:
        raise
    except Exception as error:
        if not type(error).__module__.startswith(("mlflow", "alembic", "sqlalchemy", "sqlite3", "requests")):
            raise
        # A database's error goes on with the statement and what it was to write.
        said = " ".join(str(error).partition("[SQL:")[0].split())
        raise RegistryError(f"model registry: {said[:300]}") from None


def _registered(version: ModelVersion, *, created: bool) -> Registered:
    address = f"models:/{version.name}/{version.version}"
    return Registered(version.name, str(version.version), str(version.run_id), address, created)
