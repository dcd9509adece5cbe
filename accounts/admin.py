"""The operators' door to people, projects, tokens and the audit trail."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts import services, webhooks
from accounts.audit import record
from accounts.choices import Door
from accounts.models import (
    ApiToken,
    AuditEntry,
    Invitation,
    Membership,
    Notification,
    NotificationChoice,
    Project,
    User,
    Webhook,
    WebhookDelivery,
)
from accounts.permissions import Actor
from common.admin import ReadOnlyAdmin
from common.api.problems import request_id_of
from common.errors import DomainError

admin.site.unregister(Group)


def admin_actor(request: HttpRequest) -> Actor:
    """The operator who acts in the admin."""
    assert isinstance(request.user, User)
    return Actor(user=request.user, door=Door.ADMIN, request_id=request_id_of(request))


class OperatorsOnly(ModelAdmin):
    """Staff who are no superusers look; people, projects and members are changed by superusers."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def _is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and getattr(request.user, "is_superuser", False))


@admin.register(User)
class UserAdmin(DjangoUserAdmin, OperatorsOnly):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_active", "is_staff", "is_superuser", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser", "is_system")

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        record(admin_actor(request), "create_user", "user", obj.username, after=_standing(obj))
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        after = {**_standing(obj), "changed": message}
        record(admin_actor(request), "update_user", "user", obj.username, after=after)
        return super().log_change(request, obj, message)


def _standing(user: User) -> dict[str, Any]:
    return {name: getattr(user, name) for name in ("is_active", "is_staff", "is_superuser")}


@admin.register(Group)
class GroupAdmin(OperatorsOnly):
    """Groups of people whom protections name; who is in one is said on the user's page."""

    list_display = ("name",)
    search_fields = ("name",)
    fields = ("name",)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        record(admin_actor(request), "create_group", "group", obj.name)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        record(admin_actor(request), "update_group", "group", obj.name, after={"changed": message})
        return super().log_change(request, obj, message)


class MembershipInline(TabularInline):
    model = Membership
    extra = 0
    autocomplete_fields = ("user",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_superuser(request)

    has_change_permission = has_delete_permission = has_add_permission


class ProjectForm(ModelForm):
    """A slug that the verb takes."""

    class Meta:
        model = Project
        fields = ("slug", "name", "description")

    def clean_slug(self) -> str:
        try:
            return services.check_slug(self.cleaned_data["slug"])
        except DomainError as error:
            raise ValidationError(error.message) from error


@admin.register(Project)
class ProjectAdmin(OperatorsOnly):
    form = ProjectForm
    list_display = ("slug", "name", "created_at")
    search_fields = ("slug", "name")
    inlines = (MembershipInline,)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("slug",) if obj else ()

    def save_model(self, request: HttpRequest, obj: Project, form: Any, change: bool) -> None:
        actor, words = admin_actor(request), {"name": obj.name, "description": obj.description}
        if change:
            services.update_project(actor=actor, project=obj, **words)
        else:
            made = services.create_project(actor=actor, slug=obj.slug, **words)
            obj.pk, obj._state.adding = made.pk, False

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Members come and go by the verbs, which keep an admin in the project and write the audit trail."""
        actor, project = admin_actor(request), form.instance
        members = formset.save(commit=False)
        moved = [member.pk for member, fields in formset.changed_objects if "user" in fields]
        former = Membership.objects.filter(pk__in=moved).select_related("user")
        leaving = [member.user.username for member in (*former, *formset.deleted_objects)]
        try:
            for member in members:
                services.set_member(
                    actor=actor, project=project, username=member.user.username, role=member.role
                )
            for username in leaving:
                services.remove_member(actor=actor, project=project, username=username)
        except DomainError as error:
            messages.error(request, error.message)


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


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    list_display = ("user", "project", "kind", "text", "created_at", "read_at", "mailed_at")
    list_filter = ("kind", "project")
    search_fields = ("user__username", "text")
    list_select_related = ("user", "project")


@admin.register(NotificationChoice)
class NotificationChoiceAdmin(ReadOnlyAdmin):
    list_display = ("user", "kind", "inbox", "email")
    list_filter = ("kind",)
    search_fields = ("user__username",)
    list_select_related = ("user",)


@admin.register(Webhook)
class WebhookAdmin(ReadOnlyAdmin):
    list_display = ("name", "public_id", "project", "url", "format", "is_active", "off_reason")
    list_filter = ("is_active", "format", "project")
    search_fields = ("name", "public_id", "url")
    list_select_related = ("project",)
    exclude = ("secret",)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    list_display = ("message_id", "webhook", "event", "state", "attempts", "status", "error", "created_at")
    list_filter = ("state", "webhook__project")
    search_fields = ("message_id", "event", "webhook__name")
    list_select_related = ("webhook",)
    actions = ("redeliver",)

    @admin.action(description="Redeliver", permissions=["view"])
    def redeliver(self, request: HttpRequest, rows: QuerySet[WebhookDelivery]) -> None:
        for each in rows.select_related("webhook__project"):
            try:
                webhooks.redeliver(
                    actor=admin_actor(request),
                    project=each.webhook.project,
                    webhook_id=each.webhook.public_id,
                    message_id=each.message_id,
                )
                messages.success(request, f"{each.message_id} is sent once more.")
            except DomainError as error:
                messages.error(request, error.message)


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    list_display = ("email", "project", "role", "created_by", "expires_at", "accepted_by", "revoked_at")
    list_filter = ("role", "project")
    search_fields = ("email",)
    list_select_related = ("project", "created_by", "accepted_by")
