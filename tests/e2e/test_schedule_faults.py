"""Scheduled training while workers, broker, clock and database are killed, and people change their minds."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from launcher.house import read_exports
from launcher.ports import free_port
from podstack import PodstackError
from tests.e2e.conftest import ROOT, Platform
from tests.waiting import until

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("SOAK_FAULT_ROUNDS", "1"))
PATIENCE = 180.0
MARK = b"PODSTACK_EXECUTION_ID="
# After so many seconds of service being back each execution goes on, whatever was lost.
GOES_ON_WITHIN = 15.0
STOPPED_WITHIN = 10.0
START_UP = 5.0  # of the program's own processes on a busy machine, which is not counted
# It holds a port while it runs: a second one beside it would fail.
PROGRAM = """
import os, socket, time
guard = socket.socket()
guard.bind(("127.0.0.1", int(os.environ["CONFIG_PORT"])))
print("begun", time.time(), flush=True)
time.sleep(float(os.environ["CONFIG_SECONDS"]))
print("done", time.time(), flush=True)
"""
CLOCK = "import time; from scheduling.ticks import tick\nfor _ in range(100): tick(); time.sleep(0.05)"
chance = random.Random(11)


class Trainings:
    """Schedules of PROGRAM on the platform, and what the tests do to it."""

    def __init__(self, platform: Platform, folder: Path) -> None:
        self.platform, self.client = platform, platform.client()
        self.settings = read_exports(platform.var / "platform.env")
        self.client.create_experiment("faulty")
        (folder / "train.py").write_text(PROGRAM)
        self.client.upload_training_code("faulty", folder, ["python", "train.py"])

    def schedule(self, name: str, seconds: float, **values: Any) -> str:
        configuration = {"port": free_port(), "seconds": seconds}
        self.client.create_schedule(name, "faulty", "0 0 1 1 *", configuration=configuration, **values)
        return name

    def due(self, name: str, seconds: float = 0) -> datetime:
        """As if the schedule's next moment were in so many seconds."""
        moment = datetime.now(UTC) + timedelta(seconds=seconds)
        with psycopg.connect(self.settings["DATABASE_URL"], autocommit=True) as link:
            link.execute(
                "UPDATE scheduling_schedule SET next_at = %s WHERE name = %s AND deleted_at IS NULL",
                [moment, name],
            )
        return moment

    def kill(self, *words: str, how: signal.Signals = signal.SIGKILL) -> None:
        for pid in self.platform.processes(*words):
            os.kill(pid, how)

    def kill_workers(self) -> float:
        """Kills all workers; the moment at which others take jobs again, in seconds since 1970."""
        logs = [self.platform.var / "logs" / f"{name}.log" for name in ("worker", "long-worker")]
        before = [_starts_in(log) for log in logs]
        self.kill("celery", "worker")
        until(lambda: all(_starts_in(log) > n for log, n in zip(logs, before, strict=True)), PATIENCE)
        return time.time()

    def database_answers(self) -> bool:
        try:
            psycopg.connect(self.settings["DATABASE_URL"], connect_timeout=1).close()
        except psycopg.OperationalError:
            return False
        return True

    def rows(self, name: str) -> list[Any]:
        """The schedule's executions, the oldest first."""
        return list(self.patient(lambda: list(self.client.list_schedule_executions(name))))[::-1]

    def states(self, name: str) -> list[str]:
        return [row.state for row in self.rows(name)]

    def log(self, execution_id: str) -> str:
        return str(self.patient(lambda: self.client.read_execution_log(execution_id).text))

    def ended(self, execution_id: str) -> Any:
        """The execution once it has ended, whatever the platform goes through meanwhile."""

        def look() -> Any:
            found = self.client.get_schedule_execution(execution_id)
            return found if found.state not in ("Queued", "Running") else None

        return until(lambda: self.patient(look), PATIENCE)

    def succeeded_once(self, execution_id: str, back: float) -> None:
        """It succeeded at its first attempt, having begun once, and nothing of it runs any more.

        What waited for service, its begin or its end, came soon after that was `back` (seconds since 1970).
        """
        found = self.ended(execution_id)
        assert (found.state, found.attempt) == ("Succeeded", 1), found
        (begin, begun), (end, done) = [line.split() for line in self.log(execution_id).splitlines()]
        assert (begin, end) == ("begun", "done")
        assert float(begun) - back <= GOES_ON_WITHIN + START_UP
        assert found.ended_at.timestamp() - max(back, float(done)) <= GOES_ON_WITHIN
        assert not processes_of(execution_id)

    @staticmethod
    def patient(ask: Callable[[], Any]) -> Any:
        """The answer; the SDK's own retries may not be enough while a database is away."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return ask()
            except PodstackError:
                assert time.monotonic() < end
                time.sleep(0.5)


def _starts_in(log: Path) -> int:
    """How often a worker has said that it takes jobs."""
    return log.read_text(errors="replace").count(" ready. ")


def processes_of(execution_id: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if MARK + execution_id.encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def trainings(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainings]:
    yield Trainings(platform, tmp_path_factory.mktemp("faulty"))
    assert not platform.processes("supervisor.py"), "a supervisor was left over"


@pytest.fixture
def fresh(trainings: Trainings) -> Iterator[Callable[..., str]]:
    """Makes schedules that are gone after the test."""
    names: list[str] = []

    def make(seconds: float, **values: Any) -> str:
        names.append(trainings.schedule(f"faulty-{len(names)}-{time.monotonic_ns()}", seconds, **values))
        return names[-1]

    yield make
    for name in names:
        trainings.patient(lambda name=name: trainings.client.delete_schedule(name))


@pytest.mark.parametrize("phase", ["before it is claimed", "while it runs", "before its result is written"])
def test_a_worker_that_is_killed_loses_and_doubles_nothing(
    trainings: Trainings, fresh: Callable[..., str], phase: str
) -> None:
    for _ in range(ROUNDS):
        name = fresh(1 if phase == "before its result is written" else 3)
        execution = trainings.client.trigger_schedule(name)
        if phase != "before it is claimed":
            until(lambda execution=execution: trainings.log(execution.id), PATIENCE)
        if phase == "before its result is written":
            time.sleep(chance.uniform(0.8, 1.6))
        trainings.succeeded_once(execution.id, back=trainings.kill_workers())


def test_a_broker_that_is_emptied_loses_no_training(trainings: Trainings, fresh: Callable[..., str]) -> None:
    broker = redis.Redis.from_url(trainings.settings["REDIS_URL"])
    for _ in range(ROUNDS):
        execution = trainings.client.trigger_schedule(fresh(2))
        end = time.monotonic() + chance.uniform(0, 1)
        while time.monotonic() < end:
            broker.flushall()
        trainings.succeeded_once(execution.id, back=time.time())


def test_a_clock_that_is_killed_neither_loses_nor_doubles_a_moment(
    trainings: Trainings, fresh: Callable[..., str]
) -> None:
    name = fresh(0.1, overlap="queue")
    moments = []
    for _ in range(ROUNDS):
        moments.append(trainings.due(name, 1))
        trainings.kill("celery", "beat")
        until(lambda: trainings.states(name) == ["Succeeded"] * len(moments), PATIENCE)
    assert [row.due_at for row in trainings.rows(name)] == moments


def test_of_two_clocks_beside_the_platforms_own_none_doubles_a_moment(
    trainings: Trainings, platform: Platform, fresh: Callable[..., str]
) -> None:
    (pid, *_) = platform.processes("manage.py", "dispatch_jobs")
    entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
    environ = dict(entry.split("=", 1) for entry in entries if "=" in entry)
    names = [fresh(0.1) for _ in range(5)]
    command = [sys.executable, "manage.py", "shell", "-c", CLOCK]
    clocks = [subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL) for _ in range(2)]
    while any(clock.poll() is None for clock in clocks):
        for name in names:
            trainings.due(name, 0.2)
        time.sleep(0.5)
    assert [clock.returncode for clock in clocks] == [0, 0]
    for name in names:
        due = [row.due_at for row in trainings.rows(name)]
        assert due and len(due) == len(set(due))


def test_a_database_that_is_gone_for_ten_seconds_loses_nothing(
    trainings: Trainings, fresh: Callable[..., str]
) -> None:
    for _ in range(ROUNDS):
        execution = trainings.client.trigger_schedule(fresh(6))
        until(lambda execution=execution: trainings.log(execution.id), PATIENCE)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            trainings.kill("postgres", "-D", how=signal.SIGQUIT)
            time.sleep(0.3)
        until(trainings.database_answers, PATIENCE)
        trainings.succeeded_once(execution.id, back=time.time())


@pytest.mark.parametrize(
    ("overlap", "wanted"),
    [
        ("skip", ["Succeeded", "Skipped"]),
        ("queue", ["Succeeded", "Succeeded"]),
        ("replace", ["Killed", "Succeeded"]),
    ],
)
def test_a_training_longer_than_its_period_goes_by_its_policy(
    trainings: Trainings, fresh: Callable[..., str], overlap: str, wanted: list[str]
) -> None:
    for _ in range(ROUNDS):
        name = fresh(8, overlap=overlap)
        trainings.due(name)
        first = until(lambda name=name: trainings.rows(name), PATIENCE)[0]
        until(lambda first=first: trainings.log(first.id), PATIENCE)
        trainings.due(name)
        until(lambda name=name: trainings.states(name) == wanted, PATIENCE)
        for row in trainings.rows(name):
            assert not processes_of(row.id)


def test_a_training_that_is_stopped_while_it_starts_leaves_nothing(
    trainings: Trainings, fresh: Callable[..., str]
) -> None:
    name = fresh(600)
    for _ in range(ROUNDS):
        execution = trainings.client.trigger_schedule(name)
        time.sleep(chance.uniform(0, 1.5))
        trainings.client.stop_schedule_execution(execution.id)
        found = trainings.ended(execution.id)
        assert (found.state, found.reason) == ("Killed", "admin stopped it.")
        assert not processes_of(execution.id)
    assert trainings.states(name) == ["Killed"] * ROUNDS


def test_frozen_long_workers_keep_neither_a_stop_nor_a_moment_waiting(
    trainings: Trainings, fresh: Callable[..., str]
) -> None:
    for _ in range(ROUNDS):
        running, name = trainings.client.trigger_schedule(fresh(600)), fresh(0.1)
        until(lambda running=running: trainings.log(running.id), PATIENCE)
        trainings.kill("--queues long", how=signal.SIGSTOP)
        try:
            asked = time.time()
            trainings.client.stop_schedule_execution(running.id)
            moment = trainings.due(name)
            found = trainings.ended(running.id)
            assert found.state == "Killed"
            assert found.ended_at.timestamp() - asked <= STOPPED_WITHIN
            until(lambda name=name: trainings.states(name) == ["Running"], PATIENCE)
            (waiting,) = trainings.rows(name)
            assert (waiting.started_at - moment).total_seconds() <= STOPPED_WITHIN
            assert not trainings.log(waiting.id)
        finally:
            trainings.kill("--queues long", how=signal.SIGCONT)
        trainings.succeeded_once(waiting.id, back=time.time())


def test_a_pause_beside_a_moment_leaves_a_row_or_came_before_it(
    trainings: Trainings, fresh: Callable[..., str]
) -> None:
    for _ in range(ROUNDS):
        name = fresh(0.1)
        moment = trainings.due(name, 1)
        time.sleep(chance.uniform(0.2, 1.8))
        paused = trainings.client.pause_schedule(name)
        rows = trainings.rows(name)
        assert paused.updated_at is not None
        assert [row.due_at for row in rows] == ([moment] if rows or paused.updated_at > moment else [])
        if rows:
            assert trainings.ended(rows[0].id).state in ("Succeeded", "Missed")
