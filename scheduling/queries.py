"""Finding schedules, executions and training code."""

from __future__ import annotations

from django.db.models import F

from accounts.models import Project
from common.checks import shorten
from common.errors import Missing
from scheduling.cron import Cron
from scheduling.models import Schedule, ScheduleExecution, ScheduleQuerySet, TrainingCode
from tracking.models import Experiment


def find_schedule(project: Project, name: str) -> Schedule:
    """The project's schedule of this name with its details, or Missing."""
    return _one(Schedule.objects.alive(), project, name)


def find_schedule_once(project: Project, name: str) -> Schedule:
    """The same, or the one of this name that was deleted last: what it did stays readable."""
    newest_first = F("deleted_at").desc(nulls_first=True)
    return _one(Schedule.objects.order_by(newest_first), project, name)


def find_deleted_schedule(project: Project, pk: int) -> Schedule:
    """A schedule that was deleted, or Missing; several may have had one name."""
    rows = Schedule.objects.with_details().exclude(deleted_at=None)
    found = rows.filter(project=project, pk=pk).first()
    if found is None:
        raise Missing(f"There is no such deleted schedule in {project.slug}.", code="schedule_not_found")
    return found


def _one(rows: ScheduleQuerySet, project: Project, name: str) -> Schedule:
    found = rows.with_details().filter(project=project, name=name).first() if "\0" not in name else None
    if found is None:
        raise Missing(
            f"There is no schedule {shorten(name)} in {project.slug}.",
            "List the schedules to see their names.",
            code="schedule_not_found",
        )
    return found


def find_execution(project: Project, public_id: str) -> ScheduleExecution:
    """One execution, also of a schedule that was deleted, or Missing."""
    rows = ScheduleExecution.objects.select_related(
        "schedule__project", "run", "code", "version__model", "created_by", "log"
    )
    found = (
        rows.filter(schedule__project=project, public_id=public_id).first() if "\0" not in public_id else None
    )
    if found is None:
        raise Missing(
            f"There is no execution {shorten(public_id)} in {project.slug}.", code="execution_not_found"
        )
    return found


def find_code(experiment: Experiment, number: int | None = None) -> TrainingCode:
    """The experiment's training code of this number, or the newest; Missing where there is none."""
    rows = TrainingCode.objects.filter(experiment=experiment).select_related("manifest", "created_by")
    found = rows.filter(number=number).first() if number is not None else rows.first()
    if found is None:
        which = "no training code" if number is None else f"no training code {number}"
        raise Missing(
            f"The experiment {experiment.name} has {which}.",
            "Upload a folder and the command that trains: client.upload_training_code(experiment_id, folder, command).",
            code="training_code_not_found",
        )
    return found


def cron_of(schedule: Schedule) -> Cron:
    """The schedule's expression in its zone; both were checked when they were set."""
    return Cron(schedule.cron, schedule.timezone)
