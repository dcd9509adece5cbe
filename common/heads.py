"""Heads of a page's table that sort it."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest


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
        query = request.GET.copy()
        query["ordering"] = column if direction == "descending" else f"-{column}"
        query.pop("page", None)
        return cls(label, query.urlencode(), direction)
