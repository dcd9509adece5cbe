"""The clock: moments of cron expressions become executions, each once, or rows that say why not."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from common import sql
from common.jobs import enqueue_all
from scheduling.choices import OPEN_STATES, CatchUp, ExecutionState, Overlap, Trigger
from scheduling.models import Schedule, ScheduleExecution
from scheduling.moments import ended, missed, missed_ones, moments_until, new_execution
from scheduling.queries import cron_of
from scheduling.services import ask_to_stop

ON_TIME = timedelta(seconds=60)
AT_ONCE = 200
SET_NEXT = """
    UPDATE scheduling_schedule s SET next_at = new.at FROM unnest(%s::bigint[], %s::timestamptz[]) AS new(id, at)
    WHERE s.id = new.id
"""
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
            .order_by("next_at")[:AT_ONCE]
        )
        due = list(rows)
        if not due:
            return None
        running = _open_executions(due)
        made = [row for each in due for row in _pass(each, now, running.get(each.pk, []))]
        ScheduleExecution.objects.bulk_create(made, ignore_conflicts=True)
        _start(row.public_id for row in made if row.state == ExecutionState.QUEUED)
        sql.rows(SET_NEXT, [[each.pk for each in due], [each.next_at for each in due]])
    return len(made)


def _start(public_ids: Iterable[str]) -> None:
    """Has workers look at those that were stored; a moment that was there already stored none."""
    stored = ScheduleExecution.objects.filter(public_id__in=list(public_ids)).values_list("pk", flat=True)
    enqueue_all("scheduling.execute", {f"execution:{pk}": {"execution_id": pk} for pk in stored})


def _open_executions(schedules: Iterable[Schedule]) -> dict[int, list[ScheduleExecution]]:
    rows = ScheduleExecution.objects.filter(schedule__in=schedules, state__in=OPEN_STATES).order_by("pk")
    found: dict[int, list[ScheduleExecution]] = {}
    for row in rows:
        found.setdefault(row.schedule_id, []).append(row)
    return found


def _pass(schedule: Schedule, now: datetime, running: list[ScheduleExecution]) -> list[ScheduleExecution]:
    """What becomes of this schedule's moments up to now; its hand moves past them."""
    assert schedule.next_at is not None
    cron = cron_of(schedule)
    first = schedule.next_at
    *before, last = moments_until(cron, first, now)
    schedule.next_at = cron.next_after(max(last, now))
    rows = missed_ones(schedule, cron, first, before, "The platform was away at that moment.")
    return [*rows, _last(schedule, last, now, running)]


def _last(
    schedule: Schedule, due_at: datetime, now: datetime, running: list[ScheduleExecution]
) -> ScheduleExecution:
    """The newest moment: it starts, unless it comes too late or something is in its way."""
    late = now - due_at
    if late > ON_TIME and schedule.catch_up == CatchUp.NONE:
        return missed(schedule, due_at, f"The platform was away; it came {_span(late)} late.")
    deadline = schedule.starting_deadline
    if late > ON_TIME and deadline is not None and late.total_seconds() > deadline:
        return missed(
            schedule,
            due_at,
            f"The platform was away; it came {_span(late)} late, over the deadline of {deadline} s.",
        )
    in_the_way = _overlap(schedule, running)
    if in_the_way:
        return ended(schedule, due_at, ExecutionState.SKIPPED, in_the_way)
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


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {name}"
    return f"{seconds} s"
