"""ONNX models by onnxruntime, on a CUDA device where it has one."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from serving import devices
from serving import rows as _rows
from serving.formats import Detected
from serving.loaders import Tensor, Tensors
from serving.problems import CannotLoad, Problem
from serving.signature import NUMBER, TEXT, Column, Signature
from serving.values import DATATYPES, Array

_TYPES = {
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(float16)": "FP16",
    "tensor(string)": "BYTES",
    "tensor(bool)": "BOOL",
    **{
        f"tensor({sign}int{bits})": f"{sign}int{bits}".upper()
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
}


def load(folder: Path, detected: Detected) -> OnnxModel:
    """Open an inference session with one thread per request."""
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError:
        raise CannotLoad(
            "ONNX models need the package 'onnxruntime', which the serving environment lacks."
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    path = str(folder / detected.main_path)
    asked = devices.providers_of(onnxruntime)
    session = onnxruntime.InferenceSession(path, options, providers=asked)
    device = devices.of_session(session, asked)
    device.tell()
    return OnnxModel(session, device.name)


class OnnxModel:
    """A session behind rows and tensors; sequences and maps of outputs answer rows only."""

    platform = "onnx_onnxruntime"
    signature: Signature | None = None
    example: list[Any] | None = None

    def __init__(self, session: Any, device: str) -> None:
        self._session, self.device = session, device
        self.inputs = [_tensor(one) for one in session.get_inputs()]
        self.outputs = [_tensor(one) for one in session.get_outputs()]
        self.signature = _signature(self.inputs)

    def predict_rows(self, rows: list[Any], parameters: dict[str, Any]) -> Any:
        """The first output, or the one that `parameters.output` names."""
        wanted = parameters.get("output", self.outputs[0].name)
        names = [one.name for one in self.outputs]
        if wanted not in names:
            raise Problem(422, f"parameters.output {wanted!r} is unknown; the model has {', '.join(names)}.")
        return self._session.run([wanted], self._feed_rows(rows))[0]

    def infer(self, tensors: Tensors, parameters: dict[str, Any]) -> Tensors:
        """All outputs that are tensors."""
        known = {one.name: one for one in self.inputs}
        for name in tensors:
            if name not in known:
                raise Problem(422, f"inputs names '{name}'; the model takes {', '.join(known)}.")
        for name in known:
            if name not in tensors:
                raise Problem(422, f"inputs lacks '{name}'; the model takes {', '.join(known)}.")
        feed = {name: _fitting(known[name], array) for name, array in tensors.items()}
        values = self._session.run(None, feed)
        named = zip(self.outputs, values, strict=True)
        return {one.name: value for one, value in named if isinstance(value, np.ndarray)}

    def _feed_rows(self, rows: list[Any]) -> Tensors:
        if len(self.inputs) == 1 and not isinstance(rows[0], dict):
            return {self.inputs[0].name: self._one_input(rows)}
        names = [one.name for one in self.inputs]
        if all(len(one.shape) == 2 for one in self.inputs):
            table = _rows.table(rows, names, len(names))
            columns = [table[:, at : at + 1] for at in range(len(names))]
        else:
            columns = [
                _rows.nested([_value(at, row, n) for at, row in enumerate(rows, 1)], object) for n in names
            ]
        return {one.name: _fitting(one, array) for one, array in zip(self.inputs, columns, strict=True)}

    def _one_input(self, rows: list[Any]) -> Array:
        one = self.inputs[0]
        if len(one.shape) == 2:
            width = one.shape[1]
            return _fitting(one, _rows.table(rows, None, width if width > 0 else None))
        return _fitting(one, _rows.nested(rows, DATATYPES[one.datatype]))


def _signature(inputs: list[Tensor]) -> Signature | None:
    """Columns of a model of tables: one input of rows and columns, or one input per column."""
    kinds = ["" if one.datatype == "BOOL" else TEXT if one.datatype == "BYTES" else NUMBER for one in inputs]
    if not all(len(one.shape) == 2 and one.shape[1] > 0 for one in inputs):
        return None
    if len(inputs) == 1:
        return Signature([Column("", kinds[0])] * inputs[0].shape[1])
    if all(one.shape[1] == 1 for one in inputs):
        return Signature([Column(one.name, kind) for one, kind in zip(inputs, kinds, strict=True)])
    return None


def _value(at: int, row: Any, name: str) -> Any:
    if not isinstance(row, dict) or name not in row:
        raise Problem(
            422, f"Row {at} of 'instances' lacks the input '{name}'; send an object with every input."
        )
    return row[name]


def _tensor(one: Any) -> Tensor:
    shape = [length if isinstance(length, int) and length > 0 else -1 for length in one.shape or []]
    return Tensor(one.name, _TYPES.get(one.type, "BYTES"), shape)


def _fitting(one: Tensor, array: Array) -> Array:
    if one.shape and len(one.shape) != array.ndim:
        raise Problem(
            422, f"inputs '{one.name}' has {array.ndim} dimensions; the model takes {len(one.shape)}."
        )
    for wanted, length in zip(one.shape, array.shape, strict=False):
        if wanted > 0 and wanted != length:
            raise Problem(
                422,
                f"inputs '{one.name}' has the shape {list(array.shape)}; the model takes {list(one.shape)}.",
            )
    try:
        return np.asarray(array, dtype=DATATYPES[one.datatype])
    except (ValueError, TypeError):
        raise Problem(422, f"inputs '{one.name}' holds a value that is no {one.datatype}.") from None
