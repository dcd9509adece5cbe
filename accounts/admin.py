"""The operators' door to people, projects, tokens and the audit trail."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts import services, webhooks
from accounts.audit import record
from accounts.choices import Door
from accounts.models import (
    ApiToken,
    AuditEntry,
    AuditSeal,
    Invitation,
    Membership,
    Notification,
    NotificationChoice,
    Project,
    ProjectGroup,
    User,
    Webhook,
    WebhookDelivery,
)
from accounts.permissions import Actor
from common.admin import ReadOnlyAdmin, each
from common.api.problems import request_id_of
from common.errors import DomainError
from common.models import Job

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

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if "email" in form.changed_data:
            services.confirm_address(obj)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        record(admin_actor(request), "create_user", "user", obj.username, after=_standing(obj))
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        groups = sorted(obj.groups.values_list("name", flat=True))  # policies and protections name them
        after = {**_standing(obj), "groups": groups, "changed": message}
        record(admin_actor(request), "update_user", "user", obj.username, after=after)
        return super().log_change(request, obj, message)


def _standing(user: User) -> dict[str, Any]:
    return {name: getattr(user, name) for name in ("is_active", "is_staff", "is_superuser")}


class GroupForm(ModelForm):
    """A project's own groups are kept as `<slug>/<name>`."""

    class Meta:
        model = Group
        fields = ("name",)

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if "/" in name:
            raise ValidationError("A group's name has no slash.")
        return name


@admin.register(Group)
class GroupAdmin(OperatorsOnly):
    """Groups whom policies and protections of all projects may name; projects' own are made in the portal."""

    list_display = ("name",)
    search_fields = ("name",)
    form = GroupForm

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        return super().get_queryset(request).filter(of_project=None)

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

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """The head of a column is no label of the fields below it: each carries its own."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            field.widget.attrs["aria-label"] = str(field.label)
        return field

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
    list_display = ("slug", "name", "created_at", "page")
    list_filter = ("created_at",)
    search_fields = ("slug", "name")
    inlines = (MembershipInline,)

    @admin.display(description="Portal")
    def page(self, project: Project) -> str:
        return format_html('<a href="{}">Open</a>', self.view_on_site(project))

    def view_on_site(self, project: Project) -> str:  # type: ignore[override]
        return reverse("accounts:members", args=[project.slug])

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
    list_filter = ("project", ("revoked_at", admin.EmptyFieldListFilter), "expires_at")
    search_fields = ("name", "prefix", "user__username")
    list_select_related = ("user", "project")
    exclude = ("secret_hash",)
    actions = ("revoke",)

    @admin.action(description="Revoke these tokens", permissions=["view"])
    def revoke(self, request: HttpRequest, rows: QuerySet[ApiToken]) -> None:
        actor = admin_actor(request)
        each(
            request,
            rows,
            lambda token: services.revoke_token(actor=actor, prefix=token.prefix),
            "{} is revoked.",
        )


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """Registered here and not in common: who puts a job back is written into the audit trail."""

    list_display = ("id", "name", "key", "state", "attempts", "run_after", "finished_at", "error")
    list_filter = ("state", "name")
    search_fields = ("name", "key", "error")
    actions = ("retry",)

    @admin.action(description="Try again now", permissions=["view"])
    def retry(self, request: HttpRequest, rows: QuerySet[Job]) -> None:
        actor = admin_actor(request)
        each(
            request,
            rows,
            lambda job: services.retry_job(actor=actor, job_id=job.pk),
            "{} is tried again now.",
        )


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor", "door", "verb", "object_type", "object_id", "project", "page")
    list_filter = ("door", "verb", "project")
    search_fields = ("object_id", "actor__username", "request_id")
    list_select_related = ("actor", "project")
    date_hierarchy = "at"

    def portal(self, row: AuditEntry) -> str:
        about = urlencode({"object_type": row.object_type, "object_id": row.object_id})
        return f"{reverse('accounts:audit', args=[row.project.slug])}?{about}" if row.project else ""


@admin.register(AuditSeal)
class AuditSealAdmin(ReadOnlyAdmin):
    list_display = ("chain", "position", "hash", "entry")
    list_filter = ("entry__project",)
    search_fields = ("hash", "entry__object_id")
    list_select_related = ("entry",)
    ordering = ("-id",)


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


@admin.register(ProjectGroup)
class ProjectGroupAdmin(ReadOnlyAdmin):
    list_display = ("group", "project", "page")
    list_filter = ("project",)
    search_fields = ("group__name",)
    list_select_related = ("group", "project")

    def portal(self, row: ProjectGroup) -> str:
        return reverse("accounts:groups", args=[row.project.slug])


@admin.register(Webhook)
class WebhookAdmin(ReadOnlyAdmin):
    list_display = ("name", "public_id", "project", "url", "format", "is_active", "off_reason", "page")
    list_filter = ("is_active", "format", "project")
    search_fields = ("name", "public_id", "url")
    list_select_related = ("project",)
    exclude = ("secret",)

    def portal(self, row: Webhook) -> str:
        return reverse("accounts:webhook", args=[row.project.slug, row.public_id])


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    list_display = (
        *("message_id", "webhook", "event", "state", "attempts", "status", "error", "created_at", "page"),
    )
    list_filter = ("state", "webhook__project")
    search_fields = ("message_id", "event", "webhook__name")
    list_select_related = ("webhook__project",)
    actions = ("redeliver",)

    def portal(self, row: WebhookDelivery) -> str:
        return reverse("accounts:webhook", args=[row.webhook.project.slug, row.webhook.public_id])

    @admin.action(description="Redeliver", permissions=["view"])
    def redeliver(self, request: HttpRequest, rows: QuerySet[WebhookDelivery]) -> None:
        def again(row: WebhookDelivery) -> None:
            about = {"webhook_id": row.webhook.public_id, "message_id": row.message_id}
            webhooks.redeliver(actor=admin_actor(request), project=row.webhook.project, **about)

        each(request, rows.select_related("webhook__project"), again, "{} is sent once more.")


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    list_display = (
        "email",
        "project",
        "role",
        "created_by",
        "expires_at",
        "accepted_by",
        "revoked_at",
        "page",
    )
    list_filter = ("role", "project")
    search_fields = ("email",)
    list_select_related = ("project", "created_by", "accepted_by")

    def portal(self, row: Invitation) -> str:
        return reverse("accounts:invitations", args=[row.project.slug])


for theirs in (EmailAddress, SocialApp, SocialToken, SocialAccount, Authenticator):
    if admin.site.is_registered(theirs):
        admin.site.unregister(theirs)


@admin.register(EmailAddress)
class EmailAddressAdmin(ReadOnlyAdmin):
    """Changed on the user's page, or on the person's own profile."""

    list_display = ("email", "user", "verified", "primary")
    list_filter = ("verified", "primary")
    search_fields = ("email", "user__username")
    list_select_related = ("user",)


@admin.register(SocialAccount)
class SocialAccountAdmin(ReadOnlyAdmin):
    """Who signs in by which account of the provider."""

    list_display = ("user", "provider", "uid", "last_login", "date_joined")
    list_filter = ("provider",)
    search_fields = ("user__username", "uid")
    list_select_related = ("user",)


@admin.register(Authenticator)
class AuthenticatorAdmin(ReadOnlyAdmin):
    """Second factors; who has lost theirs sets it up anew after it was removed."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_filter = ("type",)
    search_fields = ("user__username",)
    list_select_related = ("user",)
    exclude = ("data",)
    actions = ("remove",)

    @admin.action(description="Remove, so that the person can set it up anew", permissions=["view"])
    def remove(self, request: HttpRequest, rows: QuerySet[Authenticator]) -> None:
        actor = admin_actor(request)

        def verb(factor: Authenticator) -> None:
            services.remove_second_factor(actor=actor, factor=factor)

        each(request, rows.select_related("user"), verb, "{0.type} of {0.user} is removed.")
