"""A model's files on a machine of a cluster: fetched once from the platform, kept as long as they are used."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from serving.problems import CannotLoad

FETCH_SECONDS = 60
PIECE = 1 << 20
KEY = "X-Serving-Key"
KEEP_SECONDS = 7 * 24 * 3600


def files_of(home: Path, digest: str, url: str, key: str) -> Path:
    """The folder of the files whose manifest has this digest, fetched from `url` with `key` where there is none yet.

    It stays as long as this process lives; what no process has used for a week is removed. Others may read what is
    here if they know the digest. Raises `CannotLoad`.
    """
    home.mkdir(mode=0o711, exist_ok=True)
    folder = home / digest
    lock = os.open(folder.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)  # which ends with the process
    fcntl.flock(lock, fcntl.LOCK_SH)
    try:
        if not folder.is_dir():
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():  # another process may have fetched it meanwhile
                _fetch_all(url, key, folder)
            fcntl.flock(lock, fcntl.LOCK_SH)
    except BaseException:
        os.close(lock)
        raise
    os.utime(folder)
    _remove_unused(home)
    return folder


def _remove_unused(home: Path) -> None:
    for folder in [path for path in home.iterdir() if path.is_dir()]:
        with _free(folder) as free:
            if free and time.time() - folder.stat().st_mtime > KEEP_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _free(folder: Path) -> Iterator[bool]:
    """Whether no process uses it; none begins to meanwhile."""
    with open(folder.with_suffix(".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _fetch_all(url: str, key: str, target: Path) -> None:
    draft = target.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        with _open(url, key) as answer:
            files = json.load(answer)["files"]
        for file in files:
            _fetch(file, url, key, draft)
    except OSError as error:
        raise CannotLoad(f"The model's files could not be fetched from {url}: {error}.") from error
    for path in (draft, *draft.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    draft.rename(target)


def _fetch(file: Mapping[str, str], url: str, key: str, folder: Path) -> None:
    path = folder / file["path"]
    if not path.resolve().is_relative_to(folder.resolve()):
        raise CannotLoad(f"The file {file['path']!r} would lie outside of the model's folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with _open(f"{url}/{quote(file['sha256'])}", key) as answer, path.open("wb") as target:
        while piece := answer.read(PIECE):
            digest.update(piece)
            target.write(piece)
    if digest.hexdigest() != file["sha256"]:
        raise CannotLoad(f"The bytes that came for {file['path']!r} are others than were announced.")


def _open(url: str, key: str) -> Any:
    request = urllib.request.Request(url, headers={KEY: key})  # noqa: S310
    return urllib.request.build_opener(_Elsewhere).open(request, timeout=FETCH_SECONDS)


class _Elsewhere(urllib.request.HTTPRedirectHandler):
    """Whoever else the platform has send the bytes, a bucket for example, does not learn the key."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any) -> Any:
        further = super().redirect_request(req, fp, code, msg, headers, newurl)
        if further is not None and further.host != req.host:
            further.remove_header(KEY.capitalize())
        return further
