"""The queue's and the clock's door to endpoints."""

from __future__ import annotations

from celery import shared_task

from common.jobs import Again, enqueue, job
from deployments import folders, following, scaling, watching
from deployments import reconcile as reconciling


def _gave_up(*, error: str, deployment_id: int) -> None:
    reconciling.give_up(deployment_id, error)


@job("deployments.reconcile", on_exhausted=_gave_up)
def reconcile(*, deployment_id: int) -> Again | None:
    """One step towards what is wanted of one endpoint."""
    return reconciling.reconcile(deployment_id)


def _not_brought(*, error: str, manifest_id: int) -> None:
    reconciling.give_up_files(manifest_id, error)


@job("deployments.bring_files", on_exhausted=_not_brought, long=True)
def bring_files(*, manifest_id: int) -> None:
    """The files of a version, for the endpoints that wait for them."""
    folders.bring(manifest_id)


@job("deployments.remove_unneeded_files", long=True)
def remove_unneeded_files() -> None:
    """What no endpoint needs for long enough goes from the disk."""
    folders.remove_unneeded()


@shared_task(name="deployments.clean_model_files", ignore_result=True)
def clean_model_files() -> None:
    """Hourly, as a job: to remove many gigabytes takes a while."""
    enqueue("deployments.remove_unneeded_files", key="remove-unneeded-files")


@shared_task(name="deployments.look_after_endpoints", ignore_result=True)
def look_after_endpoints() -> None:
    """Every few seconds: what runs is compared with what is wanted."""
    reconciling.look_after()


@shared_task(name="deployments.follow_aliases", ignore_result=True)
def follow_aliases() -> None:
    """Every few seconds: endpoints move with the alias that they follow."""
    following.follow_aliases()


@shared_task(name="deployments.scale_endpoints", ignore_result=True)
def scale_endpoints() -> None:
    """Every few seconds: as many replicas as the load asks for, and a note of how many there are."""
    scaling.scale_endpoints()
    scaling.sample_replicas()


@shared_task(name="deployments.watch_errors", ignore_result=True)
def watch_errors() -> None:
    """Every few seconds: endpoints that fail too many requests are Degraded."""
    watching.watch_errors()


@shared_task(name="deployments.prune_traffic", ignore_result=True)
def prune_traffic() -> None:
    """Hourly: counts that no chart shows any more are removed."""
    scaling.prune_traffic()
