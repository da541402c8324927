"""The model registry: MLflow on SQLite and files, without a pickle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from workbench_pipelines.charts import confusion_chart
from workbench_pipelines.clients.embeddings import embed
from workbench_pipelines.clients.model_registry import (
    ModelRegistry,
    Registered,
    RegistryError,
    registration_digest,
)
from workbench_pipelines.clients.model_runs import ExportUsed
from workbench_pipelines.clients.served_classifier import ESTIMATOR_FILE, load_classifier, save_classifier
from workbench_pipelines.errors import LakeError
from workbench_pipelines.evaluation import score
from workbench_pipelines.training import TrainedClassifier, train_classifier
from workbench_pipelines_tests.test_training import make_iris, make_texts

EXPORT = ExportUsed(
    collection="iris",
    export_version=3,
    merkle_root="ab" * 32,
    train_parquet="exports/iris/v3/train.parquet",
    training_sheets=("iris_drafted", "iris_species"),
    template_versions={"iris_species": "1.0.0"},
)
PNG = confusion_chart(score("model", ["a", "b"], ["a", "b"]))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    # One database for the module: its first start takes seconds.
    folder = tmp_path_factory.mktemp("mlflow")
    made = ModelRegistry(f"sqlite:///{folder}/db/mlflow.db", folder / "artifacts")
    made.prepare()
    return made


@pytest.fixture(scope="module")
def trained() -> TrainedClassifier:
    return train_classifier(make_iris(), target="species")


@pytest.fixture(scope="module")
def registered(registry: ModelRegistry, trained: TrainedClassifier) -> Registered:
    return registry.register(trained, EXPORT, trainer="fast", charts={"confusion": PNG}, lineage={"pairs": 105})


def test_a_model_is_registered_with_what_it_was_trained_on(registry: ModelRegistry, registered: Registered) -> None:
    from mlflow import MlflowClient

    assert registered.model_name == "iris.fast"
    assert registered.model_version == "1"
    client = MlflowClient(registry.tracking_uri)
    run = client.get_run(registered.run_id)
    assert run.info.status == "FINISHED"
    assert run.inputs is not None
    assert run.inputs.dataset_inputs[0].dataset.digest == EXPORT.merkle_root[:36]
    assert "train.parquet" in run.inputs.dataset_inputs[0].dataset.source
    assert run.data.params["forest.n_estimators"] == "300"
    assert run.data.metrics["val_accuracy"] >= 0.9
    tags = client.get_model_version("iris.fast", "1").tags
    assert tags["merkle_root"] == EXPORT.merkle_root
    assert (tags["collection"], tags["export_version"]) == ("iris", "3")
    assert tags["training_sheets"] == "iris_drafted,iris_species"
    assert {one.path for one in client.list_artifacts(registered.run_id)} == {"charts", "lineage.json"}


def test_figures_and_images_of_an_evaluation_join_the_run(registry: ModelRegistry, registered: Registered) -> None:
    from mlflow import MlflowClient

    registry.log_evaluation(registered.run_id, {"test.f1.a (b)": 0.5, "test.accuracy": 1.0}, {"per_class": PNG})
    client = MlflowClient(registry.tracking_uri)
    metrics = client.get_run(registered.run_id).data.metrics
    assert (metrics["test.f1.a _b_"], metrics["test.accuracy"]) == (0.5, 1.0)
    assert "charts/per_class.png" in {one.path for one in client.list_artifacts(registered.run_id, "charts")}


def test_the_same_training_is_found_and_not_registered_twice(
    registry: ModelRegistry, trained: TrainedClassifier, registered: Registered
) -> None:
    again = registry.register(trained, EXPORT, trainer="fast")
    assert again == replace(registered, created=False)
    found = registry.find("iris.fast", registration_digest(EXPORT, "fast", trained.config))
    assert found == again
    other = replace(EXPORT, merkle_root="cd" * 32)
    assert registry.find("iris.fast", registration_digest(other, "fast", trained.config)) is None


def test_a_registration_cut_short_is_never_found(
    registry: ModelRegistry, trained: TrainedClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "set_model_version_tag", crash)
        with pytest.raises(KeyboardInterrupt):
            registry.register(trained, EXPORT, trainer="cut")
    assert registry.find("iris.cut", registration_digest(EXPORT, "cut", trained.config)) is None
    assert registry.register(trained, EXPORT, trainer="cut").model_version == "2"


def test_a_loaded_model_answers_as_the_trained_one(
    registry: ModelRegistry, trained: TrainedClassifier, registered: Registered
) -> None:
    inputs = [json.loads(text) for text in make_iris()["inputs"]]
    loaded = registry.load(registered.model_uri)
    assert np.array_equal(loaded.predict(inputs)[1], trained.predict(inputs)[1])
    assert loaded.classes == trained.classes


def test_a_missing_model_is_one_line(registry: ModelRegistry) -> None:
    with pytest.raises(RegistryError, match=r"iris\.none") as caught:
        registry.load("models:/iris.none/1")
    assert "\n" not in str(caught.value)


def test_mlflow_serves_a_text_model_without_a_pickle_and_without_noise(registry: ModelRegistry, tmp_path: Path) -> None:
    rows = make_texts()
    trained = train_classifier(rows, target="mood", embed=embed)
    made = registry.register(trained, replace(EXPORT, collection="moods"), trainer="fast")
    assert registry.artifact_dir is not None
    names = [path.name for path in registry.artifact_dir.rglob("*")]
    assert "MLmodel" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".cloudpickle", ".joblib"))]
    ask = (
        "import mlflow, pandas as pd\n"
        f"model = mlflow.pyfunc.load_model({made.model_uri!r})\n"
        "answer = model.predict(pd.DataFrame({'text': ['great phone, I love it', 'worst gift ever', None]}))\n"
        "print(answer['label'].tolist()[:2], answer['probability'].between(0, 1).all())\n"
    )
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": registry.tracking_uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    done = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "['glad', 'sad'] True\n", done.stderr


def test_registering_prints_nothing(
    registry: ModelRegistry, trained: TrainedClassifier, capfd: pytest.CaptureFixture[str]
) -> None:
    made = registry.register(trained, EXPORT, trainer="quiet", charts={"confusion": PNG})
    registry.log_evaluation(made.run_id, {"test.accuracy": 1.0})
    registry.load(made)
    assert capfd.readouterr() == ("", "")


def test_a_stored_classifier_with_a_strange_type_is_not_read(trained: TrainedClassifier, tmp_path: Path) -> None:
    import skops.io

    folder = save_classifier(trained, tmp_path / "stored")
    skops.io.dump({"model": subprocess.Popen}, folder / ESTIMATOR_FILE)
    with pytest.raises(LakeError, match=r"not trusted: subprocess\.Popen"):
        load_classifier(folder)
