"""XGBoost and LightGBM models from their own files."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np

from serving import rows as _rows
from serving.devices import CPU
from serving.formats import Detected
from serving.loaders import Model, Tensor, Tensors
from serving.loaders.sklearn import SklearnModel
from serving.problems import CannotLoad, Problem
from serving.signature import NUMBER, Column, Signature
from serving.values import Array

_UNNAMED = re.compile(r"Column_\d+\Z")
_WRAPPERS = {"classifier": "XGBClassifier", "regressor": "XGBRegressor", "ranker": "XGBRanker"}


def load(folder: Path, detected: Detected) -> Model:
    """Load a booster; XGBoost's scikit-learn classes come back as what they were saved from."""
    path = str(folder / detected.main_path)
    try:
        library = importlib.import_module(detected.format)
    except ImportError:
        raise CannotLoad(
            f"'{detected.main_path}' needs the package '{detected.format}', which the serving environment lacks."
        ) from None
    if detected.format == "lightgbm":
        return of_booster(library.Booster(model_file=path))
    booster = library.Booster()
    booster.load_model(path)
    wrapper = _WRAPPERS.get(_saved_from(booster))
    if wrapper is None:
        return of_booster(booster)
    estimator = getattr(library, wrapper)()
    estimator.load_model(path)
    estimator.set_params(n_jobs=1)
    model = SklearnModel(estimator, "xgboost")
    model.signature = _signature(booster.feature_names, booster.feature_types, booster.num_features())
    return model


def _saved_from(booster: Any) -> str:
    said = str(booster.attr("scikit_learn") or "") + str(
        booster.save_config() if booster.attr("scikit_learn") else ""
    )
    return next((kind for kind in _WRAPPERS if f'_estimator_type": "{kind}"' in said), "")


def of_booster(booster: Any) -> BoosterModel:
    """A booster of either library, from its own file or from a pickle."""
    if type(booster).__module__.startswith("lightgbm"):
        names = [str(name) for name in booster.feature_name()]
        known = None if all(_UNNAMED.match(name) for name in names) else names
        return BoosterModel(booster, "lightgbm", _signature(known, None, len(names)))
    booster.set_param({"nthread": 1})
    return BoosterModel(
        booster, "xgboost", _signature(booster.feature_names, booster.feature_types, booster.num_features())
    )


def _signature(names: list[str] | None, types: list[str] | None, width: int) -> Signature:
    kinds = ["" if kind == "c" else NUMBER for kind in types or ["q"] * width]
    return Signature([Column(*both) for both in zip(names or [""] * width, kinds, strict=True)])


class BoosterModel:
    """A booster behind rows (by position or column name) and tensors; it answers what its objective gives."""

    device = CPU
    signature: Signature | None
    example: list[Any] | None = None

    def __init__(self, booster: Any, library: str, signature: Signature) -> None:
        self._booster, self.signature = booster, signature
        self._names, self._width = signature.names, len(signature.columns)
        self._lightgbm = library == "lightgbm"
        self.platform = f"{library}_Booster"
        self.inputs = [Tensor("instances", "FP64", [-1, self._width])]
        self.outputs = [Tensor("predictions", "FP64" if self._lightgbm else "FP32", [-1])]

    def predict_rows(self, rows: list[Any], parameters: dict[str, Any]) -> Any:
        """Values, or probabilities per class, as the booster's objective has them."""
        return self._predict(_rows.table(rows, self._names, self._width))

    def infer(self, tensors: Tensors, parameters: dict[str, Any]) -> Tensors:
        """One tensor of rows and columns."""
        array = next(iter(tensors.values()))
        width = self._width
        if len(tensors) != 1 or array.ndim != 2 or array.shape[1] != width or array.dtype == object:
            raise Problem(422, f"inputs must be one tensor of numbers, of rows and {width} columns.")
        return {"predictions": np.asarray(self._predict(array))}

    def _predict(self, array: Array) -> Any:
        if self._lightgbm:
            return self._booster.predict(array, num_threads=1)
        return self._booster.inplace_predict(array, validate_features=False)
