"""Files from the server: whole and checked or not at all, never outside of the folder."""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import requests

from podstack.config import API_PREFIX
from podstack.errors import DigestMismatch, PodstackError, ValidationError
from podstack.files.batches import SMALL, frames_in, in_batches
from podstack.files.digests import digests_of, note_own
from podstack.files.local import check_path
from podstack.files.partial import Partial, partial_of
from podstack.files.progress import Progress
from podstack.files.threads import in_order, in_parallel
from podstack.http import Body, Http
from podstack.models import ArtifactFile
from podstack.values import dump

LISTED = 500  # files of one page of their list, the most that the server gives
BIG = 64 << 20
TRIAL = 16 << 20  # bytes after which a connection's speed is judged
FAST = 200 << 20  # bytes a second: more connections would only cost more
PART = 16 << 20
RECEIVED_AT_ONCE = 256 << 10
FRUITLESS_TRIES = 5
RANGE_NOT_THERE = 416
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Wanted:
    """A file of the server and where it is to lie; `size` in bytes."""

    target: Path
    path: str
    sha256: str
    size: int
    progress: Progress | None = field(default=None, compare=False, repr=False)

    def came(self, count: int) -> None:
        if self.progress is not None:
            self.progress.add(count)


class Source:
    """Where files are fetched from: a run's or a version's `artifacts`."""

    def __init__(self, http: Http, path: str) -> None:
        self.http = http
        self.path = API_PREFIX + path

    def open(self, file: Wanted, first: int = 0, length: int | None = None) -> requests.Response:
        """The file's bytes from `first` on, as they come; with a length, no more than that."""
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        if first or length is not None:
            # No If-Range: the digest of the whole tells whether the parts were of one file, also where a front server or
            # a bucket, which know no digest, send them.
            last = "" if length is None else first + length - 1
            headers |= {"Range": f"bytes={first}-{last}"}
        path = f"{self.path}/{quote(file.path, safe='/')}"
        return self.http.send("GET", path, headers=headers, stream=True)

    def read(self, files: Sequence[Wanted]) -> Iterator[bytes]:
        """Small files whole, in one request."""
        content = dump({"paths": [file.path for file in files]})
        path = self.path.removesuffix("artifacts") + "read-artifacts"
        response = self.http.send("POST", path, headers={"Accept": "*/*"}, body=Body(lambda: content))
        return frames_in(response, [file.size for file in files])


def download(http: Http, artifacts_path: str, files: Iterable[ArtifactFile], destination: Path) -> Path:
    """Writes each file to its path below `destination`, whole and checked or not at all; returns the folder.

    A file that lies there with the right sha256 is not fetched; one of which a part arrived before is continued.
    No byte is written before all paths are found to stay inside the folder, links that lie there included.
    """
    root = destination.resolve()
    wanted = list({item.target: item for item in (_wanted(root, file) for file in files)}.values())
    root.mkdir(parents=True, exist_ok=True)
    lacking = _lacking(wanted)
    for folder in {file.target.parent for file in lacking}:
        folder.mkdir(parents=True, exist_ok=True)
    with Progress("Downloading", sum(file.size for file in lacking), http.shows_progress) as progress:
        _fetch_all(Source(http, artifacts_path), [replace(file, progress=progress) for file in lacking])
    note_own([(file.target, file.sha256) for file in lacking])
    return destination


def _wanted(root: Path, file: ArtifactFile) -> Wanted:
    if not SHA256.fullmatch(file.sha256):
        raise DigestMismatch(f"The server names no sha256 for {file.path!r}, so it cannot be checked.")
    target = root / check_path(file.path)
    if not target.parent.resolve().is_relative_to(root):
        raise ValidationError(
            f"{file.path!r} would be written outside of {root}, through a link that lies there.",
            hint="Choose an empty folder as destination.",
        )
    return Wanted(target, file.path, file.sha256, file.size)


def _lacking(wanted: Sequence[Wanted]) -> list[Wanted]:
    """Those that do not lie there with the right bytes."""
    present = [file for file in wanted if file.target.is_file() and file.target.stat().st_size == file.size]
    digests = digests_of([file.target for file in present])
    right = {file for file, (sha256, _) in zip(present, digests, strict=True) if sha256 == file.sha256}
    return [file for file in wanted if file not in right]


def _fetch_all(source: Source, files: Sequence[Wanted]) -> None:
    small = [file for file in files if file.size <= SMALL]
    if len(small) < 2:
        small = []
    in_parallel(lambda batch: _fetch_batch(source, batch), list(in_batches(small)))
    together = set(small)
    alone = [file for file in files if file not in together]
    in_parallel(lambda file: _fetch(source, file), [file for file in alone if file.size <= BIG])
    for file in alone:
        if file.size > BIG:
            _fetch(source, file)


def _fetch_batch(source: Source, files: Sequence[Wanted]) -> None:
    for file, content in zip(files, source.read(files), strict=True):
        file.came(file.size)
        if hashlib.sha256(content).hexdigest() != file.sha256:
            _fetch(source, file)
            continue
        temporary = file.target.parent / f".podstack-{uuid.uuid4().hex}"
        try:
            temporary.write_bytes(content)
            temporary.replace(file.target)
        finally:
            temporary.unlink(missing_ok=True)


def _fetch(source: Source, file: Wanted) -> None:
    with partial_of(file.target, file.sha256) as partial:
        file.came(partial.size)
        _fill(source, file, partial)
        partial.become(file.target)


def _fill(source: Source, file: Wanted, partial: Partial) -> None:
    """Goes on until all is there: a broken connection goes on where it broke, wrong bytes are fetched once more."""
    fruitless = wrong = 0
    while True:
        before = partial.size
        error = _receive(source, file, partial)
        if partial.digest.hexdigest() == file.sha256:
            return
        if error is not None and partial.size < file.size:
            fruitless = fruitless + 1 if partial.size <= before else 0
            if fruitless == FRUITLESS_TRIES:
                raise source.http.connection_failed(error)
            continue
        wrong += 1
        partial.restart()
        if wrong == 2:
            raise _wrong_bytes(file)


def _receive(source: Source, file: Wanted, partial: Partial) -> requests.exceptions.RequestException | None:
    """Appends what comes; the error when a connection broke."""
    if partial.size >= file.size > 0:
        return None
    try:
        with closing(source.open(file, partial.size)) as response:
            if response.status_code != 206:
                partial.restart()
            pieces = _pieces(source, file, partial.size, response)
            partial.take(_told(file, pieces), file.size - partial.size)
    except requests.exceptions.RequestException as error:
        return error
    except PodstackError as error:
        if error.status != RANGE_NOT_THERE:
            raise
        partial.restart()  # another, shorter file lies there now: its digest will tell
    return None


def _told(file: Wanted, pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        file.came(len(piece))


def _pieces(source: Source, file: Wanted, first: int, response: requests.Response) -> Iterator[bytes]:
    """The bytes from `first` on: out of `response`, and in parallel parts once one connection proves to be slow."""
    begun, came = time.monotonic(), 0
    for piece in response.iter_content(RECEIVED_AT_ONCE):
        yield piece
        came += len(piece)
        if came >= TRIAL and file.size - first - came > BIG - TRIAL and _is_slow(came, begun):
            response.close()
            yield from _parts(source, file, first + came)
            return


def _is_slow(came: int, begun: float) -> bool:
    return came < FAST * (time.monotonic() - begun)


def _parts(source: Source, file: Wanted, first: int) -> Iterator[bytes]:
    """The file from `first` on, four parts at a time."""
    for pieces in in_order(lambda start: _part(source, file, start), range(first, file.size, PART)):
        # Pieces as they came: they are freed one by one, and nothing is copied.
        while pieces:
            yield pieces.popleft()


def _part(source: Source, file: Wanted, first: int) -> deque[bytes]:
    length = min(PART, file.size - first)
    with closing(source.open(file, first, length)) as response:
        if response.status_code != 206:
            raise _wrong_bytes(file)
        pieces = deque(response.iter_content(RECEIVED_AT_ONCE))
    if sum(map(len, pieces)) != length:
        raise _wrong_bytes(file)
    return pieces


def _wrong_bytes(file: Wanted) -> DigestMismatch:
    return DigestMismatch(
        f"{file.path} did not arrive with the sha256 that it is stored under ({file.sha256[:12]}…).",
        hint="Download it again. If that does not help, the stored file may be damaged: tell an operator.",
    )
