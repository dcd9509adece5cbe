"""Frees what nobody refers to: lists of files first, then the blobs that only they held, then the bytes.

A blob is used by whoever has a foreign key to it, found by introspection (`common.relations`), except rows that
go with it. Who is about to use one is safe in three ways: its `seen_at` keeps it for settings.BLOB_GRACE_HOURS;
a verb that refers to a blob or a manifest locks its row (`claim_blobs`, `make_manifest`), and locked rows are
skipped; bytes are removed only under the digest's lock and only while no row names them (`lock_digest`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, QuerySet, Sum
from django.utils import timezone

from artifacts.models import Blob, Manifest, ManifestFile, Upload
from artifacts.services import lock_digest
from artifacts.store import Stored, blob_store
from artifacts.uploads import forget_uploads, uploads_to_forget
from common.relations import unreferenced

MANIFESTS_AT_ONCE = 100
BLOBS_AT_ONCE = 500
DIGESTS_AT_ONCE = 1000


@dataclass(frozen=True)
class Freed:
    """How much was freed, or would be. `strays`: files without a row, which a crash has left; `bytes`: of both.

    `uploads`: those in parts that nobody went on with; what came of them is not counted in `bytes`.
    """

    manifests: int
    blobs: int
    strays: int
    bytes: int
    uploads: int


def grace_ends() -> datetime:
    """What was last seen before this moment may go."""
    return timezone.now() - timedelta(hours=settings.BLOB_GRACE_HOURS)


def measure() -> Freed:
    """What `collect` would free now; changes nothing."""
    before = grace_ends()
    blobs = _free_blobs(before, besides=_free_manifests(before))
    total = blobs.aggregate(count=Count("pk"), bytes=Sum("size", default=0))
    strays = [stray.size for stray in _strays(before)]
    manifests = _free_manifests(before).count()
    uploads = uploads_to_forget().filter(completed_at=None).count()
    return Freed(manifests, total["count"], len(strays), total["bytes"] + sum(strays), uploads)


def collect() -> Freed:
    """Removes what nobody refers to and returns how much it was. Several at once share the work."""
    before = grace_ends()
    uploads = len(forget_uploads())
    manifests = sum(_remove_manifests(before))
    blobs = [blob.size for blob in _remove_blobs(before) if remove_bytes(blob.sha256)]
    strays = [stray.size for stray in _strays(before) if _remove_stray(stray)]
    return Freed(manifests, len(blobs), len(strays), sum(blobs) + sum(strays), uploads)


def remove_bytes(sha256: str) -> bool:
    """Removes the bytes from the store, unless a row names them (again); whether it did."""
    with transaction.atomic():
        lock_digest(sha256)
        if Blob.objects.filter(sha256=sha256).exists():
            return False
        blob_store().delete(sha256)
    return True


def without_row(stored: Iterable[Stored]) -> Iterator[Stored]:
    """Those that lie where a blob's bytes do and have no row."""
    for some in _batches(stored, DIGESTS_AT_ONCE):
        rows = Blob.objects.filter(sha256__in=[each.sha256 for each in some])
        known = set(rows.values_list("sha256", flat=True))
        yield from (each for each in some if each.sha256 and each.sha256 not in known)


def without_upload(drafts: Iterable[Stored]) -> Iterator[Stored]:
    """Those that are no draft of an open upload."""
    for some in _batches(drafts, DIGESTS_AT_ONCE):
        names = {draft.name.rpartition("/")[2]: draft for draft in some}
        rows = Upload.objects.filter(public_id__in=names, completed_at=None)
        known = set(rows.values_list("public_id", flat=True))
        yield from (draft for name, draft in names.items() if name not in known)


def _strays(before: datetime) -> Iterator[Stored]:
    """What a collector or an upload whose process died has left in the store."""
    old = (stored for stored in blob_store().walk() if stored.modified_at < before)
    yield from without_row(old)
    yield from without_upload(blob_store().dead_drafts(before))


def _remove_stray(stray: Stored) -> bool:
    if stray.sha256:
        return remove_bytes(stray.sha256)
    blob_store().discard(stray)
    return True


def _batches(items: Iterable[Stored], size: int) -> Iterator[list[Stored]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _free_manifests(before: datetime) -> QuerySet[Manifest]:
    return unreferenced(Manifest.objects.filter(created_at__lt=before))


def _free_blobs(before: datetime, *, besides: QuerySet[Manifest] | None = None) -> QuerySet[Blob]:
    """Blobs that nobody uses, or nobody but the manifests `besides`."""
    rows = Blob.objects.filter(seen_at__lt=before)
    if besides is None:
        return unreferenced(rows)
    kept = ManifestFile.objects.exclude(manifest__in=besides).filter(blob=OuterRef("pk"))
    return unreferenced(rows, apart_from=ManifestFile).filter(~Exists(kept))


def _remove_manifests(before: datetime) -> Iterator[int]:
    """Batch by batch, how many were removed; what belongs to a manifest goes with it."""
    last = 0
    while True:
        with transaction.atomic():
            ids = _lock_some(_free_manifests(before), last, MANIFESTS_AT_ONCE)
            # A statement of its own sees what was committed before the rows were locked.
            rows = list(_free_manifests(before).filter(pk__in=ids))
            Manifest.objects.filter(pk__in=[row.pk for row in rows]).delete()
        yield len(rows)
        if not ids:
            return
        last = ids[-1]


def _remove_blobs(before: datetime) -> Iterator[Blob]:
    """The blobs whose rows are gone for good; their bytes are still there."""
    last = 0
    while True:
        with transaction.atomic():
            ids = _lock_some(_free_blobs(before), last, BLOBS_AT_ONCE)
            rows = list(_free_blobs(before).filter(pk__in=ids))
            Blob.objects.filter(pk__in=[row.pk for row in rows]).delete()
        yield from rows
        if not ids:
            return
        last = ids[-1]


def _lock_some(rows: QuerySet[Manifest] | QuerySet[Blob], after: int, count: int) -> list[int]:
    """The ids of the next of `rows` that nobody else holds, now held by this transaction."""
    free = rows.filter(pk__gt=after).order_by("pk").select_for_update(skip_locked=True)
    return list(free.values_list("pk", flat=True)[:count])
