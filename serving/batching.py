"""Joins requests that wait at the same time to one call of the model, and splits its answer again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serving.values import Array

Call = Callable[[Any, dict[str, Any]], Any]


@dataclass(frozen=True)
class Form:
    """What requests of one form ask for: `size` in rows (None: not to be joined), the `kind` that goes together, how
    several are joined to one, and how its answer is split by their sizes. `split` raises ValueError when it cannot be."""

    size: Callable[[Any], int | None]
    kind: Callable[[Any], Hashable]
    join: Callable[[Sequence[Any]], Any]
    split: Callable[[Any, Sequence[int]], list[Any]]


@dataclass
class _Wish:
    asked: Any
    size: int
    answer: Any = None
    error: Exception | None = field(default_factory=lambda: RuntimeError("the joined call ended"))


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

    def __init__(self, call: Call, form: Form, most: int, delay: float) -> None:
        self._call, self._form, self._most, self._delay = call, form, most, delay
        self._lock = threading.Lock()
        self._open: dict[Hashable, _Batch] = {}

    def __call__(self, asked: Any, parameters: dict[str, Any]) -> Any:
        """The model's answer to this request; raises what the model raises for it."""
        size = self._form.size(asked)
        if size is None or size >= self._most:
            return self._call(asked, parameters)
        wish = _Wish(asked, size)
        kind = (json.dumps(parameters, sort_keys=True), self._form.kind(asked))
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

    def _join(self, kind: Hashable, wish: _Wish) -> tuple[_Batch, bool]:
        with self._lock:
            batch = self._open.get(kind)
            if batch is not None and batch.size + wish.size > self._most:
                batch.full.set()
                batch = None
            first = batch is None
            batch = batch or _Batch()
            self._open[kind] = batch
            batch.wishes.append(wish)
            batch.size += wish.size
            if batch.size == self._most:
                batch.full.set()
                del self._open[kind]
        return batch, first

    def _close(self, kind: Hashable, batch: _Batch) -> None:
        with self._lock:
            if self._open.get(kind) is batch:
                del self._open[kind]

    def _run(self, wishes: list[_Wish], parameters: dict[str, Any]) -> None:
        if len(wishes) > 1:
            try:
                joined = self._form.join([wish.asked for wish in wishes])
                answers = self._form.split(self._call(joined, parameters), [wish.size for wish in wishes])
            except Exception:
                answers = []
            if answers:
                for wish, answer in zip(wishes, answers, strict=True):
                    wish.answer, wish.error = answer, None
                return
        for wish in wishes:
            try:
                wish.answer, wish.error = self._call(wish.asked, parameters), None
            except Exception as error:
                wish.error = error


def split(answer: Any, sizes: Sequence[int]) -> list[Any]:
    """One answer for many rows as one per part. Raises ValueError when it has not one value per row."""
    values = answer if isinstance(answer, (list, tuple)) else np.asarray(answer)
    scalar = isinstance(values, np.ndarray) and values.ndim == 0
    if scalar or len(values) != sum(sizes):
        raise ValueError("the model did not answer with one value per row")
    ends = np.cumsum(sizes).tolist()
    return [values[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _rows_in(tensors: dict[str, Array]) -> int | None:
    """The rows that all tensors have; None when they have not the same number, or one is no rows at all."""
    counts = {array.shape[0] if array.ndim else None for array in tensors.values()}
    return counts.pop() if len(counts) == 1 else None


def _columns_of(tensors: dict[str, Array]) -> Hashable:
    return tuple((name, array.dtype.str, array.shape[1:]) for name, array in tensors.items())


def _stacked(asked: Sequence[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([tensors[name] for tensors in asked]) for name in asked[0]}


def _split_outputs(answer: dict[str, Any], sizes: Sequence[int]) -> list[dict[str, Any]]:
    by_name = {name: split(values, sizes) for name, values in answer.items()}
    return [{name: parts[at] for name, parts in by_name.items()} for at in range(len(sizes))]


ROWS = Form(
    size=len,
    kind=lambda rows: type(rows[0]).__name__,
    join=lambda asked: [row for rows in asked for row in rows],
    split=split,
)
TENSORS = Form(size=_rows_in, kind=_columns_of, join=_stacked, split=_split_outputs)
