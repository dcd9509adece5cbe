"""Compares what the database says of stored files with what lies in storage. Changes nothing."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from operator import attrgetter

from artifacts.collect import grace_ends, without_upload
from artifacts.errors import BytesLost
from artifacts.models import Blob
from artifacts.services import open_blob
from artifacts.store import CHUNK, Stored, blob_store
from artifacts.uses import uses_of

ROWS_AT_ONCE = 1000


class Kind(StrEnum):
    MISSING = "missing"
    CHANGED = "changed"
    STRAY = "stray"
    UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `name`: the blob's SHA-256, or where a file lies below the store's root."""

    kind: Kind
    name: str
    detail: str
    used_by: list[str] = field(default_factory=list)


class Check:
    """One look at everything; `blobs` and `bytes` count what was looked at so far.

    `fast` compares sizes only and reads no file. Files that came within settings.BLOB_GRACE_HOURS are no strays
    and no leftovers: their upload may still run.
    """

    def __init__(self, *, fast: bool) -> None:
        self.fast = fast
        self.blobs = 0
        self.bytes = 0
        self.before = grace_ends()
        self.store = blob_store()

    def findings(self) -> Iterator[Finding]:
        """What is wrong, as it is found, in flat memory."""
        odd: list[Stored] = []
        for blob, stored in _side_by_side(_blobs(), _digests_only(self.store.walk(), odd)):
            finding = self._look(blob, stored) if blob else stored and self._stray(stored)
            if finding:
                yield finding
        yield from (self._old(Kind.STRAY, stored, "no blob has this name") for stored in odd)
        old = (stored for stored in self.store.unfinished() if stored.modified_at < self.before)
        for stored in without_upload(old):
            yield self._old(Kind.UNFINISHED, stored, "an upload that never ended")

    def _look(self, blob: Blob, stored: Stored | None) -> Finding | None:
        self.blobs += 1
        self.bytes += blob.size
        # The list may be older than the row: asked again, the store knows.
        size = stored.size if stored else self.store.size(blob.sha256)
        if size is None:
            return self._wrong(blob, Kind.MISSING, f"{blob.size} bytes are not in storage")
        if size != blob.size:
            return self._wrong(blob, Kind.CHANGED, f"has {size} bytes instead of {blob.size}")
        return None if self.fast else self._read(blob)

    def _read(self, blob: Blob) -> Finding | None:
        digest = hashlib.sha256()
        try:
            with open_blob(blob) as file:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
        except BytesLost:
            return self._wrong(blob, Kind.MISSING, f"{blob.size} bytes are not in storage")
        if digest.hexdigest() != blob.sha256:
            return self._wrong(blob, Kind.CHANGED, f"its bytes have the SHA-256 {digest.hexdigest()}")
        return None

    def _wrong(self, blob: Blob, kind: Kind, detail: str) -> Finding | None:
        """Nothing when the collector took the blob meanwhile."""
        if not Blob.objects.filter(pk=blob.pk).exists():
            return None
        return Finding(kind, blob.sha256, detail, uses_of(blob))

    def _stray(self, stored: Stored) -> Finding | None:
        if stored.modified_at >= self.before or Blob.objects.filter(sha256=stored.sha256).exists():
            return None
        return self._old(Kind.STRAY, stored, "no row in the database")

    def _old(self, kind: Kind, stored: Stored, why: str) -> Finding:
        day = f"{stored.modified_at:%Y-%m-%d %H:%M} UTC"
        return Finding(kind, stored.name, f"{why}; {stored.size} bytes of {day}")


def _blobs() -> Iterator[Blob]:
    """All rows in the order of digests, page by page: a look at all bytes takes hours, a query should not."""
    last = ""
    while page := list(Blob.objects.filter(sha256__gt=last).order_by("sha256")[:ROWS_AT_ONCE]):
        yield from page
        last = page[-1].sha256


def _digests_only(walk: Iterator[Stored], odd: list[Stored]) -> Iterator[Stored]:
    """What lies where blobs do; the rest is left in `odd`."""
    for stored in walk:
        if stored.sha256:
            yield stored
        else:
            odd.append(stored)


def _side_by_side(
    blobs: Iterator[Blob], walk: Iterator[Stored]
) -> Iterator[tuple[Blob | None, Stored | None]]:
    """Rows and files of equal digests together, both given in that order; None where one side lacks it."""
    both: Iterator[Blob | Stored] = heapq.merge(blobs, walk, key=attrgetter("sha256"))
    for _, group in groupby(both, key=attrgetter("sha256")):
        pair = list(group)
        blob = next((each for each in pair if isinstance(each, Blob)), None)
        yield blob, next((each for each in pair if isinstance(each, Stored)), None)
