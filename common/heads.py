"""Heads of a page's table that sort it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from django.http import HttpRequest

from common.api.filters import checked_ordering

# Columns of numbers and times: who sorts by one looks for the most or the newest. Words are looked up from A.
LARGEST_FIRST = re.compile(r".+\..+|.+_at|.+_count|runs|size")


@dataclass(frozen=True)
class Head:
    """A column's head that sorts by it: `query` is what a click asks for, `direction` how it is sorted now."""

    label: str
    query: str
    direction: str

    @classmethod
    def of(cls, request: HttpRequest, column: str, label: str, usual: str = "") -> Head:
        now = request.GET.get("ordering", "") or usual
        direction = {column: "ascending", f"-{column}": "descending"}.get(now, "")
        rising = direction == "descending" if direction else not LARGEST_FIRST.fullmatch(column)
        query = request.GET.copy()
        query["ordering"] = column if rising else f"-{column}"
        query.pop("page", None)
        return cls(label, query.urlencode(), direction)


@dataclass(frozen=True)
class Sorting:
    """How a list's address sorts it: `heads` by their names in the address, `order` for the query."""

    heads: dict[str, Head]
    order: tuple[str, str]

    @classmethod
    def of(cls, request: HttpRequest, columns: Mapping[str, tuple[str, str]], usual: str) -> Sorting:
        """columns: the name in the address -> the head's label and the ORM's path."""
        name, tie = checked_ordering(request.GET.get("ordering") or usual, columns)
        sign = "-" if name.startswith("-") else ""
        heads = {each: Head.of(request, each, label, usual) for each, (label, _) in columns.items()}
        return cls(heads, (sign + columns[name.lstrip("-")][1], tie))
