"""Users, projects, memberships, API tokens and the audit trail."""

from __future__ import annotations

from typing import Self

from django.contrib.auth.models import AbstractUser, Group
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from accounts.choices import DeliveryState, Door, HookFormat, Notice, Role, Scope


class User(AbstractUser):
    """A person, or the system itself when a background job acts."""

    is_system = models.BooleanField(default=False, editable=False)

    def __str__(self) -> str:
        return self.username


class ProjectQuerySet(models.QuerySet["Project"]):
    def visible_to(self, user: User) -> Self:
        """The projects that `user` is a member of."""
        return self.filter(memberships__user=user)


class Project(models.Model):
    """Everything belongs to one project; who is no member never learns that it exists."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    # Where it was asked for: a text that is another one after each change in the project.
    state: str = ""

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.slug


class Membership(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships", db_index=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role, default=Role.VIEWER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("project", "user")
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="one_role_per_member"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="membership_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.project}: {self.role}"


class ProjectGroup(models.Model):
    """Says that a group is one project's own; its name there is what follows `<slug>/`."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="groups")
    group = models.OneToOneField(Group, on_delete=models.CASCADE, related_name="of_project")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.group.name

    @property
    def name(self) -> str:
        return self.group.name.rpartition("/")[2]

    @property
    def people(self) -> list[User]:
        """Who is in it, as it was prefetched."""
        return list(self.group.user_set.all())


class Invitation(models.Model):
    """Somebody asked by e-mail to join a project. The link in the letter is signed; nothing of it is kept here."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=16, choices=Role)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    accepted_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    accepted_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    mailed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                "project",
                Lower("email"),
                condition=models.Q(accepted_at=None, revoked_at=None),
                name="one_open_invitation_each",
            )
        ]

    def __str__(self) -> str:
        return f"{self.email} to {self.project}"

    @property
    def is_open(self) -> bool:
        return self.accepted_at is None and self.revoked_at is None and self.expires_at > timezone.now()


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def usable(self) -> Self:
        """Neither revoked, nor expired, nor of a person who was deactivated."""
        alive = models.Q(expires_at=None) | models.Q(expires_at__gt=timezone.now())
        return self.filter(alive, revoked_at=None, user__is_active=True)


class ApiToken(models.Model):
    """`podstack_<prefix>_<secret>`: the secret is shown once, its SHA-256 is kept."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, null=True, blank=True, related_name="api_tokens"
    )
    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=12, unique=True)
    secret_hash = models.CharField(max_length=64, editable=False)
    scopes = ArrayField(models.CharField(max_length=16, choices=Scope), default=list)
    # A training process's own: what it writes is this run's or refused.
    only_run = models.CharField(max_length=40, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    # Set by authenticate_token: the project asked about, and the user's role in it.
    reached: tuple[Project, str | None] | None = None

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.name} (podstack_{self.prefix}_…)"


class AuditEntry(models.Model):
    """Who did what to which thing, when, by which door: written in the verb's own transaction, never changed."""

    at = models.DateTimeField(default=timezone.now, editable=False)
    project = models.ForeignKey(
        Project, on_delete=models.PROTECT, null=True, related_name="audit_entries", db_index=False
    )
    actor = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="audit_entries")
    token_prefix = models.CharField(max_length=12, blank=True)
    door = models.CharField(max_length=16, choices=Door)
    verb = models.CharField(max_length=64)
    object_type = models.CharField(max_length=64)
    object_id = models.CharField(max_length=300)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    request_id = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["project", "-id"], name="audit_by_project"),
            models.Index(fields=["object_type", "object_id", "-id"], name="audit_by_object"),
        ]

    def __str__(self) -> str:
        return f"{self.verb} {self.object_type} {self.object_id}"


class AuditSeal(models.Model):
    """One link of a chain of entries: `hash` is the SHA-256, in hex, over the hash before it and its entry.

    The database writes it when the entry's transaction commits. `chain` is a project's id, or 0 for entries of no
    project; `position` counts from 1 without a gap.
    """

    entry = models.OneToOneField(AuditEntry, on_delete=models.PROTECT, related_name="seal")
    chain = models.BigIntegerField()
    position = models.BigIntegerField()
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ("chain", "position")
        constraints = [models.UniqueConstraint(fields=["chain", "position"], name="one_link_per_position")]

    def __str__(self) -> str:
        return f"{self.chain}/{self.position}"


class Change(models.Model):
    """How often something changed that lists show and no audit entry tells of; `chain` as in AuditSeal.

    The database counts it when the change commits, under the lock of that chain.
    """

    chain = models.BigIntegerField(primary_key=True)
    count = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.chain}: {self.count}"


class Notification(models.Model):
    """One person told of one thing, written in the transaction of what it tells. `path`: where to look."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="notifications", db_index=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="notifications")
    kind = models.CharField(max_length=32, choices=Notice)
    text = models.CharField(max_length=500)
    path = models.CharField(max_length=500)
    in_inbox = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)
    read_at = models.DateTimeField(null=True)
    mailed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-id",)
        indexes = [
            models.Index(fields=["user", "project", "-id"], name="inbox"),
            models.Index(
                fields=["user", "project"],
                condition=models.Q(read_at=None, in_inbox=True),
                name="unread_inbox",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.text}"


class NotificationChoice(models.Model):
    """Where one person wants one kind of notice; without a row it is as usual."""

    user = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="notification_choices", db_index=False
    )
    kind = models.CharField(max_length=32, choices=Notice)
    inbox = models.BooleanField(default=True)
    email = models.BooleanField(default=False)

    class Meta:
        ordering = ("kind",)
        constraints = [models.UniqueConstraint(fields=["user", "kind"], name="one_choice_per_kind")]

    def __str__(self) -> str:
        return f"{self.user}: {self.kind}"


class Webhook(models.Model):
    """An address that is told of what happens in a project. `events`: names such as version.transition_stage, or
    version.* for all of a kind; empty for all that concern models, approvals, schedules and endpoints.
    """

    public_id = models.CharField(max_length=40, unique=True, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="webhooks")
    name = models.CharField(max_length=120)
    url = models.CharField(max_length=2000)
    secret = models.CharField(max_length=100, editable=False)
    format = models.CharField(max_length=16, choices=HookFormat, default=HookFormat.STANDARD)
    events = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    is_active = models.BooleanField(default=True)
    off_reason = models.TextField(blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("name", "id")
        indexes = [
            models.Index(fields=["project"], condition=models.Q(is_active=True), name="active_webhooks")
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"


class WebhookDelivery(models.Model):
    """One event for one webhook: its receiver finds the same `message_id` in each attempt."""

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    message_id = models.CharField(max_length=40, unique=True)
    event = models.CharField(max_length=100)
    payload = models.JSONField()
    state = models.CharField(max_length=16, choices=DeliveryState, default=DeliveryState.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    tried_at = models.DateTimeField(null=True)
    request = models.TextField(blank=True)
    status = models.PositiveSmallIntegerField(null=True)
    response = models.TextField(blank=True)
    error = models.TextField(blank=True)
    duration_ms = models.PositiveIntegerField(null=True)

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "webhook deliveries"
        indexes = [models.Index(fields=["webhook", "-id"], name="deliveries_of_webhook")]

    def __str__(self) -> str:
        return f"{self.event} {self.message_id}"
