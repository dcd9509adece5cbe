"""Work in threads: many items four at a time, and stages that pieces of one file pass through."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Queue
from types import TracebackType
from typing import Any, Generic, TypeVar

PARALLEL = 4
DEPTH = 4
A = TypeVar("A")
B = TypeVar("B")


def in_parallel(work: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """`work` on each item in four threads, in order; the first failure ends the rest."""
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="podstack") as pool:
        try:
            return list(pool.map(work, items))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def in_order(work: Callable[[A], B], items: Sequence[A]) -> Iterator[B]:
    """Answers one by one in the order of `items`, while four threads work ahead by no more than that."""
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="podstack") as pool:
        waiting: list[Future[B]] = []
        try:
            for item in items:
                if len(waiting) == PARALLEL:
                    yield waiting.pop(0).result()
                waiting.append(pool.submit(work, item))
            while waiting:
                yield waiting.pop(0).result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def in_chunks(items: Sequence[A], size: int) -> Iterator[Sequence[A]]:
    """At most `size` items at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


class Stage(Generic[A]):
    """Gives pieces to `work` in a thread of its own, a few behind at most.

    Used as a context: its end waits until all is done. What `work` raised is raised by `give` or at the end.
    """

    def __init__(self, work: Callable[[A], Any]) -> None:
        self._work = work
        self._pieces: Queue[A | None] = Queue(DEPTH)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="podstack-stage", daemon=True)

    def __enter__(self) -> Stage[A]:
        self._thread.start()
        return self

    def give(self, piece: A) -> None:
        if self._failure is not None:
            raise self._failure
        self._pieces.put(piece)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pieces.put(None)
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            if self._failure is None:
                try:
                    self._work(piece)
                except BaseException as error:
                    self._failure = error
