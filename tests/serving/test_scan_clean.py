"""Ordinary model files pass the scan."""

from __future__ import annotations

import importlib
import io
import json
import os
import pickle
import pkgutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.datasets import load_iris
from sklearn.utils import all_estimators

from serving.allowed import is_allowed
from serving.scan import run_limited, scan
from tests.serving import samples

NAMES = (
    "AdaBoostClassifier BaggingClassifier BisectingKMeans DecisionTreeClassifier ExtraTreesRegressor "
    "GaussianProcessRegressor GradientBoostingClassifier HistGradientBoostingClassifier "
    "IsolationForest KMeans KNeighborsClassifier LinearSVC LogisticRegression MLPClassifier "
    "MultinomialNB PCA RandomForestClassifier Ridge SGDClassifier SVC SelectKBest SplineTransformer "
    "StandardScaler NearestNeighbors"
)


def _verdict(name: str, data: bytes) -> tuple[str, list[str]]:
    found = scan([(name, lambda: io.BytesIO(data))])
    return found.verdict, found.reasons


@pytest.fixture(scope="module")
def fitted() -> dict[str, Any]:
    x, y = load_iris(return_X_y=True)
    kinds = dict(all_estimators())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: kinds[name]().fit(np.abs(x), y) for name in NAMES.split()}


@pytest.mark.parametrize("name", NAMES.split())
def test_ordinary_estimators_are_clean_in_every_format(name: str, fitted: dict[str, Any]) -> None:
    model = fitted[name]
    files = [("model.pkl", pickle.dumps(model, protocol)) for protocol in (0, 2, 4, 5)]
    files += [
        ("m.joblib", samples.joblib_bytes(model, how)) for how in (0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3))
    ]
    files.append(("m.skops", skops.io.dumps(model)))
    for path, data in files:
        assert _verdict(path, data) == ("clean", [])


def test_pipelines_and_arrays_of_objects_are_clean() -> None:
    mixed = {
        "pipeline": samples.iris(),
        "names": np.array(["a", None, {"b": 1}], dtype=object),
        "table": np.zeros(3, dtype=[("a", "f4"), ("b", "U7"), ("c", "i8", (2, 2))]),
        "empty": np.zeros((0, 4)),
        "fortran": np.asfortranarray(np.ones((3, 2))),
        "days": np.array(["2026-01-01"], dtype="M8[D]"),
        "random": np.random.default_rng(1),
    }
    assert _verdict("m.joblib", samples.joblib_bytes(mixed)) == ("clean", [])
    assert _verdict("m.joblib", samples.joblib_bytes(mixed, 3)) == ("clean", [])


def test_torch_files_onnx_and_plain_files_are_clean() -> None:
    for name, data in {
        "model.pt": samples.torch_state_dict(),
        "script.pt": samples.torchscript(),
        "model.onnx": samples.onnx_bytes(),
        "README.md": b"class Foo:\n  import os\n\ncos\nof the angle\n",
        "metrics.json": json.dumps({"a": 1}).encode(),
        "image.png": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
        "notes.txt": "Gemüse, Übergrößen, 東京".encode(),
        "tokens.gguf": b"GGUF" + bytes(100),
        "trees.ubj": b"{L\x00\x00\x00\x00" + bytes(range(256)),
    }.items():
        assert _verdict(name, data) == ("clean", [])


def test_bytes_of_an_unknown_kind_are_not_called_clean() -> None:
    data = np.random.default_rng(0).bytes(50_000)
    verdict, reasons = _verdict("weights.bin", data)
    assert verdict == "not_scannable"
    assert reasons == ["'weights.bin' is of a kind that the scan does not know."]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as inside:
        inside.writestr("inner.bin", data)
    assert _verdict("model.zip", archive.getvalue())[0] == "not_scannable"


def test_a_predictor_is_noted_and_not_suspicious() -> None:
    verdict, reasons = _verdict("predictor.py", samples.PREDICTOR.encode())
    assert verdict == "clean" and "runs in the serving process" in reasons[0]


def test_the_limited_scan_answers_detection_and_verdict(tmp_path: Path) -> None:
    said = run_limited(samples.folder(tmp_path / "m", model__joblib=samples.joblib_bytes(samples.iris())))
    assert said["verdict"] == "clean" and said["reasons"] == []
    assert said["detected"]["format"] == "joblib"  # type: ignore[index]


def test_the_limited_scan_ends_a_scan_that_takes_too_long(tmp_path: Path) -> None:
    said = run_limited(samples.folder(tmp_path / "m", model__pkl=pickle.dumps(1)), timeout=0.01)
    assert said["verdict"] == "not_scannable" and "did not end" in said["reasons"][0]  # type: ignore[index]


def test_the_limited_scan_survives_a_file_that_needs_too_much_memory(tmp_path: Path) -> None:
    size = 5 << 28
    path = samples.folder(tmp_path / "m") / "model.pkl"
    path.write_bytes(b"\x80\x04\x8d" + size.to_bytes(8, "little"))
    os.truncate(path, size + 100)
    said = run_limited(path.parent)
    assert said["verdict"] == "not_scannable" and "memory" in said["reasons"][0]  # type: ignore[index]


def test_every_name_the_list_lets_through_is_the_librarys_own() -> None:
    """A class that a scikit-learn module only imports from elsewhere must not be let through by its name."""
    harmless = {
        "numbers",
        "abc",
        "collections",
        "collections.abc",
        "typing",
        "_cyutility",
        "View.MemoryView",
        "builtins",
    }
    strangers = set()
    for package in ("sklearn", "joblib"):
        for name in _modules(package):
            for what, value in vars(importlib.import_module(name)).items():
                home = str(getattr(value, "__module__", None) or type(value).__module__)
                ours = home.split(".")[0] in ("sklearn", "numpy", "scipy", "joblib")
                if callable(value) and is_allowed(name, what) and not ours and home not in harmless:
                    strangers.add(f"{name}.{what} is {home}")
    assert strangers == set()


def _modules(package: str) -> list[str]:
    left_out = ("test", "conftest", "externals", "_build", "__main__", "_array_api")
    root = importlib.import_module(package)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pkgutil.walk_packages(root.__path__, f"{package}.", onerror=lambda _: None)
        return [
            one.name for one in found if not any(part in one.name for part in left_out) and _imports(one.name)
        ]


def _imports(name: str) -> bool:
    try:
        importlib.import_module(name)
    except Exception:
        return False
    return True
