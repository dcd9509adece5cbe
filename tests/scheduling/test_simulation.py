"""Many schedules over two years with a clock that the test sets, beside an oracle that shares nothing with the code.

The oracle walks days, not moments: it writes down the wall-clock times that the fields name and asks the zone what each
of them is in UTC. `SOAK_SCHEDULES=1000` plays them all; the suite plays a few.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from accounts.choices import Role
from scheduling.models import Schedule, ScheduleExecution, TrainingCode
from scheduling.queries import cron_of
from scheduling.ticks import tick
from tests.factories import make_person, make_project
from tests.scheduling.factories import make_code, make_experiment
from tracking.models import Experiment

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")
COUNT = int(os.environ.get("SOAK_SCHEDULES", "10"))
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 730 if COUNT > 100 else 310
STEP = timedelta(days=1) if COUNT > 100 else timedelta(hours=12)
SOON = timedelta(seconds=30)  # after a moment, when it is still on time
WATCHED = (0, 1, 2, 3, 4) if COUNT > 100 else (1, 8)  # they catch nothing up: what is late would be Missed


def exists(zone: ZoneInfo, wall: datetime) -> bool:
    """Whether clocks in the zone ever show this time."""
    there = wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone)
    return there.replace(tzinfo=None) == wall


def moments(
    zone: ZoneInfo, day: date, hours: list[int], minutes: list[int], fixed: bool
) -> Iterator[datetime]:
    """The day's moments in UTC: fixed hours once, moved past a gap; steps each time that clocks show them."""
    for hour in hours:
        for minute in minutes:
            wall = datetime.combine(day, time(hour, minute))
            if not exists(zone, wall):
                if fixed:
                    while not exists(zone, wall):
                        wall += timedelta(minutes=1)
                    yield wall.replace(tzinfo=zone).astimezone(UTC)
                continue
            first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
            yield first
            if second != first and not fixed:
                yield second


def numbers(field: str, low: int, high: int) -> list[int]:
    """What a field of lists, ranges and steps names."""
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        found.update(range(int(first), int(last or first) + 1, int(step or 1)))
    return sorted(found)


def expected(cron: str, zone: ZoneInfo, end: datetime) -> set[datetime]:
    minute, hour, monthday, month, weekday = cron.split()
    fixed = not minute.startswith("*") and not hour.startswith("*")
    hours, minutes = numbers(hour, 0, 23), numbers(minute, 0, 59)
    months, monthdays, weekdays = numbers(month, 1, 12), numbers(monthday, 1, 31), numbers(weekday, 0, 6)
    either = monthday != "*" and weekday != "*"  # as cron has it: of two named ones, one is enough
    found: set[datetime] = set()
    day = BEGIN.date() - timedelta(days=2)
    while day <= end.date() + timedelta(days=2):
        named = day.day in monthdays, day.isoweekday() % 7 in weekdays
        if day.month in months and (any(named) if either else all(named)):
            found.update(moments(zone, day, hours, minutes, fixed))
        day += timedelta(days=1)
    return {moment for moment in found if BEGIN < moment <= end}


def some_cron(chance: random.Random) -> str:
    minute = chance.randrange(60)
    return chance.choice(
        [
            f"{minute} {chance.choice([0, 1, 2, 3, 14])} * * *",
            f"{minute} {chance.choice([1, 2, 3])} * * {chance.randrange(7)}",
            f"*/{chance.choice([20, 30])} {chance.choice([1, 2])} * * *",
            f"{minute} * * * {chance.randrange(7)}",
            f"{minute} 1-3 {chance.randrange(1, 32)} * *",
            f"{minute},{(minute + 20) % 60} 2 1-15/2 {chance.choice(['3,4', '10-11', '*/2'])} *",
            f"{minute} 2 {chance.randrange(1, 29)},25-31 * {chance.choice(['0', '1-5'])}",
        ]
    )


def ended_ones() -> dict[int, list[tuple[datetime, str]]]:
    """What the clock made since the last look, which is over now and out of the way: millions would be slow."""
    rows: dict[int, list[tuple[datetime, str]]] = {}
    for schedule_id, due_at, state in ScheduleExecution.objects.order_by("due_at").values_list(
        "schedule_id", "due_at", "state"
    ):
        rows.setdefault(schedule_id, []).append((due_at, state))
    if rows:
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE scheduling_scheduleexecution, common_job CASCADE")
    return rows


def looks(end: datetime, watched: list[set[datetime]]) -> list[datetime]:
    """When the clock looks: at each step, and in time for each moment of those that are watched."""
    in_time = {moment + SOON for moments in watched for moment in moments}
    return sorted(in_time | {BEGIN + STEP * number for number in range(1, (end - BEGIN) // STEP + 1)})


def judge(schedule: Schedule, rows: list[tuple[datetime, str]], now: datetime) -> None:
    """Of what one look made: nothing is early, the newest starts, and none that was looked at in time is Missed."""
    *before, (last, state) = rows
    assert last <= now, "one came early"
    assert state == "Queued", (schedule.cron, schedule.timezone, last, now, state)
    assert {state for _, state in before} <= {"Missed"}
    assert not before or schedule.catch_up == "last", (schedule.cron, schedule.timezone, before, now)


def test_each_moment_of_two_years_comes_once_and_none_early() -> None:
    ann = make_person(make_project("alpha"), Role.CONTRIBUTOR)
    experiment = make_experiment(ann)
    make_code(ann)
    owner = Experiment.objects.get(public_id=experiment)
    assert TrainingCode.objects.exists()
    chance = random.Random(7)
    wanted: dict[int, set[datetime]] = {}
    end = BEGIN + timedelta(days=DAYS)
    for number in range(COUNT):
        cron, zone = some_cron(chance), ZONES[number % len(ZONES)]
        schedule = Schedule.objects.create(
            project=ann.project,
            name=f"s{number}",
            experiment=owner,
            cron=cron,
            timezone=zone,
            catch_up="none" if number in WATCHED else "last",
            overlap="queue",
            created_by=ann.user,
            acts_as=ann.user,
        )
        Schedule.objects.filter(pk=schedule.pk).update(next_at=cron_of(schedule).next_after(BEGIN))
        wanted[schedule.pk] = expected(cron, ZoneInfo(zone), end)
    came = defaultdict[int, list[datetime]](list)
    schedules = {schedule.pk: schedule for schedule in Schedule.objects.all()}
    watched = [wanted[pk] for pk, schedule in schedules.items() if schedule.catch_up == "none"]
    for now in looks(end, watched):
        tick(now)
        for schedule_id, rows in ended_ones().items():
            judge(schedules[schedule_id], rows, now)
            came[schedule_id] += [due_at for due_at, _ in rows]
    for schedule in schedules.values():
        due = came[schedule.pk]
        assert len(due) == len(set(due))
        missed = sorted(wanted[schedule.pk] - set(due))[:3]
        extra = sorted(set(due) - wanted[schedule.pk])[:3]
        assert not missed and not extra, (schedule.cron, schedule.timezone, missed, extra)
