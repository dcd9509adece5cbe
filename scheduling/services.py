"""Verbs on training code, schedules and their executions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.audit import record
from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from artifacts.paths import check_path
from artifacts.services import check_digest, check_no_file_is_a_folder, claim_blobs, make_manifest
from common.checks import check_pattern, check_text, check_whole, shorten
from common.errors import Conflict, Invalid
from common.ids import new_id
from common.jobs import enqueue
from registry.choices import Stage
from registry.names import check_model_name
from scheduling.choices import OPEN_STATES, CatchUp, Overlap, Trigger
from scheduling.configuration import check_configuration, check_schema
from scheduling.cron import check_cron
from scheduling.models import Schedule, ScheduleExecution, TrainingCode
from scheduling.queries import cron_of, find_code, find_execution, find_schedule
from tracking.models import Experiment
from tracking.queries import find_experiment

SCHEDULE_NAME = re.compile(r"[^\x00-\x1f\x7f\s/](?:[^\x00-\x1f\x7f/]*[^\x00-\x1f\x7f\s/])?")
MOST_FILES = 10_000
MOST_WORDS, LONGEST_WORD = 100, 4000
LONGEST_TIMEOUT = 30 * 24 * 3600
LONGEST_DEADLINE = 7 * 24 * 3600
MOST_MEMORY = 1 << 20  # MiB
MOST_ATTEMPTS = 10
LONGEST_REASON = 2000


def upload_training_code(
    *,
    actor: Actor,
    project: Project,
    experiment_id: str,
    files: Mapping[str, str],
    command: Sequence[str],
    schema: Mapping[str, Any] | None = None,
) -> TrainingCode:
    """The experiment's next training code: path -> sha256 of bytes that were uploaded before, and the command.

    The same files, command and schema as the newest make no new one. `schema` is a JSON Schema that
    configurations must fit.
    """
    require(actor, project, Right.WRITE)
    experiment = find_experiment(project, experiment_id)
    wanted = _check_files(files)
    words = _check_command(command)
    rules = None if schema is None else check_schema(dict(schema) if isinstance(schema, Mapping) else schema)
    with transaction.atomic():
        _lock_experiment(experiment)
        blobs = claim_blobs(project, set(wanted.values()))
        lacking = sorted({digest for digest in wanted.values() if digest not in blobs})
        if lacking:
            raise Conflict(
                f"The bytes of {len(lacking)} of these files are not on the server.",
                "Upload them first.",
                code="blob_missing",
                items=lacking[:100],
            )
        manifest = make_manifest({path: blobs[digest] for path, digest in wanted.items()})
        newest = TrainingCode.objects.filter(experiment=experiment).first()
        if newest and (newest.manifest_id, newest.command, newest.schema) == (manifest.pk, words, rules):
            return newest
        code = TrainingCode.objects.create(
            experiment=experiment,
            number=(newest.number if newest else 0) + 1,
            manifest=manifest,
            command=words,
            schema=rules,
            created_by=actor.user,
        )
        after = {"number": code.number, "command": words, "manifest": manifest.digest}
        record(
            actor, "upload_training_code", "experiment", experiment.public_id, project=project, after=after
        )
    return code


def create_schedule(
    *, actor: Actor, project: Project, name: str, experiment_id: str, cron: str, **settings: Any
) -> Schedule:
    """A schedule that starts at the next moment of its cron expression.

    settings: timezone (IANA name, "UTC"), configuration (JSON object), code (number of the training code; None
    is the newest at each start), overlap (skip, queue, replace), catch_up (none, last), starting_deadline
    (seconds or None), timeout (seconds), memory_limit (MiB or None), max_attempts, model_name with artifact_path
    (register what comes out), promote_metric with promote_stage (ask for the stage only if it is better).
    """
    require(actor, project, Right.WRITE)
    check_pattern(
        "name", name, SCHEDULE_NAME, "1 to 100 characters without / and line breaks", max_length=100
    )
    experiment = find_experiment(project, experiment_id)
    schedule = Schedule(project=project, name=name, experiment=experiment, cron=cron, created_by=actor.user)
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
    """Changes what is given, with the words of `create_schedule`. An edit never starts anything by itself."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        schedule = _lock(project, name)
        before = facts(schedule)
        if "experiment_id" in settings:
            schedule.experiment = find_experiment(project, settings.pop("experiment_id"))
            schedule.code = None
        _set(schedule, settings)
        after = facts(schedule)
        changed = {key for key in after if after[key] != before[key]}
        if changed:
            if changed & {"cron", "timezone"} and schedule.paused_at is None:
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
        used = schedule.configuration
        if configuration is not None:
            used = check_configuration(configuration, code.schema)
        execution = new_execution(schedule, Trigger.MANUAL, configuration=used, created_by=actor.user)
        execution.save(force_insert=True)
        start_soon(execution)
        _record(actor, "trigger_schedule", schedule, after={"execution": execution.public_id})
    return find_execution(project, execution.public_id)


def delete_schedule(*, actor: Actor, project: Project, name: str) -> None:
    """Removes a schedule and stops what it runs; its executions stay readable and its name is free again."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        schedule = _lock(project, name)
        for execution in schedule.executions.filter(state__in=OPEN_STATES):
            ask_to_stop(execution, f"{actor.user.username} deleted the schedule.")
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
    start_soon(execution)


def start_soon(execution: ScheduleExecution) -> None:
    """Has a worker look at an execution as soon as the transaction has ended."""
    enqueue("scheduling.execute", key=f"execution:{execution.pk}", execution_id=execution.pk)


def new_execution(
    schedule: Schedule, trigger: Trigger, *, due_at: datetime | None = None, **values: Any
) -> ScheduleExecution:
    """An execution with what the schedule says now; not saved."""
    return ScheduleExecution(
        schedule=schedule,
        public_id=new_id("exec"),
        due_at=due_at,
        trigger=trigger,
        **{"configuration": schedule.configuration, **values},
    )


def code_of(schedule: Schedule) -> TrainingCode:
    """The training code that a start now would take; Conflict where there is none."""
    if schedule.code_id:
        assert schedule.code is not None
        return schedule.code
    newest = TrainingCode.objects.filter(experiment=schedule.experiment_id).first()
    if newest is None:
        raise Conflict(
            f"The experiment {schedule.experiment.name} has no training code.",
            "Upload a folder and its command: client.upload_training_code(experiment_id, folder, command).",
            code="training_code_missing",
        )
    return newest


def facts(schedule: Schedule) -> dict[str, Any]:
    """What a person sets, as the audit trail keeps it."""
    names = (
        "name cron timezone configuration overlap catch_up starting_deadline timeout memory_limit max_attempts"
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
        number = given["code"]
        schedule.code = (
            None
            if number is None
            else find_code(schedule.experiment, check_whole("code", number, low=1, high=2**31 - 1))
        )
    _check_together(schedule)
    schema = schedule.code or TrainingCode.objects.filter(experiment=schedule.experiment).first()
    configuration = given.get("configuration", schedule.configuration)
    schedule.configuration = check_configuration(configuration, schema.schema if schema else None)


def _check_code(experiment: Experiment, number: object) -> TrainingCode:
    return find_code(experiment, check_whole("code", number, low=1, high=2**31 - 1))


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
    if bool(schedule.promote_metric) != bool(schedule.promote_stage):
        field = "promote_stage" if schedule.promote_metric else "promote_metric"
        raise Invalid.field(field, f"{field} is missing: promote_metric and promote_stage go together.")
    if schedule.promote_metric and not schedule.model_name:
        raise Invalid.field("model_name", "model_name is missing: only a registered version can be promoted.")


def _seconds(high: int) -> Any:
    return lambda field, value: check_whole(field, value, low=1, high=high)


def _or_none(check: Any) -> Any:
    return lambda field, value: None if value is None else check(field, value)


def _choice(values: Sequence[str], *, blank: bool = False) -> Any:
    def check(field: str, value: object) -> str:
        if value in values or (blank and value == ""):
            return str(value)
        raise Invalid.field(field, f"{field} is {shorten(value)}; it must be one of {', '.join(values)}.")

    return check


def _text(limit: int) -> Any:
    return lambda field, value: check_text(field, value, max_length=limit)


CHECKS: Mapping[str, Any] = {
    "overlap": _choice(Overlap.values),
    "catch_up": _choice(CatchUp.values),
    "starting_deadline": _or_none(_seconds(LONGEST_DEADLINE)),
    "timeout": _seconds(LONGEST_TIMEOUT),
    "memory_limit": _or_none(lambda field, value: check_whole(field, value, low=16, high=MOST_MEMORY)),
    "max_attempts": lambda field, value: check_whole(field, value, low=1, high=MOST_ATTEMPTS),
    "model_name": lambda field, value: value and check_model_name(value),
    "artifact_path": lambda field, value: value and check_path(field, value),
    "promote_metric": _text(250),
    "promote_stage": _choice([Stage.STAGING, Stage.PRODUCTION], blank=True),
}


def _check_files(files: object) -> dict[str, str]:
    if not isinstance(files, Mapping) or not files:
        raise Invalid.field("files", "files must be an object of paths and their sha256, at least one.")
    if len(files) > MOST_FILES:
        raise Invalid.field("files", f"files has {len(files)} paths; at most {MOST_FILES} are allowed.")
    found = {check_path("files", path): check_digest("files", digest) for path, digest in files.items()}
    check_no_file_is_a_folder(found)
    return found


def _check_command(command: object) -> list[str]:
    if isinstance(command, str) or not isinstance(command, Sequence) or not command:
        raise Invalid.field(
            "command",
            f'command must be a list of words such as ["python", "train.py"], not {shorten(command)}.',
        )
    if len(command) > MOST_WORDS:
        raise Invalid.field("command", f"command has {len(command)} words; at most {MOST_WORDS} are allowed.")
    words = [check_text("command", word, max_length=LONGEST_WORD) for word in command]
    if not words[0].strip():
        raise Invalid.field("command", "command begins with an empty word; its first word is the program.")
    return words


def _lock_experiment(experiment: Experiment) -> None:
    Experiment.objects.select_for_update(no_key=True).get(pk=experiment.pk)


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
