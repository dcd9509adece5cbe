"""Verbs on files: store bytes, pin a list of them, bring them to a folder."""

from __future__ import annotations

import hashlib
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

from django.conf import settings
from django.db import IntegrityError, connection, transaction

from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from artifacts.errors import BodyIncomplete, BytesLost
from artifacts.models import Blob, Manifest, ManifestFile, ProjectBlob
from artifacts.paths import check_path, file_that_is_a_folder
from artifacts.store import CHUNK, blob_store
from common import sql
from common.checks import shorten
from common.errors import Invalid, TooLarge

SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_DIGESTS = 1000
FIND_MANIFEST = "SELECT {m} FROM artifacts_manifest m WHERE m.digest = %s"


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
    held = held_blobs(project, wanted)
    return [digest for digest in wanted if digest not in held]


def store_blob(
    *, actor: Actor, project: Project, sha256: str, stream: Readable, size: int | None = None
) -> Blob:
    """Reads `stream` to its end and keeps the bytes for the project; only then can it use them.

    `size` is what was announced. Raises DigestMismatch, BodyIncomplete, TooLarge; then nothing is kept.
    The stream is read and checked even when the bytes are here already: having a digest proves nothing.
    """
    require(actor, project, Right.WRITE)
    check_digest("sha256", sha256)
    limit = int(settings.MAX_UPLOAD_BYTES)
    if size is not None and size > limit:
        raise _too_large(limit)
    release_connection()
    stored = blob_store().put(_chunks(stream, size, limit), sha256, limit if size is None else size)
    with transaction.atomic():
        blob, _ = Blob.objects.get_or_create(sha256=sha256, defaults={"size": stored})
        ProjectBlob.objects.get_or_create(project=project, blob=blob)
    return blob


def release_connection() -> None:
    """Gives the database connection back to the pool: a slow transfer must not keep it from others for hours."""
    if not connection.in_atomic_block:
        connection.close()


def _chunks(stream: Readable, size: int | None, limit: int) -> Iterator[bytes]:
    """The stream's bytes; an error when there are more than `limit`, or not exactly `size`."""
    came = 0
    while chunk := _read(stream, came, size):
        came += len(chunk)
        if came > limit:
            raise _too_large(limit)
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


def _too_large(limit: int) -> TooLarge:
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
    """The immutable list of these files (path -> blob): the one that is there, else a new one."""
    if not files:
        raise Invalid("There are no files to pin.", "Log a file first.")
    for path in files:
        check_path("path", path)
    check_no_file_is_a_folder(files)
    digest = manifest_digest(files)
    return find_manifest(digest) or _insert_manifest(digest, files)


def find_manifest(digest: str) -> Manifest | None:
    """The manifest with this digest, if there is one."""
    return sql.one(Manifest, sql.expand(FIND_MANIFEST, m=Manifest), [digest])


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
            manifest = Manifest.objects.create(
                digest=digest, file_count=len(files), total_size=sum(blob.size for blob in files.values())
            )
            rows = [
                ManifestFile(manifest=manifest, path=path, blob=blob) for path, blob in sorted(files.items())
            ]
            ManifestFile.objects.bulk_create(rows, batch_size=5000)
    except IntegrityError:
        return Manifest.objects.get(digest=digest)
    return manifest


def materialize(manifest: Manifest, folder: Path) -> None:
    """Brings a manifest's files to `folder`, read-only, each checked against its digest.

    The folder appears whole or not at all; one that is there with the right files is left as it is.
    Raises BytesLost when the store lacks a file or has other bytes.
    """
    files = {file.path: file.blob for file in manifest.files.select_related("blob")}
    if folder.exists():
        if _is_whole(files, folder):
            return
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        draft.mkdir()
        for path, blob in files.items():
            _bring(blob, draft / path)
        _rename_unless_there(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _is_whole(files: Mapping[str, Blob], folder: Path) -> bool:
    """Whether all files lie there with their sizes: after a crash of the machine some may be cut."""
    there = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }
    return there == {path: blob.size for path, blob in files.items()}


def _bring(blob: Blob, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with open_blob(blob) as source, target.open("xb") as file:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
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
