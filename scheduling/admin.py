"""The operators' door to schedules: everything is seen, verbs change it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from accounts.admin import admin_actor
from common.admin import ReadOnlyAdmin
from common.errors import DomainError
from scheduling import services
from scheduling.models import Schedule, ScheduleExecution, TrainingCode


@admin.register(TrainingCode)
class TrainingCodeAdmin(ReadOnlyAdmin):
    list_display = ("experiment", "number", "command", "created_by", "created_at")
    search_fields = ("experiment__name", "experiment__public_id")
    list_select_related = ("experiment", "created_by")


@admin.register(Schedule)
class ScheduleAdmin(ReadOnlyAdmin):
    list_display = ("name", "project", "experiment", "cron", "timezone", "next_at", "paused_at", "executions")
    list_filter = ("overlap", "catch_up", "project")
    search_fields = ("name", "experiment__name")
    list_select_related = ("project", "experiment")
    readonly_fields = ("executions",)
    actions = ("pause", "resume", "run_now")

    @admin.display(description="Executions")
    def executions(self, schedule: Schedule) -> str:
        url = reverse("admin:scheduling_scheduleexecution_changelist")
        return format_html('<a href="{}?schedule__id__exact={}">Executions</a>', url, schedule.pk)

    @admin.action(description="Pause", permissions=["view"])
    def pause(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        self._each(request, rows, services.pause_schedule, "is paused")

    @admin.action(description="Resume", permissions=["view"])
    def resume(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        self._each(request, rows, services.resume_schedule, "goes on")

    @admin.action(description="Run now", permissions=["view"])
    def run_now(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        self._each(request, rows, services.trigger_schedule, "runs as soon as a worker is free")

    def _each(self, request: HttpRequest, rows: QuerySet[Schedule], verb: Any, done: str) -> None:
        for schedule in rows.select_related("project"):
            try:
                verb(actor=admin_actor(request), project=schedule.project, name=schedule.name)
                messages.success(request, f"{schedule} {done}.")
            except DomainError as error:
                messages.error(request, error.message)


@admin.register(ScheduleExecution)
class ScheduleExecutionAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "schedule", "trigger", "due_at", "state", "reason", "started_at", "ended_at")
    list_filter = ("state", "trigger", "end_reason", "schedule__project")
    search_fields = ("public_id", "schedule__name", "reason")
    list_select_related = ("schedule",)
    actions = ("stop",)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "schedule__id__exact" or super().lookup_allowed(lookup, value, request)

    @admin.action(description="Stop", permissions=["view"])
    def stop(self, request: HttpRequest, rows: QuerySet[ScheduleExecution]) -> None:
        for execution in rows.select_related("schedule__project"):
            try:
                services.stop_execution(
                    actor=admin_actor(request),
                    project=execution.schedule.project,
                    execution_id=execution.public_id,
                )
                messages.success(request, f"{execution} is being stopped.")
            except DomainError as error:
                messages.error(request, error.message)
