"""Configurations: JSON objects of training parameters, and the schema that training code may declare for them."""

from __future__ import annotations

import json
import math
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match

from common.checks import shorten
from common.errors import Invalid

MOST_BYTES = 256 * 1024
DEEPEST = 32


def check_configuration(value: object, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    """An object of plain JSON that fits the schema; Invalid names the key that does not."""
    found = _check_object("configuration", value)
    if schema is not None:
        error = best_match(Draft202012Validator(schema).iter_errors(found))
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
    try:
        Draft202012Validator.check_schema(found)
    except SchemaError as error:
        raise Invalid.field("schema", f"schema is no JSON Schema: {shorten(error.message, 300)}") from error
    if any(not str(ref).startswith("#") for ref in _references(found)):
        raise Invalid.field("schema", "schema refers to another document; it must hold all that it needs.")
    return found


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


def _references(value: object) -> list[object]:
    if isinstance(value, dict):
        own = [each for key, each in value.items() if key in ("$ref", "$dynamicRef")]
        return own + [ref for each in value.values() for ref in _references(each)]
    return [ref for each in value for ref in _references(each)] if isinstance(value, list) else []
