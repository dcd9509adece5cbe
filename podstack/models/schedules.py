"""Training code, schedules and executions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from podstack.models.base import Answer, moment, parse_time, parsed


@dataclass(frozen=True, kw_only=True)
class TrainingCode(Answer):
    """A folder of code and the command that trains with it; it never changes. `size` in bytes.

    `state` is Ready, or Fetching and Failed (`reason` says why) for what comes from a Git repository; such code has
    no digest, file_count and size before it is Ready.
    """

    number: int = 0
    experiment_id: str = ""
    command: tuple[str, ...] = parsed(tuple, ())
    schema: Mapping[str, Any] | None = None
    state: str = "Ready"
    reason: str = ""
    git_url: str = ""
    git_commit: str = ""
    git_path: str = ""
    digest: str | None = None
    file_count: int | None = None
    size: int | None = None
    created_by: str | None = None
    created_at: datetime | None = moment()


@dataclass(frozen=True, kw_only=True)
class Schedule(Answer):
    """When an experiment's training code runs, and with what.

    `code` None is the newest at each start; starting_deadline, timeout and cpu_limit in seconds, memory_limit and
    file_size_limit in MiB. `acts_as` changed it last: it has the rights of this one. `id` tells deleted ones of one
    name apart.
    """

    id: int = 0
    name: str = ""
    experiment_id: str = ""
    experiment_name: str = ""
    cron: str = ""
    timezone: str = "UTC"
    words: str = ""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    code: int | None = None
    overlap: str = "skip"
    catch_up: str = "none"
    starting_deadline: int | None = None
    timeout: int = 0
    cpu_limit: int | None = None
    memory_limit: int | None = None
    file_size_limit: int | None = None
    max_attempts: int = 1
    engine: str = ""
    model_name: str = ""
    artifact_path: str = ""
    promote_metric: str = ""
    promote_stage: str = ""
    paused: bool = False
    next_at: datetime | None = moment()
    next_times: tuple[datetime, ...] = parsed(lambda texts: tuple(parse_time(text) for text in texts), ())
    created_by: str | None = None
    acts_as: str | None = None
    created_at: datetime | None = moment()
    updated_at: datetime | None = moment()
    deleted_at: datetime | None = moment()


@dataclass(frozen=True, kw_only=True)
class ScheduleTimes(Answer):
    """What a cron expression says, in words, and its next times."""

    cron: str = ""
    timezone: str = "UTC"
    words: str = ""
    next_times: tuple[datetime, ...] = parsed(lambda texts: tuple(parse_time(text) for text in texts), ())


@dataclass(frozen=True, kw_only=True)
class ScheduleExecution(Answer):
    """One moment of a schedule, or one Run now, and what became of it.

    `state` is Queued, Running, Succeeded, Failed, Killed, Skipped or Missed; duration and cpu_seconds in seconds,
    peak_memory in bytes; `version` is "name/3" where one was registered, `outcome` says what became of that.
    """

    id: str = ""
    schedule: str = ""
    trigger: str = ""
    engine: str = ""
    due_at: datetime | None = moment()
    state: str = ""
    reason: str = ""
    end_reason: str = ""
    outcome: str = ""
    attempt: int = 1
    configuration: Mapping[str, Any] = field(default_factory=dict)
    code: int | None = None
    run_id: str | None = None
    version: str | None = None
    exit_code: int | None = None
    duration: float | None = None
    cpu_seconds: float | None = None
    peak_memory: int | None = None
    created_by: str | None = None
    created_at: datetime | None = moment()
    started_at: datetime | None = moment()
    ended_at: datetime | None = moment()


@dataclass(frozen=True, kw_only=True)
class LogPiece(Answer):
    """What a program wrote between two offsets in bytes; with `ended`, nothing more will come."""

    text: str = ""
    next_offset: int = 0
    ended: bool = False
