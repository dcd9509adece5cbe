"""What every app needs a table for: jobs to be done, and answers to requests sent twice."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class JobState(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class Job(models.Model):
    """Work that a verb asked for, written in the verb's transaction.

    The row is the truth; the message in the broker is only a hint that a worker may look at it.
    """

    name = models.CharField(max_length=120)
    kwargs = models.JSONField(default=dict)
    key = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=16, choices=JobState, default=JobState.QUEUED)
    run_after = models.DateTimeField(default=timezone.now)
    published_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    fence = models.PositiveIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=["key"],
                condition=models.Q(state="queued") & ~models.Q(key=""),
                name="one_queued_job_per_key",
            ),
        ]
        indexes = [
            models.Index(fields=["run_after"], condition=models.Q(state="queued"), name="jobs_due"),
            models.Index(fields=["lease_until"], condition=models.Q(state="running"), name="jobs_leased"),
            models.Index(fields=["finished_at"], condition=models.Q(state="done"), name="jobs_done"),
        ]

    def __str__(self) -> str:
        return f"{self.name} #{self.pk}"


class IdempotentAnswer(models.Model):
    """The answer to a POST that carried an Idempotency-Key, stored in the same transaction as what it did."""

    owner = models.CharField(max_length=80)
    key = models.CharField(max_length=200)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    body = models.JSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "key"], name="one_answer_per_key")]
        indexes = [models.Index(fields=["created_at"], name="answers_by_age")]

    def __str__(self) -> str:
        return f"{self.owner} {self.key}"
