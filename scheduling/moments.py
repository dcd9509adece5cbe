"""The moments of a schedule that have come, as rows: one that starts, or one that says why nothing did."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.utils import timezone

from common.ids import new_id
from scheduling.choices import ExecutionState, Trigger
from scheduling.cron import Cron
from scheduling.models import Schedule, ScheduleExecution

MOST_MISSED = 1000  # rows for one schedule at once; older ones are left out


def moments_until(cron: Cron, first: datetime, now: datetime) -> list[datetime]:
    """`first`, which is one of its moments, and those after it up to now; of too many the newest."""
    moments = list(islice(cron.until(first, now), MOST_MISSED + 1))
    return moments if len(moments) <= MOST_MISSED else _newest(cron, first, now)


def _newest(cron: Cron, first: datetime, now: datetime) -> list[datetime]:
    """The last moments up to now, at most MOST_MISSED: looked for in longer and longer stretches before now."""
    stretch = timedelta(hours=1)
    while True:
        begin = max(now - stretch, first)
        found = list(_up_to(now, islice(cron.after(begin - timedelta(seconds=1)), MOST_MISSED)))
        if found or begin == first:
            return found[-MOST_MISSED:]
        stretch *= 4


def _up_to(now: datetime, moments: Iterator[datetime]) -> Iterator[datetime]:
    return (moment for moment in moments if moment <= now)


def new_execution(
    schedule: Schedule, trigger: Trigger, *, due_at: datetime | None = None, **values: Any
) -> ScheduleExecution:
    """An execution with what the schedule says now; not saved."""
    return ScheduleExecution(
        schedule=schedule,
        public_id=new_id("exec"),
        due_at=due_at,
        trigger=trigger,
        **{"configuration": schedule.configuration, **values},
    )


def missed(schedule: Schedule, due_at: datetime, reason: str) -> ScheduleExecution:
    return ended(schedule, due_at, ExecutionState.MISSED, reason)


def ended(schedule: Schedule, due_at: datetime, state: ExecutionState, reason: str) -> ScheduleExecution:
    """A moment that starts nothing; not saved."""
    return new_execution(
        schedule, Trigger.CRON, due_at=due_at, state=state, reason=reason, ended_at=timezone.now()
    )


def pass_over(schedule: Schedule, cron: Cron, reason: str) -> None:
    """Notes moments that have come, but that no clock has looked at yet: a change of the schedule was faster."""
    now = timezone.now()
    if schedule.next_at is not None and schedule.next_at <= now:
        rows = [missed(schedule, moment, reason) for moment in moments_until(cron, schedule.next_at, now)]
        ScheduleExecution.objects.bulk_create(rows, ignore_conflicts=True)
