"""Several stored files as one zip that is made while it is sent: its memory does not grow with its size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header
from zipstream import ZipStream

from artifacts.models import Blob
from artifacts.services import open_blob, release_connection
from artifacts.store import CHUNK


def serve_zip(files: Sequence[tuple[str, Blob]], name: str) -> StreamingHttpResponse:
    """These (path, bytes) as a download called `name`, stored as they are, with its length told beforehand."""
    archive = ZipStream(sized=True)
    for path, blob in files:
        archive.add(_pieces(blob), path, size=blob.size)
    length = len(archive)
    release_connection()
    response = StreamingHttpResponse(archive, content_type="application/zip")
    response["Content-Length"] = str(length)
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["Cache-Control"] = "private, no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _pieces(blob: Blob) -> Iterator[bytes]:
    with closing(open_blob(blob)) as file:
        while piece := file.read(CHUNK):
            yield piece
