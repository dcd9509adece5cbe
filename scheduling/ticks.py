"""The clock: moments of cron expressions become executions, each once, or rows that say why not."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice

from django.db import transaction
from django.utils import timezone

from scheduling.choices import OPEN_STATES, CatchUp, ExecutionState, Overlap, Trigger
from scheduling.models import Schedule, ScheduleExecution
from scheduling.queries import cron_of
from scheduling.services import ask_to_stop, new_execution, start_soon

ON_TIME = timedelta(seconds=60)
AT_ONCE = 200
MOST_MISSED = 1000  # rows for one schedule at one tick; what is older is told in one sentence
LONGEST = 20.0  # seconds of one tick; the next goes on


def tick(now: datetime | None = None) -> int:
    """Turns every moment up to `now` into an execution; returns how many moments that were."""
    moment = now or timezone.now()
    end, count = time.monotonic() + LONGEST, 0
    while time.monotonic() < end:
        found = _some(moment)
        if found is None:
            break
        count += found
    return count


def _some(now: datetime) -> int | None:
    """The same for up to AT_ONCE schedules that nobody else looks at; None when none is due."""
    with transaction.atomic():
        rows = (
            Schedule.objects.alive()
            .filter(next_at__lte=now)
            .select_for_update(of=("self",), skip_locked=True, no_key=True)
            .select_related("project", "experiment", "code")
            .order_by("next_at")[:AT_ONCE]
        )
        due = list(rows)
        if not due:
            return None
        running = _open_executions(due)
        count = sum(_pass(schedule, now, running.get(schedule.pk, [])) for schedule in due)
        Schedule.objects.bulk_update(due, ["next_at"])
    return count


def _open_executions(schedules: Iterable[Schedule]) -> dict[int, list[ScheduleExecution]]:
    rows = ScheduleExecution.objects.filter(schedule__in=schedules, state__in=OPEN_STATES).order_by("pk")
    found: dict[int, list[ScheduleExecution]] = {}
    for row in rows:
        found.setdefault(row.schedule_id, []).append(row)
    return found


def _pass(schedule: Schedule, now: datetime, running: list[ScheduleExecution]) -> int:
    """Writes what becomes of this schedule's moments up to now, and moves its hand past them."""
    assert schedule.next_at is not None
    cron = cron_of(schedule)
    moments = list(islice(cron.until(schedule.next_at, now), MOST_MISSED + 1))
    if len(moments) > MOST_MISSED:
        # So long away that one would not read them all: the newest are what matters.
        moments = _newest(schedule, now)
    *missed, last = moments
    rows = [_missed(schedule, moment, "The platform was away at that moment.") for moment in missed]
    rows.append(_last(schedule, last, now, running))
    made = ScheduleExecution.objects.bulk_create(rows, ignore_conflicts=True)
    for row in made:
        if row.state == ExecutionState.QUEUED:
            stored = ScheduleExecution.objects.filter(public_id=row.public_id).first()
            if stored is not None:
                start_soon(stored)
    schedule.next_at = cron.next_after(max(last, now))
    return len(moments)


def _newest(schedule: Schedule, now: datetime) -> list[datetime]:
    """The last moments up to now, at most MOST_MISSED: looked for in longer and longer stretches before now."""
    assert schedule.next_at is not None
    cron, stretch = cron_of(schedule), timedelta(hours=1)
    while True:
        begin = max(now - stretch, schedule.next_at)
        found = [m for m in islice(cron.after(begin - timedelta(seconds=1)), MOST_MISSED) if m <= now]
        if found or begin == schedule.next_at:
            return found[-MOST_MISSED:]
        stretch *= 4


def _last(
    schedule: Schedule, due_at: datetime, now: datetime, running: list[ScheduleExecution]
) -> ScheduleExecution:
    """The newest moment: it starts, unless it comes too late or something is in its way."""
    late = now - due_at
    if late > ON_TIME and schedule.catch_up == CatchUp.NONE:
        return _missed(schedule, due_at, f"The platform was away; it came {_span(late)} late.")
    deadline = schedule.starting_deadline
    if late > ON_TIME and deadline is not None and late.total_seconds() > deadline:
        return _missed(
            schedule,
            due_at,
            f"The platform was away; it came {_span(late)} late, over the deadline of {deadline} s.",
        )
    in_the_way = _overlap(schedule, running)
    if in_the_way:
        return _ended(schedule, due_at, ExecutionState.SKIPPED, in_the_way)
    return new_execution(schedule, Trigger.CRON, due_at=due_at)


def _overlap(schedule: Schedule, running: list[ScheduleExecution]) -> str:
    """Why a new one may not start beside those that are open; "" where it may."""
    if not running:
        return ""
    if schedule.overlap == Overlap.REPLACE:
        for execution in running:
            ask_to_stop(execution, "The next one of its schedule replaced it.")
        return ""
    waiting = [execution for execution in running if execution.state == ExecutionState.QUEUED]
    if schedule.overlap == Overlap.QUEUE and not waiting:
        return ""
    if schedule.overlap == Overlap.QUEUE:
        return f"{waiting[0].public_id} waits already."
    return f"{running[0].public_id} had not ended."


def _missed(schedule: Schedule, due_at: datetime, reason: str) -> ScheduleExecution:
    return _ended(schedule, due_at, ExecutionState.MISSED, reason)


def _ended(schedule: Schedule, due_at: datetime, state: ExecutionState, reason: str) -> ScheduleExecution:
    return new_execution(
        schedule, Trigger.CRON, due_at=due_at, state=state, reason=reason, ended_at=timezone.now()
    )


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {name}"
    return f"{seconds} s"
