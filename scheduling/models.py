"""Training code, schedules, and each execution of one."""

from __future__ import annotations

from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.timezone import now

from accounts.models import Project, User
from artifacts.models import Manifest
from registry.models import ModelVersion
from scheduling.choices import CatchUp, CodeState, EndReason, ExecutionState, Overlap, Trigger
from tracking.models import Experiment, Run


class TrainingCodeQuerySet(models.QuerySet["TrainingCode"]):
    def ready(self) -> Self:
        return self.filter(state=CodeState.READY)


class TrainingCode(models.Model):
    """A folder of code and the command that trains with it. It never changes; a new one counts up.

    It was uploaded, or it is the folder `git_path` of a commit and has no manifest until it was fetched.
    """

    experiment = models.ForeignKey(
        Experiment, on_delete=models.PROTECT, related_name="training_codes", db_index=False
    )
    number = models.PositiveIntegerField()
    manifest = models.ForeignKey(Manifest, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    state = models.CharField(max_length=16, choices=CodeState, default=CodeState.READY)
    reason = models.TextField(blank=True)
    git_url = models.CharField(max_length=500, blank=True)
    git_commit = models.CharField(max_length=64, blank=True)
    git_path = models.CharField(max_length=1000, blank=True)
    command = ArrayField(models.TextField())
    schema = models.JSONField(null=True, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=now)

    objects = TrainingCodeQuerySet.as_manager()

    class Meta:
        ordering = ("-number",)
        constraints = [
            models.UniqueConstraint(fields=["experiment", "number"], name="training_code_numbered_once"),
            models.CheckConstraint(
                condition=~models.Q(state=CodeState.READY) | models.Q(manifest__isnull=False),
                name="ready_code_has_files",
            ),
        ]

    def __str__(self) -> str:
        return f"code {self.number} of {self.experiment}"


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    def alive(self) -> Self:
        return self.filter(deleted_at=None)

    def with_details(self) -> Self:
        return self.select_related("project", "experiment", "code", "created_by", "acts_as")


class Schedule(models.Model):
    """When an experiment's code is run, and with what.

    `code` None means the newest there is at each start. `next_at` is the next moment that is not yet an
    execution; None while the schedule is paused. `acts_as` is who changed it last: what it does, it does with the rights
    of this one.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="schedules")
    name = models.CharField(max_length=100)
    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="schedules")
    cron = models.CharField(max_length=100)
    timezone = models.CharField(max_length=64, default="UTC")
    configuration = models.JSONField(default=dict, blank=True)
    code = models.ForeignKey(TrainingCode, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    overlap = models.CharField(max_length=16, choices=Overlap, default=Overlap.SKIP)
    catch_up = models.CharField(max_length=16, choices=CatchUp, default=CatchUp.NONE)
    starting_deadline = models.PositiveIntegerField(null=True, blank=True, help_text="seconds")
    timeout = models.PositiveIntegerField(default=24 * 3600, help_text="seconds")
    cpu_limit = models.PositiveIntegerField(null=True, blank=True, help_text="seconds of CPU")
    memory_limit = models.PositiveIntegerField(null=True, blank=True, help_text="MiB")
    file_size_limit = models.PositiveIntegerField(null=True, blank=True, help_text="MiB")
    max_attempts = models.PositiveSmallIntegerField(default=1)
    engine = models.CharField(max_length=16, blank=True, help_text="empty: the one that the settings name")
    model_name = models.CharField(max_length=200, blank=True)
    artifact_path = models.CharField(max_length=1000, blank=True)
    promote_metric = models.CharField(max_length=250, blank=True)
    promote_stage = models.CharField(max_length=16, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    next_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=now)
    updated_at = models.DateTimeField(default=now)
    deleted_at = models.DateTimeField(null=True, blank=True)
    acts_as = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")

    objects = ScheduleQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"],
                condition=models.Q(deleted_at=None),
                name="schedule_name_once_per_project",
            ),
            models.CheckConstraint(condition=models.Q(overlap__in=Overlap.values), name="overlap_known"),
            models.CheckConstraint(condition=models.Q(catch_up__in=CatchUp.values), name="catch_up_known"),
        ]
        indexes = [
            models.Index(fields=["next_at"], condition=models.Q(next_at__isnull=False), name="schedules_due")
        ]

    def __str__(self) -> str:
        return self.name


class ScheduleExecution(models.Model):
    """One moment of a schedule, or one press of Run now: what became of it.

    duration and cpu_seconds in seconds, peak_memory in bytes. `configuration` and `code` are what it started
    with; a later edit of the schedule changes nothing here.
    """

    schedule = models.ForeignKey(
        Schedule, on_delete=models.PROTECT, related_name="executions", db_index=False
    )
    public_id = models.CharField(max_length=40, unique=True)
    due_at = models.DateTimeField(null=True, blank=True)
    trigger = models.CharField(max_length=16, choices=Trigger, default=Trigger.CRON)
    state = models.CharField(max_length=16, choices=ExecutionState, default=ExecutionState.QUEUED)
    reason = models.TextField(blank=True)
    end_reason = models.CharField(max_length=16, choices=EndReason, blank=True)
    attempt = models.PositiveSmallIntegerField(default=1)
    engine = models.CharField(max_length=16, blank=True, help_text="where it runs or ran; empty: not started")
    stop_asked_at = models.DateTimeField(null=True, blank=True)
    stop_reason = models.TextField(blank=True)
    configuration = models.JSONField(default=dict, blank=True)
    code = models.ForeignKey(TrainingCode, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    again_of = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    version = models.ForeignKey(
        ModelVersion, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    outcome = models.TextField(blank=True)
    log = models.ForeignKey(Manifest, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    exit_code = models.IntegerField(null=True, blank=True)
    duration = models.FloatField(null=True, blank=True)
    cpu_seconds = models.FloatField(null=True, blank=True)
    peak_memory = models.BigIntegerField(null=True, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(default=now)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=["schedule", "due_at"],
                condition=models.Q(due_at__isnull=False),
                name="one_execution_per_moment",
            ),
            models.UniqueConstraint(
                fields=["schedule"],
                condition=models.Q(state="Running"),
                name="one_running_execution_per_schedule",
            ),
        ]
        indexes = [
            models.Index(fields=["schedule", "-id"], name="executions_of_schedule"),
            models.Index(
                fields=["schedule"],
                condition=models.Q(state__in=["Queued", "Running"]),
                name="executions_open",
            ),
        ]

    def __str__(self) -> str:
        return self.public_id
