"""Verbs on files: store bytes, pin a list of them, bring them to a folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, Protocol

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from artifacts.errors import BodyIncomplete, BytesLost, StoreFull
from artifacts.frames import read_frames
from artifacts.models import Blob, Manifest, ManifestFile, ProjectBlob
from artifacts.paths import check_path, file_that_is_a_folder
from artifacts.store import CHUNK, SHA256, blob_store
from common import sql
from common.checks import shorten
from common.errors import Busy, Conflict, Invalid, TooLarge

MAX_DIGESTS = 1000
KEPT_AT_ONCE = 100  # each is a lock, of which the database has some thousands for all
LOCK_DIGESTS = "SELECT pg_advisory_xact_lock(hashtextextended('blob ' || d, 0)) FROM unnest(%s::text[]) d"
CLAIM_MANIFEST = "SELECT {m} FROM artifacts_manifest m WHERE m.digest = %s FOR KEY SHARE OF m"
SEEN_AGAIN_AFTER = timedelta(hours=1)
# What a folder of files leaves free on its disk, which PostgreSQL may share: as much as its log grows to between two
# checkpoints (max_wal_size), or a twentieth of a disk that is smaller than 20 GiB.
RESERVE = 1 << 30


class Readable(Protocol):
    """What bytes are read from: a file, a request."""

    def read(self, size: int, /) -> bytes: ...


def check_digest(field: str, value: object) -> str:
    """A SHA-256 as 64 lower-case hex digits."""
    if not isinstance(value, str) or not SHA256.fullmatch(value):
        raise Invalid.field(field, f"{field} is {shorten(value)}; it must be 64 lower-case hex digits.")
    return value


def held_blobs(project: Project, digests: Iterable[str]) -> dict[str, Blob]:
    """Those of `digests` whose bytes this project has uploaded; no others, whoever else has them."""
    found = Blob.objects.filter(holders__project=project, sha256__in=list(digests))
    return {blob.sha256: blob for blob in found}


def missing_blobs(*, actor: Actor, project: Project, digests: Iterable[str]) -> list[str]:
    """Those of at most 1,000 digests whose bytes the project has to upload, in the order given."""
    require(actor, project, Right.WRITE)
    if isinstance(digests, str | bytes) or not isinstance(digests, Iterable):
        raise Invalid.field("sha256", "sha256 must be a list of digests.")
    wanted = list(dict.fromkeys(check_digest("sha256", digest) for digest in digests))
    if len(wanted) > MAX_DIGESTS:
        raise Invalid.field(
            "sha256", f"sha256 has {len(wanted)} digests; at most {MAX_DIGESTS} are allowed at once."
        )
    held = _see(project, held_blobs(project, wanted))
    return [digest for digest in wanted if digest not in held]


def _see(project: Project, held: dict[str, Blob]) -> dict[str, Blob]:
    """Notes on those blobs that somebody was told of them; returns those that are still there after that."""
    now = timezone.now()
    stale = sorted(blob.pk for blob in held.values() if blob.seen_at < now - SEEN_AGAIN_AFTER)
    if not stale:
        return held
    with transaction.atomic():
        # In one order, so that two who ask at once wait for each other and not in a circle.
        rows = Blob.objects.select_for_update(no_key=True).filter(pk__in=stale).order_by("pk")
        Blob.objects.filter(pk__in=[blob.pk for blob in rows]).update(seen_at=now)
    return held_blobs(project, held)


def claim_blobs(project: Project, digests: Iterable[str]) -> dict[str, Blob]:
    """`held_blobs`, kept from the collector until the caller's transaction ends."""
    return {
        blob.sha256: blob
        for blob in Blob.objects.raw(
            "SELECT b.* FROM artifacts_blob b JOIN artifacts_projectblob h ON h.blob_id = b.id"
            " WHERE h.project_id = %s AND b.sha256 = ANY(%s) ORDER BY b.id FOR KEY SHARE OF b",
            [project.pk, list(digests)],
        )
    }


def store_blob(
    *,
    actor: Actor,
    project: Project,
    sha256: str,
    stream: Readable,
    size: int | None = None,
    keep_as: str = "",
) -> Blob:
    """Reads `stream` to its end and keeps the bytes for the project; only then can it use them.

    `size` is what was announced. Raises DigestMismatch, BodyIncomplete, TooLarge; then nothing is kept, except
    that the store may leave what came of an incomplete body as the draft `keep_as`.
    The stream is read and checked even when the bytes are here already: having a digest proves nothing.
    """
    require(actor, project, Right.WRITE)
    check_digest("sha256", sha256)
    limit = int(settings.MAX_UPLOAD_BYTES)
    if size is not None and size > limit:
        raise too_large(limit)
    release_connection()
    expected = limit if size is None else size
    stored = blob_store().put(_chunks(stream, size, limit), sha256, expected, keep_as)
    return keep_stored(project, sha256, stored)


def store_bytes(project: Project, content: bytes) -> Blob:
    """Keeps bytes that the platform itself made."""
    sha256 = hashlib.sha256(content).hexdigest()
    blob_store().put([content], sha256, len(content))
    return keep_stored(project, sha256, len(content))


def store_stream(project: Project, stream: Readable, size: int) -> Blob:
    """Keeps `size` bytes of a stream that the platform itself opened; its digest is not known before."""
    with tempfile.TemporaryFile() as draft:
        found = hashlib.sha256()
        for chunk in exactly(stream, size):
            found.update(chunk)
            draft.write(chunk)
        draft.seek(0)
        sha256 = found.hexdigest()
        blob_store().put(exactly(draft, size), sha256, size)
    return keep_stored(project, sha256, size)


def store_blobs(*, actor: Actor, project: Project, stream: Readable, size: int) -> list[Blob]:
    """Keeps many small blobs, framed as `artifacts.frames` says in a body of `size` bytes: all, or none.

    Raises TooLarge, BodyIncomplete, DigestMismatch, and Invalid for what is no frame.
    """
    require(actor, project, Right.WRITE)
    sizes: dict[str, int] = {}

    def noted() -> Iterator[tuple[str, bytes]]:
        for sha256, content in read_frames(stream, size):
            sizes[sha256] = len(content)
            yield sha256, content

    release_connection()
    blob_store().put_many(noted())
    digests = sorted(sizes)
    kept: list[Blob] = []
    for start in range(0, len(digests), KEPT_AT_ONCE):
        kept += _keep_many(project, {d: sizes[d] for d in digests[start : start + KEPT_AT_ONCE]})
    return kept


def _keep_many(project: Project, sizes: Mapping[str, int]) -> list[Blob]:
    """`keep_stored` for some at once; `sizes` is in the order of digests, so that nobody waits in a circle."""
    now = timezone.now()
    with transaction.atomic():
        lock_digests(sizes)
        rows = Blob.objects.select_for_update(no_key=True).filter(sha256__in=list(sizes)).order_by("pk")
        there = {blob.sha256: blob for blob in rows}
        stale = [blob.pk for blob in there.values() if blob.seen_at < now - SEEN_AGAIN_AFTER]
        Blob.objects.filter(pk__in=stale).update(seen_at=now)
        fresh = [_new_row(sha256, size) for sha256, size in sizes.items() if sha256 not in there]
        blobs = [*there.values(), *Blob.objects.bulk_create(fresh)]
        held = [ProjectBlob(project=project, blob=blob) for blob in sorted(blobs, key=lambda blob: blob.pk)]
        ProjectBlob.objects.bulk_create(held, ignore_conflicts=True)
    return blobs


def _new_row(sha256: str, size: int) -> Blob:
    """Not saved yet. Busy when the collector took the bytes away again: then they have to be sent once more."""
    if blob_store().size(sha256) is None:
        raise Busy(f"The bytes of {sha256} were being removed.", "Send them again.", retry_after=1)
    return Blob(sha256=sha256, size=size)


def keep_stored(project: Project, sha256: str, size: int) -> Blob:
    """The row for bytes that were just put into the store, now the project's to use.

    Busy when the collector took them away again at that moment: then they have to be sent once more.
    """
    with transaction.atomic():
        lock_digest(sha256)
        blob = Blob.objects.select_for_update(no_key=True).filter(sha256=sha256).first()
        if blob is None:
            blob = _new_row(sha256, size)
            blob.save()
        elif blob.seen_at < timezone.now() - SEEN_AGAIN_AFTER:
            blob.seen_at = timezone.now()
            blob.save(update_fields=["seen_at"])
        ProjectBlob.objects.get_or_create(project=project, blob=blob)
    return blob


def lock_digest(sha256: str) -> None:
    """Until the transaction ends, nobody else makes a row for these bytes or removes them from the store."""
    lock_digests([sha256])


def lock_digests(digests: Iterable[str]) -> None:
    """The same for some; give them in the order of digests, or two who lock may wait for each other for ever."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK_DIGESTS, [list(digests)])


def share_blobs(project: Project, manifest: Manifest) -> None:
    """Lets `project` use the files of `manifest` as if it had uploaded them: the caller may read them elsewhere."""
    blobs = (
        ManifestFile.objects.filter(manifest=manifest).order_by("blob_id").values_list("blob_id", flat=True)
    )
    rows = [ProjectBlob(project=project, blob_id=blob_id) for blob_id in blobs.distinct()]
    ProjectBlob.objects.bulk_create(rows, ignore_conflicts=True, batch_size=5000)


def release_connection() -> None:
    """Gives the database connection back to the pool: a slow transfer must not keep it from others for hours."""
    if not connection.in_atomic_block:
        connection.close()


def exactly(stream: Readable, size: int) -> Iterator[bytes]:
    """The stream's bytes; BodyIncomplete when they are not `size`."""
    return _chunks(stream, size, size)


def _chunks(stream: Readable, size: int | None, limit: int) -> Iterator[bytes]:
    """The stream's bytes; an error when there are more than `limit`, or not exactly `size`."""
    came = 0
    while chunk := _read(stream, came, size):
        came += len(chunk)
        if came > limit:
            raise too_large(limit)
        yield chunk
    if size is not None and came != size:
        raise _incomplete(came, size)


def _read(stream: Readable, came: int, size: int | None) -> bytes:
    try:
        return stream.read(CHUNK)
    except OSError as error:
        raise _incomplete(came, size) from error


def _incomplete(came: int, size: int | None) -> BodyIncomplete:
    announced = "an end" if size is None else f"{size} bytes"
    return BodyIncomplete(
        f"The body ended after {came} bytes; {announced} had been announced.", "Send it again."
    )


def too_large(limit: int) -> TooLarge:
    """The refusal of a file of more than `limit` bytes."""
    return TooLarge(
        f"The file is larger than {limit} bytes, the most that this server takes.",
        "Ask an operator to raise MAX_UPLOAD_BYTES, or split the file.",
    )


def open_blob(blob: Blob, offset: int = 0) -> BinaryIO:
    """The blob's bytes from `offset` on, to be read and closed."""
    return blob_store().open(blob.sha256, offset)


def manifest_digest(files: Mapping[str, Blob]) -> str:
    """The SHA-256 over the sorted lines `<sha256> <size> <path>\\n`: equal for equal files at equal paths."""
    lines = sorted(f"{blob.sha256} {blob.size} {path}\n" for path, blob in files.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def make_manifest(files: Mapping[str, Blob]) -> Manifest:
    """The immutable list of these files (path -> blob): the one that is there, else a new one.

    Called within the transaction that refers to it, it is kept from the collector until then. Conflict when
    the collector took a blob first.
    """
    if not files:
        raise Invalid("There are no files to pin.", "Log a file first.")
    for path in files:
        check_path("path", path)
    check_no_file_is_a_folder(files)
    digest = manifest_digest(files)
    return claim_manifest(digest) or _insert_manifest(digest, files)


def manifest_without_files() -> Manifest:
    """The list that is left of a version's files when they were let go, kept like that of `make_manifest`."""
    digest = manifest_digest({})
    return claim_manifest(digest) or _insert_manifest(digest, {})


def claim_manifest(digest: str) -> Manifest | None:
    """The manifest with this digest, if there is one, kept from the collector until the transaction ends."""
    return sql.one(Manifest, sql.expand(CLAIM_MANIFEST, m=Manifest), [digest])


def _check_still_there(blobs: Iterable[Blob]) -> None:
    """Keeps these blobs from the collector until the transaction ends."""
    wanted = {blob.pk: blob for blob in blobs}
    rows = Blob.objects.raw(
        "SELECT id FROM artifacts_blob WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE", [list(wanted)]
    )
    there = {row.pk for row in rows}
    gone = [blob.sha256 for pk, blob in wanted.items() if pk not in there]
    if gone:
        raise Conflict(
            f"The bytes of {gone[0]} were removed meanwhile, because nothing referred to them.",
            "Upload the file again.",
            code="blob_missing",
            items=gone,
        )


def check_no_file_is_a_folder(new: Iterable[str], present: Iterable[str] = ()) -> None:
    """Invalid when one path would be both a file and a folder."""
    clash = file_that_is_a_folder(set(new), set(present))
    if clash is not None:
        file, inside = clash
        raise Invalid.field(
            "files",
            f"{shorten(file)} cannot be both a file and the folder of {shorten(inside)}.",
            "Choose another path for one of them.",
            code="file_is_a_folder",
        )


def _insert_manifest(digest: str, files: Mapping[str, Blob]) -> Manifest:
    try:
        with transaction.atomic():
            _check_still_there(files.values())
            manifest = Manifest.objects.create(
                digest=digest, file_count=len(files), total_size=sum(blob.size for blob in files.values())
            )
            rows = [
                ManifestFile(manifest=manifest, path=path, blob=blob) for path, blob in sorted(files.items())
            ]
            ManifestFile.objects.bulk_create(rows, batch_size=5000)
    except IntegrityError as error:
        found = claim_manifest(digest)
        if found is None:
            message = "The same files are being pinned and removed by others."
            raise Busy(message, "Try again.", retry_after=1) from error
        return found
    return manifest


def materialize(
    manifest: Manifest, folder: Path, *, links: bool = False, watch: Callable[[], None] = lambda: None
) -> None:
    """Brings a manifest's files to `folder`, read-only, each checked against its digest.

    The folder appears whole or not at all; one that is there with the right files is left as it is.
    With `links`, equal files are one file by several names: for folders that nobody ever writes to.
    `watch` is called after each MiB; what it raises ends the bringing.
    Raises BytesLost when the store lacks a file or has other bytes, StoreFull when the disk would be left without its
    reserve.
    """
    was_there = folder.exists()
    if is_materialized(manifest, folder) or (was_there and not _put_away(manifest, folder)):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    blobs = _blobs_by_path(manifest)
    sizes = {blob.sha256: blob.size for blob in blobs.values()}
    total = sum(sizes.values()) if links else sum(blob.size for blob in blobs.values())
    _check_room(folder.parent, total, total)

    def look() -> None:
        _check_room(folder.parent, total)  # others may fill the same disk meanwhile
        watch()

    draft = beside(folder)
    try:
        draft.mkdir()
        brought: dict[str, Path] = {}
        for path, blob in blobs.items():
            target = draft / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if not (links and blob.sha256 in brought and _linked(brought[blob.sha256], target)):
                _bring(blob, target, look)
                brought[blob.sha256] = target
        _rename_unless_there(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _put_away(manifest: Manifest, folder: Path) -> bool:
    """Removes a folder that lacks something; False when it was whole by now, since another had just brought it."""
    aside = beside(folder)
    try:
        folder.rename(aside)
    except FileNotFoundError:
        return True
    whole = is_materialized(manifest, aside)
    if whole:
        _rename_unless_there(aside, folder)
    shutil.rmtree(aside, ignore_errors=True)
    return not whole


def beside(folder: Path) -> Path:
    """A name of its own for what is no folder of files yet, or no more."""
    return folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")


def _check_room(home: Path, total: int, coming: int = 0) -> None:
    """StoreFull when `coming` more bytes of `total` would not leave the disk its reserve."""
    disk = shutil.disk_usage(home)
    reserve = min(RESERVE, disk.total // 20)
    if disk.free - coming < reserve:
        raise StoreFull(
            f"The files need {filesizeformat(total)}, and their disk has {filesizeformat(disk.free)} free, of which "
            f"{filesizeformat(reserve)} must stay free.",
            "Ask an operator for room.",
        )


def _linked(file: Path, target: Path) -> bool:
    """Whether the file has this name too; a file system may know no links, or no more than some thousands of a file."""
    try:
        os.link(file, target)
    except OSError:
        return False
    return True


def is_materialized(manifest: Manifest, folder: Path) -> bool:
    """Whether all files lie there with their sizes: after a crash of the machine some may be cut."""
    if not folder.is_dir():
        return False
    try:
        there = {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in folder.rglob("*")
            if path.is_file()
        }
    except FileNotFoundError:  # another is putting it away
        return False
    return there == {path: blob.size for path, blob in _blobs_by_path(manifest).items()}


def _blobs_by_path(manifest: Manifest) -> dict[str, Blob]:
    return {file.path: file.blob for file in manifest.files.select_related("blob")}


def _bring(blob: Blob, target: Path, watch: Callable[[], None]) -> None:
    digest = hashlib.sha256()
    with open_blob(blob) as source, target.open("xb") as file:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
            watch()
    if digest.hexdigest() != blob.sha256:
        raise BytesLost(
            f"The stored bytes of {blob.sha256} have changed.",
            "Tell an operator; uploading the same file again repairs it.",
        )
    target.chmod(0o444)


def _rename_unless_there(draft: Path, folder: Path) -> None:
    """Of two that bring the same files at once, the second finds the first's."""
    try:
        draft.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
