"""The base of the operators' pages: they show and never edit; actions call verbs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.html import format_html
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from unfold.admin import ModelAdmin

from common.errors import DomainError


def each(request: HttpRequest, rows: Iterable[Any], verb: Callable[[Any], object], done: str) -> None:
    """Calls a verb per row and says of each how it went: `done` with the row in it, or the refusal."""
    for row in rows:
        try:
            verb(row)
            messages.success(request, done.format(row))
        except DomainError as error:
            messages.error(request, f"{row}: {error.message}")


class ReadOnlyAdmin(ModelAdmin):
    """Rows that verbs write: listed, searched, opened; changed only by actions that call verbs."""

    show_full_result_count = False
    list_per_page = 50

    def portal(self, row: Any) -> str:
        """Where the portal shows this row; "" for what it does not show."""
        return ""

    def view_on_site(self, row: Any) -> str | None:
        return self.portal(row) or None

    @admin.display(description="Portal")
    def page(self, row: Any) -> str:
        address = self.portal(row)
        return format_html('<a href="{}">Open</a>', address) if address else "–"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


# The clock's ticks are written in the settings; what is edited here would be overwritten or break them.
for theirs in (ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule):
    if admin.site.is_registered(theirs):
        admin.site.unregister(theirs)


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(ReadOnlyAdmin):
    list_display = ("name", "task", "interval", "enabled", "last_run_at", "total_run_count")
    list_filter = ("enabled",)
    search_fields = ("name", "task")
    list_select_related = ("interval",)
