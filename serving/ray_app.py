"""A model as an application of Ray Serve: the same loaders and answers as in a process of this machine.

Only a cluster's nodes import this. `build` makes the application from its arguments: the names that it has, the
service's key, and where the model's files lie: `model_dir`, seen by all nodes, or `files_url`, from which a replica
fetches them with the service's key and nothing else.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import shutil
import tempfile
import traceback
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ray import serve
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from serving.environments import file_of
from serving.loaders import load, one_line
from serving.problems import CannotLoad
from serving.runtime import Application, Identity

FETCH_SECONDS = 60
PIECE = 1 << 20
TRIES = 2


@serve.deployment(name="Model", max_constructor_retry_count=TRIES, health_check_period_s=5)
class Model:
    """One replica. It answers by the WSGI application that a process of this machine answers by."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        try:
            self._load(wanted)
        except Exception:
            traceback.print_exc()  # into the replica's own log, where people look
            raise

    def _load(self, wanted: dict[str, Any]) -> None:
        folder = _folder_of(wanted)
        if file_of(folder) is not None:
            print(
                "The version's requirements.txt is not installed on a cluster; the node's packages are used."
            )
        model, detected = load(folder)
        identity = Identity(
            wanted["endpoint_name"],
            wanted["model_name"],
            str(wanted["model_version"]),
            wanted["key"],
            wanted["max_body_bytes"],
            wanted["max_batch_size"],
            wanted["max_delay_ms"],
        )
        self.application = Application(model, detected, identity)
        try:
            self.application.warm_up()
        except Exception as error:
            raise CannotLoad(f"The model failed on its own example: {one_line(error)}.") from error
        self.prefix = wanted["route_prefix"]

    async def __call__(self, request: Request) -> Response:
        body = await request.body()
        environ = {
            "REQUEST_METHOD": request.method,
            "PATH_INFO": request.url.path.removeprefix(self.prefix) or "/",
            "QUERY_STRING": request.url.query,
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            **_headers(request.headers),
        }
        return await run_in_threadpool(self._respond, environ)

    def _respond(self, environ: dict[str, Any]) -> Response:
        said: dict[str, Any] = {}

        def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
            said.update(status=int(status.split()[0]), headers=dict(headers))

        pieces = self.application(environ, start_response)
        if "Content-Length" in said["headers"]:
            return Response(b"".join(pieces), said["status"], said["headers"])
        return StreamingResponse(iter(pieces), said["status"], said["headers"])


def build(arguments: dict[str, Any]) -> Any:
    """What Serve calls to make the application."""
    return Model.bind(arguments)  # type: ignore[attr-defined] # the decorator makes a deployment of the class


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}


def _folder_of(wanted: Mapping[str, Any]) -> Path:
    """The folder with the model's files, fetched once per node."""
    if not wanted["files_url"]:
        return Path(wanted["model_dir"])
    digest: str = wanted["files_digest"]
    target = Path(tempfile.gettempdir()) / f"serving-models-{os.getuid()}" / digest
    target.parent.mkdir(mode=0o700, exist_ok=True)
    with open(target.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            draft = target.with_suffix(".draft")
            shutil.rmtree(draft, ignore_errors=True)
            _fetch_all(wanted["files_url"], wanted["key"], draft)
            draft.rename(target)
    return target


def _fetch_all(url: str, key: str, folder: Path) -> None:
    with _open(url, key) as answer:
        files = json.load(answer)["files"]
    for file in files:
        path = folder / file["path"]
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"The file {file['path']!r} would lie outside of the model's folder.")
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with _open(f"{url}/{quote(file['sha256'])}", key) as answer, path.open("wb") as target:
            while piece := answer.read(PIECE):
                digest.update(piece)
                target.write(piece)
        if digest.hexdigest() != file["sha256"]:
            raise ValueError(f"The bytes that came for {file['path']!r} are others than were announced.")


def _open(url: str, key: str) -> Any:
    request = urllib.request.Request(url, headers={"X-Serving-Key": key})  # noqa: S310
    return urllib.request.urlopen(request, timeout=FETCH_SECONDS)  # noqa: S310
