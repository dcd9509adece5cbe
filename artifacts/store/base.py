"""Where bytes lie: named by their SHA-256, whole and right or not there at all.

A store takes bytes as an iterator and shows them under their digest only after it has seen all of them, their
digest was the announced one, and they are durable. An iterator that raises leaves nothing behind.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Protocol, runtime_checkable

from artifacts.errors import BytesLost, DigestMismatch, DraftLost
from common.errors import Busy

CHUNK = 1 << 20
INCOMING = "incoming/"
FULL = (errno.ENOSPC, errno.EDQUOT)


SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Stored:
    """What lies in a store. `name`: where, below its root; `sha256`: "" where no blob belongs; `size`: bytes."""

    name: str
    sha256: str
    size: int
    modified_at: datetime


@dataclass(frozen=True)
class Draft:
    """A file that comes in parts. `name`: which nobody else has; `storage_id`: what `begin` gave for it."""

    name: str
    storage_id: str
    size: int
    part_size: int


class BlobStore(Protocol):
    """`sha256` is 64 lower-case hex digits everywhere; offsets and sizes are bytes."""

    def put(self, chunks: Iterable[bytes], sha256: str, expected_size: int, keep_as: str = "") -> int:
        """Stores the bytes and returns their size; DigestMismatch when they are others. Memory stays flat.

        `expected_size` is the size, or the most that may come where it is not known. When `chunks` raises
        BodyIncomplete, what came may be left as the draft `keep_as`, to be gone on with; then `kept` says so.
        """

    def put_many(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Stores small blobs, (digest, bytes) whose digests were checked: all of them, or an error."""

    def begin(self, name: str) -> str:
        """Makes room for a draft that comes in parts; the id under which the store knows it, maybe ""."""

    def put_part(self, draft: Draft, number: int, chunks: Iterable[bytes]) -> str:
        """Makes part `number`, from 1 on, durable and returns its tag; the same part again replaces it.

        `chunks` raises when fewer or more bytes come than the part has. DraftLost when the draft is gone.
        """

    def complete(self, draft: Draft, tags: Sequence[str], sha256: str, alive: Callable[[], None]) -> None:
        """Stores the draft, whose parts have these tags, after it was read and has this digest.

        Nothing can be written to it from then on. `alive` is called every now and then. Raises DigestMismatch:
        then the draft is gone; DraftLost when it was gone.
        """

    def abort(self, draft: Draft) -> None:
        """Removes the draft; nothing happens when it is gone."""

    def open(self, sha256: str, offset: int = 0) -> BinaryIO:
        """The bytes from `offset` on, to be read and closed; BytesLost when there are none."""

    def size(self, sha256: str) -> int | None:
        """How many bytes are stored under this digest, or None."""

    def delete(self, sha256: str) -> None:
        """Removes the bytes; nothing happens when there are none."""

    def walk(self) -> Iterator[Stored]:
        """Everything that is stored whole, in the order of digests where the storage lists in order."""

    def unfinished(self) -> Iterator[Stored]:
        """What uploads have begun and not (yet) ended; their digests are not known."""

    def dead_drafts(self, before: datetime) -> list[Stored]:
        """What an upload whose process died has left, untouched since `before`, as far as the store shows it.

        Drafts that come in parts are among them; who knows which of those are still wanted keeps them.
        """

    def discard(self, draft: Stored) -> None:
        """Removes such a draft; nothing happens when it is gone."""


@runtime_checkable
class DirectStore(BlobStore, Protocol):
    """A store that clients may reach by themselves, at addresses that are good for some time."""

    def address_of(self, sha256: str, name: str, seconds: int) -> str:
        """Where the bytes can be fetched without keys for so many seconds, as an attachment called `name`."""

    def part_address(self, draft: Draft, number: int, size: int, seconds: int) -> str:
        """Where part `number`, of `size` bytes, can be put without keys for so many seconds."""

    def parts(self, draft: Draft) -> list[tuple[int, int, str]]:
        """(number, size in bytes, tag) of each part that came, whoever sent it; none when the draft is gone."""


def key_of(sha256: str) -> str:
    """Where a blob lies below the store's root: `ab/cd/abcd…`."""
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


def digest_at(name: str) -> str:
    """The SHA-256 whose bytes lie at `name` below the store's root; "" where none do."""
    last = name.rpartition("/")[2]
    return last if SHA256.fullmatch(last) and key_of(last) == name else ""


def mismatch(expected: str, found: str) -> DigestMismatch:
    """The refusal of bytes whose digest is `found`."""
    return DigestMismatch(
        f"The bytes that came have the SHA-256 {found}, not {expected}.",
        "Compute the digest of exactly the bytes that you send, and send them again.",
        fields={"sha256": [f"sha256 is {expected}; the bytes that came have {found}."]},
    )


def lost(sha256: str) -> BytesLost:
    return BytesLost(
        f"The bytes of {sha256} are missing from storage.",
        "Tell an operator; uploading the same file again repairs it.",
    )


def draft_lost(draft: Draft) -> DraftLost:
    return DraftLost(
        f"The parts of upload {draft.name} are not in storage any more, or have been put together.",
        "Begin the upload again.",
    )


def away(error: Exception) -> Busy:
    reason = getattr(error, "strerror", None) or type(error).__name__
    return Busy(
        f"The storage does not answer ({reason}).",
        "Try again in a few seconds.",
        code="storage_away",
        retry_after=5,
    )


def in_parts(chunks: Iterable[bytes], part_size: int, digest: Any) -> Iterator[bytearray]:
    """The bytes in parts of `part_size`, the last one shorter, maybe empty; `digest` sees each byte before it goes out."""
    part = bytearray()
    for chunk in chunks:
        digest.update(chunk)
        rest = memoryview(chunk)
        while rest:
            taken = rest[: part_size - len(part)]
            part += taken
            rest = rest[len(taken) :]
            if len(part) == part_size:
                yield part
                part = bytearray()
    yield part
