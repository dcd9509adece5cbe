"""The clock: each moment once, none early, none lost, and a row that says why where nothing starts."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.choices import Role
from scheduling import services
from scheduling.choices import ExecutionState, Trigger
from scheduling.cron import Cron
from scheduling.models import Schedule, ScheduleExecution
from scheduling.moments import how_many
from scheduling.ticks import tick
from tests.factories import Person, make_person, make_project
from tests.scheduling.factories import make_schedule

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOURLY = "0 * * * *"

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), Role.CONTRIBUTOR, username="ann")


def at(schedule: Schedule, moment: datetime) -> Schedule:
    """As if the next moment of the schedule were this one."""
    Schedule.objects.filter(pk=schedule.pk).update(next_at=moment)
    schedule.refresh_from_db()
    return schedule


def rows(schedule: Schedule) -> list[tuple[str, str]]:
    found = schedule.executions.order_by("due_at")
    return [(f"{row.due_at:%d %H:%M}", row.state) for row in found]


def test_a_moment_starts_when_it_has_come_and_not_before(ann: Person) -> None:
    schedule = at(make_schedule(ann, cron=HOURLY), NOON)
    assert tick(NOON - timedelta(seconds=1)) == 0
    assert tick(NOON) == 1
    assert tick(NOON + timedelta(seconds=1)) == 0
    assert rows(schedule) == [("01 12:00", "Queued")]
    schedule.refresh_from_db()
    assert schedule.next_at == NOON + timedelta(hours=1)
    assert schedule.executions.get().trigger == Trigger.CRON


def test_after_a_downtime_moments_are_missed_or_the_last_is_caught_up(ann: Person) -> None:
    none = at(make_schedule(ann, "none", HOURLY), NOON)
    last = at(make_schedule(ann, "last", HOURLY, catch_up="last"), NOON)
    soon = at(make_schedule(ann, "soon", HOURLY, catch_up="last", starting_deadline=600), NOON)
    assert tick(NOON + timedelta(hours=2, minutes=20)) == 9
    assert rows(none) == [("01 12:00", "Missed"), ("01 13:00", "Missed"), ("01 14:00", "Missed")]
    assert rows(last) == [("01 12:00", "Missed"), ("01 13:00", "Missed"), ("01 14:00", "Queued")]
    assert rows(soon)[-1] == ("01 14:00", "Missed")
    assert "20 min late, over the deadline of 600 s" in str(soon.executions.latest("due_at").reason)


def test_a_very_long_downtime_ends_with_the_newest_moments(ann: Person) -> None:
    schedule = at(make_schedule(ann, cron="* * * * *", catch_up="last"), NOON)
    later = NOON + timedelta(days=30)
    tick(later)
    found = rows(schedule)
    assert len(found) == 1000
    assert found[-1] == ("01 12:00", "Queued")
    assert found[0][1] == "Missed"
    oldest = schedule.executions.earliest("due_at")
    assert oldest.due_at == later - timedelta(minutes=999)
    left_out = 30 * 24 * 60 + 1 - 1000
    assert f"{left_out} moments before it, from {NOON:%Y-%m-%d %H:%M} UTC on, have no row." in oldest.reason
    assert not schedule.executions.exclude(pk=oldest.pk).filter(reason__contains="have no row").exists()
    schedule.refresh_from_db()
    assert schedule.next_at == later + timedelta(minutes=1)


def test_a_change_after_a_very_long_downtime_says_too_how_many_moments_have_no_row(ann: Person) -> None:
    schedule = make_schedule(ann, cron="* * * * *")
    begin = timezone.now().replace(second=0, microsecond=0) - timedelta(days=3)
    at(schedule, begin)
    services.pause_schedule(actor=ann.actor, project=ann.project, name=schedule.name)
    oldest = schedule.executions.earliest("due_at")
    assert schedule.executions.count() == 1000
    assert "moments before it" in oldest.reason and "paused the schedule" in oldest.reason


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata"])
@pytest.mark.parametrize(
    "cron", ["7,9 * * * *", "*/30 1-3 * * *", "30 2 * * *", "0 0-5/2 1-7 * MON", "15 3 28-31 2,10 *"]
)
def test_moments_are_counted_as_they_come(cron: str, zone: str) -> None:
    found = Cron(cron, zone)
    begin = found.next_after(datetime(2026, 1, 1, 10, 30, tzinfo=UTC))
    for days in (0, 1, 100, 400):
        end = begin + timedelta(days=days, hours=7, minutes=11)
        assert how_many(found, begin, end) == len(list(found.until(begin, end))), end


@pytest.mark.parametrize(
    ("overlap", "states", "said"),
    [
        ("skip", ["Running", "Skipped", "Skipped"], "had not ended"),
        ("queue", ["Running", "Queued", "Skipped"], "waits already"),
        ("replace", ["Running", "Queued", "Queued"], ""),
    ],
)
def test_what_comes_while_one_runs_goes_by_the_overlap_policy(
    ann: Person, overlap: str, states: list[str], said: str
) -> None:
    schedule = at(make_schedule(ann, cron=HOURLY, overlap=overlap), NOON)
    tick(NOON)
    schedule.executions.update(state=ExecutionState.RUNNING)
    tick(NOON + timedelta(hours=1))
    tick(NOON + timedelta(hours=2))
    assert [state for _, state in rows(schedule)] == states
    first, *_, newest = schedule.executions.order_by("due_at")
    assert said in newest.reason
    assert (first.stop_asked_at is not None) is (overlap == "replace")


def test_a_paused_schedule_starts_nothing_and_catches_nothing_up(ann: Person) -> None:
    schedule = at(make_schedule(ann, cron=HOURLY, catch_up="last"), NOON)
    where = {"actor": ann.actor, "project": ann.project, "name": schedule.name}
    services.pause_schedule(**where)
    assert tick(NOON + timedelta(hours=5)) == 0
    resumed = services.resume_schedule(**where)
    assert resumed.next_at is not None and resumed.next_at > datetime.now(UTC)
    assert {state for _, state in rows(schedule)} == {"Missed"}  # what the clock had not looked at


def test_an_edit_never_starts_anything_by_itself(ann: Person) -> None:
    schedule = at(make_schedule(ann, cron=HOURLY), NOON)
    changed = services.update_schedule(
        actor=ann.actor, project=ann.project, name=schedule.name, cron="*/5 * * * *"
    )
    assert changed.next_at is not None and changed.next_at > datetime.now(UTC)
    assert tick(datetime.now(UTC)) == 0


@pytest.mark.django_db(transaction=True)
def test_of_two_clocks_each_moment_starts_once(ann: Person) -> None:
    for number in range(30):
        at(make_schedule(ann, f"s{number}", HOURLY), NOON)
    barrier = threading.Barrier(2)

    def run() -> None:
        barrier.wait()
        for hour in range(4):
            tick(NOON + timedelta(hours=hour))
        connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = ScheduleExecution.objects.values_list("schedule", "due_at")
    assert len(found) == len(set(found)) == 30 * 4


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("pause", "ann paused the schedule before it started."),
        ("edit", "ann edited the schedule before it started."),
        ("delete", "ann deleted the schedule before it started."),
    ],
)
def test_a_moment_that_a_person_was_faster_than_is_a_row_with_its_reason(
    ann: Person, verb: str, said: str
) -> None:
    schedule = make_schedule(ann, cron="* * * * *")
    due = datetime.now(UTC).replace(second=0, microsecond=0)
    at(schedule, due)
    where = {"actor": ann.actor, "project": ann.project, "name": schedule.name}
    if verb == "pause":
        services.pause_schedule(**where)
    elif verb == "edit":
        services.update_schedule(**where, cron="0 3 * * *")
    else:
        services.delete_schedule(**where)
    assert tick(datetime.now(UTC)) == 0
    execution = schedule.executions.get(due_at=due)
    assert (execution.state, execution.reason) == ("Missed", said)


def test_many_at_one_moment_cost_the_same_queries_as_one(ann: Person) -> None:
    counts = []
    for number in (1, 150):
        for each in range(Schedule.objects.count(), number):
            make_schedule(ann, f"s{each}", HOURLY)
        moment = NOON + timedelta(hours=number)
        Schedule.objects.update(next_at=moment)
        with CaptureQueriesContext(connection) as queries:
            assert tick(moment) == number
        counts.append(len(queries))
        ScheduleExecution.objects.update(state=ExecutionState.SUCCEEDED)
    assert counts[0] == counts[1]
