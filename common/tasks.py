"""The clock's door to the job queue: short ticks, driven by django-celery-beat."""

from __future__ import annotations

from celery import shared_task

from common import answers, jobs


@shared_task(name="common.reap_jobs", ignore_result=True)
def reap_jobs() -> None:
    """Gives back what a dead worker held."""
    jobs.reap()


@shared_task(name="common.prune", ignore_result=True)
def prune() -> None:
    """Removes finished jobs and old idempotent answers."""
    jobs.prune()
    answers.prune()
