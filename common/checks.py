"""Checks of plain values that several floors share. Each raises Invalid with one sentence naming the field."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from common.errors import Invalid

Scalar = str | int | float | bool | None
# Unicode's explicit directional marks, https://www.unicode.org/reports/tr9/#Explicit_Directional_Formatting_Characters
TURNING = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])


def shorten(value: object, limit: int = 80) -> str:
    """A value as it may stand in a sentence: quoted, printable, cut.

    Letters stay as they are, but for those that would turn the sentence around; digits that only look like ours do not.
    """
    text = json.dumps(value, ensure_ascii=False, default=str) if not isinstance(value, str) else repr(value)
    text = "".join(
        each if _is_plain(each) else each.encode("ascii", "backslashreplace").decode() for each in text
    )
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _is_plain(char: str) -> bool:
    return char.isascii() or (
        char.isprintable() and unicodedata.bidirectional(char) in ("L", "NSM", "ON", "ET")
    )


def level(name: str) -> str:
    """A name as it may stand in a sentence: without the marks that would turn around what comes after it."""
    return name.translate(TURNING)


def check_text(field: str, value: object, *, max_length: int, required: bool = False) -> str:
    """A string without NUL, lone surrogates or control characters (line breaks and tabs are fine)."""
    if not isinstance(value, str):
        raise Invalid.field(field, f"{field} must be text, not {shorten(value)}.")
    if required and not value.strip():
        raise Invalid.field(field, f"{field} must not be empty.")
    if len(value) > max_length:
        raise Invalid.field(field, f"{field} has {len(value)} characters; at most {max_length} are allowed.")
    for char in value:
        if unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\r\t":
            raise Invalid.field(
                field, f"{field} holds the character U+{ord(char):04X}, which is not allowed."
            )
    return value


def check_pattern(field: str, value: object, pattern: re.Pattern[str], rule: str, *, max_length: int) -> str:
    """A text that matches `pattern` as a whole; `rule` says in words what is right."""
    text = check_text(field, value, max_length=max_length, required=True)
    if not pattern.fullmatch(text):
        raise Invalid.field(field, f"{field} is {shorten(text)}; it must be {rule}.")
    return text


def check_labels(field: str, values: object, *, max_count: int = 50) -> list[str]:
    """A list of distinct labels, 1 to 64 characters each, order kept."""
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | Mapping):
        raise Invalid.field(
            field, f'{field} must be a list of labels such as ["nlp"], not {shorten(values)}.'
        )
    labels = list(dict.fromkeys(check_text(field, v, max_length=64, required=True).strip() for v in values))
    if len(labels) > max_count:
        raise Invalid.field(field, f"{field} has {len(labels)} labels; at most {max_count} are allowed.")
    return labels


def check_mapping(field: str, value: object, *, max_count: int) -> dict[str, Any]:
    """An object with text keys of 1 to 250 characters."""
    if not isinstance(value, Mapping):
        raise Invalid.field(field, f"{field} must be an object of keys and values, not {shorten(value)}.")
    if len(value) > max_count:
        raise Invalid.field(field, f"{field} has {len(value)} keys; at most {max_count} are allowed at once.")
    for key in value:
        check_text(f"{field} key", key, max_length=250, required=True)
    return dict(value)


def check_whole(field: str, value: object, *, low: int, high: int) -> int:
    """A whole number between low and high, both included."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Invalid.field(
            field, f"{field} is {shorten(value)}; it must be a whole number from {low} to {high}."
        )
    return value


NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def check_number(field: str, value: object) -> float:
    """A float; NaN and the infinities come as such or as "NaN", "Infinity", "-Infinity"."""
    if isinstance(value, str) and value in NON_FINITE:
        return NON_FINITE[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Invalid.field(field, f"{field} is {shorten(value)}; it must be a number.")
    try:
        return float(value)
    except OverflowError as error:
        raise Invalid.field(
            field, f"{field} is {shorten(value)}, which no 64-bit number can hold."
        ) from error


def plain_number(value: float) -> float | str:
    """A float as it travels in JSON: "NaN", "Infinity" and "-Infinity" as text."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value
