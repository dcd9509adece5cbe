"""Bytes that are received, hashed, written and made durable at the same time, each in a thread of its own."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable
from io import FileIO
from queue import Queue
from types import TracebackType
from typing import Any, Generic, TypeVar

DEPTH = 4
WORTH_THREADS = 4 << 20  # bytes; below, the threads cost more than they save
SYNCED_AT_ONCE = 64 << 20
WRITTEN_AT_ONCE = 256 << 10  # more may have the kernel look for larger pages than are free
T = TypeVar("T")


class Stage(Generic[T]):
    """Gives items to `work` in a thread of its own, DEPTH behind at most.

    Used as a context: its end waits until all is done. What `work` raised is raised by `give` or at the end.
    """

    def __init__(self, work: Callable[[T], Any]) -> None:
        self._work = work
        self._items: Queue[T | None] = Queue(DEPTH)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="bytes", daemon=True)

    def __enter__(self) -> Stage[T]:
        self._thread.start()
        return self

    def give(self, item: T) -> None:
        if self._failure is not None:
            raise self._failure
        self._items.put(item)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._items.put(None)
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def _run(self) -> None:
        while (item := self._items.get()) is not None:
            if self._failure is None:
                try:
                    self._work(item)
                except BaseException as error:
                    self._failure = error


def write_hashed(
    file: FileIO, chunks: Iterable[bytes], expected_size: int, digest: Any = None
) -> tuple[int, Any]:
    """Writes all chunks at the file's position and puts them into `digest`, else a new SHA-256.

    Returns how many bytes came, and the digest. `expected_size` tells whether threads are worth it.
    """
    digest = digest or hashlib.sha256()
    size = 0
    if expected_size < WORTH_THREADS:
        for chunk in chunks:
            digest.update(chunk)
            write_all(file, chunk)
            size += len(chunk)
        return size, digest
    unsynced = 0
    with (
        Stage[int](os.fdatasync) as syncing,
        Stage[bytes](lambda chunk: write_all(file, chunk)) as writing,
        Stage[bytes](digest.update) as hashing,
    ):
        for chunk in chunks:
            hashing.give(chunk)
            writing.give(chunk)
            size += len(chunk)
            unsynced += len(chunk)
            if unsynced >= SYNCED_AT_ONCE:
                # The disk works from the start, so that little is left to wait for at the end.
                syncing.give(file.fileno())
                unsynced = 0
    return size, digest


def write_all(file: FileIO, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest[:WRITTEN_AT_ONCE]) :]
