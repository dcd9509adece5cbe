"""The API's description is whole, and changes only on purpose."""

from __future__ import annotations

from pathlib import Path

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
