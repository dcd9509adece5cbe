"""JSON as the API takes it: bounded, strict, each key once."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from common.errors import Invalid, TooLarge

TOO_DEEP = 500
# A string that does not end is one token: else each quote in it would be looked at to the end of the text.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[{}\[\]:,]', re.S)


class StrictJSONParser(BaseParser):
    """Refuses NaN literals, duplicate keys, bytes that are no UTF-8, bodies over MAX_JSON_BYTES."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        raw = stream.read(settings.MAX_JSON_BYTES + 1)
        if len(raw) > settings.MAX_JSON_BYTES:
            raise TooLarge(
                f"The JSON body is larger than {settings.MAX_JSON_BYTES} bytes.",
                "Send it in several requests.",
            )
        try:
            text = raw.decode("utf-8-sig")  # some editors and shells put a byte order mark before all text
            return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_each_key_once)
        except UnicodeDecodeError as error:
            raise ParseError("The body is not UTF-8.") from error
        except RecursionError as error:
            raise _refusal(text, "is nested too deeply") from error
        except Unfit as error:
            raise _refusal(text, f"is not JSON: {error}") from error
        except ValueError as error:
            raise ParseError(f"The body is not JSON: {error}.") from error


class Unfit(ValueError):
    """JSON by its form, but nothing that the API takes."""


def _refusal(text: str, said: str) -> Exception:
    """Names the body's field at fault: the first whose value cannot be taken by itself."""
    with contextlib.suppress(ValueError):  # no object at all, or no JSON further on
        for field, value in _fields(text):
            try:
                json.loads(value, parse_constant=_refuse_constant, object_pairs_hook=_each_key_once)
            except (ValueError, RecursionError):
                return Invalid.field(field, f"{field} {said}.")
    return ParseError(f"The body {said}.")


def _fields(text: str) -> Iterator[tuple[str, str]]:
    """The names and the unread values of an object's fields; nothing of what is no object."""
    depth, begin, name = 0, 0, ""
    for match in TOKEN.finditer(text):
        sign = match[0]
        if sign in "{[":
            depth += 1
            if depth == 1:
                begin = match.end()
            elif depth == TOO_DEEP:
                yield str(json.loads(name)), text[begin : match.end()]
                return
        elif sign == ":" and depth == 1:
            name, begin = text[begin : match.start()].strip(), match.end()
        elif (sign == "," and depth == 1) or (sign in "}]" and depth == 1):
            if name.startswith('"'):
                yield str(json.loads(name)), text[begin : match.start()]
            name, begin = "", match.end()
        if sign in "}]":
            depth -= 1


def _refuse_constant(name: str) -> Any:
    raise Unfit(f'{name} is no JSON number; send it as the text "{name}"')


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise Unfit(f"the key {twice[:80]!r} stands there twice")
    return found
