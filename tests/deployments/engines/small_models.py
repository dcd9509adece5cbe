"""One small model of each format that the serving runtime loads, trained here; and what it must answer."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import pytest
import skops.io
import xgboost
from sklearn.datasets import load_iris

from tests.serving import samples

ROWS: list[list[float]] = load_iris().data[::30].tolist()


@dataclass(frozen=True)
class Made:
    """What to ask a model, and what it answers when it is called directly."""

    rows: list[Any]
    predictions: list[Any]


def _skops(folder: Path) -> Made:
    (folder / "model.skops").write_bytes(skops.io.dumps(samples.iris()))
    return Made(ROWS, samples.iris().predict(ROWS).tolist())


def _joblib(folder: Path) -> Made:
    joblib.dump(samples.iris(), folder / "model.joblib", compress=3)
    return Made(ROWS, samples.iris().predict(ROWS).tolist())


def _onnx(folder: Path) -> Made:
    (folder / "model.onnx").write_bytes(samples.onnx_bytes())
    return Made(ROWS, samples.iris().predict(ROWS).tolist())


def _xgboost(folder: Path) -> Made:
    x, y = load_iris(return_X_y=True)
    booster = xgboost.train({"objective": "multi:softmax", "num_class": 3}, xgboost.DMatrix(x, y), 3)
    booster.save_model(folder / "model.ubj")
    return Made(ROWS, booster.predict(xgboost.DMatrix(np.array(ROWS))).tolist())


def _lightgbm(folder: Path) -> Made:
    x, y = load_iris(return_X_y=True)
    booster = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(x, y), 3)
    booster.save_model(folder / "model.txt")
    return Made(ROWS, booster.predict(np.array(ROWS)).tolist())


def _mlflow(folder: Path) -> Made:
    """As MLflow writes a scikit-learn model, with a signature by column name."""
    columns = [{"type": "double", "name": name, "required": True} for name in "abcd"]
    flavors = "sklearn: {pickled_model: model.pkl}, python_function: {loader_module: mlflow.sklearn}"
    text = f"flavors: {{{flavors}}}\nsignature:\n  inputs: '{json.dumps(columns)}'\n"
    (folder / "MLmodel").write_text(text)
    (folder / "model.pkl").write_bytes(pickle.dumps(samples.iris()))
    rows = [dict(zip("abcd", row, strict=True)) for row in ROWS]
    return Made(rows, samples.iris().predict(ROWS).tolist())


def _predictor(folder: Path) -> Made:
    (folder / "predictor.py").write_text(samples.PREDICTOR)
    return Made([[1, 2], [3, 4]], [3, 7])


def _torchscript(folder: Path) -> Made:
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(4, 2).eval()
    torch.jit.script(module).save(str(folder / "model.pt"))
    return Made(ROWS, module(torch.tensor(ROWS)).detach().numpy().tolist())


def _torch_export(folder: Path) -> Made:
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(4, 2).eval()
    rows = torch.export.Dim("rows")
    exported = torch.export.export(module, (torch.zeros(2, 4),), dynamic_shapes=({0: rows},))
    torch.export.save(exported, str(folder / "model.pt2"))
    return Made(ROWS, module(torch.tensor(ROWS)).detach().numpy().tolist())


FORMATS: dict[str, Callable[[Path], Made]] = {
    "skops": _skops,
    "joblib": _joblib,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "mlflow": _mlflow,
    "onnx": _onnx,
    "predictor": _predictor,
    "torchscript": _torchscript,
    "torch_export": _torch_export,
}


def same(got: Any, wanted: Any) -> bool:
    """Whether predictions are equal, numbers up to what single precision loses."""
    return bool(np.allclose(np.asarray(got, float), np.asarray(wanted, float), atol=1e-4))
