"""The operators' door to people, projects, tokens and the audit trail."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts import services
from accounts.choices import Door
from accounts.models import ApiToken, AuditEntry, Membership, Project, User
from accounts.permissions import Actor
from common.admin import ReadOnlyAdmin
from common.api.problems import request_id_of
from common.errors import DomainError

admin.site.unregister(Group)


def admin_actor(request: HttpRequest) -> Actor:
    """The operator who acts in the admin."""
    assert isinstance(request.user, User)
    return Actor(user=request.user, door=Door.ADMIN, request_id=request_id_of(request))


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_active", "is_staff", "is_superuser", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser", "is_system")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class MembershipInline(TabularInline):
    model = Membership
    extra = 0
    autocomplete_fields = ("user",)


@admin.register(Project)
class ProjectAdmin(ModelAdmin):
    list_display = ("slug", "name", "created_at")
    search_fields = ("slug", "name")
    inlines = (MembershipInline,)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    list_display = ("name", "prefix", "user", "project", "scopes", "last_used_at", "expires_at", "revoked_at")
    list_filter = ("project", "revoked_at")
    search_fields = ("name", "prefix", "user__username")
    list_select_related = ("user", "project")
    exclude = ("secret_hash",)
    actions = ("revoke",)

    @admin.action(description="Revoke these tokens")
    def revoke(self, request: HttpRequest, rows: QuerySet[ApiToken]) -> None:
        for token in rows:
            try:
                services.revoke_token(actor=admin_actor(request), prefix=token.prefix)
                messages.success(request, f"{token} is revoked.")
            except DomainError as error:
                messages.error(request, error.message)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor", "door", "verb", "object_type", "object_id", "project")
    list_filter = ("door", "verb", "project")
    search_fields = ("object_id", "actor__username", "request_id")
    list_select_related = ("actor", "project")
    date_hierarchy = "at"
