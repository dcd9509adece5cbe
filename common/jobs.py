"""Jobs: a verb writes what is to be done, a dispatcher tells a worker, a worker claims it under a lease.

`enqueue` writes a row in the caller's transaction. `publish_due` (run by `manage.py dispatch_jobs`) hands the
names of due rows to Celery. A Celery task made by `@job` claims its row by a conditional update, renews its
lease while it works and finishes it only if nobody else has claimed it since. `reap` gives rows whose worker
died back to the queue. So the broker may lose or double any message, and nothing is lost or done twice.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from amqp.exceptions import ChannelError
from celery import current_app, shared_task
from django.db import IntegrityError, connection, connections, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from common.errors import Conflict, Missing
from common.models import Job, JobState

log = logging.getLogger(__name__)

# A killed worker's job and a lost message go on within 15 s.
LEASE = timedelta(seconds=10)
REPUBLISH_AFTER = timedelta(seconds=10)
KEEP_DONE = timedelta(days=1)
BATCH = 200
SHORT = "celery"  # the queue of all that takes moments, and of the clock
LONG = "long"  # the queue of jobs that may take minutes; a worker of its own takes them

INSERT_MANY = """
    INSERT INTO common_job (name, kwargs, key, state, run_after, fence, attempts, error, created_at)
    SELECT %s, t.kwargs::jsonb, t.key, 'queued', %s, 0, 0, '', now() FROM unnest(%s::text[], %s::text[]) AS t(key, kwargs)
    ON CONFLICT (key) WHERE state = 'queued' AND NOT key = ''
    DO UPDATE SET run_after = LEAST(common_job.run_after, EXCLUDED.run_after)
"""
INSERT = """
    INSERT INTO common_job (name, kwargs, key, state, run_after, fence, attempts, error, created_at)
    VALUES (%s, %s::jsonb, %s, 'queued', %s, 0, 0, '', now())
    ON CONFLICT (key) WHERE state = 'queued' AND NOT key = ''
    DO UPDATE SET run_after = LEAST(common_job.run_after, EXCLUDED.run_after)
"""
# Asked twenty times a second: one statement, no transaction, and nothing of the ORM's.
ANY_DUE = """
    SELECT 1 FROM common_job
    WHERE state = 'queued' AND run_after <= %s AND (published_at IS NULL OR published_at < %s) LIMIT 1
"""


@dataclass(frozen=True)
class Again:
    """What a job returns to be called again after `seconds`."""

    seconds: float


@dataclass(frozen=True)
class Kind:
    """How one named job is run: its function, how often it is tried, what happens when no try succeeded, and the
    broker's queue by which a worker hears of it."""

    function: Callable[..., Again | None]
    max_attempts: int
    on_exhausted: Callable[..., None] | None
    queue: str


KINDS: dict[str, Kind] = {}


def enqueue(name: str, *, key: str = "", delay: float = 0, **kwargs: Any) -> None:
    """Queues the job `name` in the caller's transaction. With a `key`, one queued row stands for all."""
    run_after = timezone.now() + timedelta(seconds=delay)
    with connection.cursor() as cursor:
        adapt = connection.ops.adapt_json_value
        cursor.execute(INSERT, [name, adapt(kwargs, None), key, run_after])


def enqueue_all(name: str, kwargs_by_key: Mapping[str, Mapping[str, Any]]) -> None:
    """The same for many at once, each with a key of its own."""
    written = [json.dumps(kwargs) for kwargs in kwargs_by_key.values()]
    with connection.cursor() as cursor:
        cursor.execute(INSERT_MANY, [name, timezone.now(), list(kwargs_by_key), written])


def job(
    name: str, *, max_attempts: int = 5, on_exhausted: Callable[..., None] | None = None, long: bool = False
) -> Callable[[Callable[..., Again | None]], Callable[[int], None]]:
    """Makes a function of the row's kwargs into the Celery task `name`, which takes the row's id.

    The function must be idempotent: after a crash it runs again from the start.
    `on_exhausted(error=…, **kwargs)` is called once when the last try failed. A `long` one may take more than a few
    seconds: it copies files, or waits for a foreign host. The clock and all short jobs never wait behind it.
    """

    def register(function: Callable[..., Again | None]) -> Callable[[int], None]:
        KINDS[name] = Kind(function, max_attempts, on_exhausted, LONG if long else SHORT)
        task: Callable[[int], None] = shared_task(name=name, ignore_result=True)(run)
        return task

    return register


def publish_due(now: datetime | None = None) -> int:
    """Tells Celery of up to BATCH due rows and returns their number; raises what the broker raises."""
    now = now or timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(ANY_DUE, [now, now - REPUBLISH_AFTER])
        if cursor.fetchone() is None:
            return 0
    with transaction.atomic():
        due = Job.objects.select_for_update(skip_locked=True).filter(
            state=JobState.QUEUED, run_after__lte=now
        )
        due = due.order_by("run_after")
        # New ones first: what waits long in one queue must not hide them.
        rows = list(due.filter(published_at=None)[:BATCH]) or list(_untold(due, now)[:BATCH])
        for row in rows:
            task, queue = current_app.tasks[row.name], KINDS[row.name].queue
            task.apply_async(args=[row.pk], queue=queue, retry=False, ignore_result=True)
        Job.objects.filter(pk__in=[row.pk for row in rows]).update(published_at=now)
    return len(rows)


def _untold(due: QuerySet[Job], now: datetime) -> QuerySet[Job]:
    """Those whose message must have been lost: told long ago, and their queue is empty."""
    empty = {queue for queue in (SHORT, LONG) if broker_backlog(queue) == 0}
    names = [name for name, kind in KINDS.items() if kind.queue in empty]
    return due.filter(published_at__lt=now - REPUBLISH_AFTER, name__in=names)


def broker_backlog(queue: str) -> int:
    """Messages that wait in the broker's queue."""
    with current_app.connection_for_read() as link:
        try:
            declared = link.default_channel.queue_declare(queue, passive=True)
        except ChannelError:  # an empty queue does not exist in Redis
            return 0
        return int(declared.message_count)


def run(job_id: int) -> None:
    """Claims and runs one row, if it still waits; a second message about it finds nothing to do."""
    row = claim(job_id)
    if row is None:
        return
    try:
        with renewed_lease(row):
            again = KINDS[row.name].function(**row.kwargs)
    except Exception as error:
        log.exception("Job %s failed on try %s.", row, row.attempts)
        _failed(row, error)
    else:
        _finished(row, again)


def claim(job_id: int) -> Job | None:
    """The row, now running under this worker's lease; None when somebody was faster or it is not due."""
    now = timezone.now()
    won = Job.objects.filter(pk=job_id, state=JobState.QUEUED, run_after__lte=now).update(
        state=JobState.RUNNING, lease_until=now + LEASE, fence=F("fence") + 1, attempts=F("attempts") + 1
    )
    return Job.objects.get(pk=job_id) if won else None


def should_make_way(name: str, most: int) -> bool:
    """Whether more than `most` jobs of this name run while another one waits for a place in the same queue."""
    now = timezone.now()
    running = Job.objects.filter(state=JobState.RUNNING, lease_until__gt=now, name=name)
    if running[: most + 1].count() <= most:
        return False
    others = [other for other, kind in KINDS.items() if kind.queue == KINDS[name].queue and other != name]
    return Job.objects.filter(state=JobState.QUEUED, run_after__lte=now, name__in=others).exists()


@contextmanager
def renewed_lease(row: Job) -> Iterator[None]:
    """Renews the row's lease from a thread until the block ends."""
    stop = threading.Event()

    def renew() -> None:
        try:
            while not stop.wait(LEASE.total_seconds() / 4):
                try:
                    _held(row).update(lease_until=timezone.now() + LEASE)
                except Exception:
                    log.exception("The lease of job %s could not be renewed.", row)
                    connections.close_all()
        finally:
            connections.close_all()

    thread = threading.Thread(target=renew, daemon=True, name=f"lease-{row.pk}")
    thread.start()
    try:
        yield
    finally:
        stop.set()


def reap() -> int:
    """Gives every running row whose lease ran out back to the queue, or ends it when its tries are used up."""
    count = 0
    for row in Job.objects.filter(state=JobState.RUNNING, lease_until__lt=timezone.now())[:BATCH]:
        _failed(row, TimeoutError("The worker that ran this job died."), delay=0)
        count += 1
    return count


def prune() -> int:
    """Removes rows that were done more than a day ago."""
    return Job.objects.filter(state=JobState.DONE, finished_at__lt=timezone.now() - KEEP_DONE).delete()[0]


def _held(row: Job) -> Any:
    return Job.objects.filter(pk=row.pk, state=JobState.RUNNING, fence=row.fence)


def _finished(row: Job, again: Again | None) -> None:
    if again is None:
        _held(row).update(state=JobState.DONE, finished_at=timezone.now(), lease_until=None, error="")
    else:
        _requeue(row, delay=again.seconds, attempts=0, error="")


def _failed(row: Job, error: Exception, *, delay: float | None = None) -> None:
    kind = KINDS[row.name]
    if row.attempts < kind.max_attempts:
        _requeue(row, delay=min(60, 2**row.attempts) if delay is None else delay, error=str(error))
        return
    ended = _held(row).update(
        state=JobState.FAILED, finished_at=timezone.now(), lease_until=None, error=str(error)
    )
    if ended and kind.on_exhausted is not None:
        kind.on_exhausted(error=str(error), **row.kwargs)


def _requeue(row: Job, *, delay: float, error: str, attempts: int | None = None) -> None:
    """Back to the queue, unless another row with the same key waits there already: then this one is done."""
    waiting = {
        "state": JobState.QUEUED,
        "published_at": None,
        "lease_until": None,
        "run_after": timezone.now() + timedelta(seconds=delay),
        "error": error,
        "attempts": row.attempts if attempts is None else attempts,
    }
    try:
        with transaction.atomic():
            _held(row).update(**waiting)
    except IntegrityError:
        _held(row).update(state=JobState.DONE, finished_at=timezone.now(), lease_until=None)


@transaction.atomic
def retry(job_id: int) -> tuple[Job, dict[str, Any]]:
    """Gives a failed row a new round of tries, and one that waits for its next try has it now.

    Answers the row and what it was before. One that runs comes back by itself when its worker has died.
    """
    row = Job.objects.select_for_update().filter(pk=job_id).first()
    if row is None:
        raise Missing(f"There is no job {job_id}.")
    if row.state not in (JobState.FAILED, JobState.QUEUED):
        raise Conflict(
            f"Job {job_id} is {row.get_state_display().lower()}; only a failed or waiting one is tried again."
        )
    before = {"state": row.state, "attempts": row.attempts, "error": row.error[:500]}
    fresh = {"state": JobState.QUEUED, "attempts": 0, "published_at": None, "run_after": timezone.now()}
    try:
        with transaction.atomic():
            Job.objects.filter(pk=job_id).update(**fresh)
    except IntegrityError as error:
        raise Conflict(
            f"Another job waits for {row.key!r} already, so job {job_id} stays as it is."
        ) from error
    return row, before
