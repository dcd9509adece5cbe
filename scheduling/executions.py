"""What a worker does for an execution: claim it, have it started, look at it again and again, settle how it ended.

Each look takes moments, asks the engine what is true and can be repeated after any crash. Starting takes longer and is a
job of its own (scheduling.starting). One row runs per schedule, kept by a unique index; the engine starts a process
once, kept by a lock that the process itself holds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from accounts.audit import record
from accounts.choices import Door, Notice
from accounts.models import User
from accounts.notifications import notify
from accounts.permissions import Actor, system_actor
from accounts.services import revoke_run_tokens
from artifacts.services import make_manifest, store_bytes
from common.errors import Busy, Conflict, DomainError, Missing
from common.jobs import Again, enqueue
from common.models import Job, JobState
from scheduling.choices import OPEN_STATES, EndReason, ExecutionState, Trigger
from scheduling.engines import engine_for
from scheduling.engines.base import EngineAway, EngineError, Seen, TrainingEngine
from scheduling.models import ScheduleExecution
from scheduling.moments import new_execution
from scheduling.services import look_soon
from tracking.choices import RunStatus
from tracking.services import end_run

log = logging.getLogger(__name__)

LOOK_AGAIN = 1.0  # seconds
LOOK_SOON = 0.3
WAIT_FOR_TURN = 2.0
ENGINE_AWAY = 2.0
STOPPED_WITHIN = 10.0
CLEAR_UP_FOR = timedelta(hours=1)
LONGEST_REASON = 5000
LONGEST_TOLD = 300
LOG_LIMIT = 17 << 20
LOG_NAME = "training.log"
SENTENCES: Mapping[str, str] = {
    EndReason.OUT_OF_MEMORY: "It used more memory than the schedule allows.",
    EndReason.OVER_CPU: "It used more CPU than the schedule allows.",
    EndReason.OVER_TIME: "It ran longer than the schedule allows.",
    EndReason.LOST: "Its processes vanished: the machine went down, or somebody killed them.",
}
RUN_ENDS = {
    ExecutionState.SUCCEEDED: RunStatus.COMPLETED,
    ExecutionState.FAILED: RunStatus.FAILED,
    ExecutionState.KILLED: RunStatus.KILLED,
}


def execute(execution_id: int) -> Again | None:
    """One look at an execution, and what it asks for; None when it has ended and nothing of it is left."""
    execution = row_of(execution_id)
    if execution.state not in OPEN_STATES:
        return _clear_up(execution)
    if execution.state == ExecutionState.QUEUED:
        if execution.stop_asked_at is not None:
            return settle(execution, ExecutionState.KILLED, EndReason.KILLED, execution.stop_reason)
        if not _claim(execution):
            return Again(WAIT_FOR_TURN)
    try:
        return _step(execution, engine_for(execution.engine))
    except EngineAway as error:
        log.warning("%s: %s", execution.public_id, error)
        _tell(execution, str(error))
        return Again(ENGINE_AWAY)
    except EngineError as error:
        return settle(execution, ExecutionState.FAILED, EndReason.NOT_STARTED, str(error))
    except Busy:
        raise  # the store is away: the job is tried again
    except DomainError as error:
        return settle(execution, ExecutionState.FAILED, EndReason.NOT_STARTED, sentence_of(error))


def row_of(execution_id: int, *, lock: bool = False) -> ScheduleExecution:
    """The execution with all that a job on it needs. Under its lock, the second of two workers sees what the first did."""
    rows = ScheduleExecution.objects.select_related(
        "schedule__project",
        "schedule__experiment",
        "schedule__created_by",
        "schedule__acts_as",
        "schedule__code",
        "created_by",
        "code__created_by",
        "run",
        "again_of",
        "version__model",
    )
    if lock:
        rows = rows.select_for_update(of=("self",))
    return rows.get(pk=execution_id)


def _claim(execution: ScheduleExecution) -> bool:
    """Makes it the one that runs, when its turn has come."""
    open_ones = ScheduleExecution.objects.filter(schedule=execution.schedule, state__in=OPEN_STATES)
    if open_ones.filter(pk__lt=execution.pk).exists():
        return False
    now, engine = timezone.now(), execution.schedule.engine or settings.TRAINING_ENGINE
    waiting = ScheduleExecution.objects.filter(pk=execution.pk, state=ExecutionState.QUEUED)
    try:
        with transaction.atomic():
            won = waiting.update(state=ExecutionState.RUNNING, started_at=now, engine=engine)
    except IntegrityError:
        return False
    execution.state, execution.started_at, execution.engine = ExecutionState.RUNNING, now, engine
    return bool(won)


def _step(execution: ScheduleExecution, engine: TrainingEngine) -> Again | None:
    starts = _starts(execution)  # before the engine is asked: what they do from now on, it shows
    seen = engine.observe(execution.public_id)
    _tell(execution, "")
    if seen.state == "absent":
        return _absent(execution, starts)
    if seen.state == "running":
        if execution.stop_asked_at is not None:
            engine.stop(execution.public_id)
            return Again(LOOK_SOON)
        return Again(LOOK_AGAIN)
    state, sentence = _verdict(execution, seen)
    _keep_log(execution, engine)
    return settle(execution, state, seen.reason, sentence, seen)


def _tell(execution: ScheduleExecution, sentence: str) -> None:
    """What holds it up while it is open."""
    if execution.reason != sentence:
        still_open = ScheduleExecution.objects.filter(pk=execution.pk, state__in=OPEN_STATES)
        still_open.update(reason=printable(sentence)[:LONGEST_REASON])
        execution.reason = sentence


def _absent(execution: ScheduleExecution, starts: Collection[str]) -> Again | None:
    """It has no process (yet): it is started, unless it is to stop."""
    if execution.stop_asked_at is None:
        if not starts:
            enqueue("scheduling.start", key=_start_key(execution), execution_id=execution.pk)
        return Again(LOOK_AGAIN)
    if JobState.RUNNING in starts:
        return Again(LOOK_SOON)  # what is being started may appear until that has seen the Stop too
    return settle(execution, ExecutionState.KILLED, EndReason.KILLED, execution.stop_reason)


def _starts(execution: ScheduleExecution) -> set[str]:
    """How the jobs stand that start it: waiting, running, or none."""
    rows = Job.objects.filter(key=_start_key(execution), state__in=[JobState.QUEUED, JobState.RUNNING])
    return set(rows.values_list("state", flat=True))


def _clear_up(execution: ScheduleExecution) -> Again | None:
    """Ends what a worker started that did not know yet that the execution had ended."""
    if not execution.engine:
        return None  # no worker ever claimed it
    _end_its_run(execution, ExecutionState(execution.state), execution.reason)
    engine = engine_for(execution.engine)
    try:
        if engine.observe(execution.public_id).state == "running":
            engine.stop(execution.public_id)
            return Again(LOOK_SOON)
        engine.forget(execution.public_id)
    except EngineError as error:
        log.warning("%s is left on its engine: %s", execution.public_id, error)
    except EngineAway:
        ended_at = execution.ended_at or timezone.now()
        return Again(ENGINE_AWAY) if timezone.now() - ended_at < CLEAR_UP_FOR else None
    return None


def actor_of(execution: ScheduleExecution) -> Actor:
    """Who pressed Run now, else who changed the schedule last: what they may no longer do, it may not do."""
    return Actor(user=execution.created_by or execution.schedule.acts_as, door=Door.JOB)


def authors_of(execution: ScheduleExecution) -> set[User]:
    """All whose work it does: who pressed Run now, who changed the schedule last, and who uploaded the code."""
    code = execution.code
    people = {execution.created_by, execution.schedule.acts_as, code.created_by if code else None}
    return {each for each in people if each is not None}


def answerable_for(execution: ScheduleExecution) -> set[User]:
    """Those without whose rights it moves no stage: of code, only who uploaded what nobody chose, the newest."""
    code, schedule = execution.code, execution.schedule
    people = {actor_of(execution).user, schedule.acts_as}
    if code is not None and code.pk != schedule.code_id and execution.again_of_id is None:
        people.add(code.created_by)
    return people


def _job_key(execution: ScheduleExecution) -> str:
    return f"execution:{execution.pk}"


def _start_key(execution: ScheduleExecution) -> str:
    return f"start:{execution.pk}"


def run_id_of(execution: ScheduleExecution) -> str:
    """The same each time, so that a second start continues the run of the first."""
    return f"run-{execution.public_id.removeprefix('exec-')}"


def _verdict(execution: ScheduleExecution, seen: Seen) -> tuple[ExecutionState, str]:
    if seen.reason == EndReason.KILLED:
        return ExecutionState.KILLED, execution.stop_reason or "Somebody asked its processes to end."
    if seen.reason:
        said = seen.details or SENTENCES.get(seen.reason, "")
        return ExecutionState.FAILED, said or f"It ended with exit code {seen.exit_code}."
    return ExecutionState.SUCCEEDED, ""


def _keep_log(execution: ScheduleExecution, engine: TrainingEngine) -> None:
    """Puts what it wrote into the store, where it stays as long as the execution is known."""
    if execution.log_id is not None:
        return
    content = engine.log(execution.public_id, 0, LOG_LIMIT)
    blob = store_bytes(execution.schedule.project, content)
    execution.log = make_manifest({LOG_NAME: blob})
    execution.save(update_fields=["log"])


def settle(
    execution: ScheduleExecution,
    state: ExecutionState,
    reason: str,
    sentence: str,
    seen: Seen | None = None,
) -> Again | None:
    """Writes how it ended, once; its run ends the same way, its token dies, the next in line is told."""
    said: dict[str, Any] = {
        "state": state,
        "end_reason": "" if state == ExecutionState.SUCCEEDED else reason,
        "reason": printable(sentence)[:LONGEST_REASON],
        "ended_at": timezone.now(),
        "exit_code": seen.exit_code if seen else None,
        "duration": seen.duration if seen else None,
        "cpu_seconds": seen.cpu_seconds if seen else None,
        "peak_memory": seen.peak_memory if seen else None,
    }
    with transaction.atomic():
        won = ScheduleExecution.objects.filter(pk=execution.pk, state__in=OPEN_STATES).update(**said)
        if won:
            vars(execution).update(said)  # what follows tells of it
            _end_its_run(execution, state, execution.reason)
            _what_follows(execution, state)
    with suppress(EngineAway, EngineError):
        engine_for(execution.engine).forget(execution.public_id)
    return None


def sentence_of(error: DomainError) -> str:
    """What was refused, and what to do instead."""
    return " ".join(filter(None, [error.message, error.hint]))


def printable(sentence: str) -> str:
    """Without what neither the database nor a run takes: a sentence of an engine may hold anything."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in sentence)


def _end_its_run(execution: ScheduleExecution, state: ExecutionState, sentence: str) -> None:
    """As the system: people leave and lose rights, and the execution ends all the same."""
    revoke_run_tokens(run_id_of(execution))
    # It never began or was deleted; or the program ended it itself.
    with suppress(Missing, Conflict):
        end_run(
            actor=system_actor(),
            project=execution.schedule.project,
            run_id=run_id_of(execution),
            status=RUN_ENDS[state],
            error=sentence,
        )


def _what_follows(execution: ScheduleExecution, state: ExecutionState) -> None:
    schedule = execution.schedule
    record(
        system_actor(),
        "end_execution",
        "schedule",
        schedule.name,
        project=schedule.project,
        after={"execution": execution.public_id, "state": state, "reason": execution.reason},
    )
    if state == ExecutionState.SUCCEEDED and schedule.model_name:
        enqueue("scheduling.register_result", key=f"register:{execution.pk}", execution_id=execution.pk)
    may_again = (
        execution.attempt < schedule.max_attempts
        and execution.end_reason != EndReason.REFUSED  # it would be refused again
        and schedule.deleted_at is None
    )
    if state == ExecutionState.FAILED and may_again:
        again = new_execution(
            schedule,
            Trigger.RETRY,
            configuration=execution.configuration,
            code=execution.code,
            again_of=execution.again_of,
            attempt=execution.attempt + 1,
            created_by=execution.created_by,
        )
        again.save(force_insert=True)
        look_soon(again)
    elif state == ExecutionState.FAILED:
        tell_of_failure(execution, f"{schedule.name} failed", execution.reason)
    for waiting in schedule.executions.filter(state=ExecutionState.QUEUED).exclude(pk=execution.pk)[:1]:
        look_soon(waiting)


def tell_of_failure(execution: ScheduleExecution, what: str, why: str) -> None:
    """Tells who made the schedule, who changed it last, and who pressed Run now: `what` went wrong and why."""
    schedule = execution.schedule
    people = {schedule.created_by, actor_of(execution).user, schedule.acts_as}
    short = why if len(why) <= LONGEST_TOLD else f"{why[: LONGEST_TOLD - 1]}…"
    notify(
        people,
        Notice.SCHEDULE_FAILED,
        f"{what}: {short}",
        project=schedule.project,
        path=reverse("scheduling:execution", args=[schedule.project.slug, execution.public_id]),
    )


def give_up(execution_id: int, error: str) -> None:
    """Ends an execution that no worker could look after."""
    execution = row_of(execution_id)
    if execution.state not in OPEN_STATES:
        return
    with suppress(EngineAway, EngineError):
        _wait_for_its_end(execution)
    sentence = f"Workers failed on it again and again: {error}"[:2000]
    settle(execution, ExecutionState.FAILED, EndReason.NOT_STARTED, sentence)
    look_soon(execution)  # whatever outlived the wait is cleared up


def _wait_for_its_end(execution: ScheduleExecution) -> None:
    """Stops it and waits a while, so that the next one does not run beside it."""
    engine, end = engine_for(execution.engine), time.monotonic() + STOPPED_WITHIN
    while time.monotonic() < end:
        is_being_started = JobState.RUNNING in _starts(execution)
        if engine.observe(execution.public_id).state == "running":
            engine.stop(execution.public_id)
        elif not is_being_started:
            return
        time.sleep(LOOK_SOON)


def look_after() -> int:
    """Queues a look at each open execution that no job looks after; returns how many there were."""
    keys = Job.objects.filter(
        name="scheduling.execute", state__in=[JobState.QUEUED, JobState.RUNNING]
    ).values_list("key", flat=True)
    looked_after = set(keys)
    count = 0
    for execution in ScheduleExecution.objects.filter(state__in=OPEN_STATES):
        if _job_key(execution) not in looked_after:
            look_soon(execution)
            count += 1
    return count
