"""Configurations: JSON objects of training parameters, and the schema that training code may declare for them."""

from __future__ import annotations

import json
import math
from typing import Any

from common.checks import shorten
from common.errors import Invalid
from scheduling.schemas import check_rules, fault

MOST_BYTES = 256 * 1024
DEEPEST = 32
MOST_OF_ONE = (
    100 * 1024
)  # bytes; each plain value becomes an environment variable, and Linux ends those at 128 KiB


def check_configuration(value: object, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    """An object of plain JSON that fits the schema; Invalid names the key that does not."""
    found = _check_object("configuration", value)
    _check_each(found)
    if schema is not None:
        error = fault(found, schema)
        if error is not None:
            where = ".".join(["configuration", *map(str, error.absolute_path)])
            raise Invalid.field(
                "configuration",
                f"{where}: {shorten(error.message, 300)}",
                "The training code's schema says so.",
            )
    return found


def check_schema(value: object) -> dict[str, Any]:
    """A JSON Schema (draft 2020-12) that refers to nothing outside of itself."""
    found = _check_object("schema", value)
    check_rules(found)
    return found


def _check_each(configuration: dict[str, Any]) -> None:
    for key, value in configuration.items():
        size = len(key.encode()) + (len(value.encode()) if isinstance(value, str) else 0)
        if size > MOST_OF_ONE:
            raise Invalid.field(
                "configuration",
                f"configuration.{shorten(key)} has {size} bytes; at most {MOST_OF_ONE} are allowed for one text.",
                "The program gets each as an environment variable; put longer ones into a file of the code.",
            )


def _check_object(field: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Invalid.field(
            field, f'{field} must be a JSON object such as {{"epochs": 3}}, not {shorten(value)}.'
        )
    _check_plain(field, value, DEEPEST)
    size = len(json.dumps(value))
    if size > MOST_BYTES:
        raise Invalid.field(field, f"{field} has {size} bytes as JSON; at most {MOST_BYTES} are allowed.")
    return value


def _check_plain(field: str, value: object, depth: int) -> None:
    if depth == 0:
        raise Invalid.field(field, f"{field} is nested too deeply; at most {DEEPEST} levels are allowed.")
    if isinstance(value, dict):
        for key, each in value.items():
            _check_string(field, key)
            _check_plain(field, each, depth - 1)
    elif isinstance(value, list):
        for each in value:
            _check_plain(field, each, depth - 1)
    elif isinstance(value, str):
        _check_string(field, value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise Invalid.field(field, f"{field} holds {value}, which is no number in JSON.")
    elif isinstance(value, int) and abs(value) >= 1 << 63:
        raise Invalid.field(field, f"{field} holds a whole number of more than 64 bits.")
    elif not isinstance(value, int | float | bool | type(None)):
        raise Invalid.field(field, f"{field} holds {shorten(value)}, which is no JSON.")


def _check_string(field: str, text: object) -> None:
    if not isinstance(text, str):
        raise Invalid.field(field, f"{field} has the key {shorten(text)}; keys must be text.")
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise Invalid.field(field, f"{field} holds {shorten(text)}, with a character that is not allowed.")
