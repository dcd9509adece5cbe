"""A model as an application of Ray Serve: each replica is a door to a serving process as this machine has them too.

Only a cluster's nodes import this. `build` makes the application from its arguments: the names that it has, the
service's key, and where the model's files lie: `model_dir`, seen by all nodes, or `files_url`, from which a replica
fetches them with the service's key and nothing else. The model is loaded by a process of its own, with the packages
that its version asks for and without the environment of the node, which holds the cluster's token.
"""

from __future__ import annotations

import hmac
import os
import time
import traceback
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
from ray import serve
from ray.serve._private.logging_utils import get_serve_logs_dir
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from yarl import URL

from serving.engine import settings_from
from serving.fetched import files_of
from serving.node import OneService, home_of_this_user
from serving.problems import WRONG_KEY, CannotLoad, Problem
from serving.service import Spec

TRIES = 2
CONNECT_SECONDS = 5
LOGS = "serving"  # below the session's folder of logs; the platform looks for them there
# They belong to one connection; the others are passed on as they are.
OF_A_CONNECTION = {
    "connection",
    "content-length",
    "date",
    "expect",
    "host",
    "keep-alive",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}


@serve.deployment(name="Model", max_constructor_retry_count=TRIES, health_check_period_s=5)
class Model:
    """One replica. It passes requests on to its serving process, and answers what that answers."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self.prefix = wanted["route_prefix"]
        self.key, self.most = wanted["key"].encode(), wanted["max_body_bytes"]
        self.session: aiohttp.ClientSession | None = None
        log = _log_of(wanted["service_id"])
        try:
            self.service = _started(wanted, log)
            self.address = self.service.address()
        except Exception:
            with log.open("a") as file:
                traceback.print_exc(file=file)
            raise

    def check_health(self) -> None:
        """Asked by Serve every few seconds, which replaces a replica that raises."""
        self.service.ready()

    def __del__(self) -> None:
        if hasattr(self, "service"):
            self.service.end()

    async def __call__(self, request: Request) -> Response:
        """Whoever reaches the cluster's proxy comes here: nothing of a body is kept before the key was looked at."""
        try:
            self._check_key(request)
            return await self._asked(request)
        except Problem as problem:
            return _told(problem)

    def _check_key(self, request: Request) -> None:
        sent = request.headers.get("X-Serving-Key", "").encode("latin-1", "replace")
        if not hmac.compare_digest(sent, self.key):
            raise Problem(401, WRONG_KEY)

    async def _asked(self, request: Request) -> Response:
        path = request.url.path.removeprefix(self.prefix) or "/"
        query = f"?{request.url.query}" if request.url.query else ""
        content = request.stream() if path == "/batch-predict" else await _whole(request, self.most)
        try:
            answer = await self._session().request(
                request.method,
                URL(f"{self.address}{path}{query}", encoded=True),
                data=content,
                headers=_passed_on(request.headers),
                allow_redirects=False,
            )
            headers = _passed_on(answer.headers)
            if "Content-Length" in answer.headers:
                return Response(await answer.read(), answer.status, headers)
        except aiohttp.ClientError:
            return _told(Problem(503, "The serving process ended while it answered; send the request again."))
        return StreamingResponse(_pieces(answer), answer.status, headers)

    def _session(self) -> aiohttp.ClientSession:
        """Made by the loop that uses it."""
        if self.session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
            self.session = aiohttp.ClientSession(
                timeout=timeout, connector=aiohttp.TCPConnector(limit=0), auto_decompress=False
            )
        return self.session


def build(arguments: dict[str, Any]) -> Any:
    """What Serve calls to make the application."""
    return Model.bind(arguments)  # type: ignore[attr-defined] # the decorator makes a deployment of the class


def _told(problem: Problem) -> Response:
    return JSONResponse(problem.as_dict(), problem.status, media_type="application/problem+json")


async def _whole(request: Request, most: int) -> bytes:
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > most:
            raise Problem(413, f"The body has more than {most} bytes; send it in several requests.")
    return bytes(content)


def _log_of(service_id: str) -> Path:
    """Where this replica's processes write: the platform finds it by the names of service and replica."""
    folder = Path(get_serve_logs_dir()).parent / LOGS
    folder.mkdir(exist_ok=True)
    replica = serve.get_replica_context().replica_id.unique_id
    return folder / f"{service_id}@{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}@{replica}.log"


def _started(wanted: Mapping[str, Any], log: Path) -> OneService:
    try:
        settings = settings_from(dict(os.environ))
    except SystemExit as error:
        raise CannotLoad(f"The node's environment is wrong: {error}") from error
    spec = Spec(
        str(_folder_of(wanted)),
        1,
        wanted["endpoint_name"],
        wanted["model_name"],
        str(wanted["model_version"]),
        wanted["max_batch_size"],
        wanted["max_delay_ms"],
    )
    settings = replace(settings, max_body_bytes=wanted["max_body_bytes"])
    return OneService(spec, wanted["key"], settings, log)


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in OF_A_CONNECTION}


async def _pieces(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.content.iter_any():
            yield piece
    finally:
        answer.close()


def _folder_of(wanted: Mapping[str, Any]) -> Path:
    """Where the model's files lie on this node."""
    if not wanted["files_url"]:
        return Path(wanted["model_dir"])
    home = home_of_this_user() / "models"
    return files_of(home, wanted["files_digest"], wanted["files_url"], wanted["key"])
