"""scikit-learn estimators from skops, joblib or pickle files."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from serving import rows as _rows
from serving.allowed import is_allowed
from serving.devices import CPU
from serving.formats import Detected
from serving.loaders import Model, Tensor, Tensors, one_line
from serving.problems import CannotLoad, Problem
from serving.signature import Column, Signature
from serving.values import Array

MOST_SEARCHED = 10_000
METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "score_samples", "transform")


def load(folder: Path, detected: Detected) -> Model:
    """Load the estimator. skops files get exactly the types that the scan's allow-list knows."""
    path = folder / detected.main_path
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator = (
            _from_skops(path, detected.main_path) if detected.format == "skops" else _from_joblib(path)
        )
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    for text in dict.fromkeys(str(one.message) for one in caught):
        print(f"warning while loading: {text}", flush=True)
    if type(estimator).__module__ in ("xgboost.core", "lightgbm.basic"):
        return importlib.import_module("serving.loaders.boosting").of_booster(estimator)  # type: ignore[no-any-return]
    if not any(hasattr(estimator, method) for method in METHODS):
        raise CannotLoad(
            f"'{detected.main_path}' holds a {type(estimator).__name__}, which has no predict method; "
            "save the fitted estimator itself."
        )
    return SklearnModel(estimator, detected.framework)


def _from_skops(path: Path, name: str) -> Any:
    skops = importlib.import_module("skops.io")
    untrusted = skops.get_untrusted_types(file=path)
    for full in untrusted:
        module, _, kind = full.rpartition(".")
        if not is_allowed(module, kind):
            raise CannotLoad(
                f"'{name}' needs the type {full}, which is not among those known to be harmless."
            )
    return skops.load(path, trusted=untrusted)


def _from_joblib(path: Path) -> Any:
    return importlib.import_module("joblib").load(path)


class SklearnModel:
    """An estimator behind rows (by position or column name) and tensors."""

    device = CPU
    signature: Signature | None = None
    example: list[Any] | None = None

    def __init__(self, estimator: Any, framework: str) -> None:
        self._estimator = estimator
        self.platform = f"{framework}_{type(estimator).__name__}"
        names = _fact(estimator, "feature_names_in_")
        self._columns = None if names is None else [str(name) for name in names]
        width = _fact(estimator, "n_features_in_")
        self._width = len(self._columns) if self._columns else None if width is None else int(width)
        self.inputs = [Tensor("instances", "FP64", [-1, -1 if self._width is None else self._width])]
        if self._columns:
            self.signature = Signature([Column(name) for name in self._columns])
        elif _takes_texts(estimator):
            self.inputs = [Tensor("instances", "BYTES", [-1])]
        self.outputs = [Tensor("predictions", self._answer_datatype(), [-1])]

    def _answer_datatype(self) -> str:
        classes = getattr(self._estimator, "classes_", None)
        if classes is None or isinstance(classes, list):
            return "INT64" if hasattr(self._estimator, "labels_") else "FP64"
        kind = np.asarray(classes).dtype.kind
        return "INT64" if kind in "iu" else "FP64" if kind == "f" else "BOOL" if kind == "b" else "BYTES"

    def predict_rows(self, rows: list[Any], parameters: dict[str, Any]) -> Any:
        """Predictions of any method the estimator has; `parameters.method` chooses it."""
        method = self._method(parameters)
        if all(isinstance(row, str) for row in rows) and self._columns is None:
            return _asked(method, rows)
        if self._columns is None and self.signature is not None:
            rows = self.signature.in_order(rows)
        array = _rows.table(rows, self._columns, self._width)
        try:
            return method(self._frame(array))
        except ValueError as error:  # scikit-learn's way to refuse values
            raise Problem(422, self._refusal(array, error)) from error

    def _refusal(self, array: Array, error: ValueError) -> str:
        """The sentence about the value that the estimator did not take, as far as its own words tell which."""
        text = one_line(error)
        for at, row in enumerate(array[:MOST_SEARCHED].tolist(), 1):
            for place, value in enumerate(row):
                column = f"'{self._columns[place]}'" if self._columns else str(place + 1)
                if isinstance(value, str) and repr(value) in text:
                    return (
                        f"Row {at} of 'instances': the column {column} does not take {value[:60]!r} ({text})."
                    )
                if "NaN" in text and value != value:
                    return (
                        f"Row {at} of 'instances': the column {column} has no value; the model takes no gaps."
                    )
        return f"The model does not take these rows: {text}."

    def infer(self, tensors: Tensors, parameters: dict[str, Any]) -> Tensors:
        """One tensor (rows, columns), one of texts, or one tensor per column name."""
        method = self._method(parameters)
        return {"predictions": np.asarray(_asked(method, self._table_of(tensors)))}

    def _method(self, parameters: dict[str, Any]) -> Any:
        name = parameters.get("method") or ("predict" if hasattr(self._estimator, "predict") else "transform")
        have = [one for one in METHODS if hasattr(self._estimator, one)]
        if name not in have:
            raise Problem(422, f"parameters.method {name!r} is unknown; the model has {', '.join(have)}.")
        return getattr(self._estimator, name)

    def _table_of(self, tensors: Tensors) -> Any:
        if len(tensors) == 1:
            (name, array), *_ = tensors.items()
            if array.ndim == 1 and array.dtype == object and self._columns is None:
                return array.tolist()
            self._check_shape(name, array)
            return self._frame(array)
        known = self._columns or (self.signature.names if self.signature else None)
        columns = [name for name in known or [] if name in tensors]
        if known is None or len(columns) != len(known) or len(tensors) != len(columns):
            takes = f"one input per column: {', '.join(known)}" if known else "one input"
            raise Problem(422, f"inputs names {len(tensors)} tensors; the model takes {takes}.")
        parts = [tensors[name].reshape(-1) for name in columns]
        if len({len(part) for part in parts}) > 1:
            raise Problem(422, "inputs must all have the same number of rows.")
        return self._frame(np.stack(parts, axis=1))

    def _check_shape(self, name: str, array: Array) -> None:
        if array.ndim != 2:
            raise Problem(
                422, f"inputs '{name}' has {array.ndim} dimensions; the model takes rows and columns."
            )
        if self._width is not None and array.shape[1] != self._width:
            raise Problem(
                422, f"inputs '{name}' has {array.shape[1]} columns; the model takes {self._width}."
            )

    def _frame(self, array: Array) -> Any:
        """A DataFrame where the model was trained on one and pandas is there, for its columns by name."""
        if self._columns is None:
            return array
        try:
            pandas = importlib.import_module("pandas")
        except ImportError:
            return array
        frame = pandas.DataFrame(array, columns=self._columns)
        return frame.infer_objects() if array.dtype == object else frame


def _asked(method: Any, values: Any) -> Any:
    """What the estimator answers; the values that it refuses are the caller's mistake."""
    try:
        return method(values)
    except ValueError as error:
        raise Problem(422, f"The model does not take these values: {one_line(error)}.") from error


def _takes_texts(estimator: Any) -> bool:
    """Whether it, or the first step of a pipeline, makes words of texts."""
    steps = getattr(estimator, "steps", None)
    first = steps[0][1] if isinstance(steps, list) and steps else estimator
    return hasattr(first, "build_analyzer")


def _fact(estimator: Any, name: str) -> Any:
    """What an estimator knows of its columns; a booster behind scikit-learn's face may refuse to tell."""
    try:
        return getattr(estimator, name, None)
    except Exception:
        return None
