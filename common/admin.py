"""The operators' door to jobs, and the base of pages that show and never edit."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from common import jobs
from common.models import Job


class ReadOnlyAdmin(ModelAdmin):
    """Rows that verbs write: listed, searched, opened; changed only by actions that call verbs."""

    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ("id", "name", "key", "state", "attempts", "run_after", "finished_at", "error")
    list_filter = ("state", "name")
    search_fields = ("name", "key", "error")
    actions = ("requeue",)

    @admin.action(description="Put these failed jobs back into the queue", permissions=["view"])
    def requeue(self, request: HttpRequest, rows: QuerySet[Job]) -> None:
        count = jobs.requeue(list(rows.values_list("pk", flat=True)))
        self.message_user(request, f"{count} jobs wait in the queue again.")
