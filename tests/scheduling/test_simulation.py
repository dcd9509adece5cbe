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
STEP = timedelta(days=1) if COUNT > 100 else timedelta(hours=6)


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


def expected(cron: str, zone: ZoneInfo, end: datetime) -> set[datetime]:
    minute, hour, _, _, weekday = cron.split()
    fixed = not minute.startswith("*") and not hour.startswith("*")
    hours = list(range(24)) if hour == "*" else [int(hour)]
    minutes = list(range(0, 60, int(minute[2:]))) if minute.startswith("*/") else [int(minute)]
    found: set[datetime] = set()
    day = BEGIN.date() - timedelta(days=2)
    while day <= end.date() + timedelta(days=2):
        if weekday == "*" or int(weekday) == day.isoweekday() % 7:
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
        ]
    )


def ended_ones() -> list[tuple[int, datetime]]:
    """What the clock made since the last look, which is over now and out of the way: millions would be slow."""
    rows = list(ScheduleExecution.objects.values_list("schedule_id", "due_at"))
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE scheduling_scheduleexecution, common_job CASCADE")
    return rows


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
            catch_up="last",
            overlap="queue",
            created_by=ann.user,
        )
        Schedule.objects.filter(pk=schedule.pk).update(next_at=cron_of(schedule).next_after(BEGIN))
        wanted[schedule.pk] = expected(cron, ZoneInfo(zone), end)
    now, came = BEGIN, defaultdict[int, list[datetime]](list)
    while now < end:
        now += STEP
        tick(now)
        for schedule_id, due_at in ended_ones():
            assert due_at <= now, "one came early"
            came[schedule_id].append(due_at)
    for schedule in Schedule.objects.all():
        due = came[schedule.pk]
        assert len(due) == len(set(due))
        missed = sorted(wanted[schedule.pk] - set(due))[:3]
        extra = sorted(set(due) - wanted[schedule.pk])[:3]
        assert not missed and not extra, (schedule.cron, schedule.timezone, missed, extra)
