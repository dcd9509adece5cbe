"""Many small files in one body, up and down.

A body is frames, one after the other and nothing between them: a line `<sha256> <size>\\n` in ASCII, 64 lower-case
hex digits, a space and the size in bytes as a decimal number, then exactly so many bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Protocol

from artifacts.errors import BodyIncomplete
from artifacts.models import Blob
from artifacts.store import blob_store, lost, mismatch
from common.checks import shorten
from common.errors import Invalid, TooLarge

HEADER = re.compile(rb"([0-9a-f]{64}) (0|[1-9][0-9]{0,9})\n")
LONGEST_HEADER = 64 + 1 + 10 + 1
MAX_FRAME = 1 << 20
MAX_BODY = 16 << 20
MAX_FRAMES = 1000
PIECE = 256 << 10


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_frames(stream: Readable, size: int) -> Iterator[tuple[str, bytes]]:
    """(sha256, bytes) of each frame in a body of `size` bytes, the bytes checked against the digest.

    Raises TooLarge, BodyIncomplete, DigestMismatch, and Invalid for what is no frame.
    """
    if size > MAX_BODY:
        raise TooLarge(
            f"The body has {size} bytes; at most {MAX_BODY} are allowed at once.", "Send less at once."
        )
    source = _Buffered(stream, size)
    count = 0
    while source.left:
        count += 1
        if count > MAX_FRAMES:
            raise Invalid(f"The body has more than {MAX_FRAMES} frames.", "Send fewer files at once.")
        yield _frame(source, count)


def _frame(source: _Buffered, number: int) -> tuple[str, bytes]:
    line = source.line(LONGEST_HEADER)
    match = HEADER.fullmatch(line)
    if match is None:
        raise Invalid(
            f"Frame {number} begins with {shorten(line.decode('latin-1'))}.",
            "Begin each frame with its sha256, a space, its size in bytes and a line end.",
        )
    sha256, length = match[1].decode(), int(match[2])
    if length > MAX_FRAME:
        raise TooLarge(
            f"Frame {number} has {length} bytes; at most {MAX_FRAME} are allowed in a batch.",
            "Upload larger files by themselves.",
        )
    content = source.take(length)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise mismatch(sha256, found)
    return sha256, content


class _Buffered:
    """A body of known size, read in pieces; `left` counts what was not taken yet."""

    def __init__(self, stream: Readable, size: int) -> None:
        self.stream, self.size, self.left = stream, size, size
        self.buffer = b""

    def line(self, longest: int) -> bytes:
        """Up to the next line end, at most `longest` bytes."""
        self._fill(min(longest, self.left))
        end = self.buffer.find(b"\n", 0, longest)
        return self.take(longest if end < 0 else end + 1, exactly=end >= 0)

    def take(self, count: int, *, exactly: bool = True) -> bytes:
        """The next `count` bytes; fewer only at the end and unless `exactly`."""
        self._fill(min(count, self.left))
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        self.left -= len(taken)
        if exactly and len(taken) < count:
            raise self._incomplete(self.size - self.left)
        return taken

    def _fill(self, count: int) -> None:
        if len(self.buffer) >= count:
            return
        pieces, have = [self.buffer], len(self.buffer)
        while have < count:
            piece = self._read(min(max(count - have, PIECE), self.left - have))
            if not piece:
                raise self._incomplete(self.size - self.left + have)
            pieces.append(piece)
            have += len(piece)
        self.buffer = b"".join(pieces)

    def _read(self, count: int) -> bytes:
        try:
            return self.stream.read(count)
        except OSError as error:
            raise self._incomplete(self.size - self.left) from error

    def _incomplete(self, came: int) -> BodyIncomplete:
        return BodyIncomplete(
            f"The body ended after {came} bytes, within a frame; {self.size} bytes had been announced.",
            "Send it again.",
        )


def header_of(blob: Blob) -> bytes:
    """The line that a blob's frame begins with."""
    return f"{blob.sha256} {blob.size}\n".encode()


def framed_size(blobs: Iterable[Blob]) -> int:
    """How many bytes `write_frames` gives for these."""
    return sum(len(header_of(blob)) + blob.size for blob in blobs)


def write_frames(blobs: Iterable[Blob]) -> Iterator[bytes]:
    """The blobs as frames, in pieces of about 256 KiB. Raises BytesLost where the store has other bytes."""
    pieces: list[bytes] = []
    have = 0
    for blob in blobs:
        with blob_store().open(blob.sha256) as file:
            content = file.read(blob.size + 1)
        if len(content) != blob.size:
            raise lost(blob.sha256)
        pieces += (header_of(blob), content)
        have += len(content)
        if have >= PIECE:
            yield b"".join(pieces)
            pieces, have = [], 0
    if pieces:
        yield b"".join(pieces)
