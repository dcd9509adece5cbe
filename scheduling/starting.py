"""How an execution is started: its run, its token and its code are made ready for the engine.

Bringing the code, or packing it for a cluster, may take minutes: this is a long job of its own, `scheduling.start`,
which the look of scheduling.executions asks for. Whatever came of it, another look sees, stops and settles.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from accounts.permissions import Actor
from accounts.services import create_run_token
from approvals.reviewers import note_authors
from artifacts.models import Manifest
from artifacts.services import materialize
from common.errors import Busy, DomainError
from common.jobs import Again
from common.pacing import now_and_then
from scheduling.choices import EndReason, ExecutionState
from scheduling.configuration import check_configuration
from scheduling.engines import engine_for
from scheduling.engines.base import EngineAway, EngineError, Work
from scheduling.executions import (
    ENGINE_AWAY,
    actor_of,
    authors_of,
    row_of,
    run_id_of,
    sentence_of,
    settle,
)
from scheduling.models import ScheduleExecution
from scheduling.services import look_soon
from scheduling.training_code import code_of
from tracking.models import Run
from tracking.services import start_run

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds
TOKEN_SPARE = timedelta(hours=1)


class _Unwanted(Exception):
    """It was stopped, or has ended, while its code came."""


def start(execution_id: int) -> Again | None:
    """Starts an execution, if it is still wanted, and has it looked at."""
    execution = row_of(execution_id)
    again = _start(execution) if _is_wanted(execution) else None
    look_soon(execution)
    return again


def _start(execution: ScheduleExecution) -> Again | None:
    try:
        engine = engine_for(execution.engine)
        if engine.observe(execution.public_id).state == "absent":
            engine.start(_work(execution))
    except _Unwanted:
        log.info("%s is not wanted any more.", execution.public_id)
    except EngineAway as error:
        log.warning("%s: %s", execution.public_id, error)
        return Again(ENGINE_AWAY)
    except EngineError as error:
        settle(execution, ExecutionState.FAILED, EndReason.NOT_STARTED, str(error))
    except Busy:
        raise  # the store is away: the job is tried again
    except DomainError as error:
        settle(execution, ExecutionState.FAILED, EndReason.REFUSED, sentence_of(error))
    return None


def _is_wanted(execution: ScheduleExecution) -> bool:
    rows = ScheduleExecution.objects.filter(pk=execution.pk, stop_asked_at=None)
    return rows.filter(state=ExecutionState.RUNNING).exists()


def _work(execution: ScheduleExecution) -> Work:
    """What the engine needs to start it: its code, its run, and how its token is made."""
    schedule = execution.schedule
    actor = actor_of(execution)
    code = execution.code or code_of(schedule)
    manifest = code.manifest
    assert manifest is not None  # only code that is Ready is ever run
    check_configuration(execution.configuration, code.schema)  # code may be newer than the check at the edit
    run = start_run(
        actor=actor,
        project=schedule.project,
        experiment_id=schedule.experiment.public_id,
        run_id=run_id_of(execution),
        name=f"{schedule.name} {timezone.now():%Y-%m-%d %H:%M}",
        tags={
            "schedule": schedule.name,
            "execution": execution.public_id,
            **({"again_of": execution.again_of.public_id} if execution.again_of else {}),
        },
        code_version=code.git_commit or f"code {code.number}",
    )
    execution.code, execution.run = code, run
    execution.save(update_fields=["code", "run"])
    note_authors(run, authors_of(execution))
    return Work(
        execution_id=execution.public_id,
        command=code.command,
        env={
            "PODSTACK_API_ENDPOINT": settings.PUBLIC_URL,
            "PODSTACK_PROJECT": schedule.project.slug,
            "PODSTACK_RUN_ID": run.public_id,
            **as_environment(execution.configuration),
        },
        secrets={"PODSTACK_API_TOKEN": lambda: _token(actor, execution, run)},
        configuration=execution.configuration,
        timeout=schedule.timeout,
        memory=_bytes(schedule.memory_limit),
        cpu=schedule.cpu_limit,
        file_size=_bytes(schedule.file_size_limit),
        bring_code=lambda folder: _bring(execution, manifest, folder),
    )


def _token(actor: Actor, execution: ScheduleExecution, run: Run) -> str:
    """One that reads the project and can write to the run alone.

    A start that another one overtakes makes one in vain: all of a run's end with the execution, none before.
    """
    lives = timedelta(seconds=execution.schedule.timeout) + TOKEN_SPARE
    return create_run_token(
        actor=actor,
        project=execution.schedule.project,
        run_id=run.public_id,
        expires_at=timezone.now() + lives,
    )


def _bring(execution: ScheduleExecution, manifest: Manifest, folder: Path) -> None:
    """The code into the folder; raises _Unwanted as soon as there is no use for it, and at last before it begins."""
    materialize(manifest, folder, watch=now_and_then(lambda: _check_wanted(execution), LOOK_EVERY))
    _check_wanted(execution)


def _check_wanted(execution: ScheduleExecution) -> None:
    if not _is_wanted(execution):
        raise _Unwanted


def _bytes(mib: int | None) -> int | None:
    return None if mib is None else mib << 20


def as_environment(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Plain values of the configuration as CONFIG_<NAME>: only names that a shell could say, never through one."""
    return {
        f"CONFIG_{key.upper()}": str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in configuration.items()
        if isinstance(value, str | int | float) and key.isidentifier() and key.isascii()
    }
