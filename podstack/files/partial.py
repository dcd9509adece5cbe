"""What has arrived of a file so far, beside its target: continued by whoever comes next."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from podstack.files.digests import PIECE, set_back
from podstack.files.threads import Stage

try:
    import fcntl
except ImportError:  # Windows: each download then has a file of its own, and none is continued
    fcntl = None  # type: ignore[assignment]

WRITTEN_AT_ONCE = 256 << 10  # more may have the kernel look for larger pages than are free
TOLD_EARLY = 8 << 20  # bytes; below, a thread costs more than it saves


class Partial:
    """`size` bytes of a file, hashed as they came. `path` is where they lie."""

    def __init__(self, path: Path, handle: BinaryIO) -> None:
        self.path = path
        self.handle = handle
        self.digest = hashlib.sha256()
        self.size = 0
        self._read_again()

    def _read_again(self) -> None:
        self.handle.seek(0)
        while piece := self.handle.read(PIECE):
            self.digest.update(piece)
            self.size += len(piece)

    def restart(self) -> None:
        self.handle.seek(0)
        self.handle.truncate()
        self.digest = hashlib.sha256()
        self.size = 0

    def take(self, pieces: Iterable[bytes], expected: int) -> None:
        """Appends the pieces; what came before an error is kept. `expected`: about how many bytes will come."""
        if expected < TOLD_EARLY:
            for piece in pieces:
                self._write(piece)
                self.digest.update(piece)
                self.size += len(piece)
            return
        with Stage(self.digest.update) as hashing, Stage(self._write) as writing:
            for piece in pieces:
                hashing.give(piece)
                writing.give(piece)
                self.size += len(piece)

    def _write(self, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            rest = rest[self.handle.write(rest[:WRITTEN_AT_ONCE]) :]

    def become(self, target: Path) -> None:
        """Takes the name `target`, at once, in place of what is there."""
        self.handle.flush()
        set_back(self.path)
        self.path.replace(target)


@contextmanager
def partial_of(target: Path, sha256: str) -> Iterator[Partial]:
    """The file beside `target` that its bytes arrive in, with what an earlier process left there.

    It is nobody else's meanwhile. After an error it stays, unless it is empty.
    """
    path, handle = _open(target.parent, sha256)
    try:
        with handle:
            yield Partial(path, handle)
    except BaseException:
        with suppress(OSError):
            if path.stat().st_size == 0 or not _is_shared(path):
                path.unlink()
        raise


def _open(folder: Path, sha256: str) -> tuple[Path, BinaryIO]:
    shared = folder / f".podstack-{sha256}.part"
    while fcntl is not None:
        handle = open(shared, "a+b", buffering=0)  # noqa: SIM115 -- the caller closes it
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have given it its final name since it was opened.
            if os.path.samestat(os.fstat(handle.fileno()), os.stat(shared)):
                return shared, handle
        except FileNotFoundError:
            pass
        except OSError:
            handle.close()
            break
        handle.close()
    path = folder / f".podstack-{uuid.uuid4().hex}"
    return path, open(path, "x+b", buffering=0)


def _is_shared(path: Path) -> bool:
    return path.suffix == ".part"
