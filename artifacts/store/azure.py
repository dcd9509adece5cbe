"""A container of Azure Blob Storage as a store."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast
from urllib.parse import urlencode
from uuid import uuid4

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
MAX_BLOCKS = 50_000
THREADS = 8
COPY_PAUSE = 0.2  # seconds between two looks at a copy that the service makes by itself
COPY_SECONDS = 3600


class AzureStore:
    """A container: blocks go up as they come, and the blob appears only when its list of blocks is committed.

    A draft is an empty blob that collects blocks until they are committed. Blocks that nobody committed are
    invisible, and the service drops them after a week.
    """

    def __init__(self, container: str, prefix: str, connection_string: str) -> None:
        self.prefix = f"{prefix}/" if prefix else ""
        self.storage = _storage(container, connection_string)
        self.client = self.storage.client

    def put(self, chunks: Iterable[bytes], sha256: str, expected_size: int, keep_as: str = "") -> int:
        """Keeps nothing of what breaks off: its blocks belong to another name than a draft's."""
        part_size = max(PART, math.ceil(expected_size / MAX_BLOCKS))
        digest = hashlib.sha256()
        parts = in_parts(chunks, part_size, digest)
        with trouble(sha256):
            first = next(parts)
            if len(first) < part_size:
                if digest.hexdigest() != sha256:
                    raise mismatch(sha256, digest.hexdigest())
                self._put_small(sha256, bytes(first))
                return len(first)
            return self._put_blocks(chain([first], parts), sha256, digest)

    def put_many(self, items: Iterable[tuple[str, bytes]]) -> None:
        with trouble(), ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(lambda item: self._put_small(*item), items):
                pass

    def _put_small(self, sha256: str, content: bytes) -> None:
        self._blob(key_of(sha256)).upload_blob(content, overwrite=True)

    def _put_blocks(self, parts: Iterable[bytearray], sha256: str, digest: Any) -> int:
        """Two who send the same bytes at once may lose their blocks to who commits first; the blob is theirs too."""
        from azure.core.exceptions import HttpResponseError

        blob, own, blocks, size = self._blob(key_of(sha256)), uuid4().hex, [], 0
        for number, part in enumerate(parts, start=1):
            if part:
                size += len(part)
                blocks.append(_block_id(own, number))
                blob.stage_block(blocks[-1], bytes(part))
                part.clear()
        if digest.hexdigest() != sha256:
            raise mismatch(sha256, digest.hexdigest())
        try:
            blob.commit_block_list(_blocks(blocks))
        except HttpResponseError:
            if self.size(sha256) != size:
                raise
        return size

    def begin(self, name: str) -> str:
        with trouble():
            self._blob(INCOMING + name).upload_blob(b"", overwrite=True)
        return name

    def put_part(self, draft: Draft, number: int, chunks: Iterable[bytes]) -> str:
        block = _block_id(draft.name, number)
        with SpooledTemporaryFile(max_size=PART) as part:
            for chunk in chunks:
                part.write(chunk)
            size = part.tell()
            part.seek(0)
            with _draft_trouble(draft):
                self._check_open(draft)
                self._draft(draft).stage_block(block, part, length=size)
        return block

    def part_address(self, draft: Draft, number: int, size: int, seconds: int) -> str:
        """Where part `number` can be put without keys for so many seconds; `parts` tells whether it has its size."""
        block = base64.b64encode(_block_id(draft.name, number).encode()).decode()
        address = self._address(INCOMING + draft.name, seconds, "w", {})
        return f"{address}&{urlencode({'comp': 'block', 'blockid': block})}"

    def parts(self, draft: Draft) -> list[tuple[int, int, str]]:
        """(number, size in bytes, tag) of each part that came, whoever sent it; none when the draft is gone."""
        with suppress(BytesLost), trouble():
            _, came = self._draft(draft).get_block_list("uncommitted")
            numbers = {_block_id(draft.name, _number(block.id)): block for block in came if _number(block.id)}
            return sorted((_number(name), block.size, name) for name, block in numbers.items())
        return []

    def complete(self, draft: Draft, tags: Sequence[str], sha256: str, alive: Callable[[], None]) -> None:
        """The blob's digest is known once it is whole: it is put together under the draft's name, read, and copied."""
        with _draft_trouble(draft):
            if not self._is_committed(draft):  # an earlier try may have got as far as this
                self._draft(draft).commit_block_list(_blocks(tags))
            found, size, etag = self._digest_of(draft, alive)
            if found == sha256 and size == draft.size:
                self._copy(draft, sha256, etag, alive)
            self._draft(draft).delete_blob()
        if found != sha256 or size != draft.size:
            raise mismatch(sha256, found)

    def abort(self, draft: Draft) -> None:
        with suppress(BytesLost), trouble():
            self._draft(draft).delete_blob()

    def _check_open(self, draft: Draft) -> None:
        if self._is_committed(draft):
            raise draft_lost(draft)

    def _is_committed(self, draft: Draft) -> bool:
        return bool(self._draft(draft).get_blob_properties().size)

    def _digest_of(self, draft: Draft, alive: Callable[[], None]) -> tuple[str, int, str]:
        digest, size = hashlib.sha256(), 0
        body = self._draft(draft).download_blob()
        for chunk in body.chunks():
            digest.update(chunk)
            size += len(chunk)
            alive()
        return digest.hexdigest(), size, str(body.properties.etag)

    def _copy(self, draft: Draft, sha256: str, etag: str, alive: Callable[[], None]) -> None:
        """The draft under its digest, if it still is what was read: an address for parts lets one replace it."""
        from azure.core import MatchConditions

        target = self._blob(key_of(sha256))
        source = self._address(INCOMING + draft.name, COPY_SECONDS, "r", {})
        unchanged = {"source_etag": etag, "source_match_condition": MatchConditions.IfNotModified}
        status = target.start_copy_from_url(source, **unchanged)["copy_status"]
        while status == "pending":
            time.sleep(COPY_PAUSE)
            alive()
            status = target.get_blob_properties().copy.status
        if status != "success":
            self.delete(sha256)
            raise draft_lost(draft)

    def open(self, sha256: str, offset: int = 0) -> BinaryIO:
        with trouble(sha256):
            blob = self._blob(key_of(sha256))
            if offset and offset >= blob.get_blob_properties().size:
                return io.BytesIO()
            stream = blob.download_blob(offset=offset or None)  # an empty blob has no range from 0 on
            return cast(BinaryIO, io.BufferedReader(_Body(stream), CHUNK))

    def address_of(self, sha256: str, name: str, seconds: int) -> str:
        """Where the bytes can be fetched without keys for so many seconds, as an attachment called `name`."""
        asked = {
            "content_disposition": content_disposition_header(True, name) or "attachment",
            "content_type": "application/octet-stream",
            "cache_control": "private, no-cache",
        }
        return self._address(key_of(sha256), seconds, "r", asked)

    def size(self, sha256: str) -> int | None:
        try:
            with trouble(sha256):
                return int(self._blob(key_of(sha256)).get_blob_properties().size)
        except BytesLost:
            return None

    def delete(self, sha256: str) -> None:
        with suppress(BytesLost), trouble(sha256):
            self._blob(key_of(sha256)).delete_blob()

    def walk(self) -> Iterator[Stored]:
        return (stored for stored in self._blobs() if not stored.name.startswith(INCOMING))

    def unfinished(self) -> Iterator[Stored]:
        """Drafts that come in parts; blocks that nobody has committed yet are the service's own to drop."""
        return self._blobs(INCOMING)

    def dead_drafts(self, before: datetime) -> list[Stored]:
        return [stored for stored in self._blobs(INCOMING) if stored.modified_at < before]

    def discard(self, draft: Stored) -> None:
        with suppress(BytesLost), trouble():
            self._blob(draft.name).delete_blob()

    def _blobs(self, below: str = "") -> Iterator[Stored]:
        listed = iter(self.client.list_blobs(name_starts_with=self.prefix + below))
        while True:
            with trouble():
                blob = next(listed, None)
            if blob is None:
                return
            name = blob.name.removeprefix(self.prefix)
            yield Stored(name, digest_at(name), blob.size, blob.last_modified)

    def _address(self, name: str, seconds: int, mode: str, asked: dict[str, str]) -> str:
        return str(self.storage.url(self.prefix + name, expire=seconds, parameters=asked, mode=mode))

    def _draft(self, draft: Draft) -> Any:
        return self._blob(INCOMING + draft.name)

    def _blob(self, name: str) -> Any:
        return self.client.get_blob_client(self.prefix + name)


class _Body(io.RawIOBase):
    """A download as a file."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with trouble():
            content = self.stream.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


def _block_id(own: str, number: int) -> str:
    """All blocks of one blob must have ids of one length."""
    return f"{own[-40:]:>40}{number:08d}"


def _number(block: str) -> int:
    return int(block[-8:]) if block[-8:].isdecimal() else 0


def _blocks(ids: Sequence[str]) -> list[Any]:
    from azure.storage.blob import BlobBlock

    return [BlobBlock(block_id=each) for each in ids]


def _storage(container: str, connection_string: str) -> Any:
    """One client for all threads, made by django-storages."""
    from azure.storage.blob import BlobServiceClient
    from storages.backends.azure_storage import AzureStorage

    storage = AzureStorage(azure_container=container, connection_string=connection_string)
    storage._service_client = BlobServiceClient.from_connection_string(
        connection_string,
        max_single_get_size=4 * CHUNK,
        max_chunk_get_size=4 * CHUNK,
        connection_timeout=5,
        read_timeout=60,
        retry_total=2,
    )
    return storage


@contextmanager
def trouble(sha256: str = "") -> Iterator[None]:
    """What the service may answer, as refusals that say what to do."""
    from azure.core.exceptions import AzureError, ResourceNotFoundError

    try:
        yield
    except ResourceNotFoundError as error:
        raise lost(sha256) from error
    except AzureError as error:
        raise away(error) from error


@contextmanager
def _draft_trouble(draft: Draft) -> Iterator[None]:
    """A draft that is gone is another refusal than a stored file that is; so is one whose parts are not there."""
    from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

    with trouble():
        try:
            yield
        except ResourceNotFoundError as error:
            raise draft_lost(draft) from error
        except HttpResponseError as error:
            if error.error_code == "InvalidBlockList":  # type: ignore[attr-defined]
                raise draft_lost(draft) from error
            raise
