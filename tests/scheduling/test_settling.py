"""How executions end when people leave, workers race, and what was started is no longer wanted."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from accounts.choices import Role
from accounts.models import ApiToken, AuditEntry, Membership, Notification, WebhookDelivery
from accounts.webhooks import create_webhook
from artifacts.models import Manifest
from cluster.models import SubmittedJob
from common.errors import Busy
from common.models import Job, JobState
from scheduling import executions, services, starting
from scheduling.engines import engine_for
from scheduling.engines.base import EngineAway, EngineError, Work
from scheduling.engines.local import LocalTraining
from scheduling.engines.ray import RayTraining
from scheduling.models import ScheduleExecution
from tests.factories import Person, make_person, make_project
from tests.scheduling.factories import drive, make_schedule, processes_of, step, trigger
from tests.waiting import until
from tracking.choices import RunStatus
from tracking.models import Run
from tracking.services import delete_run

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("training_dir")]

FOREVER = "import time\nprint('begun', flush=True)\ntime.sleep(600)"
FAILS = "import sys\nsys.exit(3)"


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), Role.CONTRIBUTOR, username="ann")


@pytest.fixture
def ray(ann: Person) -> Person:
    return make_person(ann.project, Role.MAINTAINER, username="ray")


def begun(execution: ScheduleExecution) -> None:
    step(execution)
    until(lambda: engine_for("local").log(execution.public_id, 0, 100), 15)


def stop(person: Person, execution: ScheduleExecution) -> None:
    services.stop_execution(actor=person.actor, project=person.project, execution_id=execution.public_id)


def delete_schedule(person: Person) -> None:
    services.delete_schedule(actor=person.actor, project=person.project, name="nightly")


def leave(ann: Person, ray: Person, execution: ScheduleExecution) -> None:
    Membership.objects.filter(user=ann.user).delete()


def become_a_viewer(ann: Person, ray: Person, execution: ScheduleExecution) -> None:
    Membership.objects.filter(user=ann.user).update(role=Role.VIEWER)


def delete_its_run(ann: Person, ray: Person, execution: ScheduleExecution) -> None:
    execution.refresh_from_db()
    assert execution.run is not None
    delete_run(actor=ray.actor, project=ray.project, run_id=execution.run.public_id)


@pytest.mark.parametrize("happens", [leave, become_a_viewer, delete_its_run])
def test_an_execution_ends_whatever_became_of_its_maker_and_its_run(
    happens: Callable[..., None], ann: Person, ray: Person
) -> None:
    execution = trigger(ann, make_schedule(ann, program=FAILS))
    step(execution)
    happens(ann, ray, execution)
    drive(execution)
    assert (execution.state, execution.reason) == ("Failed", "It ended with exit code 3.")
    assert execution.run is not None
    status = RunStatus.RUNNING if happens is delete_its_run else RunStatus.FAILED
    assert execution.run.status == status
    assert not ApiToken.objects.filter(only_run=execution.run.public_id, revoked_at=None).exists()


def test_an_execution_says_that_its_cluster_is_away_as_long_as_it_is(ann: Person, settings: Any) -> None:
    settings.RAY_ADDRESS, settings.RAY_TOKEN = "http://127.0.0.1:1", "t"
    execution = trigger(ann, make_schedule(ann, engine="ray"))
    step(execution)
    execution.refresh_from_db()
    said = "The cluster does not answer; it is asked again every few seconds."
    assert (execution.state, execution.reason) == ("Running", said)
    ScheduleExecution.objects.update(engine="local")
    drive(execution)
    assert (execution.state, execution.reason) == ("Succeeded", "")


def test_giving_up_works_too_when_its_maker_has_left(ann: Person, ray: Person) -> None:
    execution = trigger(ann, make_schedule(ann, program=FOREVER))
    begun(execution)
    leave(ann, ray, execution)
    executions.give_up(execution.pk, "the disk is full")
    execution.refresh_from_db()
    assert execution.state == "Failed"
    assert execution.run is not None and execution.run.status == RunStatus.FAILED


def test_notice_audit_entry_and_webhook_say_why_it_failed(ann: Person, ray: Person) -> None:
    ray_as_admin = make_person(ann.project, Role.ADMIN)
    create_webhook(
        actor=ray_as_admin.actor,
        project=ann.project,
        name="chat",
        url="https://hooks.example.com/x",
        events=["schedule.end_execution"],
    )
    execution = drive(trigger(ann, make_schedule(ann, program=FAILS)))
    why = "It ended with exit code 3."
    assert Notification.objects.get(user=ann.user).text == f"nightly failed: {why}"
    entry = AuditEntry.objects.get(verb="end_execution")
    assert entry.after == {"execution": execution.public_id, "state": "Failed", "reason": why}
    assert WebhookDelivery.objects.get().payload["data"]["after"]["reason"] == why


def test_a_reason_that_no_database_takes_is_told_without_its_odd_characters_and_tried_again(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: LocalTraining, work: Work) -> None:
        raise EngineError("no \0 \x1b[31m \udcff disk")

    monkeypatch.setattr(LocalTraining, "start", refuse)
    schedule = make_schedule(ann, max_attempts=2)
    execution = drive(trigger(ann, schedule))
    assert [(row.state, row.attempt) for row in schedule.executions.all()] == [("Queued", 2), ("Failed", 1)]
    assert (execution.state, execution.reason) == ("Failed", "no \ufffd \ufffd[31m \ufffd disk")


def test_giving_up_ends_the_training_and_removes_its_folder(ann: Person) -> None:
    execution = trigger(ann, make_schedule(ann, program=FOREVER))
    begun(execution)
    executions.give_up(execution.pk, "the disk is full")
    assert processes_of(execution) == []
    assert executions.execute(execution.pk) is None
    assert not (engine_for("local").root / execution.public_id).exists()  # type: ignore[attr-defined]


def test_a_supervisor_that_is_slow_to_end_keeps_its_folder_and_is_cleared_up_later(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executions, "STOPPED_WITHIN", 0.5)
    execution = trigger(ann, make_schedule(ann, program=FOREVER))
    begun(execution)
    supervisor = processes_of(execution)[0].parent()
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGSTOP)
    try:
        executions.give_up(execution.pk, "the disk is full")
        folder = engine_for("local").root / execution.public_id  # type: ignore[attr-defined]
        assert folder.exists()
        assert executions.execute(execution.pk) is not None
    finally:
        os.kill(supervisor.pid, signal.SIGCONT)
    assert Job.objects.filter(key=f"execution:{execution.pk}", state=JobState.QUEUED).exists()
    drive(execution)
    assert execution.state == "Failed"
    assert processes_of(execution) == []
    assert not folder.exists()


@pytest.mark.parametrize("how", ["stop", "delete"])
def test_a_stop_during_the_start_waits_for_it_and_leaves_no_process(
    how: str, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = trigger(ann, make_schedule(ann, program=FOREVER))
    spawn = LocalTraining._spawn

    def slow(self: LocalTraining, folder: Path) -> None:
        stop(ann, execution) if how == "stop" else delete_schedule(ann)
        assert executions.execute(execution.pk) is not None  # nothing is there to stop, and something comes
        spawn(self, folder)

    monkeypatch.setattr(LocalTraining, "_spawn", slow)
    step(execution)
    execution.refresh_from_db()
    assert execution.state == "Running"
    is_gone(drive(execution))


def test_a_stop_while_the_code_comes_ends_that_before_anything_begins(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = trigger(ann, make_schedule(ann, program=FOREVER))
    bring = starting.materialize

    def slow(manifest: Manifest, folder: Path, *, watch: Callable[[], None]) -> None:
        bring(manifest, folder, watch=watch)
        stop(ann, execution)
        watch()

    monkeypatch.setattr(starting, "LOOK_EVERY", 0)
    monkeypatch.setattr(starting, "materialize", slow)
    monkeypatch.setattr(LocalTraining, "_spawn", lambda self, folder: pytest.fail("It began."))
    is_gone(drive(execution))


def test_a_worker_that_wakes_up_after_its_start_was_given_up_leaves_nothing(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = trigger(ann, make_schedule(ann, program=FOREVER))
    spawn = LocalTraining._spawn

    def slow(self: LocalTraining, folder: Path) -> None:
        Job.objects.filter(name="scheduling.start").update(state=JobState.QUEUED)  # its lease ran out
        with pytest.raises(EngineAway, match="Another worker is starting it"):
            self.start(Work(execution.public_id, ["true"], {}, {}, 1, None, pytest.fail))
        stop(ann, execution)
        assert executions.execute(execution.pk) is None
        folder.mkdir(exist_ok=True)
        spawn(self, folder)

    monkeypatch.setattr(LocalTraining, "_spawn", slow)
    is_gone(drive(execution))


def is_gone(execution: ScheduleExecution) -> None:
    """It was stopped, its run with it, and nothing is left of it."""
    assert execution.state == "Killed"
    until(lambda: executions.execute(execution.pk) is None, 15)
    assert processes_of(execution) == []
    assert not (engine_for("local").root / execution.public_id).exists()  # type: ignore[attr-defined]
    assert execution.run is not None and execution.run.status == RunStatus.KILLED
    assert not ApiToken.objects.filter(only_run=execution.run.public_id, revoked_at=None).exists()


def test_a_run_that_begins_after_the_stop_ends_and_its_token_dies(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = trigger(ann, make_schedule(ann, program=FOREVER))
    begin = starting.start_run

    def slow(**words: Any) -> Run:
        Job.objects.filter(name="scheduling.start").update(state=JobState.QUEUED)  # its lease ran out
        stop(ann, execution)
        assert executions.execute(execution.pk) is None
        return begin(**words)

    monkeypatch.setattr(starting, "start_run", slow)
    is_gone(drive(execution))


def test_what_waits_for_its_start_is_stopped_at_once_and_never_begins(ann: Person) -> None:
    execution = trigger(ann, make_schedule(ann))
    executions.execute(execution.pk)
    executions.execute(execution.pk)
    assert Job.objects.filter(name="scheduling.start").count() == 1
    stop(ann, execution)
    assert executions.execute(execution.pk) is None
    step(execution)
    execution.refresh_from_db()
    assert (execution.state, execution.run) == ("Killed", None)


def test_a_start_that_the_store_does_not_answer_is_tried_again_and_given_up_with_a_sentence(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise Busy("The storage does not answer (timed out).")

    monkeypatch.setattr(starting, "materialize", away)
    execution = trigger(ann, make_schedule(ann))
    step(execution)
    assert executions.execute(execution.pk) is not None
    waiting = Job.objects.get(name="scheduling.start")
    assert (waiting.state, waiting.attempts) == (JobState.QUEUED, 1)
    assert waiting.run_after > timezone.now()
    Job.objects.update(attempts=19, run_after=timezone.now())
    step(execution)
    execution.refresh_from_db()
    assert execution.state == "Failed"
    assert "again and again: The storage does not answer (timed out)." in execution.reason


class Cluster:
    """A cluster's dashboard that takes jobs, after `slow` was done."""

    def __init__(self) -> None:
        self.jobs: dict[str, str] = {}
        self.slow: Callable[[], None] = lambda: None
        self.log = b""

    def has_package(self, name: str) -> bool:
        self.slow()  # the package goes up first, which takes its time
        return True

    def submit_job(self, wanted: dict[str, Any]) -> None:
        self.jobs[wanted["submission_id"]] = "RUNNING"

    def job(self, name: str) -> dict[str, Any] | None:
        return {"status": self.jobs[name]} if name in self.jobs else None

    def stop_job(self, name: str) -> None:
        if name in self.jobs:
            self.jobs[name] = "STOPPED"

    def delete_job(self, name: str) -> None:
        if self.jobs.get(name) != "RUNNING":
            self.jobs.pop(name, None)

    def job_log(self, name: str) -> bytes:
        return self.log


def test_a_stop_while_the_package_goes_to_the_cluster_leaves_no_job_there(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster()
    for module in (executions, starting):
        monkeypatch.setattr(module, "engine_for", lambda name: RayTraining(cluster))  # type: ignore[arg-type]
    execution = trigger(ann, make_schedule(ann))

    def stopped_meanwhile() -> None:
        cluster.slow = lambda: None
        stop(ann, execution)
        assert executions.execute(execution.pk) is not None

    cluster.slow = stopped_meanwhile
    step(execution)
    assert executions.execute(execution.pk) is not None
    assert cluster.jobs == {execution.public_id: "STOPPED"}
    drive(execution)
    assert (execution.state, cluster.jobs) == ("Killed", {})
    assert not SubmittedJob.objects.exists()
    assert execution.run is not None and execution.run.status == RunStatus.KILLED


@pytest.mark.parametrize("place", [0, 17, 18, 25, 45, 46, 62])
def test_the_line_that_a_cluster_writes_of_its_own_is_never_among_the_programs(place: int) -> None:
    cluster = Cluster()
    line = b"Running entrypoint for job exec-1: exec python -u runner.py\n"
    written = (
        b'\x1epodstack begins\nepoch 1, loss 0.5\nepoch 2\n\n\x1epodstack {"exit_code": 0, "reason": ""}\n'
    )
    cluster.log = written[:place] + line + written[place:]
    cluster.jobs["exec-1"] = "SUCCEEDED"
    training = RayTraining(cluster)  # type: ignore[arg-type]
    assert training.log("exec-1", 0, 100) == b"epoch 1, loss 0.5\nepoch 2\n"
    assert training.observe("exec-1").exit_code == 0
