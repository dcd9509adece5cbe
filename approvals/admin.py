"""The operators' door to approvals: everything is seen, verbs change it."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from accounts.admin import admin_actor
from approvals import services
from approvals.models import ApprovalPolicy, ApprovalRequest, PromotionRules, RequestEvent, Review
from common.admin import ReadOnlyAdmin
from common.errors import DomainError


@admin.register(ApprovalPolicy)
class ApprovalPolicyAdmin(ReadOnlyAdmin):
    list_display = ("stage", "project", "model", "approvals_needed", "own_review", "bypass", "expires_days")
    list_filter = ("stage", "project")
    search_fields = ("model__name", "project__slug")
    list_select_related = ("project", "model")


@admin.register(PromotionRules)
class PromotionRulesAdmin(ReadOnlyAdmin):
    list_display = ("project", "one_production", "archive_previous")
    list_select_related = ("project",)


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

    @admin.display(description="Portal")
    def page(self, request: ApprovalRequest) -> str:
        url = reverse("approvals:detail", args=[request.project.slug, request.public_id])
        return format_html('<a href="{}">Open</a>', url)

    @admin.action(description="Withdraw", permissions=["view"])
    def withdraw(self, request: HttpRequest, rows: QuerySet[ApprovalRequest]) -> None:
        for each in rows.select_related("project"):
            try:
                services.cancel_approval(
                    actor=admin_actor(request), project=each.project, request_id=each.public_id
                )
                messages.success(request, f"{each.public_id} is withdrawn.")
            except DomainError as error:
                messages.error(request, error.message)


@admin.register(Review)
class ReviewAdmin(ReadOnlyAdmin):
    list_display = ("request", "reviewer", "vote", "door", "created_at")
    list_filter = ("vote",)
    search_fields = ("request__public_id", "reviewer__username")
    list_select_related = ("request__version__model", "reviewer")


@admin.register(RequestEvent)
class RequestEventAdmin(ReadOnlyAdmin):
    list_display = ("request", "kind", "author", "created_at")
    list_filter = ("kind",)
    search_fields = ("request__public_id",)
    list_select_related = ("request__version__model", "author")
