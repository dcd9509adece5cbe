"""Files to the server: only what it lacks, many small ones at once, four requests at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from podstack.config import API_PREFIX
from podstack.errors import ConnectionFailed, PodstackError, ValidationError
from podstack.files.batches import SMALL, framed, in_batches
from podstack.files.digests import digests_of
from podstack.files.local import HashedFile, LocalFile, changed, open_file
from podstack.files.parts import LARGE, LARGE_DIRECT, is_begun, send_in_parts
from podstack.files.pieces import OCTETS, FilePieces
from podstack.files.progress import Progress
from podstack.files.threads import in_chunks, in_parallel
from podstack.http import RETRIED, Body, Http

ASKED_AT_ONCE = 1000
COMMITTED_AT_ONCE = 5000
INCOMPLETE = "body_incomplete"


def upload(http: Http, project_path: str, run_path: str, files: Sequence[LocalFile]) -> list[HashedFile]:
    """Sends the bytes that the server lacks, then commits all paths to the run; paths it had are replaced."""
    hashed = upload_bytes(http, project_path, files)
    for chunk in in_chunks(hashed, COMMITTED_AT_ONCE):
        try:
            _commit(http, run_path, chunk)
        except PodstackError as error:
            if error.code != "blob_missing":
                raise
            # What nothing refers to is removed some day, and that was now.
            _send_missing(http, project_path, chunk)
            _commit(http, run_path, chunk)
    return hashed


def upload_bytes(http: Http, project_path: str, files: Sequence[LocalFile]) -> list[HashedFile]:
    """Sends the bytes that the server lacks; what is done with them is the caller's."""
    digests = _digests(http, [file.source for file in files])
    hashed = [HashedFile(f.source, f.path, *digest) for f, digest in zip(files, digests, strict=True)]
    _send_missing(http, project_path, hashed)
    return hashed


def _digests(http: Http, paths: Sequence[Path]) -> list[tuple[str, int]]:
    total = sum(path.stat().st_size for path in paths if path.is_file())
    with Progress("Reading", total, http.shows_progress) as progress:
        return digests_of(paths, progress.add)


def _commit(http: Http, run_path: str, files: Sequence[HashedFile]) -> None:
    committed = [{"path": file.path, "sha256": file.sha256} for file in files]
    http.call("POST", f"{run_path}/artifacts", json={"files": committed})


def _send_missing(http: Http, project_path: str, files: Sequence[HashedFile]) -> None:
    by_digest = {file.sha256: file for file in files}
    missing, direct = _missing(http, project_path, list(by_digest))
    lacking = [by_digest[digest] for digest in missing]
    with Progress("Uploading", sum(file.size for file in lacking), http.shows_progress) as progress:
        send(http, project_path, [replace(file, progress=progress) for file in lacking], direct)


def send(http: Http, project_path: str, files: Sequence[HashedFile], direct: bool = False) -> None:
    """Sends these bytes, whether the server has them or not; large ones to its storage where it is `direct`."""
    if direct:
        for file in files:
            if file.size >= LARGE_DIRECT:
                send_in_parts(http, project_path, file)
        files = [file for file in files if file.size < LARGE_DIRECT]
    small = [file for file in files if file.size <= SMALL]
    large = [file for file in files if file.size > SMALL]
    if len(small) < 2:
        small, large = [], list(files)
    in_parallel(lambda batch: _put_batch(http, project_path, batch), list(in_batches(small)))
    in_parallel(lambda file: _put(http, project_path, file), [file for file in large if file.size < LARGE])
    for file in large:
        if file.size >= LARGE:
            _put_large(http, project_path, file)


def _put_batch(http: Http, project_path: str, files: Sequence[HashedFile]) -> None:
    body = framed(files)
    http.send("POST", f"{API_PREFIX}{project_path}/blobs/batch", body=Body(lambda: body, OCTETS))
    for file in files:
        file.sent(file.size)


def _missing(http: Http, project_path: str, digests: Sequence[str]) -> tuple[list[str], bool]:
    """The digests that the server lacks, and whether it has large files sent straight to its storage."""
    missing: list[str] = []
    direct = False
    for chunk in in_chunks(digests, ASKED_AT_ONCE):
        answer = http.call("POST", f"{project_path}/blobs/missing", json={"sha256": list(chunk)})
        missing.extend(sorted(set(answer["missing"]) & set(chunk)))
        direct = answer.get("direct", False)
    return missing, direct


def _put(http: Http, project_path: str, file: HashedFile, patience: float | None = None) -> None:
    path = f"{API_PREFIX}{project_path}/blobs/{file.sha256}"
    with open_file(file.source) as opened:
        # An empty body of another kind would go without its length.
        body = Body(lambda: FilePieces(opened, file) if file.size else b"", OCTETS)
        try:
            http.send("PUT", path, body=body, patience=patience)
        except ValidationError as error:
            if error.code == "digest_mismatch":
                raise changed(file) from error
            raise


def _put_large(http: Http, project_path: str, file: HashedFile) -> None:
    """In one piece, which the server hashes while it writes; in parts once that broke, here or anywhere else."""
    if is_begun(http, project_path, file):
        send_in_parts(http, project_path, file)
        return
    try:
        _put(http, project_path, file, patience=0)
    except PodstackError as error:
        broke = isinstance(error, ConnectionFailed) or error.status in RETRIED or error.code == INCOMPLETE
        if not broke:
            raise
        time.sleep(http.retries.longest_pause)  # the server needs a moment to keep what came
        send_in_parts(http, project_path, file)
