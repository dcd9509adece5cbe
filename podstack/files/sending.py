"""Files to the server: only what it lacks, many small ones at once, four requests at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from podstack.config import API_PREFIX
from podstack.errors import ValidationError
from podstack.files.batches import SMALL, framed, in_batches
from podstack.files.digests import PIECE, digests_of
from podstack.files.local import HashedFile, LocalFile, changed, open_file
from podstack.files.threads import in_chunks, in_parallel
from podstack.http import Body, Http

ASKED_AT_ONCE = 1000
COMMITTED_AT_ONCE = 5000
OCTETS = "application/octet-stream"


def upload(http: Http, project_path: str, run_path: str, files: Sequence[LocalFile]) -> list[HashedFile]:
    """Sends the bytes that the server lacks, then commits all paths to the run; paths it had are replaced."""
    hashed = upload_bytes(http, project_path, files)
    for chunk in in_chunks(hashed, COMMITTED_AT_ONCE):
        committed = [{"path": file.path, "sha256": file.sha256} for file in chunk]
        http.call("POST", f"{run_path}/artifacts", json={"files": committed})
    return hashed


def upload_bytes(http: Http, project_path: str, files: Sequence[LocalFile]) -> list[HashedFile]:
    """Sends the bytes that the server lacks; what is done with them is the caller's."""
    digests = digests_of([file.source for file in files])
    hashed = [HashedFile(f.source, f.path, *digest) for f, digest in zip(files, digests, strict=True)]
    by_digest = {file.sha256: file for file in hashed}
    missing = _missing(http, project_path, list(by_digest))
    send(http, project_path, [by_digest[digest] for digest in missing])
    return hashed


def send(http: Http, project_path: str, files: Sequence[HashedFile]) -> None:
    """Sends these bytes, whether the server has them or not."""
    small = [file for file in files if file.size <= SMALL]
    large = [file for file in files if file.size > SMALL]
    if len(small) < 2:
        small, large = [], list(files)
    in_parallel(lambda batch: _put_batch(http, project_path, batch), list(in_batches(small)))
    in_parallel(lambda file: _put(http, project_path, file), large)


def _put_batch(http: Http, project_path: str, files: Sequence[HashedFile]) -> None:
    body = framed(files)
    http.send("POST", f"{API_PREFIX}{project_path}/blobs/batch", body=Body(lambda: body, OCTETS))


def _missing(http: Http, project_path: str, digests: Sequence[str]) -> list[str]:
    missing: list[str] = []
    for chunk in in_chunks(digests, ASKED_AT_ONCE):
        answer = http.call("POST", f"{project_path}/blobs/missing", json={"sha256": list(chunk)})
        missing.extend(sorted(set(answer["missing"]) & set(chunk)))
    return missing


def _put(http: Http, project_path: str, file: HashedFile) -> None:
    opened: list[BinaryIO] = []

    def body() -> FilePieces | bytes:
        if not file.size:
            return b""
        opened.append(open_file(file.source))
        return FilePieces(opened[-1], file)

    try:
        path = f"{API_PREFIX}{project_path}/blobs/{file.sha256}"
        http.send("PUT", path, body=Body(body, OCTETS))
    except ValidationError as error:
        if error.code == "digest_mismatch":
            raise changed(file) from error
        raise
    finally:
        for each in opened:
            each.close()


class FilePieces:
    """A request body of exactly the hashed size, whatever happens to the file meanwhile."""

    def __init__(self, file: BinaryIO, expected: HashedFile) -> None:
        self.file = file
        self.expected = expected

    def __len__(self) -> int:
        return self.expected.size

    def __iter__(self) -> Iterator[bytes]:
        left = self.expected.size
        while left:
            piece = self.file.read(min(PIECE, left))
            if not piece:
                raise changed(self.expected)
            left -= len(piece)
            yield piece
