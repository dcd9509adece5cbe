"""Training code, schedules and executions as JSON."""

from __future__ import annotations

from itertools import islice
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from registry.choices import Stage
from scheduling.choices import CatchUp, CodeState, EngineName, ExecutionState, Overlap, Trigger
from scheduling.models import Schedule
from scheduling.queries import cron_of
from scheduling.services import (
    LONGEST_DEADLINE,
    LONGEST_PATH,
    LONGEST_TIMEOUT,
    MOST_ATTEMPTS,
    MOST_CPU,
    MOST_FILE_SIZE,
    MOST_MEMORY,
)

NEXT_TIMES = 5


class TrainingCodeSerializer(serializers.Serializer):
    """A folder of code and the command that trains with it; it never changes.

    `digest`, `file_count` and `size` are null until what comes from a Git repository was fetched.
    """

    number = serializers.IntegerField()
    experiment_id = serializers.CharField(source="experiment.public_id")
    command = serializers.ListField(child=serializers.CharField())
    schema = serializers.JSONField(allow_null=True)
    state = serializers.ChoiceField(choices=CodeState.choices)
    reason = serializers.CharField()
    git_url = serializers.CharField()
    git_commit = serializers.CharField()
    git_path = serializers.CharField()
    digest = serializers.CharField(source="manifest.digest", default=None, allow_null=True)
    file_count = serializers.IntegerField(source="manifest.file_count", default=None, allow_null=True)
    size = serializers.IntegerField(
        source="manifest.total_size", default=None, allow_null=True, help_text="bytes"
    )
    created_by = serializers.CharField(source="created_by.username")
    created_at = serializers.DateTimeField()


class TrainingCodeInput(serializers.Serializer):
    """Either `files`, or `git_url` and `git_commit`."""

    files = serializers.DictField(
        required=False,
        child=serializers.CharField(max_length=64),
        help_text="path -> sha256 of bytes that were uploaded",
    )
    git_url = serializers.CharField(required=False, max_length=500)
    git_commit = serializers.CharField(required=False, max_length=64, help_text="full id of a commit")
    git_path = serializers.CharField(
        required=False, allow_blank=True, max_length=1000, help_text="folder in the repository"
    )
    command = serializers.ListField(
        child=serializers.CharField(trim_whitespace=False, allow_blank=True, max_length=4000),
        help_text='words, such as ["python", "train.py"]; no shell reads them',
    )
    schema = serializers.JSONField(
        required=False, allow_null=True, help_text="JSON Schema that configurations must fit"
    )


class ScheduleSerializer(serializers.Serializer):
    """When an experiment's training code runs, and with what; `id` tells deleted ones of one name apart."""

    id = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    experiment_id = serializers.CharField(source="experiment.public_id")
    experiment_name = serializers.CharField(source="experiment.name")
    cron = serializers.CharField()
    timezone = serializers.CharField()
    words = serializers.SerializerMethodField(help_text="the cron expression in words")
    configuration = serializers.JSONField()
    code = serializers.IntegerField(source="code.number", default=None, allow_null=True)
    overlap = serializers.ChoiceField(choices=Overlap.choices)
    catch_up = serializers.ChoiceField(choices=CatchUp.choices)
    starting_deadline = serializers.IntegerField(allow_null=True, help_text="seconds")
    timeout = serializers.IntegerField(help_text="seconds")
    cpu_limit = serializers.IntegerField(allow_null=True, help_text="seconds of CPU")
    memory_limit = serializers.IntegerField(allow_null=True, help_text="MiB")
    file_size_limit = serializers.IntegerField(allow_null=True, help_text="MiB")
    engine = serializers.CharField(help_text="local, ray, or empty: as the settings say")
    max_attempts = serializers.IntegerField()
    model_name = serializers.CharField()
    artifact_path = serializers.CharField()
    promote_metric = serializers.CharField()
    promote_stage = serializers.CharField()
    paused = serializers.SerializerMethodField()
    next_at = serializers.DateTimeField(allow_null=True)
    next_times = serializers.SerializerMethodField()
    created_by = serializers.CharField(source="created_by.username")
    acts_as = serializers.CharField(
        source="acts_as.username", help_text="who changed it last: it has the rights of this one"
    )
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    deleted_at = serializers.DateTimeField(allow_null=True)

    def get_words(self, schedule: Schedule) -> str:
        return cron_of(schedule).words

    def get_paused(self, schedule: Schedule) -> bool:
        return schedule.paused_at is not None

    @extend_schema_field(serializers.ListField(child=serializers.DateTimeField()))
    def get_next_times(self, schedule: Schedule) -> list[str]:
        if schedule.paused_at is not None or schedule.deleted_at is not None:
            return []
        times = islice(cron_of(schedule).after(timezone.now()), NEXT_TIMES)
        written = serializers.DateTimeField()
        return [written.to_representation(time) for time in times]


class Settings(serializers.Serializer):
    """What a schedule has beside its name."""

    timezone = serializers.CharField(required=False, max_length=64, help_text="IANA name; UTC")
    configuration = serializers.JSONField(required=False, help_text="an object of training parameters")
    code = serializers.IntegerField(
        required=False, allow_null=True, help_text="number of the training code; null is the newest"
    )
    overlap = serializers.ChoiceField(required=False, choices=Overlap.choices)
    catch_up = serializers.ChoiceField(required=False, choices=CatchUp.choices)
    starting_deadline = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=LONGEST_DEADLINE, help_text="seconds"
    )
    timeout = serializers.IntegerField(
        required=False, min_value=1, max_value=LONGEST_TIMEOUT, help_text="seconds"
    )
    cpu_limit = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=MOST_CPU, help_text="seconds of CPU"
    )
    memory_limit = serializers.IntegerField(
        required=False, allow_null=True, min_value=16, max_value=MOST_MEMORY, help_text="MiB"
    )
    file_size_limit = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=MOST_FILE_SIZE, help_text="MiB"
    )
    engine = serializers.ChoiceField(
        required=False,
        allow_blank=True,
        allow_null=True,
        choices=EngineName.choices,
        help_text="empty or null: as the settings say",
    )
    max_attempts = serializers.IntegerField(required=False, min_value=1, max_value=MOST_ATTEMPTS)
    model_name = serializers.CharField(
        required=False, allow_blank=True, allow_null=True, max_length=200, help_text="null empties it"
    )
    artifact_path = serializers.CharField(
        required=False,
        allow_blank=True,
        allow_null=True,
        max_length=LONGEST_PATH,
        help_text="null empties it",
    )
    promote_metric = serializers.CharField(
        required=False, allow_blank=True, allow_null=True, max_length=250, help_text="null empties it"
    )
    promote_stage = serializers.ChoiceField(
        required=False,
        allow_blank=True,
        allow_null=True,
        choices=[Stage.STAGING, Stage.PRODUCTION],
        help_text="null empties it",
    )


class ScheduleInput(Settings):
    name = serializers.CharField(max_length=100, trim_whitespace=False)
    experiment_id = serializers.CharField(max_length=200, help_text="id or name")
    cron = serializers.CharField(max_length=100, help_text="five fields, such as 0 2 * * *")


class ScheduleChange(Settings):
    experiment_id = serializers.CharField(required=False, max_length=200, help_text="id or name")
    cron = serializers.CharField(required=False, max_length=100)


class TriggerInput(serializers.Serializer):
    configuration = serializers.JSONField(required=False, help_text="for this time only")


class ExecutionSerializer(serializers.Serializer):
    """One moment of a schedule, or one Run now, and what became of it."""

    id = serializers.CharField(source="public_id")
    schedule = serializers.CharField(source="schedule.name")
    trigger = serializers.ChoiceField(choices=Trigger.choices)
    due_at = serializers.DateTimeField(allow_null=True)
    state = serializers.ChoiceField(choices=ExecutionState.choices)
    engine = serializers.CharField(help_text="where it runs or ran; empty before it starts")
    reason = serializers.CharField()
    end_reason = serializers.CharField()
    outcome = serializers.CharField()
    attempt = serializers.IntegerField()
    configuration = serializers.JSONField()
    code = serializers.IntegerField(source="code.number", default=None, allow_null=True)
    run_id = serializers.CharField(source="run.public_id", default=None, allow_null=True)
    version = serializers.SerializerMethodField()
    exit_code = serializers.IntegerField(allow_null=True)
    duration = serializers.FloatField(allow_null=True, help_text="seconds")
    cpu_seconds = serializers.FloatField(allow_null=True)
    peak_memory = serializers.IntegerField(allow_null=True, help_text="bytes")
    created_by = serializers.CharField(source="created_by.username", default=None, allow_null=True)
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)

    def get_version(self, execution: Any) -> str | None:
        version = execution.version
        return None if version is None else f"{version.model.name}/{version.number}"


class CronSerializer(serializers.Serializer):
    """What a cron expression says."""

    cron = serializers.CharField()
    timezone = serializers.CharField()
    words = serializers.CharField()
    next_times = serializers.ListField(child=serializers.DateTimeField())


class LogSerializer(serializers.Serializer):
    """A piece of what the program wrote; `next_offset` is where the next one begins."""

    text = serializers.CharField()
    next_offset = serializers.IntegerField()
    ended = serializers.BooleanField(help_text="nothing more will come")
