"""What a recorder may say of its system, packages and code: any JSON object, bounded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from common.checks import check_text, shorten
from common.errors import Invalid

MAX_BYTES = 32 * 1024
MAX_DEPTH = 8
FIELD = "environment"


def check_environment(value: object) -> dict[str, Any]:
    """A JSON object of at most 32 KiB and 8 levels, whose texts the database takes."""
    if not isinstance(value, Mapping):
        raise Invalid.field(FIELD, f"{FIELD} must be an object, not {shorten(value)}.")
    _check(FIELD, value, MAX_DEPTH)
    try:
        size = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    except ValueError as error:
        raise Invalid.field(FIELD, f"{FIELD} holds a number that JSON cannot say: {error}.") from error
    if size > MAX_BYTES:
        raise Invalid.field(
            FIELD, f"{FIELD} has {size} bytes; at most {MAX_BYTES} are allowed.", "Log the rest as a file."
        )
    return dict(value)


def _check(name: str, value: object, depth: int) -> None:
    if isinstance(value, str):
        check_text(name, value, max_length=MAX_BYTES)
    elif isinstance(value, Mapping | list | tuple):
        if not depth:
            raise Invalid.field(FIELD, f"{name} lies more than {MAX_DEPTH} levels deep.")
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            check_text(f"{name} key", str(key), max_length=250)
            _check(f"{name}.{key}"[:120], item, depth - 1)
    elif value is not None and not isinstance(value, int | float):
        raise Invalid.field(FIELD, f"{name} is {shorten(value)}, which is no JSON value.")
