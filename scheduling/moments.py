"""The moments of a schedule that have come, as rows: one that starts, or one that says why nothing did."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import islice, takewhile
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim
from django.utils import timezone

from common.ids import new_id
from scheduling.choices import ExecutionState, Trigger
from scheduling.cron import Cron
from scheduling.models import Schedule, ScheduleExecution

MOST_MISSED = 1000  # rows for one schedule at once; of older moments the oldest row tells how many there were


def moments_until(cron: Cron, first: datetime, now: datetime) -> list[datetime]:
    """`first`, which is one of its moments, and those after it up to now; of too many the newest."""
    moments = list(islice(cron.until(first, now), MOST_MISSED + 1))
    return moments if len(moments) <= MOST_MISSED else _newest(cron, first, now)


def _newest(cron: Cron, first: datetime, now: datetime) -> list[datetime]:
    """The last MOST_MISSED moments up to now: only a stretch before now that holds enough of them is walked."""
    stretch, begin = timedelta(hours=1), now
    while begin > first and how_many(cron, begin, now) < MOST_MISSED:
        begin = max(now - stretch, first)
        stretch *= 2
    return list(deque(_between(cron, begin, now), maxlen=MOST_MISSED))


def _between(cron: Cron, begin: datetime, end: datetime) -> Iterator[datetime]:
    """The moments from `begin` up to `end`, both included, one by one."""
    return takewhile(lambda moment: moment <= end, cron.after(begin - timedelta(seconds=1)))


def how_many(cron: Cron, begin: datetime, end: datetime) -> int:
    """Moments from `begin` up to `end`, both included, in little time: only days on which clocks move are walked.

    On all others the fields say it: each day that matches holds each hour with each minute once.
    """
    zone = ZoneInfo(cron.timezone)
    there, until = begin.astimezone(zone), end.astimezone(zone)
    fields = CronSim(cron.expression, datetime(2000, 1, 1, tzinfo=UTC))
    clock = [time(hour, minute) for hour in fields.hours for minute in fields.minutes]
    days = Cron(" ".join(["0", "0", *cron.expression.split()[2:]]), "UTC")
    midnight = datetime.combine(there.date(), time.min, UTC)
    count = 0
    for day in days.after(midnight - timedelta(seconds=1)):
        if day.date() > until.date():
            break
        starts, ends = (
            datetime.combine(day.date() + timedelta(days=each), time.min, zone) for each in (0, 1)
        )
        if starts.utcoffset() != ends.utcoffset():
            low = max(starts.astimezone(UTC), begin)
            high = min(ends.astimezone(UTC) - timedelta.resolution, end)
            count += sum(1 for _ in _between(cron, low, high))
        elif there.date() < day.date() < until.date():
            count += len(clock)
        else:
            first = there.time() if day.date() == there.date() else time.min
            last = until.time() if day.date() == until.date() else time.max
            count += sum(first <= each <= last for each in clock)
    return count


def missed_ones(
    schedule: Schedule, cron: Cron, first: datetime, moments: list[datetime], reason: str
) -> list[ScheduleExecution]:
    """Rows of moments that nobody looked at in time; where older ones have no row, the oldest says how many."""
    rows = [missed(schedule, moment, reason) for moment in moments]
    if moments and moments[0] > first:
        count = how_many(cron, first, moments[0]) - 1
        rows[0].reason += f" {count} moments before it, from {first:%Y-%m-%d %H:%M} UTC on, have no row."
    return rows


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
        moments = moments_until(cron, schedule.next_at, now)
        rows = missed_ones(schedule, cron, schedule.next_at, moments, reason)
        ScheduleExecution.objects.bulk_create(rows, ignore_conflicts=True)
