"""The classifier as it is stored and served: two files, `classifier.skops` and `classifier.json`, and no pickle.

MLflow keeps beside them three lines of Python (models-from-code) that build the served model from this module, so the
environment that serves a model has this package installed. skops reads only the types that are listed here.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from workbench_pipelines.errors import LakeError
from workbench_pipelines.features import InputColumn
from workbench_pipelines.training import TrainedClassifier

if TYPE_CHECKING:
    from mlflow.pyfunc import PythonModel

ESTIMATOR_FILE, SPEC_FILE = "classifier.skops", "classifier.json"
ARTIFACT = "classifier"
_MLFLOW_TYPES = {"number": "double", "text": "string"}
_PACKAGES = ("mlflow", "scikit-learn", "skops", "numpy", "pandas", "wordllama")
# The fitted trees of a forest are a compiled type that skops leaves to the reader to trust.
TRUSTED_TYPES = ("sklearn.tree._tree.Tree",)
SERVED_MODEL = '''"""Serves the classifier beside it; needs the package workbench_pipelines."""

import mlflow

from workbench_pipelines.clients.served_classifier import served_model

mlflow.models.set_model(served_model())
'''


def save_classifier(trained: TrainedClassifier, folder: Path) -> Path:
    """Write a classifier's two files into a folder.

    Raises:
        LakeError: it holds a type that `load_classifier` would refuse.
    """
    from zipfile import ZIP_DEFLATED

    import skops.io

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ESTIMATOR_FILE
    skops.io.dump(dict(trained.parts), path, compression=ZIP_DEFLATED)
    _trusted(path)
    spec = {
        "target": trained.target,
        "features": trained.features,
        "columns": [[column.name, column.kind] for column in trained.columns],
        "classes": trained.classes,
        "config": trained.config,
        "metrics": trained.metrics,
    }
    (folder / SPEC_FILE).write_bytes(orjson.dumps(spec, option=orjson.OPT_INDENT_2))
    return folder


def write_model(trained: TrainedClassifier, folder: Path, *, model_id: str, run_id: str) -> Path:
    """The MLflow model folder of a classifier: its files, the code that serves it, signature, invented input example.

    The example holds no value of the training rows, which may be restricted.
    """
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

    code = folder / "classifier_model.py"
    stored = save_classifier(trained, folder / ARTIFACT)
    code.write_text(SERVED_MODEL)
    examples: dict[str, Any] = {"number": 1.0, "text": "an example text"}
    mlflow.pyfunc.save_model(
        path=str(folder / "model"),
        mlflow_model=Model(model_id=model_id, run_id=run_id),
        python_model=str(code),
        artifacts={ARTIFACT: str(stored)},
        signature=ModelSignature(
            inputs=Schema([ColSpec(_MLFLOW_TYPES[column.kind], column.name) for column in trained.columns]),
            outputs=Schema([ColSpec("string", "label"), ColSpec("double", "probability")]),
        ),
        input_example=pd.DataFrame([{column.name: examples[column.kind] for column in trained.columns}]),
        # Named, or MLflow would import the model in a process of its own to find out.
        pip_requirements=["workbench-pipelines", *(f"{name}=={metadata.version(name)}" for name in _PACKAGES)],
    )
    return folder / "model"


def load_classifier(folder: Path) -> TrainedClassifier:
    """The classifier that `save_classifier` wrote, ready to predict; pair ids and skipped pairs are not part of it.

    Raises:
        LakeError: a file is missing or unreadable, or holds a type that is not trusted.
    """
    import skops.io

    from workbench_pipelines.clients.embeddings import embed

    try:
        spec = orjson.loads((folder / SPEC_FILE).read_bytes())
        trusted = _trusted(folder / ESTIMATOR_FILE)
        parts = skops.io.load(folder / ESTIMATOR_FILE, trusted=trusted)
    except (OSError, ValueError) as error:
        raise LakeError(f"classifier at {folder}: {' '.join(str(error).split())}") from None
    return TrainedClassifier(
        target=spec["target"],
        features=spec["features"],
        columns=tuple(InputColumn(name, kind) for name, kind in spec["columns"]),
        classes=tuple(spec["classes"]),
        config=spec["config"],
        parts=parts,
        embed=embed if spec["features"] == "text" else None,
        metrics=spec["metrics"],
    )


def _trusted(path: Path) -> list[str]:
    import skops.io

    found = list(skops.io.get_untrusted_types(file=path))
    if strange := sorted(set(found) - set(TRUSTED_TYPES)):
        raise LakeError(f"{path.name} holds types that are not trusted: {', '.join(strange)}")
    return found


def served_model() -> PythonModel:
    """The MLflow model: a data frame of bound variables in; `label` and `probability` (of that label) out."""
    import pandas as pd
    from mlflow.pyfunc import PythonModel

    # MLflow asks for type hints on `predict`; with them it would take nothing but {"inputs": ...}. It resets the
    # filters, so its warning is caught, not filtered.
    with warnings.catch_warnings(record=True):

        class ServedClassifier(PythonModel):
            def load_context(self, context: Any) -> None:
                self.classifier = load_classifier(Path(context.artifacts["classifier"]))

            def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
                labels, probabilities = self.classifier.predict(bound_variables(model_input))
                best = probabilities.max(axis=1) if len(labels) else []
                return pd.DataFrame(
                    {"label": pd.Series(labels, dtype="str"), "probability": pd.Series(best, dtype="float64")}
                )

    return ServedClassifier()


def bound_variables(frame: Any) -> list[Mapping[str, Any]]:
    """The rows of a pandas data frame as bound variables; what pandas calls missing is null."""
    rows: list[Mapping[str, Any]] = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return rows
