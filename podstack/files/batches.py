"""Many small files in one request: a line `<sha256> <size>` before the bytes of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

import requests

from podstack.errors import ServerError
from podstack.files.local import HashedFile, changed, open_file

SMALL = 256 << 10
MOST_BYTES = 4 << 20
MOST_FILES = 250
LONGEST_HEADER = 80


class Sized(Protocol):
    @property
    def size(self) -> int: ...


S = TypeVar("S", bound=Sized)


def in_batches(files: Sequence[S]) -> Iterator[list[S]]:
    """At most 250 small files of 4 MiB together at a time."""
    batch: list[S] = []
    size = 0
    for file in files:
        if batch and (len(batch) == MOST_FILES or size + file.size > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size
    if batch:
        yield batch


def framed(files: Sequence[HashedFile]) -> bytes:
    """A request's body with these files; ValidationError for one that changed since it was hashed."""
    pieces: list[bytes] = []
    for file in files:
        with open_file(file.source) as opened:
            content = opened.read(file.size + 1)
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise changed(file)
        pieces += (f"{file.sha256} {file.size}\n".encode(), content)
    return b"".join(pieces)


def frames_in(response: requests.Response, sizes: Sequence[int]) -> Iterator[bytes]:
    """What an answer carries, file by file; ServerError where its frames do not have these sizes."""
    content = memoryview(response.content)
    at = 0
    for size in sizes:
        line = bytes(content[at : at + LONGEST_HEADER]).partition(b"\n")[0]
        at += len(line) + 1
        if line.partition(b" ")[2] != str(size).encode() or at + size > len(content):
            raise ServerError("The server did not answer with the files that were asked for.")
        yield bytes(content[at : at + size])
        at += size
