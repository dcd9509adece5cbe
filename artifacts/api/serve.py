"""A blob as an HTTP answer: in pieces of 1 MiB, resumable, cacheable, never shown by the browser."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

from django.conf import settings
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.utils.http import content_disposition_header

from artifacts.frames import MAX_BODY, MAX_FRAME, framed_size, write_frames
from artifacts.models import Blob
from artifacts.previews import MOST_IMAGE, image_type
from artifacts.services import open_blob, release_connection
from artifacts.store import CHUNK, DirectStore, blob_store, key_of
from common.checks import shorten
from common.errors import Missing, TooLarge

RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
ADDRESS_SECONDS = 300  # long enough to begin; what was begun goes on
CSP = "default-src 'none'; sandbox"


def serve_blob(request: HttpRequest, blob: Blob, name: str) -> HttpResponseBase:
    """The blob's bytes, or the part that a single Range asks for: 200, 206, 304 or 416; HEAD without a body.

    Several ranges, and a Range whose If-Range names another file, are answered with everything (200).
    """
    etag = f'"{blob.sha256}"'
    if _names(request.headers.get("If-None-Match", ""), etag):
        return _dressed(HttpResponse(status=304), etag, name)
    elsewhere = _by_somebody_else(blob, name) if request.method == "GET" else None
    if elsewhere is not None:
        return _dressed(elsewhere, etag, name)
    wanted = _range(request, blob.size, etag)
    if wanted == UNSATISFIABLE:
        response = HttpResponse(status=416, headers={"Content-Range": f"bytes */{blob.size}"})
        return _dressed(response, etag, name)
    first, length = wanted or (0, blob.size)
    body = _body(request, blob, first, length)
    if wanted is not None:
        body.status_code = 206
        body["Content-Range"] = f"bytes {first}-{first + length - 1}/{blob.size}"
    body["Content-Length"] = str(length)
    return _dressed(body, etag, name)


def _by_somebody_else(blob: Blob, name: str) -> HttpResponseBase | None:
    """An answer that has a front server or the bucket send the bytes, where settings.DOWNLOADS says so."""
    if settings.DOWNLOADS == "app" or not blob.size:
        return None
    store = blob_store()
    if isinstance(store, DirectStore):
        return HttpResponseRedirect(store.address_of(blob.sha256, name, ADDRESS_SECONDS))
    return HttpResponse(headers={"X-Accel-Redirect": f"/-/blobs/{key_of(blob.sha256)}"})


def serve_image(blob: Blob) -> HttpResponse:
    """An image's bytes for a page to show; Missing for what is none by its first bytes, or is too large."""
    with open_blob(blob) as file:
        content = file.read(MOST_IMAGE + 1)
    kind = image_type(content)
    if not kind or len(content) > MOST_IMAGE:
        raise Missing("This file is no image that a page can show.")
    response = HttpResponse(content, content_type=kind)
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = CSP
    response["Cache-Control"] = "private, no-cache"
    return response


def serve_batch(files: Mapping[str, Blob], paths: Sequence[str]) -> HttpResponseBase:
    """The small files at these `paths` as one body of frames (see `artifacts.frames`), in the order of `paths`.

    Missing for a path that is not among `files`, TooLarge for a file or a body that is too large for a batch.
    """
    for path in paths:
        if path not in files:
            raise Missing(f"There is no file {shorten(path)}.", code="file_not_found")
        if files[path].size > MAX_FRAME:
            raise TooLarge(
                f"{shorten(path)} has {files[path].size} bytes; at most {MAX_FRAME} are allowed in a batch.",
                "Download larger files by themselves.",
            )
    blobs = [files[path] for path in paths]
    size = framed_size(blobs)
    if size > MAX_BODY:
        raise TooLarge(
            f"These files have {size} bytes; at most {MAX_BODY} are allowed at once.", "Ask for fewer files."
        )
    release_connection()
    response = StreamingHttpResponse(write_frames(blobs))
    response["Content-Length"] = str(size)
    response["Content-Type"] = "application/octet-stream"
    response["Cache-Control"] = "private, no-store"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = CSP
    return response


UNSATISFIABLE = (-1, 0)


def _range(request: HttpRequest, size: int, etag: str) -> tuple[int, int] | None:
    """(first byte, length) of the one range asked for; None for everything; UNSATISFIABLE outside of the file."""
    match = RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    if match is None or request.headers.get("If-Range", etag) != etag or request.method != "GET":
        return None
    start, end = match.groups()
    if not start:
        length = min(int(end or 0), size)
        return (size - length, length) if length else (UNSATISFIABLE if end else None)
    first, last = int(start), min(int(end), size - 1) if end else size - 1
    if end and int(end) < first:
        return None
    return (first, last - first + 1) if first < size else UNSATISFIABLE


def _names(header: str, etag: str) -> bool:
    given = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return "*" in given or etag in given


def _body(request: HttpRequest, blob: Blob, first: int, length: int) -> HttpResponseBase:
    if request.method == "HEAD" or not length:
        return HttpResponse()
    release_connection()
    return StreamingHttpResponse(Pieces(open_blob(blob, first), length))


class Pieces:
    """`length` bytes of `file` in pieces of at most 1 MiB; the server closes it, however the answer ends."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self.file = file
        self.left = length

    def __iter__(self) -> Iterator[bytes]:
        while self.left:
            piece = self.file.read(min(CHUNK, self.left))
            if not piece:
                # The length was promised: a broken connection tells the client, a short body would not.
                raise OSError(f"The stored file ended {self.left} bytes early.")
            self.left -= len(piece)
            yield piece

    def close(self) -> None:
        self.file.close()


def _dressed(response: HttpResponseBase, etag: str, name: str) -> HttpResponseBase:
    """The headers that all answers share; whatever the file is, a browser only saves it."""
    response["ETag"] = etag
    response["Accept-Ranges"] = "bytes"
    response["Cache-Control"] = "private, no-cache"
    response["Content-Type"] = "application/octet-stream"
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = CSP
    return response
