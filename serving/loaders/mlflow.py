"""MLflow model folders: by the loaders here where a flavor has one, else by MLflow where it is installed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from serving import mlmodel
from serving.files import files_of
from serving.formats import Detected, inside_mlflow
from serving.loaders import Model, Outputs, Tensor, Tensors, load_detected
from serving.problems import CannotLoad
from serving.signature import Signature, example_of, of_mlflow


def load(folder: Path, detected: Detected) -> Model:
    """Load by the first flavor that can be. The signature and the example of the MLmodel file come first."""
    path = folder / detected.main_path
    about = mlmodel.read(path.read_bytes())
    inner = inside_mlflow(files_of(folder), detected.main_path, about)
    model = load_detected(folder, inner) if inner else _by_mlflow(path.parent, about)
    signature = of_mlflow(about.inputs)
    if signature is not None:
        model.signature = signature
    model.example = example_of(path.parent, about.example_path)
    return model


def _by_mlflow(folder: Path, about: mlmodel.MLmodel) -> Model:
    try:
        mlflow = importlib.import_module("mlflow.pyfunc")
    except ImportError:
        raise CannotLoad(
            f"The MLflow model is loaded by '{about.loader_module or 'a flavor of its own'}', which needs the package "
            "'mlflow', and the serving environment lacks it; name mlflow in the version's requirements.txt."
        ) from None
    return PyfuncModel(mlflow.load_model(str(folder)))


class PyfuncModel:
    """What MLflow loaded; rows by name become a table."""

    platform = "mlflow_pyfunc"
    device = "its own"  # MLflow and the model's code choose

    def __init__(self, model: Any) -> None:
        self._model = model
        self.signature: Signature | None = None
        self.example: list[Any] | None = None
        self.inputs = [Tensor("instances", "FP64", [-1, -1])]
        self.outputs = [Tensor("predictions", "FP64", [-1])]

    def predict_rows(self, rows: list[Any], parameters: dict[str, Any]) -> Any:
        """Whatever the model's predict returns."""
        if all(isinstance(row, dict) for row in rows):
            return self._model.predict(importlib.import_module("pandas").DataFrame(rows))
        return self._model.predict(np.array(rows))

    def infer(self, tensors: Tensors, parameters: dict[str, Any]) -> Outputs:
        """One tensor as it is; several by their names."""
        asked = next(iter(tensors.values())) if len(tensors) == 1 else dict(tensors)
        return {"predictions": self._model.predict(asked)}
