"""The operators' door to endpoints: everything is seen, verbs change it."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from accounts.admin import admin_actor
from common.admin import ReadOnlyAdmin
from common.errors import DomainError
from deployments import services
from deployments.choices import Wanted
from deployments.models import Deployment, DeploymentEvent, DeploymentRevision


@admin.register(Deployment)
class DeploymentAdmin(ReadOnlyAdmin):
    list_display = (
        "endpoint_name",
        "project",
        "model",
        "state",
        "reason",
        "wanted",
        "updated_at",
        "history",
        "page",
    )
    list_filter = ("state", "wanted", "project")
    search_fields = ("endpoint_name", "model__name", "description", "reason")
    list_select_related = ("project", "model")
    readonly_fields = ("history",)
    actions = ("look_again",)

    @admin.display(description="History")
    def history(self, deployment: Deployment) -> str:
        query = f"?deployment__id__exact={deployment.pk}"
        return format_html(
            '<a href="{}">Revisions</a> · <a href="{}">Events</a>',
            reverse("admin:deployments_deploymentrevision_changelist") + query,
            reverse("admin:deployments_deploymentevent_changelist") + query,
        )

    @admin.display(description="Portal")
    def page(self, deployment: Deployment) -> str:
        if deployment.wanted == Wanted.DELETED:
            return "deleted"
        url = reverse("deployments:detail", args=[deployment.project.slug, deployment.endpoint_name])
        return format_html('<a href="{}">Open</a>', url)

    @admin.action(description="Look again at what really runs", permissions=["view"])
    def look_again(self, request: HttpRequest, rows: QuerySet[Deployment]) -> None:
        for deployment in rows.select_related("project"):
            try:
                services.look_again(
                    actor=admin_actor(request),
                    project=deployment.project,
                    endpoint_name=deployment.endpoint_name,
                )
                messages.success(request, f"A worker looks at {deployment} now.")
            except DomainError as error:
                messages.error(request, error.message)


@admin.register(DeploymentRevision)
class DeploymentRevisionAdmin(ReadOnlyAdmin):
    list_display = (
        "deployment",
        "number",
        "version",
        "gpu_type",
        "min_replicas",
        "state",
        "reason",
        "active_at",
    )
    list_filter = ("state", "gpu_type", "deployment__project")
    search_fields = ("deployment__endpoint_name", "version__model__name", "service_id", "reason")
    list_select_related = ("deployment", "version__model")
    # The key is what a serving process asks of every request.
    exclude = ("serving_key",)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "deployment__id__exact" or super().lookup_allowed(lookup, value, request)


@admin.register(DeploymentEvent)
class DeploymentEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "deployment", "revision", "state", "message")
    list_filter = ("state", "deployment__project")
    search_fields = ("deployment__endpoint_name", "message")
    list_select_related = ("deployment", "revision__deployment")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "deployment__id__exact" or super().lookup_allowed(lookup, value, request)
