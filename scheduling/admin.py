"""The operators' door to schedules: everything is seen, verbs change it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from accounts.admin import admin_actor
from accounts.permissions import Actor
from accounts.portal import add_refusal
from cluster.models import SubmittedJob
from common.admin import ReadOnlyAdmin, each
from common.errors import DomainError
from scheduling import services
from scheduling.forms import JsonText, ScheduleForm
from scheduling.models import Schedule, ScheduleExecution, TrainingCode

EDITED = (
    *("cron", "timezone", "configuration", "overlap", "catch_up", "starting_deadline", "timeout"),
    *("cpu_limit", "memory_limit", "file_size_limit", "engine", "max_attempts"),
    *("model_name", "artifact_path", "promote_metric", "promote_stage"),
)
SHOWN = (
    *("next_at", "paused_at", "deleted_at", "created_by", "created_at", "acts_as", "updated_at"),
    "executions",
)


@admin.register(TrainingCode)
class TrainingCodeAdmin(ReadOnlyAdmin):
    list_display = (
        "experiment",
        "number",
        "state",
        "command",
        "git_commit",
        "created_by",
        "created_at",
        "page",
    )
    list_filter = ("state", "experiment__project", "created_at")
    search_fields = ("experiment__name", "experiment__public_id")
    list_select_related = ("experiment__project", "created_by")

    def portal(self, row: TrainingCode) -> str:
        return reverse("scheduling:code", args=[row.experiment.project.slug, row.experiment.public_id])


class EditForm(forms.ModelForm):  # type: ignore[type-arg]
    """**Edit**: the verb does it, and what it refuses stands beside its field."""

    actor: Actor
    configuration = JsonText(
        required=False, widget=UnfoldAdminTextareaWidget({"rows": 5, "spellcheck": "false"})
    )
    engine = forms.ChoiceField(
        required=False,
        choices=ScheduleForm.base_fields["engine"].choices,  # type: ignore[attr-defined]
        widget=UnfoldAdminSelectWidget,
    )

    class Meta:
        model = Schedule
        fields = EDITED

    def clean(self) -> None:
        if self.errors or not self.changed_data:
            return
        changes = {name: self.cleaned_data[name] for name in self.changed_data}
        schedule = self.instance
        try:
            services.update_schedule(
                actor=self.actor, project=schedule.project, name=schedule.name, **changes
            )
        except DomainError as error:
            add_refusal(self, error)

    def _post_clean(self) -> None:
        """The row was written by the verb: the form writes none."""


@admin.register(Schedule)
class ScheduleAdmin(ReadOnlyAdmin):
    list_display = (
        "name",
        "project",
        "experiment",
        "cron",
        "timezone",
        "engine",
        "next_at",
        "paused_at",
        "deleted_at",
        "executions",
        "page",
    )
    list_filter = ("engine", "overlap", "catch_up", "deleted_at", "project")
    search_fields = ("name", "experiment__name")
    list_select_related = ("project", "experiment")
    form = EditForm
    actions = ("pause", "resume", "run_now", "remove")

    def has_change_permission(self, request: HttpRequest, obj: Schedule | None = None) -> bool:
        return self.has_view_permission(request, obj) and (obj is None or obj.deleted_at is None)

    def get_fields(self, request: HttpRequest, obj: Schedule | None = None) -> Any:
        return ("name", "project", "experiment", "code", *EDITED, *SHOWN)

    def get_readonly_fields(self, request: HttpRequest, obj: Schedule | None = None) -> Any:
        return ("name", "project", "experiment", "code", *SHOWN)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        form.actor = admin_actor(request)
        return form

    def save_model(self, request: HttpRequest, obj: Schedule, form: Any, change: bool) -> None:
        """The verb has done it."""

    @admin.display(description="Executions")
    def executions(self, schedule: Schedule) -> str:
        url = reverse("admin:scheduling_scheduleexecution_changelist")
        return format_html('<a href="{}?schedule__id__exact={}">Executions</a>', url, schedule.pk)

    def portal(self, row: Schedule) -> str:
        return "" if row.deleted_at else reverse("scheduling:detail", args=[row.project.slug, row.name])

    @admin.action(description="Pause", permissions=["view"])
    def pause(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        self._each(request, rows, services.pause_schedule, "{} is paused.")

    @admin.action(description="Resume", permissions=["view"])
    def resume(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        self._each(request, rows, services.resume_schedule, "{} goes on.")

    @admin.action(description="Run now", permissions=["view"])
    def run_now(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        self._each(request, rows, services.trigger_schedule, "{} runs as soon as a worker is free.")

    @admin.action(description="Delete; its executions stay readable", permissions=["view"])
    def remove(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        self._each(request, rows, services.delete_schedule, "{} is deleted.")

    def _each(self, request: HttpRequest, rows: QuerySet[Schedule], verb: Any, done: str) -> None:
        def act(schedule: Schedule) -> None:
            verb(actor=admin_actor(request), project=schedule.project, name=schedule.name)

        each(request, rows.select_related("project"), act, done)


@admin.register(ScheduleExecution)
class ScheduleExecutionAdmin(ReadOnlyAdmin):
    list_display = (
        "public_id",
        "schedule",
        "trigger",
        "due_at",
        "state",
        "reason",
        "started_at",
        "ended_at",
        "page",
    )
    list_filter = ("state", "trigger", "end_reason", "schedule__project")
    search_fields = ("public_id", "schedule__name", "reason")
    list_select_related = ("schedule__project",)
    actions = ("stop",)

    def portal(self, row: ScheduleExecution) -> str:
        return reverse("scheduling:execution", args=[row.schedule.project.slug, row.public_id])

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "schedule__id__exact" or super().lookup_allowed(lookup, value, request)

    @admin.action(description="Stop", permissions=["view"])
    def stop(self, request: HttpRequest, rows: QuerySet[ScheduleExecution]) -> None:
        def act(execution: ScheduleExecution) -> None:
            project = execution.schedule.project
            services.stop_execution(
                actor=admin_actor(request), project=project, execution_id=execution.public_id
            )

        each(request, rows.select_related("schedule__project"), act, "{} is being stopped.")


@admin.register(SubmittedJob)
class SubmittedJobAdmin(ReadOnlyAdmin):
    """Jobs that the cluster took."""

    list_display = ("name", "accepted_at")
    list_filter = ("accepted_at",)
    search_fields = ("name",)
