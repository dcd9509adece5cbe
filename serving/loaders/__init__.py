"""Loaders by format: each turns a folder of model files into something that answers rows and tensors.

Only a serving process calls `load`: this is the one place of the platform where model files are loaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from serving.formats import Detected, detect
from serving.problems import CannotLoad
from serving.signature import Signature, example_of
from serving.values import Array

Tensors = dict[str, Array]
Outputs = dict[str, Any]
"""Arrays by name, or what becomes one: a list of one value per row may be cut into parts that are arrays of their own."""


@dataclass(frozen=True)
class Tensor:
    """Name, Open Inference Protocol datatype and shape (-1 = any length) of an input or output."""

    name: str
    datatype: str
    shape: Sequence[int] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As the protocol's metadata shows it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


class Model(Protocol):
    """What a loader returns. Methods raise `Problem` for bad input, anything else when the model fails."""

    platform: str
    device: str
    """What it runs on: cpu or cuda."""
    inputs: list[Tensor]
    outputs: list[Tensor]
    signature: Signature | None
    """What is checked before the model is asked; None where the files do not tell."""
    example: list[Any] | None
    """Rows that the model must answer, to warm up with."""

    def predict_rows(self, rows: list[Any], parameters: dict[str, Any]) -> Any:
        """Predictions for the rows of a plain request, in their order."""

    def infer(self, tensors: Tensors, parameters: dict[str, Any]) -> Outputs:
        """Outputs by name for the input tensors of an infer request."""


_LOADERS = {
    "predictor": "serving.loaders.predictor",
    "skops": "serving.loaders.sklearn",
    "joblib": "serving.loaders.sklearn",
    "pickle": "serving.loaders.sklearn",
    "onnx": "serving.loaders.onnx",
    "xgboost": "serving.loaders.boosting",
    "lightgbm": "serving.loaders.boosting",
    "mlflow": "serving.loaders.mlflow",
    "transformers": "serving.loaders.transformers",
    "torchscript": "serving.loaders.torch",
    "torch_export": "serving.loaders.torch",
}


def load(folder: Path) -> tuple[Model, Detected]:
    """Load the model of a folder. Raises `CannotLoad` with one sentence."""
    detected = detect(folder)
    if not detected.servable:
        raise CannotLoad(detected.reason)
    model = load_detected(folder, detected)
    if model.example is None:
        model.example = example_of((folder / detected.main_path).parent)
    return model, detected


def load_detected(folder: Path, detected: Detected) -> Model:
    """Load what was detected. Raises `CannotLoad` with one sentence."""
    try:
        model: Model = importlib.import_module(_LOADERS[detected.format]).load(folder, detected)
        return model
    except CannotLoad:
        raise
    except MemoryError:
        raise CannotLoad(
            f"'{detected.main_path}' needs more memory to load than a serving process has."
        ) from None
    except ModuleNotFoundError as error:
        raise CannotLoad(
            f"'{detected.main_path}' needs the package '{error.name}', which the serving environment lacks."
        ) from error
    except Exception as error:
        raise CannotLoad(f"'{detected.main_path}' could not be loaded: {one_line(error)}.") from error


def one_line(error: BaseException) -> str:
    """Kind and text of an error on one line of at most 300 characters, for the end of a sentence: without a full stop."""
    text = " ".join(str(error).split())[:300].rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
