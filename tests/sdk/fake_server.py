"""A small HTTP server that speaks as much of the REST API as the SDK's fault tests need, and fails on demand.

It keeps runs, blobs and one version's files in memory. `fail(...)` makes the next matching requests go wrong;
`seen` holds every request that arrived, the failed ones too.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from requests.structures import CaseInsensitiveDict

TOKEN = "podstack_abcd1234_secret"
PROJECT = "vision"
P = f"/api/v1/projects/{PROJECT}"


@dataclass
class Request:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def key(self) -> str | None:
        return self.headers.get("Idempotency-Key")


@dataclass
class Answer:
    """What goes back; `cut` ends the connection after so many bytes of the body, -1 before the first."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None

    def encoded(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def problem(status: int, detail: str, hint: str = "", code: str = "", **more: Any) -> Answer:
    """An application/problem+json answer."""
    body = {"status": status, "detail": detail, "hint": hint, "code": code, "request_id": "req-1", **more}
    return Answer(status, body, {"Content-Type": "application/problem+json"})


DROPPED = Answer(cut=-1)
Handler = Callable[[Request, re.Match[str]], Answer]


@dataclass
class Fault:
    """`answer` in place of the right one, `times` times, for requests that match."""

    pattern: re.Pattern[str]
    answer: Answer
    times: int
    after_doing: bool


class FakeServer:
    """Listens on a port of its own between `start` and `stop`; the port stays the same over both."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.faults: list[Fault] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.points: dict[str, list[tuple[int, Any]]] = {}
        self.blobs: dict[str, bytes] = {}
        self.files: dict[str, list[dict[str, Any]]] = {}
        self.stored: dict[str, Any] = {}
        self.listing: list[dict[str, Any]] = []
        self.deployment: dict[str, Any] = {"endpoint_name": "api", "state": "Active"}
        self.replayed: dict[str, Answer] = {}
        self.lock = threading.Lock()
        self.port = 0
        self.start()
        self.deployment["endpoint_url"] = f"{self.url}/serve/{PROJECT}/api"

    def start(self) -> None:
        """Begins to listen; the first time on a free port."""
        server = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self) -> None:
                server._answer(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *args: Any) -> None:
                pass

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self.http = Listener(("127.0.0.1", self.port), Door)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Refuses connections until `start`."""
        self.http.shutdown()
        self.http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fail(self, pattern: str, answer: Answer, times: int = 1, after_doing: bool = False) -> None:
        """Gives `answer` to the next requests whose "METHOD path" matches; `after_doing` does them first."""
        self.faults.append(Fault(re.compile(pattern), answer, times, after_doing))

    def requests(self, pattern: str) -> list[Request]:
        """The requests that arrived whose "METHOD path" matches."""
        return [r for r in self.seen if re.search(pattern, f"{r.method} {r.path}")]

    def _answer(self, door: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(door.path)
        body = door.rfile.read(int(door.headers.get("Content-Length") or 0))
        headers = CaseInsensitiveDict(door.headers.items())
        request = Request(door.command, unquote(parts.path), parse_qs(parts.query), headers, body)
        with self.lock:
            self.seen.append(request)
            fault = self._fault_for(request)
            answer = self._dispatch(request) if fault is None or fault.after_doing else fault.answer
        _write(door, answer if fault is None else fault.answer)

    def _fault_for(self, request: Request) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.pattern.search(f"{request.method} {request.path}"):
                fault.times -= 1
                return fault
        return None

    def _dispatch(self, request: Request) -> Answer:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return problem(401, "This needs an API token.", code="not_authenticated")
        if request.key in self.replayed:
            return self.replayed[request.key]
        for pattern, handler in self._routes():
            if match := re.fullmatch(pattern, f"{request.method} {request.path}"):
                answer = handler(request, match)
                if request.key:
                    self.replayed[request.key] = answer
                return answer
        return problem(404, "There is nothing at this address.", code="not_found")

    def _routes(self) -> Iterator[tuple[str, Handler]]:
        yield "GET /api/v1/me", lambda r, m: Answer(body=self.stored.get("me"))
        yield f"GET {P}/models", self._list_models
        yield f"DELETE {P}/models/(.+)", lambda r, m: Answer(204, b"")
        yield f"POST {P}/runs", self._start_run
        yield f"GET {P}/runs/([^/]+)", self._get_run
        yield f"PATCH {P}/runs/([^/]+)", self._update_run
        yield f"POST {P}/runs/([^/]+)/end", self._end_run
        yield f"POST {P}/runs/([^/]+)/params", self._log_params
        yield f"POST {P}/runs/([^/]+)/metrics", self._log_metrics
        yield f"POST {P}/runs/([^/]+)/datasets", lambda r, m: Answer(201, r.json)
        yield f"POST {P}/blobs/missing", self._missing
        yield f"POST {P}/blobs/batch", self._put_batch
        yield f"PUT {P}/blobs/([0-9a-f]+)", self._put_blob
        yield f"POST {P}/runs/([^/]+)/artifacts", self._commit
        yield (
            f"GET {P}/models/m/versions/(1|best)",
            lambda r, m: Answer(body={"model_name": "m", "version": 1}),
        )
        yield f"GET {P}/models/m/versions/1/artifacts", self._list_files
        yield f"GET {P}/models/m/versions/1/artifacts/(.+)", self._get_file
        yield f"POST {P}/models/m/versions/1/read-artifacts", self._read_files
        yield f"GET {P}/models/m/versions/1/bundle", lambda r, m: Answer(body=self.stored["bundle"])
        yield f"POST {P}/models/m/versions/1/copy", lambda r, m: Answer(201, {"origin": r.json})
        yield f"POST {P}/bundles", self._import
        yield f"POST {P}/deployments", lambda r, m: Answer(201, self.deployment)
        yield f"GET {P}/deployments/api", lambda r, m: Answer(body=self.deployment)
        yield f"POST /serve/{PROJECT}/api", lambda r, m: Answer(body={"predictions": r.json["instances"]})

    def _import(self, request: Request, match: re.Match[str]) -> Answer:
        self.stored["imported"] = request.body
        name = request.query.get("model", ["m"])[0]
        return Answer(201, {"model_name": name, "version": 1, "status": "Ready"})

    def _list_models(self, request: Request, match: re.Match[str]) -> Answer:
        at = int(request.query.get("cursor", ["0"])[0])
        following = f"https://elsewhere.example{P}/models?cursor={at + 1}&search=x" if at < 2 else None
        body = {"results": [{"name": f"model-{at}", "brand_new": at}], "next": following, "previous": None}
        return Answer(body=body)

    def _list_files(self, request: Request, match: re.Match[str]) -> Answer:
        """Of several files all but the last stand on the first page."""
        rest = "cursor" in request.query
        following = f"https://elsewhere.example{P}/x?cursor=1" if len(self.listing) > 1 and not rest else None
        shown = self.listing[-1:] if rest else self.listing[:-1] or self.listing
        return Answer(body={"results": shown, "next": following, "previous": None})

    def _start_run(self, request: Request, match: re.Match[str]) -> Answer:
        run_id = request.json.get("id") or f"run-{len(self.runs):06}"
        run = self.runs.setdefault(run_id, {"id": run_id, "params": {}, "tags": {}, "metric_summary": {}})
        run |= {"experiment_id": request.json["experiment_id"], "status": "Running"}
        return Answer(201, run)

    def _get_run(self, request: Request, match: re.Match[str]) -> Answer:
        run = self.runs.get(match[1])
        return Answer(body=run) if run else problem(404, "There is no such run.")

    def _update_run(self, request: Request, match: re.Match[str]) -> Answer:
        run = self.runs[match[1]]
        run |= {**request.json, "tags": {**run.get("tags", {}), **request.json.get("tags", {})}}
        return Answer(body=run)

    def _end_run(self, request: Request, match: re.Match[str]) -> Answer:
        if self.runs[match[1]]["status"] not in ("Running", request.json["status"]):
            return self._ended(match)
        return self._update_run(request, match)

    def kill(self, run_id: str, reason: str) -> None:
        """What a colleague does meanwhile."""
        self.runs[run_id] |= {"status": "Killed", "error": f"Killed by ann: {reason}"}

    def _ended(self, match: re.Match[str]) -> Answer:
        return problem(409, f"Run {match[1]} has ended and takes nothing more.", code="run_ended")

    def _log_params(self, request: Request, match: re.Match[str]) -> Answer:
        if self.runs[match[1]]["status"] != "Running":
            return self._ended(match)
        if "bad" in request.json["params"]:
            return problem(400, "bad is no key.", code="invalid", errors={"params.bad": ["bad is no key."]})
        self.runs[match[1]]["params"] |= request.json["params"]
        return Answer(body={})

    def _log_metrics(self, request: Request, match: re.Match[str]) -> Answer:
        series = request.json["series"]
        if self.runs[match[1]]["status"] != "Running":
            return self._ended(match)
        if any(row["key"] == "bad" for row in series):
            return problem(400, "bad is no key.", code="invalid")
        for row in series:
            self.points.setdefault(row["key"], []).extend(zip(row["steps"], row["values"], strict=True))
        return Answer(body={"accepted": sum(len(row["values"]) for row in series)})

    def _missing(self, request: Request, match: re.Match[str]) -> Answer:
        asked = request.json["sha256"]
        if len(asked) > 1000:
            return problem(400, "At most 1000 at once.")
        return Answer(body={"missing": [digest for digest in asked if digest not in self.blobs]})

    def _put_blob(self, request: Request, match: re.Match[str]) -> Answer:
        if hashlib.sha256(request.body).hexdigest() != match[1]:
            return problem(400, "The bytes have another sha256.", code="digest_mismatch")
        self.blobs[match[1]] = request.body
        return Answer(201, {"sha256": match[1], "size": len(request.body)})

    def _put_batch(self, request: Request, match: re.Match[str]) -> Answer:
        rest, stored = request.body, {}
        while rest:
            line, _, rest = rest.partition(b"\n")
            digest, size = line.decode().split()
            content, rest = rest[: int(size)], rest[int(size) :]
            if hashlib.sha256(content).hexdigest() != digest:
                return problem(400, "The bytes have another sha256.", code="digest_mismatch")
            stored[digest] = content
        self.blobs |= stored
        return Answer(body={"stored": len(stored)})

    def _read_files(self, request: Request, match: re.Match[str]) -> Answer:
        known = {file["path"]: file["sha256"] for file in self.listing}
        contents = [(known[path], self.stored[path]) for path in request.json["paths"]]
        body = b"".join(f"{digest} {len(content)}\n".encode() + content for digest, content in contents)
        return Answer(200, body, {"Content-Type": "application/octet-stream"})

    def _commit(self, request: Request, match: re.Match[str]) -> Answer:
        if self.runs.get(match[1], {}).get("status", "Running") != "Running":
            return self._ended(match)
        self.files.setdefault(match[1], []).extend(request.json["files"])
        return Answer(body={})

    def hold(self, path: str, content: bytes, sha256: str = "") -> None:
        """Adds a file to version 1 of model m; another `sha256` than its own makes it a damaged one."""
        digest = sha256 or hashlib.sha256(content).hexdigest()
        self.listing.append({"path": path, "size": len(content), "sha256": digest})
        self.stored[path] = content

    def _get_file(self, request: Request, match: re.Match[str]) -> Answer:
        content = self.stored[match[1]]
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        if asked:
            return Answer(206, content[int(asked[1]) : int(asked[2]) + 1 if asked[2] else None])
        return Answer(200, content, {"Content-Type": "application/octet-stream"})


def _write(door: BaseHTTPRequestHandler, answer: Answer) -> None:
    content = answer.encoded()
    if answer.cut == -1:
        door.close_connection = True
        door.connection.shutdown(socket.SHUT_RDWR)
        return
    door.send_response(answer.status)
    for name, value in {"Content-Type": "application/json", **answer.headers}.items():
        door.send_header(name, value)
    if answer.status != 204:
        door.send_header("Content-Length", str(len(content)))
    door.end_headers()
    door.wfile.write(content if answer.cut is None else content[: answer.cut])
    if answer.cut is not None:
        door.close_connection = True


@contextmanager
def running() -> Iterator[FakeServer]:
    """A server for one test."""
    server = FakeServer()
    try:
        yield server
    finally:
        server.stop()
