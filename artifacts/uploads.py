"""Verbs on large files that come in parts: begun, sent in any order by anybody of the project, completed.

An upload that broke is gone on with: who begins one of the same bytes gets the open one, with the parts that came.
The parts prove nothing; only `complete_upload` reads all bytes, and makes a blob of them if their digest is right.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from artifacts.errors import BodyIncomplete, DigestMismatch, DraftLost
from artifacts.models import Blob, Upload, UploadPart
from artifacts.services import (
    Readable,
    check_digest,
    exactly,
    held_blobs,
    keep_stored,
    release_connection,
    store_blob,
    too_large,
)
from artifacts.store import DirectStore, Draft, blob_store, mismatch
from common.checks import shorten
from common.errors import Busy, Conflict, Invalid, Missing
from common.ids import new_id

PART_SIZE = 64 << 20
MIN_PART_SIZE = 5 << 20  # what buckets take
MAX_PART_SIZE = 1 << 30
MAX_PARTS = 10_000
LEASE = timedelta(seconds=120)
RENEWED_EVERY = 10.0  # seconds
SHOWN = 100  # of the parts that are missing
ADDRESS_SECONDS = 3600  # what has begun within that time may end later


def open_uploads(*, actor: Actor, project: Project) -> QuerySet[Upload]:
    """What has begun in the project and is neither completed nor forgotten."""
    require(actor, project, Right.WRITE)
    return Upload.objects.filter(project=project, completed_at=None)


def store_large_blob(*, actor: Actor, project: Project, sha256: str, stream: Readable, size: int) -> Blob:
    """`services.store_blob`; what came of a large body that broke off is kept as an open upload, part by part."""
    name = new_id("up") if size > PART_SIZE else ""
    try:
        return store_blob(actor=actor, project=project, sha256=sha256, stream=stream, size=size, keep_as=name)
    except BodyIncomplete as error:
        if error.kept:
            upload = _new(actor, project, sha256, size, max(PART_SIZE, -(-size // MAX_PARTS)))
            upload.public_id = name
            _keep_begun(upload, error.kept)
        raise


def begin_upload(
    *, actor: Actor, project: Project, sha256: str, size: int, part_size: int = PART_SIZE
) -> Upload:
    """The open upload of these bytes, else a new one. All sizes are bytes; an open one keeps its `part_size`.

    TooLarge; Invalid for sizes that do not fit; Conflict when the open one is said to have another size.
    """
    require(actor, project, Right.WRITE)
    check_digest("sha256", sha256)
    _check_sizes(size, part_size)
    upload = _open_one(project, sha256) or _begin(actor, project, sha256, size, part_size)
    _note_parts(upload)
    if upload.size != size:
        raise Conflict(
            f"Upload {upload.public_id} of the same sha256 has a size of {upload.size} bytes, not {size}.",
            "Abort it if its size is wrong.",
            code="upload_differs",
            items=[upload.public_id],
        )
    return upload


def get_upload(*, actor: Actor, project: Project, upload_id: str) -> Upload:
    """An upload of the project, completed or not. Raises Missing."""
    require(actor, project, Right.WRITE)
    upload = _found(Upload.objects.all(), project, upload_id)
    _note_parts(upload)
    return upload


def put_part(
    *,
    actor: Actor,
    project: Project,
    upload_id: str,
    number: int,
    stream: Readable,
    size: int,
    sha256: str = "",
) -> Upload:
    """Reads `stream`, `size` bytes, as part `number` (from 1 on) and keeps it; the same again replaces it.

    A part whose digest is not the `sha256` that is given is not kept: DigestMismatch. Raises
    BodyIncomplete, Invalid for a number or a size that the upload does not have, Conflict when it is
    completed, DraftLost when the store has lost it: then it has to be begun again.
    """
    upload = get_upload(actor=actor, project=project, upload_id=upload_id)
    _check_open(upload)
    _check_part(upload, number, size)
    release_connection()
    try:
        tag = blob_store().put_part(draft_of(upload), number, _checked(exactly(stream, size), sha256))
    except DraftLost:
        _forget(upload)
        raise
    except (BodyIncomplete, DigestMismatch):
        UploadPart.objects.filter(upload=upload, number=number).delete()  # a folder has its bytes overwritten
        raise
    with transaction.atomic():
        upload = _found(Upload.objects.select_for_update(no_key=True), project, upload_id)
        UploadPart.objects.update_or_create(upload=upload, number=number, defaults={"tag": tag})
        upload.touched_at = timezone.now()
        upload.save(update_fields=["touched_at"])
    return upload


def sends_direct() -> bool:
    """Whether clients put parts into the bucket themselves, as settings.UPLOADS says."""
    return bool(settings.UPLOADS == "presign")


def part_addresses(
    *, actor: Actor, project: Project, upload_id: str, numbers: Sequence[int]
) -> list[tuple[int, int, str]]:
    """(number, size in bytes, address) of these parts: who puts exactly so many bytes there needs no token.

    Each is good for ADDRESS_SECONDS. Raises Conflict where parts go through this server, and when the upload is
    completed; Invalid for a number that the upload does not have.
    """
    require(actor, project, Right.WRITE)
    upload = _found(Upload.objects.all(), project, upload_id)
    store = blob_store()
    if not sends_direct() or not isinstance(store, DirectStore):
        raise Conflict(
            "Parts go through this server, not straight to its storage.",
            f"Send them to blobs/uploads/{upload.public_id}/parts/{{number}}.",
            code="no_direct_uploads",
        )
    _check_open(upload)
    for number in numbers:
        _check_number(upload, number)
    Upload.objects.filter(pk=upload.pk).update(touched_at=timezone.now())
    draft = draft_of(upload)
    sizes = [(number, upload.length_of(number)) for number in numbers]
    return [
        (number, size, store.part_address(draft, number, size, ADDRESS_SECONDS)) for number, size in sizes
    ]


def complete_upload(*, actor: Actor, project: Project, upload_id: str) -> Blob:
    """Puts the parts together and makes a blob of them; completed before, it answers the same.

    Raises Conflict when parts are missing, Busy while another request does it, DigestMismatch when they are
    other bytes and DraftLost when the store has lost some: then the upload is gone.
    """
    get_upload(actor=actor, project=project, upload_id=upload_id)
    upload, tags = _take(actor, project, upload_id)
    if upload.completed_at is not None:
        return _completed(upload)
    release_connection()
    try:
        blob_store().complete(draft_of(upload), tags, upload.sha256, _renewal(upload))
        blob = keep_stored(project, upload.sha256, upload.size)
    except (DigestMismatch, DraftLost):
        Upload.objects.filter(pk=upload.pk).delete()
        raise
    except BaseException:
        Upload.objects.filter(pk=upload.pk).update(busy_until=None)
        raise
    with transaction.atomic():
        now = timezone.now()
        Upload.objects.filter(pk=upload.pk).update(completed_at=now, touched_at=now, busy_until=None)
        UploadPart.objects.filter(upload=upload).delete()
    return blob


def abort_upload(*, actor: Actor, project: Project, upload_id: str) -> None:
    """Forgets an upload and what came of it. Raises Missing, and Busy while it is being completed."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        upload = _found(Upload.objects.select_for_update(), project, upload_id)
        _check_not_busy(upload)
        upload.delete()
    if upload.completed_at is None:
        blob_store().abort(draft_of(upload))


def uploads_to_forget() -> QuerySet[Upload]:
    """Those that nobody has touched for settings.UPLOAD_HOURS."""
    before = timezone.now() - timedelta(hours=settings.UPLOAD_HOURS)
    return Upload.objects.filter(touched_at__lt=before).exclude(busy_until__gte=timezone.now())


def forget_uploads() -> list[Upload]:
    """Aborts those; answers those that were not completed."""
    gone: list[Upload] = []
    for pk in list(uploads_to_forget().values_list("pk", flat=True)):
        with transaction.atomic():
            upload = uploads_to_forget().select_for_update(skip_locked=True).filter(pk=pk).first()
            if upload is None:
                continue
            Upload.objects.filter(pk=pk).delete()
        if upload.completed_at is None:
            blob_store().abort(draft_of(upload))
            gone.append(upload)
    return gone


def draft_of(upload: Upload) -> Draft:
    """The upload as the store knows it."""
    return Draft(upload.public_id, upload.storage_id, upload.size, upload.part_size)


def parts_of(upload: Upload) -> list[int]:
    """The numbers of the parts that came, in order."""
    return [part.number for part in upload.parts.all()]


def _check_sizes(size: int, part_size: int) -> None:
    limit = int(settings.MAX_UPLOAD_BYTES)
    if size > limit:
        raise too_large(limit)
    if size < 1:
        raise Invalid.field("size", f"size is {size}; it must be at least 1.", "Send an empty file by PUT.")
    if not MIN_PART_SIZE <= part_size <= MAX_PART_SIZE:
        message = f"part_size is {part_size}; it must be from {MIN_PART_SIZE} to {MAX_PART_SIZE}."
        raise Invalid.field("part_size", message)
    if -(-size // part_size) > MAX_PARTS:
        message = f"part_size is {part_size}: {size} bytes would come in more than {MAX_PARTS} parts."
        raise Invalid.field("part_size", message, "Choose a larger one.")


def _open_one(project: Project, sha256: str) -> Upload | None:
    """The open upload of these bytes, which from now on counts as touched."""
    with transaction.atomic():
        rows = Upload.objects.select_for_update(no_key=True)
        upload = rows.filter(project=project, sha256=sha256, completed_at=None).first()
        if upload is not None:
            upload.touched_at = timezone.now()
            upload.save(update_fields=["touched_at"])
    return upload


def _new(actor: Actor, project: Project, sha256: str, size: int, part_size: int) -> Upload:
    """Not saved, and the store knows nothing of it."""
    return Upload(
        public_id=new_id("up"),
        project=project,
        sha256=sha256,
        size=size,
        part_size=part_size,
        created_by=actor.user,
    )


def _begin(actor: Actor, project: Project, sha256: str, size: int, part_size: int) -> Upload:
    upload = _new(actor, project, sha256, size, part_size)
    upload.storage_id = blob_store().begin(upload.public_id)
    return _save(upload, 0) or _others(project, sha256)


def _others(project: Project, sha256: str) -> Upload:
    upload = _open_one(project, sha256)
    if upload is None:
        raise Busy("The same file is being uploaded by others.", "Try again.", retry_after=1)
    return upload


def _keep_begun(upload: Upload, came: int) -> None:
    """The whole parts among the bytes that came; nothing when there are none, or an open upload is there."""
    count = min(came // upload.part_size, upload.part_count - 1)
    if count:
        _save(upload, count)
    else:
        blob_store().abort(draft_of(upload))


def _save(upload: Upload, parts: int) -> Upload | None:
    """The upload, its first parts being there; None, and no draft, when the project has an open one."""
    try:
        with transaction.atomic():
            upload.save()
            rows = [UploadPart(upload=upload, number=number) for number in range(1, parts + 1)]
            UploadPart.objects.bulk_create(rows)
    except IntegrityError:
        blob_store().abort(draft_of(upload))
        return None
    return upload


def _found(rows: QuerySet[Upload], project: Project, upload_id: str) -> Upload:
    upload = rows.filter(project=project, public_id=upload_id).first() if "\0" not in upload_id else None
    if upload is None:
        raise Missing(
            f"There is no upload {shorten(upload_id)} in {project.slug}.",
            "It may have been completed or aborted long ago; begin it again.",
            code="upload_not_found",
        )
    return upload


def _check_open(upload: Upload) -> None:
    if upload.completed_at is not None:
        raise Conflict(f"Upload {upload.public_id} is completed.", code="upload_completed")
    _check_not_busy(upload)


def _check_not_busy(upload: Upload) -> None:
    if upload.busy_until is not None and upload.busy_until > timezone.now():
        message = f"Upload {upload.public_id} is being completed."
        raise Busy(message, "Ask again in some seconds.", code="upload_busy", retry_after=2)


def _note_parts(upload: Upload) -> None:
    """Takes down which parts the bucket has got from clients; one of another length has not come."""
    store = blob_store()
    if upload.completed_at is not None or not sends_direct() or not isinstance(store, DirectStore):
        return
    release_connection()
    came = [
        UploadPart(upload=upload, number=number, tag=tag)
        for number, size, tag in store.parts(draft_of(upload))
        if number <= upload.part_count and size == upload.length_of(number)
    ]
    with transaction.atomic():
        if Upload.objects.select_for_update(no_key=True).filter(pk=upload.pk, completed_at=None).exists():
            UploadPart.objects.bulk_create(
                came, update_conflicts=True, unique_fields=["upload", "number"], update_fields=["tag"]
            )


def _checked(chunks: Iterator[bytes], sha256: str) -> Iterator[bytes]:
    """The bytes as they come; DigestMismatch after the last one when their digest is another."""
    digest = hashlib.sha256()
    for chunk in chunks:
        if sha256:
            digest.update(chunk)
        yield chunk
    if sha256 and digest.hexdigest() != sha256:
        raise mismatch(sha256, digest.hexdigest())


def _check_number(upload: Upload, number: int) -> None:
    if not 1 <= number <= upload.part_count:
        message = f"number is {number}; {upload.public_id} has the parts 1 to {upload.part_count}."
        raise Invalid.field("number", message)


def _check_part(upload: Upload, number: int, size: int) -> None:
    _check_number(upload, number)
    if size != upload.length_of(number):
        raise Invalid.field(
            "size",
            f"Part {number} of {upload.public_id} has {upload.length_of(number)} bytes; the body has {size}.",
            "All parts have part_size bytes, the last one has the rest.",
        )


def _take(actor: Actor, project: Project, upload_id: str) -> tuple[Upload, list[str]]:
    """The upload for the caller alone to complete, and its parts' tags; a completed one as it is."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        upload = _found(Upload.objects.select_for_update(no_key=True), project, upload_id)
        if upload.completed_at is not None:
            return upload, []
        _check_not_busy(upload)
        tags = {part.number: part.tag for part in upload.parts.all()}
        _check_whole(upload, set(tags))
        upload.busy_until = timezone.now() + LEASE
        upload.save(update_fields=["busy_until"])
    return upload, [tags[number] for number in sorted(tags)]


def _check_whole(upload: Upload, came: set[int]) -> None:
    missing = [number for number in range(1, upload.part_count + 1) if number not in came]
    if missing:
        raise Conflict(
            f"{len(missing)} of the {upload.part_count} parts of {upload.public_id} have not come yet.",
            "Send them, then complete it.",
            code="parts_missing",
            items=[str(number) for number in missing[:SHOWN]],
        )


def _completed(upload: Upload) -> Blob:
    blob = held_blobs(upload.project, [upload.sha256]).get(upload.sha256)
    if blob is None:
        raise Missing(
            f"Upload {upload.public_id} was completed, and its bytes were removed since: nothing referred to them.",
            "Begin it again.",
            code="upload_not_found",
        )
    return blob


def _renewal(upload: Upload) -> Callable[[], None]:
    """To be called all the time: says every now and then that the upload is still being completed."""
    renewed = time.monotonic()

    def alive() -> None:
        nonlocal renewed
        if time.monotonic() - renewed > RENEWED_EVERY:
            renewed = time.monotonic()
            Upload.objects.filter(pk=upload.pk).update(busy_until=timezone.now() + LEASE)
            release_connection()

    return alive


def _forget(upload: Upload) -> None:
    """An upload whose draft is lost must not stand in the way of a new one; one that is sealed is no lost one."""
    with transaction.atomic():
        found = Upload.objects.select_for_update().filter(pk=upload.pk, completed_at=None).first()
        if found is not None and (found.busy_until is None or found.busy_until < timezone.now()):
            found.delete()
