"""The clock's messages: what no worker took before the next ones came is dropped by whoever takes it later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.beat import Scheduler
from celery.worker import request as worker_side
from django.conf import settings
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from django_celery_beat.schedulers import ModelEntry
from kombu import Connection, Queue

from config.celery import app


class Later(datetime):
    """A clock that was put forward."""

    ahead = timedelta()

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) + cls.ahead


def entry_of(name: str) -> ModelEntry:
    """What the clock reads out of its table for one of the settings' entries; no table is needed."""
    said = settings.CELERY_BEAT_SCHEDULE[name]
    every = IntervalSchedule(every=int(said["schedule"]), period=IntervalSchedule.SECONDS)
    kept = ModelEntry._unpack_options(**said["options"])
    row = PeriodicTask(name=name, task=said["task"], interval=every, last_run_at=datetime.now(UTC), **kept)
    return ModelEntry(row, app=app)


def told(entry: ModelEntry, connection: Connection) -> worker_side.Request:
    """The message that the clock sends, as the worker that gets it sees it."""
    queue = Queue("clock-test")
    entry.options = {**entry.options, "queue": queue}
    with app.amqp.Producer(connection) as producer:
        Scheduler(app=app, lazy=True).apply_async(entry, producer=producer, advance=False)
    message = queue.bind(connection.default_channel).get()
    assert message is not None and message.headers["task"] == entry.task
    return worker_side.Request(message, app=app, task=app.tasks[entry.task], on_ack=lambda *_: None)


@pytest.mark.parametrize("name", settings.CELERY_BEAT_SCHEDULE)
def test_a_message_of_the_clock_waits_until_the_next_one_and_no_longer(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.loader.import_default_modules()
    monkeypatch.setattr(worker_side, "datetime", Later)
    every = timedelta(seconds=settings.CELERY_BEAT_SCHEDULE[name]["schedule"])
    with Connection("memory://") as connection:
        request = told(entry_of(name), connection)
    monkeypatch.setattr(Later, "ahead", every - timedelta(seconds=0.9))
    assert not request.revoked()
    monkeypatch.setattr(Later, "ahead", max(every, timedelta(seconds=10)) + timedelta(seconds=1))
    assert request.revoked()
