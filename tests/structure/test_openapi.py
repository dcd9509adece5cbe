"""The API's description is whole, and changes only on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

SNAPSHOT = Path(__file__).with_name("openapi.yaml")


def schema() -> dict:
    GENERATOR_STATS.reset()
    found = SchemaGenerator().get_schema(request=None, public=True)
    return yaml.safe_load(yaml.safe_dump(_plain(found)))


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, int | float | bool | type(None)) else str(value)


def test_the_description_is_valid_and_leaves_no_question_open() -> None:
    validate_schema(schema())
    assert not GENERATOR_STATS._warn_cache, GENERATOR_STATS._warn_cache
    assert not GENERATOR_STATS._error_cache, GENERATOR_STATS._error_cache


def test_the_description_is_the_one_that_was_agreed() -> None:
    """After a change on purpose: `make openapi`."""
    assert schema() == yaml.safe_load(SNAPSHOT.read_text()), "Write the snapshot anew with `make openapi`."


def components(part: Any, found: dict[str, Any], seen: set[str]) -> Iterator[tuple[str, Any]]:
    """Those that a part of the description refers to, and those that these do."""
    if isinstance(part, list):
        for each in part:
            yield from components(each, found, seen)
    if isinstance(part, dict):
        name = str(part.get("$ref", "")).rpartition("/")[2]
        if name and name not in seen:
            seen.add(name)
            yield name, found[name]
            yield from components(found[name], found, seen)
        for each in part.values():
            yield from components(each, found, seen)


def test_bodies_say_that_they_take_no_other_fields_and_answers_do_not() -> None:
    described = schema()
    known = described["components"]["schemas"]
    verbs = [verb for item in described["paths"].values() for verb in item.values()]
    for part, closed in (("requestBody", True), ("responses", False)):
        objects = [
            (name, each)
            for name, each in components([verb.get(part) for verb in verbs], known, set())
            if each.get("type") == "object"
        ]
        assert len(objects) > 50
        wrong = [name for name, each in objects if (each.get("additionalProperties") is False) is not closed]
        assert not wrong, (part, wrong)
