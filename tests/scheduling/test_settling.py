"""How executions end when people leave, workers race, and what was started is no longer wanted."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from accounts.choices import Role
from accounts.models import ApiToken, AuditEntry, Membership, Notification, WebhookDelivery
from accounts.webhooks import create_webhook
from cluster.models import SubmittedJob
from common.models import Job, JobState
from scheduling import executions, services
from scheduling.engines import engine_for
from scheduling.engines.base import EngineError, Seen, Work
from scheduling.engines.local import LocalTraining
from scheduling.engines.ray import RayTraining
from scheduling.models import ScheduleExecution
from tests.factories import Person, make_person, make_project
from tests.scheduling.factories import drive, make_schedule, processes_of, trigger
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
    executions.execute(execution.pk)
    until(lambda: engine_for("local").log(execution.public_id, 0, 100), 15)


def stop(person: Person, execution: ScheduleExecution) -> None:
    services.stop_execution(actor=person.actor, project=person.project, execution_id=execution.public_id)


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
    executions.execute(execution.pk)
    happens(ann, ray, execution)
    drive(execution)
    assert (execution.state, execution.reason) == ("Failed", "It ended with exit code 3.")
    assert execution.run is not None
    status = RunStatus.RUNNING if happens is delete_its_run else RunStatus.FAILED
    assert execution.run.status == status
    assert not ApiToken.objects.filter(only_run=execution.run.public_id, revoked_at=None).exists()


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


def test_a_reason_that_no_database_takes_is_told_without_its_odd_characters(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: LocalTraining, work: Work) -> None:
        raise EngineError("no \0 \x1b[31m \udcff disk")

    monkeypatch.setattr(LocalTraining, "start", refuse)
    execution = drive(trigger(ann, make_schedule(ann)))
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
def test_a_stop_during_the_start_leaves_no_process(
    how: str, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = trigger(ann, make_schedule(ann, program=FOREVER))
    start = LocalTraining.start

    def slow(self: LocalTraining, work: Work) -> None:
        monkeypatch.setattr(LocalTraining, "start", start)
        if how == "stop":
            stop(ann, execution)
        else:
            services.delete_schedule(actor=ann.actor, project=ann.project, name="nightly")
        assert executions.execute(execution.pk) is None  # the second worker sees nothing to stop
        start(self, work)

    monkeypatch.setattr(LocalTraining, "start", slow)
    drive(execution)
    assert execution.state == "Killed"
    assert processes_of(execution) == []
    assert not (engine_for("local").root / execution.public_id).exists()  # type: ignore[attr-defined]
    assert execution.run is not None and execution.run.status == RunStatus.KILLED


def test_what_is_no_longer_wanted_is_stopped_as_soon_as_it_was_started(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = trigger(ann, make_schedule(ann, program=FOREVER))
    start, stopped = LocalTraining.start, []

    def slow(self: LocalTraining, work: Work) -> None:
        stop(ann, execution)
        start(self, work)

    monkeypatch.setattr(LocalTraining, "start", slow)
    end = LocalTraining.stop
    monkeypatch.setattr(LocalTraining, "stop", lambda self, name: (stopped.append(name), end(self, name))[1])
    executions.execute(execution.pk)
    assert stopped == [execution.public_id]
    drive(execution)
    assert (execution.state, execution.reason) == ("Killed", "ann stopped it.")


def test_a_run_that_begins_after_the_stop_ends_and_its_token_dies(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = trigger(ann, make_schedule(ann, program=FOREVER))
    begin = executions.start_run

    def slow(**words: Any) -> Run:
        monkeypatch.setattr(executions, "start_run", begin)
        stop(ann, execution)
        assert executions.execute(execution.pk) is None
        return begin(**words)

    monkeypatch.setattr(executions, "start_run", slow)
    drive(execution)
    run = Run.objects.get()
    assert (execution.state, run.status) == ("Killed", RunStatus.KILLED)
    assert not ApiToken.objects.filter(only_run=run.public_id, revoked_at=None).exists()
    assert processes_of(execution) == []


def test_a_second_worker_waits_while_the_first_may_be_starting_it(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = trigger(ann, make_schedule(ann))
    monkeypatch.setattr(LocalTraining, "observe", lambda self, name: Seen("absent"))
    stop_asked = ScheduleExecution.objects.filter(pk=execution.pk)
    stop_asked.update(state="Running", engine="local", stop_asked_at=execution.created_at)
    Job.objects.all().delete()
    for _ in range(2):
        Job.objects.create(
            name="scheduling.execute",
            kwargs={"execution_id": execution.pk},
            key=f"execution:{execution.pk}",
            state=JobState.RUNNING,
        )
    assert executions.execute(execution.pk) is not None
    execution.refresh_from_db()
    assert execution.state == "Running"
    Job.objects.first().delete()  # type: ignore[union-attr]
    assert executions.execute(execution.pk) is None
    execution.refresh_from_db()
    assert execution.state == "Killed"


class Cluster:
    """A cluster's dashboard that takes jobs, after `slow` was done."""

    def __init__(self) -> None:
        self.jobs: dict[str, str] = {}
        self.slow: Callable[[], None] = lambda: None

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
        return b""


def test_a_stop_while_the_package_goes_to_the_cluster_leaves_no_job_there(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster()
    monkeypatch.setattr(executions, "engine_for", lambda name: RayTraining(cluster))  # type: ignore[arg-type]
    execution = trigger(ann, make_schedule(ann))

    def stopped_meanwhile() -> None:
        cluster.slow = lambda: None
        stop(ann, execution)
        assert executions.execute(execution.pk) is None

    cluster.slow = stopped_meanwhile
    executions.execute(execution.pk)
    assert cluster.jobs == {execution.public_id: "STOPPED"}
    drive(execution)
    assert (execution.state, cluster.jobs) == ("Killed", {})
    assert not SubmittedJob.objects.exists()
    assert execution.run is not None and execution.run.status == RunStatus.KILLED
