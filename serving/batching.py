"""Joins the rows of requests that wait at the same time to one call of the model, and splits its answer again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Call = Callable[[list[Any], dict[str, Any]], Any]


@dataclass
class _Wish:
    rows: list[Any]
    answer: Any = None
    error: Exception | None = None


@dataclass
class _Batch:
    wishes: list[_Wish] = field(default_factory=list)
    size: int = 0
    full: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)


class Batcher:
    """Calls the model for up to `most` rows at once; a request waits at most `delay` seconds for others.

    The first request of a batch makes the call for all. When a joined call fails, each request is asked for by
    itself, so that a bad one spoils no other.
    """

    def __init__(self, call: Call, most: int, delay: float) -> None:
        self._call, self._most, self._delay = call, most, delay
        self._lock = threading.Lock()
        self._open: dict[str, _Batch] = {}

    def __call__(self, rows: list[Any], parameters: dict[str, Any]) -> Any:
        """The predictions for these rows; raises what the model raises for them."""
        if len(rows) >= self._most:
            return self._call(rows, parameters)
        wish, kind = _Wish(rows), json.dumps(parameters, sort_keys=True)
        batch, first = self._join(kind, wish)
        if first:
            batch.full.wait(self._delay)
            self._close(kind, batch)
            try:
                self._run(batch.wishes, parameters)
            finally:
                batch.done.set()
        else:
            batch.done.wait()
        if wish.error is not None:
            raise wish.error
        return wish.answer

    def _join(self, kind: str, wish: _Wish) -> tuple[_Batch, bool]:
        with self._lock:
            batch = self._open.get(kind)
            if batch is not None and batch.size + len(wish.rows) > self._most:
                batch.full.set()
                batch = None
            first = batch is None
            batch = batch or _Batch()
            self._open[kind] = batch
            batch.wishes.append(wish)
            batch.size += len(wish.rows)
            if batch.size == self._most:
                batch.full.set()
                del self._open[kind]
        return batch, first

    def _close(self, kind: str, batch: _Batch) -> None:
        with self._lock:
            if self._open.get(kind) is batch:
                del self._open[kind]

    def _run(self, wishes: list[_Wish], parameters: dict[str, Any]) -> None:
        if len(wishes) > 1:
            try:
                joined = [row for wish in wishes for row in wish.rows]
                answers = split(self._call(joined, parameters), [len(wish.rows) for wish in wishes])
            except Exception:
                answers = []
            if answers:
                for wish, answer in zip(wishes, answers, strict=True):
                    wish.answer = answer
                return
        for wish in wishes:
            try:
                wish.answer = self._call(wish.rows, parameters)
            except Exception as error:
                wish.error = error


def split(answer: Any, sizes: list[int]) -> list[Any]:
    """One answer for many rows as one per part. Raises ValueError when it has not one value per row."""
    values = answer if isinstance(answer, (list, np.ndarray)) else _listed(answer)
    if len(values) != sum(sizes):
        raise ValueError("the model did not answer with one value per row")
    parts, at = [], 0
    for size in sizes:
        parts.append(values[at : at + size])
        at += size
    return parts


def _listed(answer: Any) -> list[Any]:
    found = answer.tolist() if hasattr(answer, "tolist") else answer.values.tolist()
    if not isinstance(found, list):
        raise ValueError("the model did not answer with a list")
    return found
