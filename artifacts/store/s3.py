"""A bucket as a store."""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

from django.utils.http import content_disposition_header

from artifacts.errors import BytesLost
from artifacts.store.base import (
    CHUNK,
    INCOMING,
    Draft,
    Stored,
    away,
    digest_at,
    draft_lost,
    in_parts,
    key_of,
    lost,
    mismatch,
)

PART = 8 << 20
GOOGLE = "https://storage.googleapis.com"
MAX_PARTS = 10_000
S3_THREADS = 8
COPIED_AT_ONCE = 1 << 30  # bytes; a bucket copies at most 5 GiB at once, and says nothing meanwhile


class S3Store:
    """A bucket: parts go up as they come, and the object appears only when the upload is completed.

    An upload that ends early is aborted. Parts of one whose process died are invisible; let the bucket's
    lifecycle abort incomplete multipart uploads after some days.
    """

    def __init__(self, bucket: str, prefix: str, options: Mapping[str, str]) -> None:
        self.bucket = bucket
        # Google's copies objects of any size at once, and knows no copies of parts.
        self.copied_at_once = math.inf if options.get("endpoint_url") == GOOGLE else COPIED_AT_ONCE
        self.prefix = f"{prefix}/" if prefix else ""
        self.client = _s3_client(bucket, options)

    def put(self, chunks: Iterable[bytes], sha256: str, expected_size: int, keep_as: str = "") -> int:
        """Keeps nothing of what breaks off: its parts belong to another name than a draft's."""
        part_size = max(PART, math.ceil(expected_size / MAX_PARTS))
        digest = hashlib.sha256()
        parts = in_parts(chunks, part_size, digest)
        with trouble(sha256):
            first = next(parts)
            if len(first) < part_size:
                if digest.hexdigest() != sha256:
                    raise mismatch(sha256, digest.hexdigest())
                self.client.put_object(**self._where(sha256), Body=first)
                return len(first)
            return self._put_parts(first, parts, sha256, digest)

    def put_many(self, items: Iterable[tuple[str, bytes]]) -> None:
        with ThreadPoolExecutor(S3_THREADS) as pool:
            waiting: deque[Future[None]] = deque()
            try:
                for sha256, content in items:
                    waiting.append(pool.submit(self._put_small, sha256, content))
                    if len(waiting) > S3_THREADS:
                        waiting.popleft().result()
                while waiting:
                    waiting.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _put_small(self, sha256: str, content: bytes) -> None:
        with trouble(sha256):
            self.client.put_object(**self._where(sha256), Body=content)

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

    def begin(self, name: str) -> str:
        with trouble():
            return str(self.client.create_multipart_upload(**self._draft(name))["UploadId"])

    def put_part(self, draft: Draft, number: int, chunks: Iterable[bytes]) -> str:
        with SpooledTemporaryFile(max_size=PART) as part:
            for chunk in chunks:
                part.write(chunk)
            part.seek(0)
            with trouble(), _draft_trouble(draft):
                answer = self.client.upload_part(**self._upload(draft), PartNumber=number, Body=part)
        return str(answer["ETag"])

    def part_address(self, draft: Draft, number: int, size: int, seconds: int) -> str:
        """Where exactly `size` bytes can be put as part `number` without keys for so many seconds."""
        asked = {**self._upload(draft), "PartNumber": number, "ContentLength": size}
        return str(self.client.generate_presigned_url("upload_part", Params=asked, ExpiresIn=seconds))

    def parts(self, draft: Draft) -> list[tuple[int, int, str]]:
        """(number, size in bytes, tag) of each part that came, whoever sent it; none when the draft is gone."""
        pages = self.client.get_paginator("list_parts").paginate(**self._upload(draft))
        with trouble(), suppress(self.client.exceptions.NoSuchUpload):
            came = [part for page in pages for part in page.get("Parts", ())]
            return [(part["PartNumber"], part["Size"], part["ETag"]) for part in came]
        return []

    def complete(self, draft: Draft, tags: Sequence[str], sha256: str, alive: Callable[[], None]) -> None:
        """A bucket knows an object's digest only once it is whole: it is put together under another name first."""
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, start=1)]
        with trouble(), _draft_trouble(draft):
            with suppress(self.client.exceptions.NoSuchUpload):  # an earlier try got as far as this
                self.client.complete_multipart_upload(**self._upload(draft), MultipartUpload={"Parts": parts})
            found, size = self._digest_of(draft, alive)
            if found == sha256 and size == draft.size:
                self._copy(draft, sha256, alive)
            self.client.delete_object(**self._draft(draft.name))
        if found != sha256 or size != draft.size:
            raise mismatch(sha256, found)

    def abort(self, draft: Draft) -> None:
        with trouble(), suppress(self.client.exceptions.NoSuchUpload):
            self.client.abort_multipart_upload(**self._upload(draft))
        with trouble():
            self.client.delete_object(**self._draft(draft.name))

    def _digest_of(self, draft: Draft, alive: Callable[[], None]) -> tuple[str, int]:
        digest, size = hashlib.sha256(), 0
        body = self.client.get_object(**self._draft(draft.name))["Body"]
        for chunk in body.iter_chunks(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            alive()
        return digest.hexdigest(), size

    def _copy(self, draft: Draft, sha256: str, alive: Callable[[], None]) -> None:
        """The draft under its digest; the bytes stay in the bucket."""
        where, source = self._where(sha256), self._draft(draft.name)
        if draft.size <= self.copied_at_once:
            self.client.copy_object(**where, CopySource=source)
            return
        upload = {**where, "UploadId": self.client.create_multipart_upload(**where)["UploadId"]}
        try:
            done = []
            for number, start in enumerate(range(0, draft.size, COPIED_AT_ONCE), start=1):
                end = min(start + COPIED_AT_ONCE, draft.size) - 1
                answer = self.client.upload_part_copy(
                    **upload, PartNumber=number, CopySource=source, CopySourceRange=f"bytes={start}-{end}"
                )
                done.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
                alive()
            self.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": done})
        except BaseException:
            with suppress(Exception):  # the reason of the failure is what the caller must see
                self.client.abort_multipart_upload(**upload)
            raise

    def _draft(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": f"{self.prefix}{INCOMING}{name}"}

    def _upload(self, draft: Draft) -> dict[str, str]:
        return {**self._draft(draft.name), "UploadId": draft.storage_id}

    def open(self, sha256: str, offset: int = 0) -> BinaryIO:
        ranged = {"Range": f"bytes={offset}-"} if offset else {}
        with trouble(sha256):
            return cast(BinaryIO, self.client.get_object(**self._where(sha256), **ranged)["Body"])

    def address_of(self, sha256: str, name: str, seconds: int) -> str:
        """Where the bytes can be fetched without keys for so many seconds, as an attachment called `name`."""
        asked = {
            **self._where(sha256),
            "ResponseContentDisposition": content_disposition_header(True, name) or "attachment",
            "ResponseContentType": "application/octet-stream",
            "ResponseCacheControl": "private, no-cache",
        }
        return str(self.client.generate_presigned_url("get_object", Params=asked, ExpiresIn=seconds))

    def size(self, sha256: str) -> int | None:
        try:
            with trouble(sha256):
                return int(self.client.head_object(**self._where(sha256))["ContentLength"])
        except BytesLost:
            return None

    def delete(self, sha256: str) -> None:
        with trouble(sha256):
            self.client.delete_object(**self._where(sha256))

    def walk(self) -> Iterator[Stored]:
        return (stored for stored in self._objects() if not stored.name.startswith(INCOMING))

    def unfinished(self) -> Iterator[Stored]:
        for item in self._listed("list_multipart_uploads", "Uploads"):
            yield Stored(item["Key"].removeprefix(self.prefix), "", 0, item["Initiated"])
        yield from self._objects(INCOMING)

    def dead_drafts(self, before: datetime) -> list[Stored]:
        """What was put together and not stored. Of the rest the bucket's lifecycle knows: when an upload began
        says nothing of when its last part came.
        """
        return [stored for stored in self._objects(INCOMING) if stored.modified_at < before]

    def discard(self, draft: Stored) -> None:
        with trouble():
            self.client.delete_object(Bucket=self.bucket, Key=self.prefix + draft.name)

    def _objects(self, below: str = "") -> Iterator[Stored]:
        for item in self._listed("list_objects_v2", "Contents", below):
            name = item["Key"].removeprefix(self.prefix)
            yield Stored(name, digest_at(name), item["Size"], item["LastModified"])

    def _listed(self, operation: str, field: str, below: str = "") -> Iterator[dict[str, Any]]:
        where = {"Bucket": self.bucket, "Prefix": self.prefix + below}
        pages = iter(self.client.get_paginator(operation).paginate(**where))
        while True:
            with trouble():
                page = next(pages, None)
            if page is None:
                return
            yield from page.get(field, ())

    def _where(self, sha256: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + key_of(sha256)}


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
def trouble(sha256: str = "") -> Iterator[None]:
    """What a bucket may answer, as refusals that say what to do."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404", "NotFound"):
            raise lost(sha256) from error
        raise away(error) from error
    except BotoCoreError as error:
        raise away(error) from error


@contextmanager
def _draft_trouble(draft: Draft) -> Iterator[None]:
    """A draft that is gone is another refusal than a stored file that is."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("NoSuchUpload", "NoSuchKey", "404", "NotFound"):
            raise draft_lost(draft) from error
        raise
