"""A model folder that brings its own code: predictor.py with a class Predictor."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from serving.formats import Detected
from serving.loaders import Outputs, Tensor, Tensors
from serving.problems import CannotLoad
from serving.signature import Signature

CONTRACT = "define a class Predictor with load(self, path) and predict(self, rows)"


def load(folder: Path, detected: Detected) -> PredictorModel:
    """Import predictor.py, make a Predictor and let it load its folder. Raises `CannotLoad`."""
    path = folder / detected.main_path
    home = str(path.parent)
    sys.path.insert(0, home)
    spec = importlib.util.spec_from_file_location("predictor", path)
    if spec is None or spec.loader is None:
        raise CannotLoad(f"'{detected.main_path}' cannot be imported; {CONTRACT}.")
    module = importlib.util.module_from_spec(spec)
    sys.modules["predictor"] = module
    spec.loader.exec_module(module)
    kind = getattr(module, "Predictor", None)
    if not isinstance(kind, type):
        raise CannotLoad(f"'{detected.main_path}' has no class Predictor; {CONTRACT}.")
    for method in ("load", "predict"):
        if not callable(getattr(kind, method, None)):
            raise CannotLoad(f"'{detected.main_path}' has a Predictor without {method}; {CONTRACT}.")
    predictor = kind()
    loaded = predictor.load(home)
    return PredictorModel(loaded if isinstance(loaded, kind) else predictor)


class PredictorModel:
    """Hands rows to Predictor.predict as they came: a list of lists, of objects, or of values."""

    platform = "python_predictor"
    device = "its own"  # its code chooses
    signature: Signature | None = None
    example: list[Any] | None = None

    def __init__(self, predictor: Any) -> None:
        self._predictor = predictor
        self.inputs = [Tensor("instances", "FP64", [-1, -1])]
        self.outputs = [Tensor("predictions", "FP64", [-1])]

    def predict_rows(self, rows: list[Any], parameters: dict[str, Any]) -> Any:
        """Whatever predict returns: a list, an array, or anything with tolist()."""
        return self._predictor.predict(rows)

    def infer(self, tensors: Tensors, parameters: dict[str, Any]) -> Outputs:
        """One tensor becomes rows; several become rows of {name: value}."""
        if len(tensors) == 1:
            rows = next(iter(tensors.values())).tolist()
        else:
            columns = [array.tolist() for array in tensors.values()]
            rows = [dict(zip(tensors, values, strict=True)) for values in zip(*columns, strict=True)]
        return {"predictions": self._predictor.predict(rows)}
