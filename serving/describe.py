"""What model files hold, read from their headers without loading any of them: types, tensors, signature.

`describe(folder)` gives {"files": [{"path", "size", "type"}], "parameters": number of values or None,
"tensor_bytes": bytes or None, "tensors": [{"name", "dtype", "shape"}], "signature": {"inputs": [...], "outputs": [...]}
or None, "notes": [sentences]}. Entries of a signature are {"name", "dtype", "shape"}; a dimension is a number, a name or
None. At most 200 files and 200 tensors are listed; counts are of all. Formats: safetensors (its README, "Format"), ONNX
(onnx.proto3, read field by field), NumPy's .npy (NEP 1), the signature in an MLflow MLmodel file.
"""

from __future__ import annotations

import ast
import json
import math
import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.sniff import HEAD, kind_of

MOST_LISTED = 200
MOST_HEADER = 32 << 20
MOST_HEAD_LINES = 1 << 20
MOST_FIELDS = 3_000_000
LONGEST_NAME = 300
MOST_DIMENSIONS = 32
# TensorProto.DataType of onnx.proto3, in the names that the Open Inference Protocol uses.
ONNX_TYPES = dict(
    enumerate(("UNDEFINED", "FP32", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64", "BYTES", "BOOL"))
)
ONNX_TYPES |= {10: "FP16", 11: "FP64", 12: "UINT32", 13: "UINT64", 14: "C64", 15: "C128", 16: "BF16"}
ONNX_BITS = {
    "FP32": 32,
    "UINT8": 8,
    "INT8": 8,
    "UINT16": 16,
    "INT16": 16,
    "INT32": 32,
    "INT64": 64,
    "BOOL": 8,
}
ONNX_BITS |= {"FP16": 16, "FP64": 64, "UINT32": 32, "UINT64": 64, "BF16": 16}
MLFLOW_TYPES = {"double": "FP64", "float": "FP32", "integer": "INT32", "long": "INT64", "string": "BYTES"}
MLFLOW_TYPES |= {"boolean": "BOOL", "binary": "BYTES", "datetime": "BYTES"}


class Odd(Exception):
    """A header that is not what its format says; the sentence for the notes."""


@dataclass
class Description:
    """What was found so far."""

    files: list[dict[str, Any]] = field(default_factory=list)
    tensors: list[dict[str, Any]] = field(default_factory=list)
    parameters: int | None = None
    tensor_bytes: int | None = None
    signature: dict[str, list[dict[str, Any]]] | None = None
    notes: list[str] = field(default_factory=list)

    def tensor(self, name: str, dtype: str, shape: list[int], size: int) -> None:
        """Counts one tensor of `size` bytes and lists it while there is room."""
        self.parameters = (self.parameters or 0) + math.prod(shape)
        self.tensor_bytes = (self.tensor_bytes or 0) + size
        if len(self.tensors) < MOST_LISTED:
            self.tensors.append({"name": name[:LONGEST_NAME], "dtype": dtype, "shape": shape})

    def as_dict(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "parameters": self.parameters,
            "tensor_bytes": self.tensor_bytes,
            "tensors": self.tensors,
            "signature": self.signature,
            "notes": self.notes[:20],
        }


def describe(folder: str | Path) -> dict[str, Any]:
    """The files below `folder`; never raises for what a file holds."""
    root, found = Path(folder), Description()
    paths = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    for path in paths:
        name = path.relative_to(root).as_posix()
        if len(found.files) < MOST_LISTED:
            found.files.append({"path": name, "size": path.stat().st_size, "type": _type_of(path)})
        reader = READERS.get(path.suffix.lower()) or NAMED.get(path.name)
        if reader is not None:
            _read(reader, path, name, found)
    return found.as_dict()


def _read(reader: Callable[[Path, Description], None], path: Path, name: str, found: Description) -> None:
    try:
        reader(path, found)
    except Odd as odd:
        found.notes.append(f"'{name[:200]}' {odd}.")
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        OverflowError,
        RecursionError,
        MemoryError,
        OSError,
    ) as error:
        found.notes.append(f"'{name[:200]}' has a header that could not be read ({type(error).__name__}).")


def _type_of(path: Path) -> str:
    with path.open("rb") as file:
        return kind_of(file.read(HEAD))


def _shape(value: object) -> list[int]:
    if not isinstance(value, list | tuple) or len(value) > MOST_DIMENSIONS:
        raise Odd("names a shape that is none")
    if any(not isinstance(each, int) or isinstance(each, bool) or not 0 <= each < 2**53 for each in value):
        raise Odd("names a shape that is none")
    return [int(each) for each in value]


# safetensors


def _safetensors(path: Path, found: Description) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, MOST_HEADER):
            raise Odd(f"announces a header of {length} bytes")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise Odd("has a header that is no object")
    for name, about in header.items():
        if name == "__metadata__":
            continue
        begin, end = about["data_offsets"]
        if not 0 <= begin <= end <= size - 8 - length:
            raise Odd("names bytes that it does not have")
        found.tensor(name, str(about["dtype"])[:20], _shape(about["shape"]), end - begin)


# ONNX


def _onnx(path: Path, found: Description) -> None:
    with path.open("rb") as file:
        # Not closed by hand: an error may still hold views into it.
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    _onnx_model(memoryview(whole), found)


def _onnx_model(view: memoryview, found: Description) -> None:
    graph = next((value for number, value in _fields(view) if number == 7), None)
    if not isinstance(graph, memoryview):
        raise Odd("has no graph")
    known: set[str] = set()
    inputs, outputs = [], []
    for number, value in _fields(graph):
        if not isinstance(value, memoryview):
            continue
        if number == 5:
            known.add(_onnx_tensor(value, found))
        elif number == 11:
            inputs.append(_onnx_value(value))
        elif number == 12:
            outputs.append(_onnx_value(value))
    found.signature = {
        "inputs": [each for each in inputs if each["name"] not in known][:MOST_LISTED],
        "outputs": outputs[:MOST_LISTED],
    }


def _onnx_tensor(view: memoryview, found: Description) -> str:
    shape: list[int] = []
    dtype, name = "UNDEFINED", ""
    for number, value in _fields(view):
        if number == 1:
            shape += list(_packed(value))
        elif number == 2 and isinstance(value, int):
            dtype = ONNX_TYPES.get(value, "UNDEFINED")
        elif number == 8 and isinstance(value, memoryview):
            name = _text(value)
    shape = _shape(shape)
    found.tensor(name, dtype, shape, math.prod(shape) * ONNX_BITS.get(dtype, 0) // 8)
    return name


def _packed(value: int | memoryview) -> Iterator[int]:
    if isinstance(value, int):
        yield value
        return
    at = 0
    while at < len(value):
        each, at = _varint(value, at)
        yield each


def _onnx_value(view: memoryview) -> dict[str, Any]:
    parts = dict(_fields(view))
    name, about = parts.get(1), parts.get(2)
    tensor = dict(_fields(about)).get(1) if isinstance(about, memoryview) else None
    fields = dict(_fields(tensor)) if isinstance(tensor, memoryview) else {}
    code, shape = fields.get(1), fields.get(2)
    return {
        "name": _text(name) if isinstance(name, memoryview) else "",
        "dtype": ONNX_TYPES.get(code, "UNDEFINED") if isinstance(code, int) else "UNDEFINED",
        "shape": _onnx_shape(shape) if isinstance(shape, memoryview) else None,
    }


def _onnx_shape(view: memoryview) -> list[int | str | None]:
    found: list[int | str | None] = []
    for number, value in _fields(view):
        if number != 1 or not isinstance(value, memoryview):
            continue
        dimension = dict(_fields(value))
        size, name = dimension.get(1), dimension.get(2)
        found.append(size if isinstance(size, int) else _text(name) if isinstance(name, memoryview) else None)
        if len(found) > MOST_DIMENSIONS:
            raise Odd("names a shape that is none")
    return found


def _fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a protobuf message: (number, whole number or bytes). developers.google.com/protocol-buffers,
    "Encoding"."""
    at, count = 0, 0
    while at < len(view):
        count += 1
        if count > MOST_FIELDS:
            raise Odd("has more parts than are looked at")
        key, at = _varint(view, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(view, at)
            yield key >> 3, value
            continue
        length, at = {1: (8, at), 5: (4, at)}.get(kind) or (_varint(view, at) if kind == 2 else (-1, at))
        if length < 0 or at + length > len(view):
            raise Odd("ends in the middle of a part")
        yield key >> 3, view[at : at + length]
        at += length


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(view) or shift > 63:
            raise Odd("ends in the middle of a number")
        byte = view[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _text(view: memoryview) -> str:
    return bytes(view[: LONGEST_NAME * 4]).decode("utf-8", "replace").replace("\0", "\ufffd")[:LONGEST_NAME]


# NumPy


def _npy(path: Path, found: Description) -> None:
    with path.open("rb") as file:
        start = file.read(12)
        if start[:6] != b"\x93NUMPY" or len(start) < 12:
            raise Odd("has no header of NumPy")
        wide = start[6] >= 2
        length = int.from_bytes(start[8:12] if wide else start[8:10], "little")
        if length > 64 << 10:
            raise Odd(f"announces a header of {length} bytes")
        header = ((b"" if wide else start[10:]) + file.read(length))[:length]
    about = ast.literal_eval(header.decode("latin-1").strip())
    shape = _shape(about["shape"])
    size = path.stat().st_size - (12 if wide else 10) - length
    found.tensor(path.name, str(about["descr"])[:40], shape, max(0, size))


# MLflow


def _mlmodel(path: Path, found: Description) -> None:
    try:
        import yaml
    except ImportError:
        return
    if path.stat().st_size > 1 << 20:
        raise Odd("is too long to be read")
    try:
        whole = yaml.safe_load(path.read_text("utf-8", "replace"))
    except yaml.YAMLError as error:
        raise Odd("is not plain YAML") from error
    signature = whole.get("signature") if isinstance(whole, dict) else None
    if found.signature is None and isinstance(signature, dict):
        sides = {name: _mlflow_side(signature.get(name)) for name in ("inputs", "outputs")}
        found.signature = sides if any(sides.values()) else None


def _mlflow_side(text: object) -> list[dict[str, Any]]:
    columns = json.loads(text) if isinstance(text, str) else []
    return [_mlflow_column(each, index) for index, each in enumerate(columns[:MOST_LISTED])]


def _mlflow_column(about: Any, index: int) -> dict[str, Any]:
    name = str(about.get("name") or f"column {index}")[:LONGEST_NAME]
    if about.get("type") != "tensor":
        kind = str(about.get("type"))
        return {"name": name, "dtype": MLFLOW_TYPES.get(kind, kind[:40]), "shape": None}
    tensor = about["tensor-spec"]
    shape = [None if each == -1 else int(each) for each in tensor["shape"][:MOST_DIMENSIONS]]
    return {"name": name, "dtype": str(tensor["dtype"])[:40], "shape": shape}


# XGBoost and LightGBM


def _xgboost(path: Path, found: Description) -> None:
    with path.open("rb") as file:
        if kind_of(file.read(HEAD)) != "xgboost" or path.stat().st_size > MOST_HEADER:
            return
    learner = json.loads(path.read_bytes())["learner"]
    width = int(learner["learner_model_param"]["num_feature"])
    names, types = learner.get("feature_names") or [], learner.get("feature_types") or []
    found.signature = {"inputs": _columns(names, types, width), "outputs": [_prediction("FP32")]}


def _lightgbm(path: Path, found: Description) -> None:
    with path.open("rb") as file:
        head = file.read(MOST_HEAD_LINES)
    if kind_of(head[:HEAD]) != "lightgbm":
        return
    line = next((line for line in head.splitlines() if line.startswith(b"feature_names=")), b"")
    names = line.decode("utf-8", "replace").partition("=")[2].split()
    found.signature = {"inputs": _columns(names, [], len(names)), "outputs": [_prediction("FP64")]}


def _columns(names: list[Any], types: list[Any], width: int) -> list[dict[str, Any]]:
    named = names or [f"column {index + 1}" for index in range(min(width, MOST_LISTED))]
    return [
        {"name": str(name)[:LONGEST_NAME], "dtype": "BYTES" if kind == "c" else "FP64", "shape": None}
        for name, kind in zip(named[:MOST_LISTED], [*types, *["q"] * MOST_LISTED], strict=False)
    ]


def _prediction(dtype: str) -> dict[str, Any]:
    return {"name": "predictions", "dtype": dtype, "shape": [None]}


READERS: dict[str, Callable[[Path, Description], None]] = {
    ".safetensors": _safetensors,
    ".onnx": _onnx,
    ".npy": _npy,
    ".json": _xgboost,
    ".txt": _lightgbm,
    ".lgb": _lightgbm,
}
NAMED: dict[str, Callable[[Path, Description], None]] = {"MLmodel": _mlmodel}
