"""Bytes of a file as a request's body."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from podstack.files.digests import PIECE
from podstack.files.local import HashedFile, changed

OCTETS = "application/octet-stream"


class FilePieces:
    """A request body of exactly `size` bytes from `start` on, whatever happens to the file meanwhile.

    Without `size`, it goes to the end that the file had when it was hashed. `told`: its progress is shown.
    """

    def __init__(
        self,
        file: BinaryIO,
        expected: HashedFile,
        start: int = 0,
        size: int | None = None,
        told: bool = True,
    ) -> None:
        self.told = told
        self.file = file
        self.expected = expected
        self.start = start
        self.size = expected.size - start if size is None else size

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[bytes]:
        self.file.seek(self.start)
        left = self.size
        while left:
            piece = self.file.read(min(PIECE, left))
            if not piece:
                raise changed(self.expected)
            left -= len(piece)
            yield piece
            if self.told:
                self.expected.sent(len(piece))
