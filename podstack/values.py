"""Python values on their way to JSON and back: non-finite numbers, numpy scalars and arrays, tables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date
from pathlib import PurePath
from typing import Any

from podstack.errors import ValidationError

NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def dump(value: Any) -> bytes:
    """`value` as strict JSON in UTF-8; ValidationError for what JSON cannot say."""
    try:
        return json.dumps(plain(value), allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValidationError(
            f"A value cannot be sent as JSON: {error}.", hint="Use texts, numbers, lists and dictionaries."
        ) from error


def plain(value: Any) -> Any:
    """`value` as JSON's own types: arrays as lists, tables as lists of records, NaN and ±Infinity as text."""
    if isinstance(value, float):
        return plain_number(value)
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return _plain_foreign(value)


def _plain_foreign(value: Any) -> Any:
    """numpy, torch and pandas by their methods, so that none of them is needed here."""
    if isinstance(value, date | PurePath):
        return value.isoformat() if isinstance(value, date) else str(value)
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return plain(value.to_dict(orient="records"))
    for method in ("tolist", "item"):
        if callable(getattr(value, method, None)):
            return plain(getattr(value, method)())
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def plain_number(value: float) -> float | str:
    """A float, or the text that stands for NaN or an infinity."""
    if math.isfinite(value):
        return float(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def number(value: Any) -> float:
    """A metric's value as a float, numpy scalars and one-element tensors too; else ValidationError."""
    if isinstance(value, str | bytes) or value is None:
        raise ValidationError(f"A metric's value must be a number, not {value!r}.")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ValidationError(
            f"A metric's value must be a number, not {type(value).__name__}: {error}."
        ) from error


def parse_number(value: Any) -> Any:
    """The reverse of `plain_number`; anything else stays as it is."""
    return NON_FINITE.get(value, value) if isinstance(value, str) else value


def parse_numbers(value: Any) -> Any:
    """`parse_number` for each item of a list or dictionary."""
    if isinstance(value, Mapping):
        return {key: parse_number(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(parse_number(item) for item in value)
    return parse_number(value)


def scalar(value: Any) -> str | int | float | bool | None:
    """A parameter's value as one JSON scalar: lists and dictionaries as JSON text, other objects `str()`."""
    try:
        simple = plain(value)
    except TypeError:
        return str(value)
    if isinstance(simple, list | dict):
        return json.dumps(simple, ensure_ascii=False, sort_keys=True)
    return simple  # type: ignore[no-any-return]
