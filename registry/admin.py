"""The operators' door to models and versions: everything is seen, verbs change it."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import TabularInline

from accounts.admin import admin_actor
from accounts.models import Project
from common.admin import ReadOnlyAdmin
from common.errors import DomainError
from registry import services, trash
from registry.models import (
    Alias,
    AliasMove,
    ModelVersion,
    Protection,
    RegisteredModel,
    StageTransition,
    VersionTag,
)


@admin.register(RegisteredModel)
class RegisteredModelAdmin(ReadOnlyAdmin):
    list_display = ("name", "project", "last_number", "created_by", "updated_at", "deleted_at", "page")
    list_filter = ("project", ("deleted_at", admin.EmptyFieldListFilter))
    search_fields = ("name", "description")
    list_select_related = ("project", "created_by")
    actions = ("delete_models", "restore_models")

    @admin.action(description="Delete these models (they go to the trash)", permissions=["view"])
    def delete_models(self, request: HttpRequest, rows: QuerySet[RegisteredModel]) -> None:
        for model in rows.select_related("project"):
            each(request, f"{model} is in the trash.", trash.delete_model, model.project, name=model.name)

    @admin.action(description="Restore these deleted models", permissions=["view"])
    def restore_models(self, request: HttpRequest, rows: QuerySet[RegisteredModel]) -> None:
        for model in rows.select_related("project"):
            each(request, f"{model} is back.", trash.restore_model, model.project, name=model.name)

    @admin.display(description="Portal")
    def page(self, model: RegisteredModel) -> str:
        if model.deleted_at:
            return "deleted"
        return format_html(
            '<a href="{}">Open</a>', reverse("registry:model", args=[model.project.slug, model.name])
        )


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
    actions = ("release", "delete_versions", "restore_versions")

    @admin.display(description="Portal")
    def page(self, version: ModelVersion) -> str:
        if version.deleted_at or version.model.deleted_at:
            return "deleted"
        model = version.model
        url = reverse("registry:version", args=[model.project.slug, model.name, version.number])
        return format_html('<a href="{}">Open</a>', url)

    @admin.action(description="Release these quarantined versions", permissions=["view"])
    def release(self, request: HttpRequest, rows: QuerySet[ModelVersion]) -> None:
        note = "released by an operator in the admin"
        for version in rows.select_related("model__project"):
            about = {"model_name": version.model.name, "ref": version.number, "note": note}
            each(request, f"{version} is Ready.", services.release_version, version.model.project, **about)

    @admin.action(description="Delete these versions (they go to the trash)", permissions=["view"])
    def delete_versions(self, request: HttpRequest, rows: QuerySet[ModelVersion]) -> None:
        for version in rows.select_related("model__project"):
            about = {"model_name": version.model.name, "ref": version.number}
            each(
                request,
                f"{version} is in the trash.",
                trash.delete_version,
                version.model.project,
                **about,
            )

    @admin.action(description="Restore these deleted versions", permissions=["view"])
    def restore_versions(self, request: HttpRequest, rows: QuerySet[ModelVersion]) -> None:
        for version in rows.select_related("model__project"):
            about = {"model_name": version.model.name, "number": version.number}
            each(request, f"{version} is back.", trash.restore_version, version.model.project, **about)


def each(
    request: HttpRequest, done: str, verb: Callable[..., object], project: Project, **about: object
) -> None:
    """One verb on one row: the sentence `done`, or the refusal."""
    try:
        verb(actor=admin_actor(request), project=project, **about)
        messages.success(request, done)
    except DomainError as error:
        messages.error(request, error.message)


@admin.register(Protection)
class ProtectionAdmin(ReadOnlyAdmin):
    list_display = ("kind", "name", "project", "model", "roles", "created_by", "created_at")
    list_filter = ("kind", "project")
    search_fields = ("name", "model__name")
    list_select_related = ("project", "model", "created_by")


@admin.register(StageTransition)
class StageTransitionAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "version", "from_stage", "to_stage", "actor", "door", "note")
    list_filter = ("to_stage", "door")
    search_fields = ("version__model__name", "note", "actor__username")
    list_select_related = ("version__model", "actor")


@admin.register(Alias)
class AliasAdmin(ReadOnlyAdmin):
    list_display = ("model", "name", "version", "updated_at")
    search_fields = ("name", "model__name")
    list_select_related = ("model", "version__model")


@admin.register(AliasMove)
class AliasMoveAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "model", "name", "from_version", "to_version", "actor", "door")
    search_fields = ("name", "model__name", "actor__username")
    list_select_related = ("model", "from_version__model", "to_version__model", "actor")
