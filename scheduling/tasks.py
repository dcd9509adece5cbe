"""The queue's and the clock's door to schedules."""

from __future__ import annotations

from celery import shared_task

from common.jobs import Again, job
from scheduling import executions, results, starting, ticks, training_code


def _gave_up(*, error: str, execution_id: int) -> None:
    executions.give_up(execution_id, error)


@job("scheduling.execute", max_attempts=20, on_exhausted=_gave_up)
def execute(*, execution_id: int) -> Again | None:
    """One look at an execution, and what it asks for."""
    return executions.execute(execution_id)


@job("scheduling.start", max_attempts=20, on_exhausted=_gave_up, long=True)
def start(*, execution_id: int) -> Again | None:
    """The code of an execution is brought, and its process begins."""
    return starting.start(execution_id)


def _not_registered(*, error: str, execution_id: int) -> None:
    results.give_up(execution_id, error)


@job("scheduling.register_result", max_attempts=10, on_exhausted=_not_registered, long=True)
def register_result(*, execution_id: int) -> Again | None:
    """A version of what was trained, and its promotion."""
    return results.register_result(execution_id)


def _not_fetched(*, error: str, code_id: int) -> None:
    training_code.give_up(code_id, error)


@job("scheduling.fetch_code", max_attempts=10, on_exhausted=_not_fetched, long=True)
def fetch_code(*, code_id: int) -> None:
    """The files of a commit become training code."""
    training_code.fetch_code(code_id)


@shared_task(name="scheduling.tick", ignore_result=True)
def tick() -> None:
    """Every second: what is due becomes an execution."""
    ticks.tick()


@shared_task(name="scheduling.look_after_executions", ignore_result=True)
def look_after_executions() -> None:
    """Every few seconds: no open execution is forgotten."""
    executions.look_after()
