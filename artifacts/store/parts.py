"""Drafts of a folder: one file that parts are written into, in any order, until it is sealed.

Who writes and who seals hold a lock of the file for as long as a write takes, so that a part which is still on
its way when the bytes are hashed cannot change them afterwards.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from artifacts.store.base import CHUNK, Draft, draft_lost

SEALED = 0o400


@contextmanager
def opened(path: Path, draft: Draft, flags: int) -> Iterator[int]:
    """The draft's file descriptor; DraftLost when there is none."""
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError) as error:
        raise draft_lost(draft) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_part(descriptor: int, draft: Draft, number: int, chunks: Iterable[bytes]) -> None:
    """Writes the part and makes it durable."""
    at = (number - 1) * draft.part_size
    for chunk in chunks:
        with _unsealed(descriptor, draft):
            at += _write_at(descriptor, chunk, at)
    os.fdatasync(descriptor)


def seal(descriptor: int, path: Path, draft: Draft) -> None:
    """Waits for who writes at this moment; from now on, until the file is closed, nobody does."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    if not _is_at(descriptor, path) or os.fstat(descriptor).st_size != draft.size:
        raise draft_lost(draft)
    os.fchmod(descriptor, SEALED)
    os.fsync(descriptor)


def digest_of(descriptor: int, alive: Callable[[], None]) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK))
    at = 0
    while size := os.preadv(descriptor, [buffer], at):
        digest.update(buffer[:size])
        at += size
        alive()
    return digest.hexdigest()


@contextmanager
def _unsealed(descriptor: int, draft: Draft) -> Iterator[None]:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise draft_lost(draft) from error
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) == SEALED:
            raise draft_lost(draft)
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _write_at(descriptor: int, content: bytes, at: int) -> int:
    done = 0
    while done < len(content):
        done += os.pwrite(descriptor, memoryview(content)[done:], at + done)
    return done


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is (still) the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
