"""The queue's and the clock's door to endpoints."""

from __future__ import annotations

from celery import shared_task

from common.jobs import Again, job
from deployments import reconcile as reconciling


def _gave_up(*, error: str, deployment_id: int) -> None:
    reconciling.give_up(deployment_id, error)


@job("deployments.reconcile", on_exhausted=_gave_up)
def reconcile(*, deployment_id: int) -> Again | None:
    """One step towards what is wanted of one endpoint."""
    return reconciling.reconcile(deployment_id)


@shared_task(name="deployments.look_after_endpoints", ignore_result=True)
def look_after_endpoints() -> None:
    """Every few seconds: what runs is compared with what is wanted."""
    reconciling.look_after()
