"""The queue between a training loop and the server.

Values are taken in microseconds and sent by a thread of their own, about once a second, in batches. While the
server is away the thread keeps trying and the queue grows; at QUEUE_LIMIT values the loop waits for room, so
that memory stays bounded (about 200 MB). Each batch has one Idempotency-Key over all its tries: a value is
stored once even when an answer is lost.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from podstack.errors import ConflictError, ConnectionFailed, PodstackError, PodstackWarning, ValidationError
from podstack.http import Http
from podstack.values import plain_number

QUEUE_LIMIT = 1_000_000
BATCH = 10_000
INTERVAL = 1.0
PAUSE_WHILE_AWAY = 1.0
PATIENCE_PER_TRY = 10.0
PASSING = frozenset({408, 429})
RUN_ENDED = "run_ended"


class Point(NamedTuple):
    """One metric value; `timestamp` in milliseconds since 1970, UTC."""

    key: str
    value: float
    step: int
    timestamp: int


class Param(NamedTuple):
    """One parameter; `value` is a JSON scalar."""

    key: str
    value: Any


Item = Point | Param


class Outbox:
    """Sends a run's parameters and metrics, in the order they came, in the background.

    When the server says that the run has ended, what waits is dropped, and `on_end` is called with the refusal,
    once, in this thread; it answers the error to raise from the next `flush`.
    """

    def __init__(
        self,
        http: Http,
        run_path: str,
        limit: int = QUEUE_LIMIT,
        on_end: Callable[[PodstackError], PodstackError] | None = None,
    ) -> None:
        self._http = http
        self._run_path = run_path
        self._limit = limit
        self._on_end = on_end
        self._enough = min(BATCH, limit)  # values that need not wait for more
        self._refused: list[PodstackError] = []
        self._last_failure: PodstackError | None = None
        self._start_empty()

    def _start_empty(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._waiting: deque[Item] = deque()
        self._under_way = 0
        self._hurry = False
        self._thread: threading.Thread | None = None

    def put(self, items: Sequence[Item]) -> None:
        """Takes values to be sent; waits only while the queue is full."""
        if self._pid != os.getpid():
            self._start_empty()  # a forked child has the parent's queue and lock, but not its thread
        with self._changed:
            while len(self._waiting) >= self._limit:
                self._changed.wait(1.0)
            self._waiting.extend(items)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="podstack-outbox", daemon=True)
                self._thread.start()
            if len(self._waiting) >= self._enough:
                self._changed.notify_all()

    def flush(self, timeout: float) -> None:
        """Returns when everything put so far is stored.

        Raises what the server refused since the last flush, or ConnectionFailed when values are still waiting
        after `timeout` seconds; they stay queued then.
        """
        if self._pid != os.getpid():
            return  # what a forked child has of the parent's queue, the parent sends
        deadline = time.monotonic() + timeout
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            try:
                while (left := len(self._waiting) + self._under_way) and time.monotonic() < deadline:
                    self._changed.wait(min(0.5, max(0.0, deadline - time.monotonic())))
            finally:
                self._hurry = False
            refused, self._refused = self._refused, []
        if refused:
            raise refused[0]
        if left:
            raise self._undelivered(left)

    def _undelivered(self, count: int) -> PodstackError:
        failure = self._last_failure
        return ConnectionFailed(
            f"{count} logged values could not be delivered to {self._http.endpoint}.",
            hint=str(failure) if failure else "Check that the server runs.",
        )

    def _run(self) -> None:
        while batch := self._next_batch():
            try:
                self._deliver(batch)
            except Exception as error:
                # This thread must outlive whatever goes wrong, else the loop would wait for it for ever.
                self._refuse(PodstackError(f"{len(batch)} logged values could not be sent: {error!r}"))
            with self._changed:
                self._under_way = 0
                self._changed.notify_all()

    def _next_batch(self) -> list[Item]:
        """The next values to send; none when a second brought none: the thread ends, `put` starts another."""
        with self._changed:
            if not self._hurry and len(self._waiting) < self._enough:
                self._changed.wait(INTERVAL)
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            self._under_way = len(batch)
            if not batch:
                self._thread = None
            return batch

    def _deliver(self, batch: Sequence[Item]) -> None:
        params = {item.key: item.value for item in batch if isinstance(item, Param)}
        points = [item for item in batch if isinstance(item, Point)]
        if params:
            self._post("params", "params", [{key: value} for key, value in params.items()])
        if points:
            self._post("metrics", "series", _series(points))

    def _post(self, noun: str, field: str, parts: Sequence[Mapping[str, Any]]) -> None:
        """One POST for all parts; when it is refused, one for each, so that a bad one loses no good ones."""
        merged: Any = list(parts) if noun == "metrics" else {k: v for part in parts for k, v in part.items()}
        error = self._post_until_answered(f"{self._run_path}/{noun}", {field: merged})
        if error is None:
            return
        if error.code == RUN_ENDED:
            self._stop(error)
        elif len(parts) > 1 and isinstance(error, ConflictError | ValidationError):
            for part in parts:
                self._post(noun, field, [part])
        else:
            self._refuse(error)

    def _stop(self, error: PodstackError) -> None:
        """The run has ended: one refusal for everything, however much of it waits."""
        with self._changed:
            self._waiting.clear()
            first = not any(refused.code == RUN_ENDED for refused in self._refused)
        if first:
            self._refuse(self._on_end(error) if self._on_end else error)

    def _refuse(self, error: PodstackError) -> None:
        warnings.warn(f"The server refused a logged value. {error}", PodstackWarning, stacklevel=2)
        with self._changed:
            self._refused.append(error)

    def _post_until_answered(self, path: str, body: Mapping[str, Any]) -> PodstackError | None:
        """None once the body is stored, or the refusal that trying again would not change."""
        key = uuid.uuid4().hex
        while True:
            try:
                self._http.call("POST", path, json=body, key=key, patience=PATIENCE_PER_TRY)
            except PodstackError as error:
                if _is_final(error):
                    return error
                self._last_failure = error
                time.sleep(PAUSE_WHILE_AWAY)
            else:
                self._last_failure = None
                return None


def _is_final(error: PodstackError) -> bool:
    """A refusal that stays: a value that is wrong here, or a 4xx other than "later"."""
    if error.status is None:
        return isinstance(error, ValidationError)
    return 400 <= error.status < 500 and error.status not in PASSING


def _series(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Points as arrays by key, in the order they came."""
    series: dict[str, dict[str, Any]] = {}
    for point in points:
        row = series.setdefault(point.key, {"key": point.key, "values": [], "steps": [], "timestamps": []})
        row["values"].append(plain_number(point.value))
        row["steps"].append(point.step)
        row["timestamps"].append(point.timestamp)
    return list(series.values())
