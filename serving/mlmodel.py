"""What an MLflow model folder says of itself in its MLmodel file, read without MLflow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.files import Unreadable

LARGEST = 1 << 20
# Where each flavor that is loaded here names its file; python_function names a module that MLflow loads.
FILE_KEYS = {
    "sklearn": "pickled_model",
    "xgboost": "data",
    "lightgbm": "data",
    "onnx": "data",
    "pytorch": "model_data",
}


@dataclass(frozen=True)
class MLmodel:
    """Paths of the model's files by flavor, the module that would load it, its columns, and its example."""

    files: Mapping[str, str]
    loader_module: str
    inputs: list[dict[str, Any]]
    example_path: str


def read(data: bytes) -> MLmodel:
    """The parts that matter here. Raises `Unreadable`."""
    if len(data) > LARGEST:
        raise Unreadable("is too long to be an MLmodel file")
    try:
        import yaml
    except ImportError:
        raise Unreadable("needs the package 'pyyaml', which the serving environment lacks") from None
    try:
        whole = yaml.safe_load(data.decode("utf-8", "replace"))
        flavors = whole["flavors"]
        files = {
            flavor: str(flavors[flavor][key])
            for flavor, key in FILE_KEYS.items()
            if isinstance(flavors.get(flavor), dict) and isinstance(flavors[flavor].get(key), str)
        }
        module = str((flavors.get("python_function") or {}).get("loader_module") or "")
        return MLmodel(files, module, _inputs(whole), _example(whole))
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise Unreadable("is not what MLflow writes") from None


def _inputs(whole: dict[str, Any]) -> list[dict[str, Any]]:
    signature = whole.get("signature") or {}
    text = signature.get("inputs") if isinstance(signature, dict) else None
    columns = json.loads(text) if isinstance(text, str) else []
    return [each for each in columns if isinstance(each, dict)] if isinstance(columns, list) else []


def _example(whole: dict[str, Any]) -> str:
    about = whole.get("saved_input_example_info") or {}
    return str(about.get("serving_input_path") or about.get("artifact_path") or "")
