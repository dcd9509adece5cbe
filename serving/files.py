"""The files of one model, on disk or behind open-callables, read with bounds."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

Open = Callable[[], BinaryIO]
Source = str | Path | Iterable[tuple[str, Open]]

LINE_LIMIT = 64 << 20
LINE_STEP = 512
COPY_LIMIT = 64 << 20
CHUNK = 1 << 20


class Unreadable(Exception):
    """The bytes cannot be followed to their end; the text says why, as the end of a sentence."""


@dataclass(frozen=True)
class ModelFile:
    """One file: its path relative to the model's folder, a way to open it, and what forbids opening it."""

    path: str
    open: Open
    problem: str = ""

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def suffix(self) -> str:
        """Lower-case ending with its dot, or ''."""
        return os.path.splitext(self.name)[1].lower()


def files_of(source: Source) -> list[ModelFile]:
    """List the files of a folder, of a single file, or of (relative path, open) pairs, by path.

    An opened file must be seekable for zip-based formats to be recognised. Links are listed with
    `problem` set and are never followed.
    """
    if isinstance(source, (str, Path)):
        return sorted(_on_disk(Path(source)), key=lambda one: one.path)
    return sorted((ModelFile(path, opener) for path, opener in source), key=lambda one: one.path)


def _on_disk(root: Path) -> Iterable[ModelFile]:
    if root.is_file() and not root.is_symlink():
        yield _file(root, root.name)
        return
    for folder, folders, names in os.walk(root):
        linked = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in [*names, *linked]:
            full = Path(folder, name)
            yield _file(full, full.relative_to(root).as_posix())


def _file(full: Path, path: str) -> ModelFile:
    def opener() -> BinaryIO:
        return open(full, "rb")

    if full.is_symlink():
        return ModelFile(path, opener, "is a link, not a file")
    if not full.is_file():
        return ModelFile(path, opener, "is not an ordinary file")
    return ModelFile(path, opener)


class Reader:
    """Reads exactly what is asked for from a stream, or raises `Unreadable`; `budget` bounds the total."""

    def __init__(self, stream: BinaryIO, budget: int | None = None) -> None:
        self._stream = stream
        self._head = b""
        self._left = budget
        self._copy: bytearray | None = None

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        data = self.read_up_to(size)
        if len(data) < size:
            raise Unreadable("ends too early")
        return data

    def read_up_to(self, size: int) -> bytes:
        """At most `size` bytes; fewer only at the end of the stream."""
        if size < 0:
            raise Unreadable("names a negative length")
        data, self._head = self._head[:size], self._head[size:]
        if len(data) < size:
            data += self._fetch(size - len(data))
        if self._copy is not None:
            self._copy += data[: max(0, COPY_LIMIT - len(self._copy))]
        return data

    def readline(self) -> bytes:
        """One line with its line end, of at most 64 MiB."""
        parts: list[bytes] = []
        for _ in range(LINE_LIMIT // LINE_STEP):
            ahead = self.peek(LINE_STEP)
            if not ahead:
                raise Unreadable("ends too early")
            end = ahead.find(b"\n") + 1
            parts.append(self.read(end or len(ahead)))
            if end:
                return b"".join(parts)
        raise Unreadable("has a line that does not end")

    def peek(self, size: int) -> bytes:
        """The next bytes without consuming them; fewer only at the end of the stream."""
        if len(self._head) < size:
            self._head += self._fetch(size - len(self._head))
        return self._head[:size]

    def start_copy(self) -> None:
        """Remember from here on the first 64 MiB that are read."""
        self._copy = bytearray()

    def copied(self) -> Reader:
        """What was read since `start_copy`, which ends with this call."""
        kept, self._copy = self._copy or b"", None
        return Reader(io.BytesIO(kept))

    def _fetch(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size:
            more = self._stream.read(min(size, CHUNK))
            if not more:
                break
            self._spend(len(more))
            parts.append(more)
            size -= len(more)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def skip(self, size: int) -> None:
        """Pass over exactly `size` bytes."""
        while size > 0:
            step = min(size, CHUNK)
            self.read(step)
            size -= step

    def drain(self) -> int:
        """Read to the end of the stream (which checks its checksum) and return how many bytes were left."""
        total = 0
        while data := self.read_up_to(CHUNK):
            total += len(data)
        return total

    def _spend(self, size: int) -> None:
        if self._left is None:
            return
        self._left -= size
        if self._left < 0:
            raise Unreadable("unpacks to more than the scan reads")


def seekable(stream: BinaryIO) -> BinaryIO | None:
    """The stream itself when it can seek, else None."""
    try:
        return stream if stream.seekable() else None
    except (AttributeError, OSError, io.UnsupportedOperation):
        return None
