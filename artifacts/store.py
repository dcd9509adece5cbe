"""Where bytes lie: named by their SHA-256, whole and right or not there at all.

A store takes bytes as an iterator and shows them under their digest only after it has seen all of them, their
digest was the announced one, and they are durable. An iterator that raises leaves nothing behind.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast
from urllib.parse import parse_qsl, urlsplit
from urllib.request import url2pathname

from django.conf import settings

from artifacts.errors import BytesLost, DigestMismatch, StoreFull
from common.errors import Busy

CHUNK = 1 << 20
PART = 8 << 20
MAX_PARTS = 10_000
FULL = (errno.ENOSPC, errno.EDQUOT)


SHA256 = re.compile(r"[0-9a-f]{64}")
DRAFT = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Stored:
    """What lies in a store. `name`: where, below its root; `sha256`: "" where no blob belongs; `size`: bytes."""

    name: str
    sha256: str
    size: int
    modified_at: datetime


class BlobStore(Protocol):
    """`sha256` is 64 lower-case hex digits everywhere; offsets and sizes are bytes."""

    def put(self, chunks: Iterable[bytes], sha256: str, expected_size: int) -> int:
        """Stores the bytes and returns their size; DigestMismatch when they are others. Memory stays flat.

        `expected_size` is the size, or the most that may come where it is not known.
        """

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
        """What a `put` whose process died has left, untouched since `before`, as far as the store shows it."""

    def discard(self, draft: Stored) -> None:
        """Removes such a draft; nothing happens when it is gone."""


def blob_store() -> BlobStore:
    """The store that settings.STORAGE_URL names."""
    return store_at(settings.STORAGE_URL)


@lru_cache(maxsize=8)
def store_at(url: str) -> BlobStore:
    """The store at `file:///folder` or `s3://bucket/prefix?endpoint_url=…&region=…`."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return LocalStore(Path(url2pathname(parts.path)))
    return S3Store(parts.netloc, parts.path.strip("/"), dict(parse_qsl(parts.query)))


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


class LocalStore:
    """A folder: written beside, made durable, then renamed into place."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.incoming = root / "incoming"

    def put(self, chunks: Iterable[bytes], sha256: str, expected_size: int) -> int:
        with _local_trouble():
            self.incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = self.incoming / uuid.uuid4().hex
            try:
                size, found = _write_durably(draft, chunks)
                if found != sha256:
                    raise mismatch(sha256, found)
                self._move_into_place(draft, sha256)
            finally:
                draft.unlink(missing_ok=True)
        return size

    def _move_into_place(self, draft: Path, sha256: str) -> None:
        target = self._path(sha256)
        for folder in (target.parent.parent, target.parent):
            if not folder.is_dir():
                folder.mkdir(mode=0o700, exist_ok=True)
                _sync_folder(folder.parent)
        draft.rename(target)
        _sync_folder(target.parent)

    def open(self, sha256: str, offset: int = 0) -> BinaryIO:
        try:
            file = self._path(sha256).open("rb", buffering=0)
        except FileNotFoundError as error:
            raise lost(sha256) from error
        file.seek(offset)
        return cast(BinaryIO, file)

    def size(self, sha256: str) -> int | None:
        try:
            return self._path(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def delete(self, sha256: str) -> None:
        self._path(sha256).unlink(missing_ok=True)

    def walk(self) -> Iterator[Stored]:
        for folder, folders, files in os.walk(self.root):
            here = Path(folder)
            folders[:] = sorted(name for name in folders if here / name != self.incoming)
            yield from self._look_at(here, files)

    def unfinished(self) -> Iterator[Stored]:
        for folder, _, files in os.walk(self.incoming):
            yield from self._look_at(Path(folder), files)

    def dead_drafts(self, before: datetime) -> list[Stored]:
        return [
            draft
            for draft in self.unfinished()
            if draft.modified_at < before and DRAFT.fullmatch(draft.name.removeprefix("incoming/"))
        ]

    def discard(self, draft: Stored) -> None:
        (self.root / draft.name).unlink(missing_ok=True)

    def _look_at(self, folder: Path, files: list[str]) -> Iterator[Stored]:
        for path in (folder / name for name in sorted(files)):
            with suppress(FileNotFoundError):  # gone since the folder was listed
                status = path.lstat()
                name = path.relative_to(self.root).as_posix()
                modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
                yield Stored(name, digest_at(name), status.st_size, modified_at)

    def _path(self, sha256: str) -> Path:
        return self.root / key_of(sha256)


def _write_durably(path: Path, chunks: Iterable[bytes]) -> tuple[int, str]:
    """Writes and syncs a read-only file; its size and SHA-256."""
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with open(descriptor, "wb", buffering=0) as file:
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            rest = memoryview(chunk)
            while rest:
                rest = rest[file.write(rest) :]
        os.fsync(descriptor)
    return size, digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _local_trouble() -> Iterator[None]:
    """What a disk may answer, as refusals that say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StoreFull("The storage is full.", "Ask an operator for more room.") from error
        raise _away(error) from error


def _away(error: Exception) -> Busy:
    reason = getattr(error, "strerror", None) or type(error).__name__
    return Busy(
        f"The storage does not answer ({reason}).",
        "Try again in a few seconds.",
        code="storage_away",
        retry_after=5,
    )


class S3Store:
    """A bucket: parts go up as they come, and the object appears only when the upload is completed.

    An upload that ends early is aborted. Parts of one whose process died are invisible; let the bucket's
    lifecycle abort incomplete multipart uploads after some days.
    """

    def __init__(self, bucket: str, prefix: str, options: Mapping[str, str]) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.client = _s3_client(bucket, options)

    def put(self, chunks: Iterable[bytes], sha256: str, expected_size: int) -> int:
        part_size = max(PART, math.ceil(expected_size / MAX_PARTS))
        digest = hashlib.sha256()
        parts = _parts(chunks, part_size, digest)
        with _s3_trouble(sha256):
            first = next(parts)
            if len(first) < part_size:
                if digest.hexdigest() != sha256:
                    raise mismatch(sha256, digest.hexdigest())
                self.client.put_object(**self._where(sha256), Body=first)
                return len(first)
            return self._put_parts(first, parts, sha256, digest)

    def _put_parts(self, first: bytearray, parts: Iterator[bytearray], sha256: str, digest: Any) -> int:
        where = self._where(sha256)
        upload = {**where, "UploadId": self.client.create_multipart_upload(**where)["UploadId"]}
        done: list[dict[str, Any]] = []
        size = 0
        try:
            for part in chain([first], parts):
                if part:
                    size += len(part)
                    done.append(self._put_part(upload, len(done) + 1, part))
            if digest.hexdigest() != sha256:
                raise mismatch(sha256, digest.hexdigest())
            self.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": done})
        except BaseException:
            with suppress(Exception):  # the reason of the failure is what the caller must see
                self.client.abort_multipart_upload(**upload)
            raise
        return size

    def _put_part(self, upload: Mapping[str, str], number: int, part: bytearray) -> dict[str, Any]:
        answer = self.client.upload_part(**upload, PartNumber=number, Body=part)
        part.clear()  # the caller holds on to its first part as long as the upload takes
        return {"PartNumber": number, "ETag": answer["ETag"]}

    def open(self, sha256: str, offset: int = 0) -> BinaryIO:
        ranged = {"Range": f"bytes={offset}-"} if offset else {}
        with _s3_trouble(sha256):
            return cast(BinaryIO, self.client.get_object(**self._where(sha256), **ranged)["Body"])

    def size(self, sha256: str) -> int | None:
        try:
            with _s3_trouble(sha256):
                return int(self.client.head_object(**self._where(sha256))["ContentLength"])
        except BytesLost:
            return None

    def delete(self, sha256: str) -> None:
        with _s3_trouble(sha256):
            self.client.delete_object(**self._where(sha256))

    def walk(self) -> Iterator[Stored]:
        for item in self._listed("list_objects_v2", "Contents"):
            name = item["Key"].removeprefix(self.prefix)
            yield Stored(name, digest_at(name), item["Size"], item["LastModified"])

    def unfinished(self) -> Iterator[Stored]:
        for item in self._listed("list_multipart_uploads", "Uploads"):
            yield Stored(item["Key"].removeprefix(self.prefix), "", 0, item["Initiated"])

    def dead_drafts(self, before: datetime) -> list[Stored]:
        """None: when an upload began says nothing of when its last part came. The bucket's lifecycle knows."""
        return []

    def discard(self, draft: Stored) -> None:
        raise NotImplementedError("A bucket ends unfinished uploads by its lifecycle.")

    def _listed(self, operation: str, field: str) -> Iterator[dict[str, Any]]:
        pages = iter(self.client.get_paginator(operation).paginate(Bucket=self.bucket, Prefix=self.prefix))
        while True:
            with _s3_trouble():
                page = next(pages, None)
            if page is None:
                return
            yield from page.get(field, ())

    def _where(self, sha256: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + key_of(sha256)}


def _parts(chunks: Iterable[bytes], part_size: int, digest: Any) -> Iterator[bytearray]:
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


def _s3_client(bucket: str, options: Mapping[str, str]) -> Any:
    """One client for all threads, made by django-storages from its own settings and AWS_* in the environment."""
    from botocore.config import Config
    from storages.backends.s3 import S3Storage

    endpoint = options.get("endpoint_url")
    config = Config(
        s3={"addressing_style": "path" if endpoint else "auto"},
        signature_version="s3v4",
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=64,
        retries={"mode": "standard", "max_attempts": 3},
        # Servers other than Amazon's do not all know its newer checksums.
        request_checksum_calculation="when_required" if endpoint else "when_supported",
        response_checksum_validation="when_required" if endpoint else "when_supported",
    )
    storage = S3Storage(
        bucket_name=bucket,
        endpoint_url=endpoint,
        region_name=options.get("region"),
        client_config=config,
    )
    return storage.connection.meta.client


@contextmanager
def _s3_trouble(sha256: str = "") -> Iterator[None]:
    """What a bucket may answer, as refusals that say what to do."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404", "NotFound"):
            raise lost(sha256) from error
        raise _away(error) from error
    except BotoCoreError as error:
        raise _away(error) from error
