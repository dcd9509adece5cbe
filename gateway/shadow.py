"""Copies of requests for a revision whose answers nobody sees: they are compared and counted."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from gateway.routes import Backend
from gateway.traffic import Traffic
from gateway.upstream import BrokenOff, Pool, Unreachable, address_of, exchange
from gateway.wire import Question, head_of

MOST_AT_ONCE = 16
LARGEST_QUESTION = 256 * 1024
COMPARED = ("predictions", "outputs")


class Shadows:
    """Sends copies beside the answers, never before them; while many are on their way, others are left out."""

    def __init__(self, pool: Pool, traffic: Traffic) -> None:
        self._pool, self._traffic = pool, traffic
        self._tasks: set[asyncio.Task[None]] = set()

    def copy(self, backend: Backend, question: Question, answer: bytes, seconds: float) -> None:
        """Asks `backend` the same, and compares with what was answered."""
        if len(self._tasks) >= MOST_AT_ONCE or len(question.content) > LARGEST_QUESTION:
            return
        task = asyncio.create_task(self._ask(backend, question, answer, seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, backend: Backend, question: Question, answer: bytes, seconds: float) -> None:
        began, status, copy = perf_counter(), 502, None
        address = address_of(backend.url)
        try:
            head = head_of(question, address, backend.key)
            async with exchange(self._pool, address, head, question.content, seconds) as connection:
                status, copy = connection.status, connection.whole()
        except TimeoutError:
            status = 504
        except (Unreachable, BrokenOff):
            status = 503
        count = self._traffic.count(backend.revision_id, shadow=True)
        count.note(status, (perf_counter() - began) * 1000)
        if status == 200 and copy is not None:
            same = agree(answer, copy)
            count.agreed += same
            count.differed += not same


def agree(one: bytes, other: bytes) -> bool:
    """Whether two answers predict the same, numbers up to rounding."""
    try:
        return _same(_predictions(json.loads(one)), _predictions(json.loads(other)))
    except (ValueError, RecursionError):
        return False


def _predictions(answer: Any) -> Any:
    if not isinstance(answer, Mapping):
        return answer
    return {name: answer[name] for name in COMPARED if name in answer}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) or isinstance(other, float):
        numbers = isinstance(one, int | float) and isinstance(other, int | float)
        return numbers and math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
    return bool(one == other)
