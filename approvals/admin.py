"""The operators' door to approvals: everything is seen, verbs change it."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from accounts.admin import admin_actor
from approvals import services
from approvals.models import ApprovalPolicy, ApprovalRequest, PromotionRules, RequestEvent, Review
from common.admin import ReadOnlyAdmin, each


def _request_page(request: ApprovalRequest) -> str:
    return reverse("approvals:detail", args=[request.project.slug, request.public_id])


@admin.register(ApprovalPolicy)
class ApprovalPolicyAdmin(ReadOnlyAdmin):
    list_display = (
        *("stage", "project", "model", "approvals_needed", "own_review", "bypass", "expires_days", "page"),
    )
    list_filter = ("stage", "project")
    search_fields = ("model__name", "project__slug")
    list_select_related = ("project", "model")

    def portal(self, row: ApprovalPolicy) -> str:
        return reverse("approvals:policy", args=[row.project.slug, row.pk])


@admin.register(PromotionRules)
class PromotionRulesAdmin(ReadOnlyAdmin):
    list_display = ("project", "one_production", "archive_previous", "page")
    list_filter = ("one_production", "archive_previous")
    search_fields = ("project__slug", "project__name")
    list_select_related = ("project",)

    def portal(self, row: PromotionRules) -> str:
        return reverse("approvals:policies", args=[row.project.slug])


@admin.register(ApprovalRequest)
class ApprovalRequestAdmin(ReadOnlyAdmin):
    list_display = (
        "public_id",
        "project",
        "version",
        "from_stage",
        "to_stage",
        "state",
        "requested_by",
        "created_at",
        "page",
    )
    list_filter = ("state", "to_stage", "project")
    search_fields = ("public_id", "version__model__name", "requested_by__username")
    list_select_related = ("project", "version__model", "requested_by")
    actions = ("withdraw",)

    def portal(self, row: ApprovalRequest) -> str:
        return _request_page(row)

    @admin.action(description="Withdraw", permissions=["view"])
    def withdraw(self, request: HttpRequest, rows: QuerySet[ApprovalRequest]) -> None:
        def act(row: ApprovalRequest) -> None:
            services.cancel_approval(
                actor=admin_actor(request), project=row.project, request_id=row.public_id
            )

        each(request, rows.select_related("project"), act, "{} is withdrawn.")


@admin.register(Review)
class ReviewAdmin(ReadOnlyAdmin):
    list_display = ("request", "reviewer", "vote", "door", "created_at", "page")
    list_filter = ("vote", "door", "request__project")
    search_fields = ("request__public_id", "reviewer__username")
    list_select_related = ("request__version__model", "request__project", "reviewer")

    def portal(self, row: Review) -> str:
        return _request_page(row.request)


@admin.register(RequestEvent)
class RequestEventAdmin(ReadOnlyAdmin):
    list_display = ("request", "kind", "author", "created_at", "page")
    list_filter = ("kind", "request__project")
    search_fields = ("request__public_id",)
    list_select_related = ("request__version__model", "request__project", "author")

    def portal(self, row: RequestEvent) -> str:
        return _request_page(row.request)
