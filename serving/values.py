"""Between JSON and arrays: non-finite numbers travel as the strings "NaN", "Infinity" and "-Infinity"."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from serving.problems import Problem

NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
Array = np.ndarray[Any, np.dtype[Any]]

# Open Inference Protocol datatypes
DATATYPES = {
    "BOOL": "bool",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "object",
}
_NAMES = {name: datatype for datatype, name in DATATYPES.items()}


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object of a request body, or a 400 `Problem`."""
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        raise Problem(400, "The body is nested too deeply; send a flat list of rows.") from None
    except ValueError as error:
        raise Problem(400, f"The body is not JSON ({error}); send a JSON object.") from None
    if not isinstance(value, dict):
        raise Problem(400, 'The body must be a JSON object, for instance {"instances": [[1, 2, 3]]}.')
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f'write {name} as the string "{name}"')


def encode(value: Any) -> bytes:
    """JSON bytes of a value that may hold arrays, numpy scalars and non-finite numbers.

    Raises ValueError, TypeError or RecursionError for what JSON cannot say.
    """
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"), default=_plain).encode()
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind in "mM":
            return value.astype(str).tolist()
        return value.tolist()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    if hasattr(value, "tolist"):  # pandas, torch
        return value.tolist()
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    return _finite(_plain(value))


def number(value: Any) -> Any:
    """A JSON scalar as a model takes it: null and the non-finite names become floats."""
    if value is None:
        return math.nan
    return NON_FINITE.get(value, value) if isinstance(value, str) else value


def datatype_of(array: Array) -> str:
    """Open Inference Protocol datatype of an array."""
    return _NAMES.get(array.dtype.name, "BYTES")


def tensor(field: str, datatype: Any, shape: Any, data: Any) -> Array:
    """An array of a protocol tensor; `field` is named in the `Problem` about a bad one."""
    if datatype not in DATATYPES:
        known = ", ".join(DATATYPES)
        raise Problem(400, f"{field}.datatype {datatype!r} is unknown; send one of {known}.")
    good = isinstance(shape, list) and all(type(one) is int and one >= 1 for one in shape)
    if not good:
        raise Problem(400, f"{field}.shape must be a list of whole numbers from 1 on, for instance [2, 4].")
    try:
        flat = list(_flat(data, field))
    except RecursionError:
        raise Problem(400, f"{field}.data is nested too deeply; send a flat list of values.") from None
    if len(flat) != math.prod(shape):
        raise Problem(
            400, f"{field}.data holds {len(flat)} values; the shape {shape} needs {math.prod(shape)}."
        )
    if datatype != "BYTES":
        flat = [number(one) for one in flat]
    try:
        return np.array(flat, dtype=DATATYPES[datatype]).reshape(shape)
    except (ValueError, TypeError, OverflowError):
        raise Problem(400, f"{field}.data holds a value that is no {datatype}.") from None


def _flat(data: Any, field: str) -> Any:
    if not isinstance(data, list):
        raise Problem(400, f"{field}.data must be a list of values.")
    for one in data:
        if isinstance(one, list):
            yield from _flat(one, field)
        else:
            yield one
