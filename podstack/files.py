"""Files to and from the server: hashed and streamed in pieces of 1 MiB, four at a time, with flat memory."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeVar
from urllib.parse import quote

import requests

from podstack.config import API_PREFIX
from podstack.errors import DigestMismatch, PodstackWarning, ValidationError
from podstack.http import Body, Http
from podstack.models import ArtifactFile

PIECE = 1 << 20
PARALLEL = 4
ASKED_AT_ONCE = 1000
COMMITTED_AT_ONCE = 5000
FRUITLESS_TRIES = 5
OCTETS = "application/octet-stream"
FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]|^[A-Za-z]:|^/")
SHA256 = re.compile(r"[0-9a-f]{64}")
A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class LocalFile:
    """A file to upload: where it lies here, and the path it gets on the server."""

    source: Path
    path: str


@dataclass(frozen=True)
class HashedFile(LocalFile):
    """A file as it was when it was hashed; `size` in bytes."""

    sha256: str
    size: int


def check_path(path: str) -> str:
    """`path` as a relative POSIX path; ValidationError for what could lead out of a folder."""
    normal = str(PurePosixPath(path)) if path else ""
    if not normal or normal == "." or FORBIDDEN.search(path) or ".." in PurePosixPath(path).parts:
        raise ValidationError(
            f"{path!r} is not a path that an artifact can have.",
            hint="Use a relative path with / between its parts, without .. and control characters.",
        )
    return normal


def sha256_of(path: Path) -> tuple[str, int]:
    """A file's sha256 in hex and its size in bytes; ValidationError when it cannot be read."""
    digest, size = hashlib.sha256(), 0
    with open_file(path) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size


def open_file(path: Path) -> BinaryIO:
    """A regular file for reading; ValidationError when there is none."""
    try:
        if path.is_file():
            return path.open("rb")
    except OSError as error:
        raise ValidationError(f"{path} cannot be read: {error.strerror}.") from error
    raise ValidationError(
        f"There is no file {path}.", hint="Check the path; write the file before logging it."
    )


# Upload


def files_to_log(local: Path, artifact_path: str | None) -> list[LocalFile]:
    """What logging one path uploads: a file under its own name, a folder with all it holds under its."""
    if local.is_dir():
        return files_below(local, str(PurePosixPath(artifact_path or "") / local.resolve().name))
    return [LocalFile(local, check_path(str(PurePosixPath(artifact_path or "") / local.name)))]


def files_below(folder: Path, artifact_path: str | None) -> list[LocalFile]:
    """All files below a folder, each at its relative path below `artifact_path`.

    Links to folders are not followed, with a warning; devices and sockets are left out.
    """
    if not folder.is_dir():
        raise ValidationError(f"There is no folder {folder}.", hint="Use log_artifact for a single file.")
    found = []
    for root, folders, names in os.walk(folder):
        for name in folders:
            if Path(root, name).is_symlink():
                text = f"{Path(root, name)} is a link to a folder and was left out; log it by itself."
                warnings.warn(text, PodstackWarning, stacklevel=4)
        for path in (Path(root, name) for name in sorted(names)):
            if path.is_file():
                remote = PurePosixPath(artifact_path or "", path.relative_to(folder).as_posix())
                found.append(LocalFile(path, check_path(str(remote))))
    return found


def upload(http: Http, project_path: str, run_path: str, files: Sequence[LocalFile]) -> list[HashedFile]:
    """Sends the bytes that the server lacks, then commits all paths to the run; paths it had are replaced."""
    hashed = _in_parallel(_hash, files)
    by_digest = {file.sha256: file for file in hashed}
    missing = _missing(http, project_path, list(by_digest))
    _in_parallel(lambda digest: _put(http, project_path, by_digest[digest]), missing)
    for chunk in _chunks(hashed, COMMITTED_AT_ONCE):
        committed = [{"path": file.path, "sha256": file.sha256} for file in chunk]
        http.call("POST", f"{run_path}/artifacts", json={"files": committed})
    return hashed


def _hash(file: LocalFile) -> HashedFile:
    sha256, size = sha256_of(file.source)
    return HashedFile(file.source, file.path, sha256, size)


def _missing(http: Http, project_path: str, digests: Sequence[str]) -> list[str]:
    missing: list[str] = []
    for chunk in _chunks(digests, ASKED_AT_ONCE):
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
            raise _changed(file) from error
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
                raise _changed(self.expected)
            left -= len(piece)
            yield piece


def _changed(file: HashedFile) -> ValidationError:
    return ValidationError(
        f"{file.source} changed while it was being uploaded.",
        hint="Log it again once it is written completely.",
        code="digest_mismatch",
    )


# Download


def download(http: Http, artifacts_path: str, files: Iterable[ArtifactFile], destination: Path) -> Path:
    """Writes each file to its path below `destination`, whole and checked or not at all; returns the folder.

    A file that lies there with the right sha256 is not fetched. No byte is written before all paths are found
    to stay inside the folder, links that lie there already included.
    """
    root = destination.resolve()
    targets = {_target(root, file): file for file in files}
    root.mkdir(parents=True, exist_ok=True)
    _in_parallel(lambda target: _fetch(http, artifacts_path, targets[target], target), list(targets))
    return destination


def _target(root: Path, file: ArtifactFile) -> Path:
    if not SHA256.fullmatch(file.sha256):
        raise DigestMismatch(f"The server names no sha256 for {file.path!r}, so it cannot be checked.")
    target = root / check_path(file.path)
    if not target.parent.resolve().is_relative_to(root):
        raise ValidationError(
            f"{file.path!r} would be written outside of {root}, through a link that lies there.",
            hint="Choose an empty folder as destination.",
        )
    return target


def _fetch(http: Http, artifacts_path: str, file: ArtifactFile, target: Path) -> None:
    if target.is_file() and sha256_of(target)[0] == file.sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".podstack-{uuid.uuid4().hex}"
    try:
        with temporary.open("x+b") as handle:
            _receive(http, artifacts_path, file, Partial(handle))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


class Partial:
    """What has arrived of a file so far: `size` bytes, hashed as they came."""

    def __init__(self, handle: BinaryIO) -> None:
        self.handle = handle
        self.restart()

    def restart(self) -> None:
        self.handle.seek(0)
        self.handle.truncate()
        self.digest = hashlib.sha256()
        self.size = 0

    def take(self, response: requests.Response) -> requests.exceptions.RequestException | None:
        """Appends what `response` carries; the error when its connection broke."""
        if response.status_code != 206:
            self.restart()
        try:
            for piece in response.iter_content(PIECE):
                self.handle.write(piece)
                self.digest.update(piece)
                self.size += len(piece)
        except requests.exceptions.RequestException as error:
            return error
        return None


def _receive(http: Http, artifacts_path: str, file: ArtifactFile, partial: Partial) -> None:
    """Fills `partial`; a broken connection goes on where it broke, wrong bytes are fetched once more."""
    fruitless = wrong = 0
    while True:
        before = partial.size
        with closing(_open_remote(http, artifacts_path, file, before)) as response:
            error = partial.take(response)
        if partial.digest.hexdigest() == file.sha256:
            return
        if error is not None and partial.size < file.size:
            fruitless = fruitless + 1 if partial.size <= before else 0
            if fruitless == FRUITLESS_TRIES:
                raise http.connection_failed(error)
            continue
        wrong += 1
        if wrong == 2:
            raise _wrong_bytes(file)
        partial.restart()


def _wrong_bytes(file: ArtifactFile) -> DigestMismatch:
    return DigestMismatch(
        f"{file.path} did not arrive with the sha256 that it is stored under ({file.sha256[:12]}…).",
        hint="Download it again. If that does not help, the stored file may be damaged: tell an operator.",
    )


def _open_remote(http: Http, artifacts_path: str, file: ArtifactFile, offset: int) -> requests.Response:
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": f'"{file.sha256}"'}
    path = f"{API_PREFIX}{artifacts_path}/{quote(file.path, safe='/')}"
    return http.send("GET", path, headers=headers, stream=True)


def _chunks(items: Sequence[A], size: int) -> Iterator[Sequence[A]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _in_parallel(work: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """`work` on each item in four threads, in order; the first failure ends the rest."""
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="podstack") as pool:
        try:
            return list(pool.map(work, items))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
