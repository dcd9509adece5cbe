"""Schedules of real training code, for tests."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Sequence
from typing import Any

import psutil

from artifacts.services import store_blob
from common.jobs import Again
from common.models import Job, JobState
from scheduling import services, tasks, training_code
from scheduling.executions import execute
from scheduling.models import Schedule, ScheduleExecution, TrainingCode
from tests.factories import Person
from tracking import services as tracking_verbs
from tracking.models import Experiment

ENOUGH = 30.0  # seconds


def make_code(
    person: Person,
    program: str = "print('trained')",
    experiment: str = "",
    command: Sequence[str] = ("python", "train.py"),
    **values: Any,
) -> TrainingCode:
    """Training code of one file, train.py."""
    content = program.encode()
    sha256 = hashlib.sha256(content).hexdigest()
    store_blob(actor=person.actor, project=person.project, sha256=sha256, stream=io.BytesIO(content))
    return training_code.upload_training_code(
        actor=person.actor,
        project=person.project,
        experiment_id=experiment or make_experiment(person),
        files={"train.py": sha256},
        command=command,
        **values,
    )


def make_experiment(person: Person, name: str = "nightly") -> str:
    found = Experiment.objects.filter(project=person.project, name=name).first()
    if found is None:
        found = tracking_verbs.create_experiment(actor=person.actor, project=person.project, name=name)
    return found.public_id


def make_schedule(
    person: Person, name: str = "nightly", cron: str = "0 2 * * *", program: str | None = None, **values: Any
) -> Schedule:
    """A schedule of code that prints one line, or of `program`."""
    experiment = make_experiment(person)
    if program is not None or not TrainingCode.objects.filter(experiment__public_id=experiment).exists():
        make_code(person, program or "print('trained')")
    return services.create_schedule(
        actor=person.actor, project=person.project, name=name, experiment_id=experiment, cron=cron, **values
    )


def trigger(person: Person, schedule: Schedule, **values: Any) -> ScheduleExecution:
    return services.trigger_schedule(actor=person.actor, project=person.project, name=schedule.name, **values)


def step(execution: ScheduleExecution) -> Again | None:
    """One look at an execution, and the start that it asked for, as workers take them."""
    again = execute(execution.pk)
    for row in Job.objects.filter(key=f"start:{execution.pk}", state=JobState.QUEUED):
        tasks.start(row.pk)
    return again


def drive(execution: ScheduleExecution, seconds: float = ENOUGH) -> ScheduleExecution:
    """Steps an execution as workers would until it has ended."""
    end = time.monotonic() + seconds
    while (again := step(execution)) is not None:
        assert isinstance(again, Again)
        assert time.monotonic() < end, "it did not end"
        time.sleep(min(again.seconds, 0.1))
    execution.refresh_from_db()
    return execution


def begun_run(person: Person, schedule: Schedule) -> ScheduleExecution:
    """An execution whose run goes on, without a process."""
    run = tracking_verbs.start_run(
        actor=person.actor, project=person.project, experiment_id=schedule.experiment.public_id
    )
    execution = trigger(person, schedule)
    code = TrainingCode.objects.filter(experiment=schedule.experiment).first()
    execution.run, execution.code, execution.state = run, code, "Running"
    execution.save()
    return execution


def processes_of(execution: ScheduleExecution) -> list[psutil.Process]:
    """Living processes that work for the execution."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PODSTACK_EXECUTION_ID") == execution.public_id:
                found.append(process)
        except psutil.Error:
            continue
    return found
