"""What models and aliases may be called."""

from __future__ import annotations

import re

from common.checks import check_pattern, shorten
from common.errors import Invalid
from registry.refs import LATEST

MODEL_NAME = re.compile(
    r"(?!\.{1,2}\Z)[^/:\x00-\x1f\x7f\s](?:[^/:\x00-\x1f\x7f]{0,198}[^/:\x00-\x1f\x7f\s])?"
)
ALIAS_NAME = re.compile(r"[\w\-]+", re.ASCII)
RESERVED_ALIAS = re.compile(r"v?[0-9]+")


def check_model_name(name: object) -> str:
    """A name that stands in addresses and in `name/3` without being taken for something else."""
    return check_pattern(
        "name", name, MODEL_NAME, "1 to 200 characters without '/', ':' or spaces at its ends", max_length=200
    )


def check_alias(alias: object) -> str:
    """A name that an alias can have: no number, not "latest"."""
    text = check_pattern("alias", alias, ALIAS_NAME, "letters, digits, '_' and '-'", max_length=64)
    if text == LATEST or RESERVED_ALIAS.fullmatch(text):
        raise Invalid.field(
            "alias", f"alias is {shorten(text)}, which is reserved for version numbers.", "Choose a word."
        )
    return text
