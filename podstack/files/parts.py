"""One large file in parts, four at a time: what the server has of it is not sent again, whoever sent it.

An upload that broke stays open on the server for a day or so (its UPLOAD_HOURS). Who sends the same bytes then,
from any process or machine, sends the parts that are missing.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from podstack.config import API_PREFIX
from podstack.errors import ConnectionFailed, PodstackError
from podstack.files.local import HashedFile, changed, open_file
from podstack.files.pieces import OCTETS, FilePieces
from podstack.files.threads import in_parallel
from podstack.http import Body, Http

LARGE = 256 << 20
LARGE_DIRECT = 32 << 20
PART_SIZE = 64 << 20
MOST_PARTS = 10_000
SLOWEST = 10 << 20  # bytes that a server reads in a second, at least, to check them
GONE = ("upload_lost", "upload_not_found")
TRIES = 3
REFUSED = 403  # an address whose hour is over
NO_SUCH_UPLOAD = 404


def send_in_parts(http: Http, project_path: str, file: HashedFile) -> None:
    """Sends what the server lacks of the file and has it put together."""
    for left in reversed(range(TRIES)):
        upload = begin(http, project_path, file)
        try:
            _send_missing(http, project_path, file, upload)
            return _complete(http, project_path, file, upload["id"])
        except PodstackError as error:
            # Parts that others sent may be other bytes, and others may abort: what is left is to send all.
            damaged = error.code == "digest_mismatch" and error.status == 400
            if damaged and not upload["parts"]:
                raise changed(file) from error
            if not left or not (damaged or error.code in GONE):
                raise


def is_begun(http: Http, project_path: str, file: HashedFile) -> bool:
    """Whether the server has an open upload of these bytes."""
    answer = http.call("GET", f"{project_path}/blobs/uploads", params=[("sha256", file.sha256)])
    return bool(answer["results"])


def begin(http: Http, project_path: str, file: HashedFile) -> Any:
    """The open upload of these bytes, or a new one."""
    part_size = max(PART_SIZE, -(-file.size // MOST_PARTS))
    body = {"sha256": file.sha256, "size": file.size, "part_size": part_size}
    return http.call("POST", f"{project_path}/blobs/uploads", json=body)


def _send_missing(http: Http, project_path: str, file: HashedFile, upload: Any) -> None:
    came = set(upload["parts"])
    missing = [number for number in range(1, upload["part_count"] + 1) if number not in came]
    file.sent(len(came) * upload["part_size"])
    put = _put_direct if upload.get("direct") else _put_part
    in_parallel(lambda number: put(http, project_path, file, upload, number), missing)


def _put_direct(http: Http, project_path: str, file: HashedFile, upload: Any, number: int) -> None:
    """Straight into the server's storage, at an address that the server gives for this part."""
    start, status = (number - 1) * upload["part_size"], 0
    size = min(upload["part_size"], file.size - start)
    with open_file(file.source) as opened:
        body = Body(lambda: FilePieces(opened, file, start, size), OCTETS)
        for _ in range(TRIES):
            try:
                address = _address(http, project_path, upload, number)
            except PodstackError as error:
                if error.code == "upload_completed":
                    return
                raise
            status = http.put_elsewhere(address, body)
            if status < 300:
                return
            if status not in (REFUSED, NO_SUCH_UPLOAD):
                break
    raise ConnectionFailed(
        f"The server's storage refused part {number} of {file.path} ({status}).",
        hint="Tell an operator: with UPLOADS=presign clients must reach the bucket at its endpoint.",
        status=status,
    )


def _address(http: Http, project_path: str, upload: Any, number: int) -> str:
    path = f"{project_path}/blobs/uploads/{upload['id']}/addresses"
    return str(http.call("POST", path, json={"numbers": [number]})["addresses"][0]["url"])


def _put_part(http: Http, project_path: str, file: HashedFile, upload: Any, number: int) -> None:
    path = f"{API_PREFIX}{project_path}/blobs/uploads/{upload['id']}/parts/{number}"
    start = (number - 1) * upload["part_size"]
    size = min(upload["part_size"], file.size - start)
    with open_file(file.source) as opened:
        body = Body(lambda: FilePieces(opened, file, start, size), OCTETS)
        digest = hashlib.sha256()
        for piece in FilePieces(opened, file, start, size, told=False):
            digest.update(piece)
        checked = {"Content-Digest": f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"}
        try:
            http.send("PUT", path, body=body, headers=checked, patience=_patience(http, file))
        except PodstackError as error:
            # Another process had all parts put together meanwhile: there is nothing left to send.
            if error.code != "upload_completed":
                raise


def _complete(http: Http, project_path: str, file: HashedFile, upload_id: str) -> None:
    """Asked again while the server reads the file: it says that it is busy until it has an answer."""
    path = f"{project_path}/blobs/uploads/{upload_id}/complete"
    http.call("POST", path, patience=_patience(http, file))


def _patience(http: Http, file: HashedFile) -> float:
    """Seconds: putting parts together takes as long as reading the file."""
    return http.retries.patience + file.size / SLOWEST
