"""The operators' door to models and versions: everything is seen, verbs change it."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from unfold.admin import TabularInline

from accounts.admin import admin_actor
from common.admin import ReadOnlyAdmin, each
from deployments.quarantine import quarantine_version
from registry import services, trash
from registry.models import (
    Alias,
    AliasMove,
    Inspection,
    ModelVersion,
    Protection,
    RegisteredModel,
    RunInput,
    StageTransition,
    VersionMetric,
    VersionParam,
    VersionTag,
)


def _model_page(model: RegisteredModel) -> str:
    return "" if model.deleted_at else reverse("registry:model", args=[model.project.slug, model.name])


def _version_page(version: ModelVersion) -> str:
    model = version.model
    gone = version.deleted_at or model.deleted_at
    return "" if gone else reverse("registry:version", args=[model.project.slug, model.name, version.number])


def _alias_page(model: RegisteredModel) -> str:
    return "" if model.deleted_at else reverse("registry:aliases", args=[model.project.slug, model.name])


@admin.register(RegisteredModel)
class RegisteredModelAdmin(ReadOnlyAdmin):
    list_display = ("name", "project", "last_number", "created_by", "updated_at", "deleted_at", "page")
    list_filter = ("project", ("deleted_at", admin.EmptyFieldListFilter))
    search_fields = ("name", "description")
    list_select_related = ("project", "created_by")
    actions = ("delete_models", "restore_models")

    def portal(self, row: RegisteredModel) -> str:
        return _model_page(row)

    @admin.action(description="Delete these models (they go to the trash)", permissions=["view"])
    def delete_models(self, request: HttpRequest, rows: QuerySet[RegisteredModel]) -> None:
        self._each(request, rows, trash.delete_model, "{} is in the trash.")

    @admin.action(description="Restore these deleted models", permissions=["view"])
    def restore_models(self, request: HttpRequest, rows: QuerySet[RegisteredModel]) -> None:
        self._each(request, rows, trash.restore_model, "{} is back.")

    def _each(self, request: HttpRequest, rows: QuerySet[RegisteredModel], verb: Any, done: str) -> None:
        act = partial(verb, actor=admin_actor(request))
        found = rows.select_related("project")
        each(request, found, lambda model: act(project=model.project, name=model.name), done)


class TagInline(TabularInline):
    model = VersionTag
    extra = 0
    can_delete = False


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyAdmin):
    list_display = ("model", "number", "stage", "status", "format", "created_by", "created_at", "page")
    list_filter = ("stage", "status", "format", "model__project")
    search_fields = ("model__name", "description", "source_run__public_id")
    list_select_related = ("model__project", "created_by")
    inlines = (TagInline,)
    actions = ("quarantine", "release", "delete_versions", "restore_versions")

    def portal(self, row: ModelVersion) -> str:
        return _version_page(row)

    @admin.action(description="Quarantine these versions", permissions=["view"])
    def quarantine(self, request: HttpRequest, rows: QuerySet[ModelVersion]) -> None:
        verb = partial(quarantine_version, reason="an operator chose it in the admin")
        self._each(request, rows, verb, "{} is Quarantined.")

    @admin.action(description="Release these quarantined versions", permissions=["view"])
    def release(self, request: HttpRequest, rows: QuerySet[ModelVersion]) -> None:
        verb = partial(services.release_version, note="released by an operator in the admin")
        self._each(request, rows, verb, "{} is Ready.")

    @admin.action(description="Delete these versions (they go to the trash)", permissions=["view"])
    def delete_versions(self, request: HttpRequest, rows: QuerySet[ModelVersion]) -> None:
        self._each(request, rows, trash.delete_version, "{} is in the trash.")

    @admin.action(description="Restore these deleted versions", permissions=["view"])
    def restore_versions(self, request: HttpRequest, rows: QuerySet[ModelVersion]) -> None:
        self._each(request, rows, trash.restore_version, "{} is back.", number="number")

    def _each(
        self, request: HttpRequest, rows: QuerySet[ModelVersion], verb: Any, done: str, number: str = "ref"
    ) -> None:
        """`number`: what the verb calls the version's number."""

        def act(version: ModelVersion) -> None:
            about = {"model_name": version.model.name, number: version.number}
            verb(actor=admin_actor(request), project=version.model.project, **about)

        each(request, rows.select_related("model__project"), act, done)


@admin.register(Inspection)
class InspectionAdmin(ReadOnlyAdmin):
    """What the scan found in a set of files."""

    list_display = ("manifest", "status", "status_reason", "format", "framework", "servable", "created_at")
    list_filter = ("status", "format", "servable", "rules")
    search_fields = ("manifest__digest", "status_reason", "manifest__versions__model__name")
    list_select_related = ("manifest",)
    ordering = ("-id",)


class PartOfVersionAdmin(ReadOnlyAdmin):
    """Rows below a version, in lists of their own: one version may have thousands of them."""

    list_filter: tuple[Any, ...] = ("version__model__project", "version__stage")
    search_fields: tuple[str, ...] = ("key", "version__model__name")
    list_select_related: tuple[str, ...] = ("version__model__project",)
    ordering = ("-id",)

    def portal(self, row: Any) -> str:
        return _version_page(row.version)


@admin.register(VersionMetric)
class VersionMetricAdmin(PartOfVersionAdmin):
    list_display = ("version", "kind", "key", "value", "page")
    list_filter = (*PartOfVersionAdmin.list_filter, "kind")


@admin.register(VersionParam)
class VersionParamAdmin(PartOfVersionAdmin):
    list_display = ("version", "key", "value", "page")


@admin.register(VersionTag)
class VersionTagAdmin(PartOfVersionAdmin):
    list_display = ("version", "key", "value", "page")
    search_fields = (*PartOfVersionAdmin.search_fields, "value")


@admin.register(StageTransition)
class StageTransitionAdmin(PartOfVersionAdmin):
    list_display = ("created_at", "version", "from_stage", "to_stage", "actor", "door", "note", "page")
    list_filter = ("to_stage", "door", "version__model__project")
    search_fields = ("version__model__name", "note", "actor__username")
    list_select_related = ("version__model__project", "actor")


@admin.register(Protection)
class ProtectionAdmin(ReadOnlyAdmin):
    list_display = ("kind", "name", "project", "model", "roles", "created_by", "created_at", "page")
    list_filter = ("kind", "project")
    search_fields = ("name", "model__name")
    list_select_related = ("project", "model", "created_by")

    def portal(self, row: Protection) -> str:
        return reverse("registry:protections", args=[row.project.slug])


@admin.register(RunInput)
class RunInputAdmin(PartOfVersionAdmin):
    """Versions that runs started from."""

    list_display = ("run", "version", "ref", "created_at", "page")
    list_filter = ("run__project", "run__status")
    search_fields = ("run__public_id", "run__name", "version__model__name")
    list_select_related = ("run", "version__model__project")


@admin.register(Alias)
class AliasAdmin(ReadOnlyAdmin):
    list_display = ("model", "name", "version", "updated_at", "page")
    list_filter = ("model__project", "updated_at")
    search_fields = ("name", "model__name")
    list_select_related = ("model__project", "version__model")

    def portal(self, row: Alias) -> str:
        return _alias_page(row.model)


@admin.register(AliasMove)
class AliasMoveAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "model", "name", "from_version", "to_version", "actor", "door", "page")
    list_filter = ("door", "model__project")
    search_fields = ("name", "model__name", "actor__username")
    list_select_related = ("model__project", "from_version__model", "to_version__model", "actor")

    def portal(self, row: AliasMove) -> str:
        return _alias_page(row.model)
