"""`manage.py dispatch_jobs`: hands due jobs to Celery, until it is told to stop."""

from __future__ import annotations

import logging
import signal
import time
from typing import Any

from celery import current_app
from django.core.management.base import BaseCommand
from django.db import close_old_connections
from django.db.utils import Error as DatabaseError
from kombu.exceptions import OperationalError as BrokerError

from common.jobs import BATCH, publish_due

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.05
LONGEST_PAUSE = 1.0


class Command(BaseCommand):
    help = "Publishes due jobs to the broker; runs until it is told to stop."

    def handle(self, *args: Any, **options: Any) -> None:
        current_app.loader.import_default_modules()
        self.stopping = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        pause = IDLE_SECONDS
        while not self.stopping:
            try:
                pause = 0 if publish_due() == BATCH else IDLE_SECONDS
            except (BrokerError, DatabaseError, OSError) as error:
                pause = min(LONGEST_PAUSE, max(pause, IDLE_SECONDS) * 2)
                log.warning("No jobs were published: %s. Trying again in %.1f s.", error, pause)
                close_old_connections()
            time.sleep(pause)

    def _stop(self, *_: Any) -> None:
        self.stopping = True
