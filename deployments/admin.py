"""The operators' door to endpoints: everything is seen, verbs change it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from accounts.admin import admin_actor
from cluster.models import WantedApplication
from common.admin import ReadOnlyAdmin, each
from deployments import rollouts, services
from deployments.choices import Wanted
from deployments.models import (
    Deployment,
    DeploymentEvent,
    DeploymentRevision,
    EndpointTraffic,
    ReplicaSample,
)


def _endpoint_page(deployment: Deployment) -> str:
    gone = deployment.wanted == Wanted.DELETED
    return (
        ""
        if gone
        else reverse("deployments:detail", args=[deployment.project.slug, deployment.endpoint_name])
    )


@admin.register(Deployment)
class DeploymentAdmin(ReadOnlyAdmin):
    list_display = (
        "endpoint_name",
        "project",
        "model",
        "state",
        "reason",
        "wanted",
        "follows",
        "canary_percent",
        "updated_at",
        "history",
        "page",
    )
    list_filter = ("state", "wanted", "engine", "project")
    search_fields = ("endpoint_name", "model__name", "description", "reason")
    list_select_related = ("project", "model")
    readonly_fields = ("history",)
    actions = ("look_again", "roll_back", "promote", "abort", "end_shadow", "deploy_again", "undeploy")

    @admin.display(description="History")
    def history(self, deployment: Deployment) -> str:
        query = f"?deployment__id__exact={deployment.pk}"
        return format_html(
            '<a href="{}">Revisions</a> · <a href="{}">Events</a>',
            reverse("admin:deployments_deploymentrevision_changelist") + query,
            reverse("admin:deployments_deploymentevent_changelist") + query,
        )

    def portal(self, row: Deployment) -> str:
        return _endpoint_page(row)

    @admin.action(description="Look again at what really runs", permissions=["view"])
    def look_again(self, request: HttpRequest, rows: QuerySet[Deployment]) -> None:
        self._act(request, rows, services.look_again, "A worker looks at {} now.")

    @admin.action(description="Roll back to what served before", permissions=["view"])
    def roll_back(self, request: HttpRequest, rows: QuerySet[Deployment]) -> None:
        self._act(request, rows, rollouts.rollback_deployment, "{} goes back.")

    @admin.action(description="Move all traffic to the canary", permissions=["view"])
    def promote(self, request: HttpRequest, rows: QuerySet[Deployment]) -> None:
        self._act(request, rows, rollouts.promote_rollout, "The canary of {} has all traffic.")

    @admin.action(description="Give up the change that is on its way", permissions=["view"])
    def abort(self, request: HttpRequest, rows: QuerySet[Deployment]) -> None:
        self._act(request, rows, rollouts.abort_rollout, "{} goes on as it was.")

    @admin.action(description="End the copies to the shadow", permissions=["view"])
    def end_shadow(self, request: HttpRequest, rows: QuerySet[Deployment]) -> None:
        self._act(request, rows, rollouts.unset_shadow, "The copies of {} ended.")

    @admin.action(description="Deploy again what is down or failed", permissions=["view"])
    def deploy_again(self, request: HttpRequest, rows: QuerySet[Deployment]) -> None:
        self._act(request, rows, services.deploy_again, "{} is deployed again.")

    @admin.action(description="Undeploy", permissions=["view"])
    def undeploy(self, request: HttpRequest, rows: QuerySet[Deployment]) -> None:
        self._act(request, rows, services.undeploy, "{} is taken down.")

    def _act(
        self, request: HttpRequest, rows: QuerySet[Deployment], verb: Callable[..., Any], done: str
    ) -> None:
        def act(deployment: Deployment) -> None:
            verb(
                actor=admin_actor(request),
                project=deployment.project,
                endpoint_name=deployment.endpoint_name,
            )

        each(request, rows.select_related("project"), act, done)


class PartOfEndpointAdmin(ReadOnlyAdmin):
    """Rows below an endpoint, each with a link to the endpoint's page."""

    def portal(self, row: Any) -> str:
        return _endpoint_page(row.deployment)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "deployment__id__exact" or super().lookup_allowed(lookup, value, request)


@admin.register(DeploymentRevision)
class DeploymentRevisionAdmin(PartOfEndpointAdmin):
    list_display = (
        "deployment",
        "number",
        "version",
        "gpu_type",
        "min_replicas",
        "max_replicas",
        "replicas",
        "ready_replicas",
        "is_shadow",
        "state",
        "reason",
        "active_at",
        "page",
    )
    list_filter = ("state", "gpu_type", "deployment__project")
    search_fields = ("deployment__endpoint_name", "version__model__name", "service_id", "reason")
    list_select_related = ("deployment__project", "version__model")
    # The key is what a serving process asks of every request.
    exclude = ("serving_key",)


@admin.register(DeploymentEvent)
class DeploymentEventAdmin(PartOfEndpointAdmin):
    list_display = ("at", "deployment", "revision", "state", "message", "page")
    list_filter = ("state", "deployment__project")
    search_fields = ("deployment__endpoint_name", "message")
    list_select_related = ("deployment__project", "revision__deployment")


@admin.register(EndpointTraffic)
class EndpointTrafficAdmin(PartOfEndpointAdmin):
    list_display = (
        "at",
        "deployment",
        "revision",
        "shadow",
        "requests",
        "refused",
        "unfit",
        "errors",
        "peak_in_flight",
        "page",
    )
    list_filter = ("shadow", "deployment__project")
    search_fields = ("deployment__endpoint_name",)
    list_select_related = ("deployment__project", "revision__deployment")


@admin.register(ReplicaSample)
class ReplicaSampleAdmin(PartOfEndpointAdmin):
    list_display = ("at", "deployment", "wanted", "ready", "page")
    list_filter = ("deployment__project",)
    search_fields = ("deployment__endpoint_name",)
    list_select_related = ("deployment__project",)


@admin.register(WantedApplication)
class WantedApplicationAdmin(ReadOnlyAdmin):
    """What was asked of the cluster."""

    list_display = ("name", "changed_at")
    list_filter = ("changed_at",)
    search_fields = ("name",)
    exclude = ("config",)  # it holds the keys that serving processes ask for
