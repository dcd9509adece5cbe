"""What names a version of a model: a number, "v3", "latest" or an alias."""

from __future__ import annotations

import re
from typing import Any

NUMBER = re.compile(r"v?([0-9]{1,9})")
LATEST = "latest"
OF_NUMBER = (
    "(SELECT id FROM registry_modelversion WHERE model_id = MODEL AND number = NUMBER AND deleted_at IS NULL)"
)
OF_LATEST = """
    (SELECT id FROM registry_modelversion WHERE model_id = MODEL AND deleted_at IS NULL ORDER BY number DESC LIMIT 1)
"""
OF_ALIAS = "(SELECT version_id FROM registry_alias WHERE model_id = MODEL AND name = %s)"


def key_of(ref: str | int, model: str = "%s") -> tuple[str, list[Any]]:
    """The key of the version that `ref` names as part of a statement, and its values.

    `model` is how the statement names the model's key; where that is a value too, it goes before those given here.
    """
    text = str(ref)
    match = NUMBER.fullmatch(text)
    if match:
        return OF_NUMBER.replace("MODEL", model).replace("NUMBER", "%s"), [int(match[1])]
    if text == LATEST:
        return OF_LATEST.replace("MODEL", model), []
    return OF_ALIAS.replace("MODEL", model), [text]


# The keys of a model's versions of these numbers. By ANY(numbers) PostgreSQL would go through all of the model's
# versions, because it expects a model to have few.
KEYS_OF_NUMBERS = f"""
    ARRAY(SELECT {OF_NUMBER.replace("MODEL", "%s").replace("NUMBER", "n")} FROM unnest(%s::int[]) n)
"""  # noqa: S608  constants
