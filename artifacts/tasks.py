"""The queue's and the clock's door to stored files."""

from __future__ import annotations

import logging

from celery import shared_task

from artifacts.collect import collect
from common.jobs import enqueue, job

log = logging.getLogger(__name__)


@job("artifacts.collect", long=True)
def collect_unused() -> None:
    """Frees what nobody refers to."""
    freed = collect()
    log.info("Freed what nobody refers to: %s", freed)


@shared_task(name="artifacts.collect_daily", ignore_result=True)
def collect_daily() -> None:
    """Once a day, as a job: it may take longer than the clock waits for an answer."""
    enqueue("artifacts.collect", key="collect")
