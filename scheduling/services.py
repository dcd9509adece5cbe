"""Verbs on schedules and their executions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.audit import record
from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from artifacts.paths import check_path
from common.checks import check_pattern, check_text, check_whole, shorten
from common.errors import Conflict, Invalid
from common.jobs import enqueue
from registry.choices import Stage
from registry.names import check_model_name
from scheduling.choices import OPEN_STATES, CatchUp, CodeState, EngineName, Overlap, Trigger
from scheduling.configuration import check_configuration
from scheduling.cron import check_cron
from scheduling.models import Schedule, ScheduleExecution, TrainingCode
from scheduling.moments import new_execution, pass_over
from scheduling.queries import cron_of, find_code, find_execution, find_schedule
from scheduling.training_code import code_of, newest_code
from tracking.models import Experiment
from tracking.queries import find_experiment, find_run

# "." and ".." are steps of a path, so no address would lead to such a schedule.
SCHEDULE_NAME = re.compile(r"(?!\.{1,2}\Z)[^\x00-\x1f\x7f\s/](?:[^\x00-\x1f\x7f/]*[^\x00-\x1f\x7f\s/])?")
LONGEST_TIMEOUT = 30 * 24 * 3600
LONGEST_DEADLINE = 7 * 24 * 3600
MOST_CPU = 100 * LONGEST_TIMEOUT  # seconds, of all cores together
MOST_MEMORY = 1 << 20  # MiB
MOST_FILE_SIZE = 64 << 10  # MiB
MOST_ATTEMPTS = 10
LONGEST_REASON = 2000
LONGEST_PATH = 1000


def create_schedule(
    *, actor: Actor, project: Project, name: str, experiment_id: str, cron: str, **settings: Any
) -> Schedule:
    """A schedule that starts at the next moment of its cron expression.

    settings: timezone (IANA name, "UTC"), configuration (JSON object), code (number of the training code; None
    is the newest at each start), overlap (skip, queue, replace), catch_up (none, last), starting_deadline
    (seconds or None), timeout (seconds), cpu_limit (seconds of CPU or None), memory_limit and file_size_limit (MiB
    or None), max_attempts, engine (local, ray, "" as the settings say), model_name with artifact_path (register what
    comes out), promote_stage with or without promote_metric (ask for the stage only if the metric is better, if the
    model's checks hold).
    """
    require(actor, project, Right.WRITE)
    check_pattern(
        "name",
        name,
        SCHEDULE_NAME,
        "1 to 100 characters without / and line breaks, not . or ..",
        max_length=100,
    )
    experiment = find_experiment(project, experiment_id)
    schedule = Schedule(
        project=project,
        name=name,
        experiment=experiment,
        cron=cron,
        created_by=actor.user,
        acts_as=actor.user,
    )
    _set(schedule, settings)
    schedule.next_at = cron_of(schedule).next_after(timezone.now())
    with transaction.atomic():
        try:
            with transaction.atomic():
                schedule.save(force_insert=True)
        except IntegrityError as error:
            raise Conflict(
                f"{project.slug} has a schedule {shorten(name)} already.",
                "Choose another name, or edit that one.",
                code="schedule_exists",
            ) from error
        _record(actor, "create_schedule", schedule, after=facts(schedule))
    return find_schedule(project, name)


def update_schedule(*, actor: Actor, project: Project, name: str, **settings: Any) -> Schedule:
    """Changes what is given, with the words of `create_schedule`. An edit never starts anything by itself.

    From then on the schedule acts with the rights of who changed it; an operator, who may be no member, leaves them.
    """
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        schedule = _lock(project, name)
        before, cron = facts(schedule), cron_of(schedule)
        if "experiment_id" in settings:
            experiment = find_experiment(project, settings.pop("experiment_id"))
            if experiment.pk != schedule.experiment_id:
                schedule.experiment, schedule.code = experiment, None
        _set(schedule, settings)
        after = facts(schedule)
        changed = {key for key in after if after[key] != before[key]}
        if changed:
            if not actor.is_operator:
                schedule.acts_as = actor.user
            if changed & {"cron", "timezone"} and schedule.paused_at is None:
                pass_over(schedule, cron, f"{actor.user.username} edited the schedule before it started.")
                schedule.next_at = cron_of(schedule).next_after(timezone.now())
            _save(schedule)
            _record(
                actor,
                "update_schedule",
                schedule,
                before={key: before[key] for key in sorted(changed)},
                after={key: after[key] for key in sorted(changed)},
            )
    return find_schedule(project, name)


def pause_schedule(*, actor: Actor, project: Project, name: str) -> Schedule:
    """No moment of its cron expression starts anything from now on; what runs goes on. Twice changes nothing."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        schedule = _lock(project, name)
        if schedule.paused_at is None:
            pass_over(
                schedule,
                cron_of(schedule),
                f"{actor.user.username} paused the schedule before it started.",
            )
            schedule.paused_at, schedule.next_at = timezone.now(), None
            _save(schedule)
            _record(actor, "pause_schedule", schedule)
    return find_schedule(project, name)


def resume_schedule(*, actor: Actor, project: Project, name: str) -> Schedule:
    """Goes on with the next moment from now; those of the pause are not caught up."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        schedule = _lock(project, name)
        if schedule.paused_at is not None:
            schedule.paused_at = None
            schedule.next_at = cron_of(schedule).next_after(timezone.now())
            _save(schedule)
            _record(actor, "resume_schedule", schedule)
    return find_schedule(project, name)


def trigger_schedule(
    *, actor: Actor, project: Project, name: str, configuration: Mapping[str, Any] | None = None
) -> ScheduleExecution:
    """**Run now**, also while it is paused; waits where one is running. `configuration` is for this time only."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        schedule = _lock(project, name)
        code = code_of(schedule)
        used = schedule.configuration if configuration is None else configuration
        used = check_configuration(used, code.schema)
        execution = new_execution(schedule, Trigger.MANUAL, configuration=used, created_by=actor.user)
        execution.save(force_insert=True)
        look_soon(execution)
        _record(actor, "trigger_schedule", schedule, after={"execution": execution.public_id})
    return find_execution(project, execution.public_id)


def run_again(
    *, actor: Actor, project: Project, run_id: str, configuration: Mapping[str, Any] | None = None
) -> ScheduleExecution:
    """Starts the training of a run that a schedule started once more: the same code, the same or another configuration.

    The new run says which one it repeats. Conflict where no training code of the run is known.
    """
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        first = execution_of(project, run_id)
        schedule, code = _lock(project, first.schedule.name), first.code
        assert code is not None
        used = first.configuration if configuration is None else configuration
        used = check_configuration(used, code.schema)
        execution = new_execution(
            schedule,
            Trigger.MANUAL,
            configuration=used,
            code=code,
            again_of=first.run,
            created_by=actor.user,
        )
        execution.save(force_insert=True)
        look_soon(execution)
        after = {"execution": execution.public_id, "again_of": run_id}
        _record(actor, "run_again", schedule, after=after)
    return find_execution(project, execution.public_id)


def execution_of(project: Project, run_id: str) -> ScheduleExecution:
    """The execution that a run belongs to, with code and a schedule that still is there; Conflict says what is missing."""
    run = find_run(project, run_id)
    rows = ScheduleExecution.objects.filter(run=run).select_related("schedule", "code", "run")
    execution = rows.exclude(code=None).order_by("-pk").first()
    if execution is None:
        raise Conflict(
            f"Run {run.public_id} was not started from training code that is kept here.",
            "Upload the code with client.upload_training_code and make a schedule for it.",
            code="training_code_missing",
        )
    if execution.schedule.deleted_at is not None:
        raise Conflict(
            f"The schedule {execution.schedule.name} of run {run.public_id} was deleted.",
            "Create a schedule of that name anew for the same experiment and run it.",
            code="schedule_deleted",
        )
    return execution


def delete_schedule(*, actor: Actor, project: Project, name: str) -> None:
    """Removes a schedule and stops what it runs; its executions stay readable and its name is free again."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        schedule = _lock(project, name)
        for execution in schedule.executions.filter(state__in=OPEN_STATES):
            ask_to_stop(execution, f"{actor.user.username} deleted the schedule.")
        pass_over(
            schedule, cron_of(schedule), f"{actor.user.username} deleted the schedule before it started."
        )
        schedule.deleted_at, schedule.next_at = timezone.now(), None
        _save(schedule)
        _record(actor, "delete_schedule", schedule, before=facts(schedule))


def stop_execution(*, actor: Actor, project: Project, execution_id: str) -> ScheduleExecution:
    """**Stop**: ends its processes within seconds. Conflict when it has ended already."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        found = find_execution(project, execution_id)
        execution = ScheduleExecution.objects.select_for_update().get(pk=found.pk)
        if execution.state not in OPEN_STATES:
            raise Conflict(f"{execution_id} is {execution.state} already.", code="execution_ended")
        if execution.stop_asked_at is None:
            ask_to_stop(execution, f"{actor.user.username} stopped it.")
            _record(actor, "stop_execution", found.schedule, after={"execution": execution_id})
    return find_execution(project, execution_id)


def ask_to_stop(execution: ScheduleExecution, reason: str) -> None:
    """Notes that an open execution is to end, and tells a worker."""
    if execution.stop_asked_at is None:
        execution.stop_asked_at, execution.stop_reason = timezone.now(), reason[:LONGEST_REASON]
        execution.save(update_fields=["stop_asked_at", "stop_reason"])
    look_soon(execution)


def look_soon(execution: ScheduleExecution) -> None:
    """Has a worker look at an execution as soon as the transaction has ended."""
    enqueue("scheduling.execute", key=f"execution:{execution.pk}", execution_id=execution.pk)


def facts(schedule: Schedule) -> dict[str, Any]:
    """What a person sets, as the audit trail keeps it."""
    names = (
        "name cron timezone configuration overlap catch_up starting_deadline timeout cpu_limit memory_limit"
        " file_size_limit max_attempts engine"
        " model_name artifact_path promote_metric promote_stage"
    )
    return {
        **{name: getattr(schedule, name) for name in names.split()},
        "experiment": schedule.experiment.public_id,
        "code": schedule.code.number if schedule.code else None,
    }


def _set(schedule: Schedule, settings: Mapping[str, Any]) -> None:
    """Puts checked settings on a schedule that the caller saves."""
    given = {key: value for key, value in settings.items() if value is not ...}
    unknown = set(given) - {*CHECKS, "cron", "timezone", "configuration", "code"}
    if unknown:
        name = sorted(unknown)[0]
        raise Invalid.field(name, f"{shorten(name)} is nothing that a schedule has.")
    cron = check_cron(given.get("cron", schedule.cron), given.get("timezone", schedule.timezone))
    schedule.cron, schedule.timezone = cron.expression, cron.timezone
    for key, check in CHECKS.items():
        if key in given:
            setattr(schedule, key, check(key, given[key]))
    if "code" in given:
        schedule.code = _check_code(schedule.experiment, given["code"])
    _check_together(schedule)
    schema = schedule.code or newest_code(schedule.experiment)
    configuration = given.get("configuration", schedule.configuration)
    schedule.configuration = check_configuration(configuration, schema.schema if schema else None)


def _check_code(experiment: Experiment, number: object) -> TrainingCode | None:
    """The code of this number, which is there to be run; None is the newest at each start."""
    if number is None:
        return None
    code = find_code(experiment, check_whole("code", number, low=1, high=2**31 - 1))
    if code.state != CodeState.READY:
        raise Invalid.field(
            "code",
            f"code is {code.number}, which is {code.state}; it must be the number of code that is Ready.",
        )
    return code


def _check_together(schedule: Schedule) -> None:
    if schedule.artifact_path and not schedule.model_name:
        raise Invalid.field(
            "model_name",
            "model_name is missing: what lies at artifact_path is registered as a version of it.",
        )
    if schedule.model_name and not schedule.artifact_path:
        raise Invalid.field(
            "artifact_path", "artifact_path is missing: it says what of the run becomes the version."
        )
    if schedule.promote_metric and not schedule.promote_stage:
        raise Invalid.field(
            "promote_stage", "promote_stage is missing: it says what a better version is moved to."
        )
    if schedule.promote_stage and not schedule.model_name:
        raise Invalid.field("model_name", "model_name is missing: only a registered version can be promoted.")


def _seconds(high: int) -> Any:
    return lambda field, value: check_whole(field, value, low=1, high=high)


def _or_none(check: Any) -> Any:
    return lambda field, value: None if value is None else check(field, value)


def _or_empty(check: Any) -> Any:
    """None empties what may be empty."""
    return lambda field, value: "" if value in (None, "") else check(field, value)


def _choice(values: Sequence[str]) -> Any:
    def check(field: str, value: object) -> str:
        if value in values:
            return str(value)
        raise Invalid.field(field, f"{field} is {shorten(value)}; it must be one of {', '.join(values)}.")

    return check


def _text(limit: int) -> Any:
    return lambda field, value: check_text(field, value, max_length=limit)


def _engine(field: str, value: object) -> str:
    name = str(_choice(EngineName.values)(field, value))
    if name == EngineName.RAY and not settings.RAY_ADDRESS:
        raise Invalid.field(
            field, 'engine is "ray", and no cluster is set: leave it empty, or ask an operator.'
        )
    return name


CHECKS: Mapping[str, Any] = {
    "overlap": _choice(Overlap.values),
    "catch_up": _choice(CatchUp.values),
    "starting_deadline": _or_none(_seconds(LONGEST_DEADLINE)),
    "timeout": _seconds(LONGEST_TIMEOUT),
    "cpu_limit": _or_none(_seconds(MOST_CPU)),
    "memory_limit": _or_none(lambda field, value: check_whole(field, value, low=16, high=MOST_MEMORY)),
    "file_size_limit": _or_none(lambda field, value: check_whole(field, value, low=1, high=MOST_FILE_SIZE)),
    "max_attempts": lambda field, value: check_whole(field, value, low=1, high=MOST_ATTEMPTS),
    "engine": _or_empty(_engine),
    "model_name": _or_empty(lambda field, value: check_model_name(value)),
    "artifact_path": _or_empty(
        lambda field, value: check_path(field, check_text(field, value, max_length=LONGEST_PATH))
    ),
    "promote_metric": _or_empty(_text(250)),
    "promote_stage": _or_empty(_choice([Stage.STAGING, Stage.PRODUCTION])),
}


def _lock(project: Project, name: str) -> Schedule:
    found = find_schedule(project, name)
    rows = Schedule.objects.alive().with_details()
    locked = rows.select_for_update(of=("self",), no_key=True).filter(pk=found.pk).first()
    return locked if locked is not None else find_schedule(project, name)


def _save(schedule: Schedule) -> None:
    schedule.updated_at = timezone.now()
    schedule.save()


def _record(actor: Actor, verb: str, schedule: Schedule, **values: Any) -> None:
    record(actor, verb, "schedule", schedule.name, project=schedule.project, **values)
