"""Python values on their way to JSON and back: non-finite numbers, numpy scalars and arrays, tables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date
from pathlib import PurePath
from typing import Any

from podstack.errors import ValidationError

LARGEST_STEP = 2**62
NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def dump(value: Any) -> bytes:
    """`value` as strict JSON in UTF-8; ValidationError for what JSON cannot say."""
    try:
        return json.dumps(plain(value), allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValidationError(
            f"{_place_of_fault(value) or 'A value'} cannot be sent as JSON: {error}.",
            hint="Use texts, numbers, lists and dictionaries.",
        ) from error


def _place_of_fault(value: Any) -> str:
    """Where in a body stands what JSON cannot say, such as source_run_id or tags.owner; "" where none is found."""
    items = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, item in items:
        try:
            json.dumps(plain(item), allow_nan=False)
        except (TypeError, ValueError):
            inner = _place_of_fault(item)
            return f"{key}.{inner}" if inner else str(key)
        except RecursionError:
            return str(key)
    return ""


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


def number(key: object, value: Any) -> float:
    """The metric's value as a float, numpy scalars, arrays and tensors of one element too; else ValidationError."""
    if type(value) is float:
        return value
    single = value if isinstance(value, float | int) else _only_element(key, value)
    if isinstance(single, str | bytes) or single is None:
        raise ValidationError(f"The metric {key} is {single!r}; it must be a number.")
    try:
        return float(single)
    except OverflowError as error:
        raise ValidationError(f"The metric {key} is larger than a float can be.") from error
    except (TypeError, ValueError, RuntimeError) as error:
        kind = type(value).__name__
        hint = 'Log each under a key of its own, such as "train/loss".' if isinstance(value, Mapping) else ""
        raise ValidationError(
            f"The metric {key} is of type {kind}; it must be a number.", hint=hint
        ) from error


def step_number(step: Any) -> int:
    """A step as a whole number, numpy's too; ValidationError for any other, a fraction for example."""
    if type(step) is int and -LARGEST_STEP <= step <= LARGEST_STEP:
        return step  # this is asked in each step of a training
    try:
        chosen = int(step)
        whole = not isinstance(step, str) and chosen == step
    except (TypeError, ValueError, OverflowError, RuntimeError):
        whole = False
    if not whole or abs(chosen) > LARGEST_STEP:
        raise ValidationError(f"step is {step!r}; it must be a whole number from -2**62 to 2**62.")
    return chosen


def _only_element(key: object, value: Any) -> Any:
    """What an array or tensor of one element holds; whatever has no elements stays as it is."""
    shape = getattr(value, "shape", ())
    if shape and math.prod(shape) != 1:
        raise ValidationError(
            f"The metric {key} is an array of shape {tuple(shape)}; it must be one number.",
            hint="Log its mean, or each element at a step of its own.",
        )
    return value.item() if shape and callable(getattr(value, "item", None)) else value


def mapping(name: str, value: Any) -> dict[str, Any]:
    """`value` as a dictionary with texts as keys, a pandas Series too; ValidationError for anything else."""
    items = getattr(value, "items", None)
    if not callable(items):
        raise ValidationError(f"{name} is of type {type(value).__name__}; it must be a dictionary.")
    return {str(key): item for key, item in items()}


def several(name: str, value: Any, what: str = "texts") -> list[Any]:
    """`value` as a list of `what`; else ValidationError, for one text too, whose letters a list would hold."""
    sentence = f"{name} is {value!r}; it must be a list of {what}."
    if isinstance(value, str | Mapping):
        one = [value] if isinstance(value, str) else [str(key) for key in value]
        raise ValidationError(sentence, hint=f"Write {one!r}.")
    try:
        return list(value)
    except TypeError as error:
        raise ValidationError(sentence) from error


def texts(name: str, value: Any) -> list[str]:
    """The same of texts."""
    return [str(item) for item in several(name, value)]


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
