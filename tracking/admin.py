"""The operators' door to experiments and runs: everything is seen, verbs change it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from accounts.admin import admin_actor
from common.admin import ReadOnlyAdmin, each
from tracking import services, trash
from tracking.models import (
    Dataset,
    Experiment,
    Run,
    RunAlert,
    RunDataset,
    RunFile,
    RunMetric,
    RunParam,
    RunTag,
)


def _run_page(run: Run) -> str:
    return "" if run.deleted_at else reverse("tracking:run", args=[run.project.slug, run.public_id])


@admin.register(Experiment)
class ExperimentAdmin(ReadOnlyAdmin):
    list_display = ("name", "public_id", "project", "created_by", "created_at", "archived_at", "page")
    list_filter = ("project", ("archived_at", admin.EmptyFieldListFilter), "created_at")
    search_fields = ("name", "public_id", "description")
    list_select_related = ("project", "created_by")
    actions = ("archive", "restore")

    def portal(self, row: Experiment) -> str:
        return reverse("tracking:experiment", args=[row.project.slug, row.public_id])

    @admin.action(description="Archive these experiments", permissions=["view"])
    def archive(self, request: HttpRequest, rows: QuerySet[Experiment]) -> None:
        each(
            request, rows, lambda e: services.archive_experiment(**_experiment(request, e)), "{} is archived."
        )

    @admin.action(description="Restore these experiments", permissions=["view"])
    def restore(self, request: HttpRequest, rows: QuerySet[Experiment]) -> None:
        each(
            request, rows, lambda e: services.restore_experiment(**_experiment(request, e)), "{} is restored."
        )


def _experiment(request: HttpRequest, experiment: Experiment) -> dict[str, Any]:
    return {
        "actor": admin_actor(request),
        "project": experiment.project,
        "experiment_id": experiment.public_id,
    }


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    list_display = (
        "public_id",
        "name",
        "experiment",
        "project",
        "status",
        "created_by",
        "started_at",
        "ended_at",
        "deleted_at",
        "page",
    )
    list_filter = ("status", "project", ("deleted_at", admin.EmptyFieldListFilter), "started_at")
    search_fields = ("public_id", "name", "notes", "experiment__name")
    list_select_related = ("project", "experiment", "created_by")
    actions = ("kill", "delete_runs", "restore_runs")

    def portal(self, row: Run) -> str:
        return _run_page(row)

    @admin.action(description="Kill these runs", permissions=["view"])
    def kill(self, request: HttpRequest, rows: QuerySet[Run]) -> None:
        each(request, rows, lambda run: services.kill_run(**_run(request, run)), "{} is Killed.")

    @admin.action(description="Delete these runs", permissions=["view"])
    def delete_runs(self, request: HttpRequest, rows: QuerySet[Run]) -> None:
        each(request, rows, lambda run: services.delete_run(**_run(request, run)), "{} is deleted.")

    @admin.action(description="Restore these deleted runs", permissions=["view"])
    def restore_runs(self, request: HttpRequest, rows: QuerySet[Run]) -> None:
        each(request, rows, lambda run: trash.restore_run(**_run(request, run)), "{} is restored.")


def _run(request: HttpRequest, run: Run) -> dict[str, Any]:
    return {"actor": admin_actor(request), "project": run.project, "run_id": run.public_id}


class PartOfRunAdmin(ReadOnlyAdmin):
    """Rows below a run, in lists of their own: one run may have ten thousand of them."""

    list_filter: tuple[Any, ...] = ("run__project", "run__status")
    list_select_related: tuple[str, ...] = ("run__project",)
    ordering = ("-id",)

    def portal(self, row: Any) -> str:
        return _run_page(row.run)


@admin.register(RunParam)
class RunParamAdmin(PartOfRunAdmin):
    list_display = ("run", "key", "value", "page")
    search_fields = ("key", "run__public_id", "run__name")


@admin.register(RunTag)
class RunTagAdmin(PartOfRunAdmin):
    list_display = ("run", "key", "value", "page")
    search_fields = ("key", "value", "run__public_id", "run__name")


@admin.register(RunMetric)
class RunMetricAdmin(PartOfRunAdmin):
    list_display = ("run", "key", "last", "last_step", "last_at", "low", "high", "count", "page")
    search_fields = ("key", "run__public_id", "run__name")


@admin.register(RunAlert)
class RunAlertAdmin(PartOfRunAdmin):
    list_display = (
        "run",
        "condition",
        "message",
        "created_by",
        "fired_at",
        "fired_value",
        "fired_step",
        "page",
    )
    list_filter = (*PartOfRunAdmin.list_filter, ("fired_at", admin.EmptyFieldListFilter))
    search_fields = ("condition", "message", "run__public_id", "run__name")
    list_select_related = ("run__project", "created_by")


@admin.register(RunFile)
class RunFileAdmin(PartOfRunAdmin):
    list_display = ("run", "path", "blob", "created_at", "page")
    search_fields = ("path", "run__public_id", "run__name", "blob__sha256")
    list_select_related = ("run__project", "blob")


@admin.register(RunDataset)
class RunDatasetAdmin(PartOfRunAdmin):
    list_display = ("run", "dataset", "context", "page")
    search_fields = ("dataset__name", "context", "run__public_id", "run__name")
    list_select_related = ("run__project", "dataset")


@admin.register(Dataset)
class DatasetAdmin(ReadOnlyAdmin):
    list_display = ("name", "project", "path", "digest", "created_at", "bad_at", "bad_by", "page")
    list_filter = ("project", ("bad_at", admin.EmptyFieldListFilter), "created_at")
    search_fields = ("name", "path", "digest", "description")
    list_select_related = ("project", "bad_by")

    def portal(self, row: Dataset) -> str:
        return reverse("lineage:dataset", args=[row.project.slug, row.pk])
