"""Cursor pages: a page costs the same at the start and at the end of a list."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError
from django.db.models import QuerySet
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

from common.checks import shorten
from common.errors import Invalid

MAX_PAGE_SIZE = 500


class CursorPages(CursorPagination):
    """`?page_size=` 1 to 500 (default 50) and `?cursor=` as found in `next` and `previous`."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = MAX_PAGE_SIZE
    offset_cutoff = 0  # none: a capped offset would page in a loop over many rows of equal value

    def __init__(self, ordering: Sequence[str] = ("-id",)) -> None:
        self.ordering = tuple(ordering)

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        return tuple(self.ordering)

    def get_page_size(self, request: Request) -> int:
        text = request.query_params.get("page_size", "50")
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_PAGE_SIZE):
            raise Invalid.field(
                "page_size",
                f"page_size is {shorten(text)}; it must be a whole number from 1 to {MAX_PAGE_SIZE}.",
            )
        return int(text)

    def _get_position_from_instance(self, instance: Any, ordering: Sequence[str]) -> str:
        """What a list is ordered by may stand on another row: `experiment__name`."""
        name = ordering[0].lstrip("-")
        value = instance[name] if isinstance(instance, dict) else reduce(getattr, name.split("__"), instance)
        return None if value is None else str(value)  # type: ignore[return-value]  # as DRF's own does

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        try:
            return super().paginate_queryset(queryset, request, view)
        except (NotFound, ValidationError, ValueError, TypeError, OverflowError, DataError) as error:
            # A cursor of another list, or one made by hand, holds a position that is no value of the column.
            if self.cursor_query_param not in request.query_params:
                raise
            raise Invalid.field(
                "cursor", "cursor is not one that this list gave.", "Start again without it."
            ) from error
