"""Executions: real processes, how they end, and what happens when workers, machines and people interfere."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest
from django.utils import timezone

from accounts.choices import Role
from accounts.models import ApiToken, Membership, User
from common.jobs import enqueue
from common.models import Job, JobState
from scheduling import executions, services, tasks
from scheduling.choices import CodeState, ExecutionState, Trigger
from scheduling.engines import current_engine
from scheduling.models import ScheduleExecution, TrainingCode
from tests.factories import Person, make_person, make_project
from tests.scheduling.factories import drive, make_schedule, processes_of, step, trigger
from tests.waiting import until
from tracking.choices import RunStatus

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("training_dir")]

FOREVER = "import time\nprint('begun', flush=True)\ntime.sleep(600)"


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), Role.CONTRIBUTOR, username="ann")


def log_of(execution: ScheduleExecution) -> str:
    from artifacts.services import open_blob

    assert execution.log is not None
    with open_blob(execution.log.files.get().blob) as file:
        return file.read().decode()


def begun(execution: ScheduleExecution) -> None:
    """Steps it until its program has written its first line."""
    step(execution)
    until(lambda: current_engine().log(execution.public_id, 0, 100), 15)


def test_a_program_that_ends_well_succeeds_with_its_log_and_figures(ann: Person) -> None:
    program = (
        "import json, os\n"
        "configuration = json.load(open(os.environ['PODSTACK_CONFIGURATION']))\n"
        "print('epochs', configuration['epochs'], os.environ['CONFIG_EPOCHS'], os.environ['CONFIG_FAST'])\n"
    )
    schedule = make_schedule(ann, program=program, configuration={"epochs": 3, "fast": True})
    execution = drive(trigger(ann, schedule))
    assert (execution.state, execution.reason, execution.exit_code) == ("Succeeded", "", 0)
    assert log_of(execution) == "epochs 3 3 true\n"
    assert execution.duration is not None and 0 < execution.duration < 20
    assert execution.cpu_seconds is not None and execution.cpu_seconds > 0
    assert execution.peak_memory is not None and execution.peak_memory > 1 << 20
    assert execution.run is not None and execution.run.status == RunStatus.COMPLETED
    assert execution.trigger == Trigger.MANUAL
    assert not (current_engine().root / execution.public_id).exists()  # type: ignore[attr-defined]


def test_a_program_that_fails_says_its_exit_code_and_its_run_failed_too(ann: Person) -> None:
    execution = drive(trigger(ann, make_schedule(ann, program="import sys\nprint('no data')\nsys.exit(3)")))
    assert (execution.state, execution.reason) == ("Failed", "It ended with exit code 3.")
    assert (execution.end_reason, execution.exit_code) == ("failed", 3)
    assert execution.run is not None and execution.run.status == RunStatus.FAILED
    assert log_of(execution) == "no data\n"


def test_a_program_that_is_not_there_is_a_sentence(ann: Person) -> None:
    from tests.scheduling.factories import make_code

    make_code(ann, command=["no-such-program"])
    execution = drive(trigger(ann, make_schedule(ann)))
    assert execution.state == "Failed"
    assert "'no-such-program' could not be started" in execution.reason


def test_the_environment_holds_nothing_of_the_platform(ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_WORKER", "x")
    program = "import os\nprint(sorted(os.environ))"
    execution = drive(
        trigger(ann, make_schedule(ann, program=program, configuration={"PATH": "/evil", "x-y": 1}))
    )
    said = log_of(execution)
    assert "PODSTACK_RUN_ID" in said
    for name in ("SECRET", "DATABASE_URL", "REDIS_URL", "DJANGO", "x-y"):
        assert name not in said


def test_its_token_writes_to_its_own_run_alone_and_dies_with_it(ann: Person) -> None:
    program = "import os\nprint(os.environ['PODSTACK_API_TOKEN'], flush=True)\nimport time\ntime.sleep(600)"
    execution = trigger(ann, make_schedule(ann, program=program))
    begun(execution)
    token = current_engine().log(execution.public_id, 0, 1000).decode().strip()
    execution.refresh_from_db()
    assert execution.run is not None
    own = execution.run.public_id
    ann.api.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")

    def post(path: str, body: object) -> int:
        return int(ann.api.post(f"{ann.base}/{path}", body, format="json").status_code)

    assert post(f"runs/{own}/params", {"params": {"a": 1}}) == 200
    assert post("runs", {"id": own, "experiment_id": "nightly"}) in (200, 201)
    assert ann.api.get(f"{ann.base}/models").status_code == 200
    for path, body in (
        ("runs", {"experiment_id": "nightly"}),
        ("runs/run-other1/params", {"params": {"a": 1}}),
        (f"runs/{own}x/params", {"params": {"a": 1}}),
        ("models", {"name": "m"}),
        ("experiments", {"name": "e"}),
        ("tokens", {"name": "t", "scopes": ["read"]}),
    ):
        assert post(path, body) == 403, path
    services.stop_execution(actor=ann.actor, project=ann.project, execution_id=execution.public_id)
    drive(execution)
    assert ann.api.get(f"{ann.base}/models").status_code == 401
    assert not ApiToken.objects.filter(only_run=own, revoked_at=None).exists()


def test_stop_ends_the_whole_process_tree(ann: Person) -> None:
    program = (
        "import subprocess, sys, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import os, time; os.setsid(); time.sleep(600)'])\n"
        "print('begun', flush=True)\ntime.sleep(600)"
    )
    execution = trigger(ann, make_schedule(ann, program=program))
    begun(execution)
    assert len(until(lambda: len(processes_of(execution)) >= 2 and processes_of(execution), 15)) == 2
    services.stop_execution(actor=ann.actor, project=ann.project, execution_id=execution.public_id)
    asked = time.monotonic()
    drive(execution)
    assert time.monotonic() - asked < 10
    assert (execution.state, execution.reason) == ("Killed", "ann stopped it.")
    assert execution.run is not None and execution.run.status == RunStatus.KILLED
    assert processes_of(execution) == []


def test_what_a_program_leaves_behind_ends_with_it(ann: Person) -> None:
    program = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import os, time; os.setsid(); time.sleep(600)'])\n"
    )
    execution = drive(trigger(ann, make_schedule(ann, program=program)))
    assert execution.state == "Succeeded"
    assert processes_of(execution) == []


def test_a_program_over_its_time_or_memory_is_ended_and_says_so(ann: Person) -> None:
    late = drive(trigger(ann, make_schedule(ann, "late", program=FOREVER, timeout=1)))
    assert (late.state, late.end_reason) == ("Failed", "over time")
    program = "data = []\nimport time\nwhile True:\n    data.append(b'x' * (8 << 20)); time.sleep(0.01)"
    big = drive(trigger(ann, make_schedule(ann, "big", program=program, memory_limit=200)))
    assert (big.state, big.end_reason) == ("Failed", "out of memory")
    assert big.reason == "It used more memory than the schedule allows."


def test_a_program_over_its_cpu_or_file_size_is_ended_and_says_so(ann: Person) -> None:
    spin = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'while True: pass'])"
    busy = drive(trigger(ann, make_schedule(ann, "busy", program=spin, cpu_limit=1)), 60)
    assert (busy.state, busy.end_reason) == ("Failed", "over cpu")
    assert busy.cpu_seconds is not None and busy.cpu_seconds > 1
    assert processes_of(busy) == []
    program = "open('big', 'wb').write(b'x' * (3 << 20))"
    big = drive(trigger(ann, make_schedule(ann, "big", program=program, file_size_limit=2)))
    assert (big.state, big.end_reason, big.exit_code) == ("Failed", "failed", 1)
    assert "File too large" in log_of(big)
    program = f"import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n{program}"
    told = drive(trigger(ann, make_schedule(ann, "told", program=program, file_size_limit=2)))
    assert told.reason == "It wrote a file larger than the schedule allows."


def test_a_second_worker_that_starts_it_too_starts_nothing_and_leaves_it_its_token(ann: Person) -> None:
    execution = trigger(ann, make_schedule(ann, program=FOREVER))
    begun(execution)
    before = {process.pid for process in processes_of(execution)}
    tokens = ApiToken.objects.exclude(only_run="")
    (own,) = tokens.filter(revoked_at=None)
    enqueue("scheduling.start", execution_id=execution.pk)
    tasks.start(Job.objects.get(name="scheduling.start", state=JobState.QUEUED).pk)
    step(execution)
    assert {process.pid for process in processes_of(execution)} == before
    assert list(tokens.filter(revoked_at=None)) == [own]
    services.stop_execution(actor=ann.actor, project=ann.project, execution_id=execution.public_id)
    drive(execution)


def test_a_supervisor_that_is_killed_leaves_nothing_and_the_execution_says_so(ann: Person) -> None:
    schedule = make_schedule(ann, program=FOREVER, max_attempts=2)
    execution = trigger(ann, schedule)
    begun(execution)
    (program,) = processes_of(execution)
    parent = program.parent()
    assert parent is not None
    os.kill(parent.pid, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(parent.pid) or parent.status() == "zombie", 15)
    drive(execution)
    assert (execution.state, execution.end_reason) == ("Failed", "lost")
    assert processes_of(execution) == []
    again = schedule.executions.first()
    assert again is not None and (again.trigger, again.attempt, again.state) == ("retry", 2, "Queued")


def test_one_waits_until_the_one_before_has_ended(ann: Person) -> None:
    schedule = make_schedule(ann, program=FOREVER)
    first, second = trigger(ann, schedule), trigger(ann, schedule)
    begun(first)
    assert executions.execute(second.pk) is not None
    second.refresh_from_db()
    assert second.state == ExecutionState.QUEUED
    services.stop_execution(actor=ann.actor, project=ann.project, execution_id=first.public_id)
    drive(first)
    begun(second)
    second.refresh_from_db()
    assert second.state == ExecutionState.RUNNING
    services.delete_schedule(actor=ann.actor, project=ann.project, name=schedule.name)
    drive(second)
    assert (second.state, second.reason) == ("Killed", "ann deleted the schedule.")


def test_a_waiting_one_that_is_stopped_never_starts(ann: Person) -> None:
    execution = trigger(ann, make_schedule(ann))
    services.stop_execution(actor=ann.actor, project=ann.project, execution_id=execution.public_id)
    assert executions.execute(execution.pk) is None
    execution.refresh_from_db()
    assert (execution.state, execution.run) == ("Killed", None)


def test_who_lost_the_right_trains_no_more(ann: Person) -> None:
    schedule = make_schedule(ann, max_attempts=3)
    execution = trigger(ann, schedule)
    Membership.objects.filter(user=ann.user).delete()
    drive(execution)
    assert (execution.state, execution.end_reason) == ("Failed", "refused")
    assert "alpha" in execution.reason
    assert schedule.executions.count() == 1


def test_the_schedule_of_a_deactivated_person_trains_no_more(ann: Person) -> None:
    execution = trigger(ann, make_schedule(ann, max_attempts=3))
    User.objects.filter(pk=ann.user.pk).update(is_active=False)
    drive(execution)
    assert (execution.state, execution.end_reason) == ("Failed", "refused")
    assert execution.reason.startswith("ann's account is deactivated.")


def test_what_has_no_code_any_more_is_refused_once(ann: Person) -> None:
    schedule = make_schedule(ann, max_attempts=3)
    execution = trigger(ann, schedule)
    TrainingCode.objects.update(state=CodeState.FAILED)
    drive(execution)
    assert (execution.state, execution.end_reason) == ("Failed", "refused")
    assert execution.reason.startswith("The experiment nightly has no training code. Upload a folder")
    assert schedule.executions.count() == 1


def test_an_open_execution_that_no_job_looks_after_is_found_again(ann: Person) -> None:
    execution = trigger(ann, make_schedule(ann))
    assert executions.look_after() == 0
    Job.objects.all().delete()
    assert executions.look_after() == 1
    assert Job.objects.filter(key=f"execution:{execution.pk}").count() == 1


def test_a_log_without_end_is_capped(ann: Person) -> None:
    program = "for _ in range(40):\n    print('x' * (1 << 19))"
    execution = drive(trigger(ann, make_schedule(ann, program=program)))
    said = log_of(execution)
    assert execution.state == "Succeeded"
    assert said.endswith("[The log is longer than 16 MiB: the rest was left out.]\n")
    assert len(said) < 17 << 20


def test_the_time_of_an_execution_is_told(ann: Person) -> None:
    before = timezone.now()
    execution = drive(trigger(ann, make_schedule(ann)))
    assert execution.started_at and execution.ended_at
    assert before <= execution.started_at <= execution.ended_at <= timezone.now()
