"""The engine's control API: JSON over HTTP on the loopback address, behind one bearer token."""

from __future__ import annotations

import contextlib
import hmac
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from serving.problems import Problem
from serving.service import Spec
from serving.services import Services

BODY_LIMIT = 64 << 10
MAX_REPLICAS = 32
MAX_BATCH, MAX_DELAY = 10_000, 10_000
MOST_STRANGERS = 64  # connections at once that have not shown the token
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,255}\Z")
Answer = tuple[int, dict[str, Any]]


class ControlServer(ThreadingHTTPServer):
    """Listens for the platform's worker; one thread per connection.

    Whoever is on this machine may connect, the models' own code too. So that nobody takes all threads and files, of the
    connections that have not shown the token the oldest ends when there are too many.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], services: Services, token: str) -> None:
        self.services, self.token = services, token
        self._strangers: dict[socket.socket, None] = {}  # the oldest first
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._strangers[request] = None
            if len(self._strangers) > MOST_STRANGERS:
                oldest = next(iter(self._strangers))
                del self._strangers[oldest]
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # its thread reads the end, and closes it
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.know(request)
        super().shutdown_request(request)

    def know(self, request: Any) -> None:
        """It has shown the token, or is over."""
        with self._lock:
            self._strangers.pop(request, None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "serving-engine"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60
    server: ControlServer

    def do_GET(self) -> None:
        self._respond()

    def do_PUT(self) -> None:
        self._respond()

    def do_DELETE(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the engine logs what happens to services."""

    def _respond(self) -> None:
        try:
            body = self._body()
            status, answer = self._answer(body)
        except Problem as problem:
            status, answer = problem.status, problem.as_dict()
        data = json.dumps(answer).encode()
        kind = "application/json" if status < 400 else "application/problem+json"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > BODY_LIMIT or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            raise Problem(413, f"Send a body with a Content-Length of at most {BODY_LIMIT} bytes.")
        return self.rfile.read(int(length))

    def _answer(self, body: bytes) -> Answer:
        url = urlsplit(self.path)
        if url.path == "/livez" and self.command == "GET":
            return 200, {"live": True}
        self._check_token()
        match url.path.strip("/").split("/"), self.command:
            case ["services"], "GET":
                return 200, {"services": self.server.services.all()}
            case ["services", name], "GET":
                return 200, self.server.services.get(name).as_dict()
            case ["services", name], "PUT":
                service, new = self.server.services.put(_id(name), spec_of(body))
                return (201 if new else 200), service
            case ["services", name], "DELETE":
                return 202, self.server.services.delete(name)
            case ["services", name, "logs"], "GET":
                return 200, {"lines": self.server.services.lines(_id(name), **_wanted_lines(url.query))}
        raise Problem(404, f"There is nothing at {self.command} {url.path[:200]}.")

    def _check_token(self) -> None:
        sent = self.headers.get("Authorization", "").encode("latin-1", "replace")
        if not hmac.compare_digest(sent, f"Bearer {self.server.token}".encode()):
            raise Problem(401, "The request lacks the engine's token; send it as 'Authorization: Bearer …'.")
        self.server.know(self.connection)


def _id(name: str) -> str:
    if not _ID.match(name):
        raise Problem(
            400, "A service id has letters, digits, '.', '_' and '-', at most 100, a letter or digit first."
        )
    return name


def _wanted_lines(query: str) -> dict[str, Any]:
    asked = {name: values[-1] for name, values in parse_qs(query).items()}
    lines = asked.get("tail", "200")
    if not lines.isdecimal() or not 1 <= int(lines) <= 10_000:
        raise Problem(400, "tail must be a number from 1 to 10000.")
    return {"lines": int(lines), "worker": asked.get("replica", ""), "search": asked.get("search", "")}


def spec_of(body: bytes) -> Spec:
    """What a PUT wants, or a 400 `Problem` that names the field."""
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(400, "The body is not JSON.") from None
    if not isinstance(sent, dict):
        raise Problem(400, "The body must be a JSON object.")
    unknown = sent.keys() - set(Spec.__dataclass_fields__)
    if unknown:
        raise Problem(400, f"The field '{min(unknown)}' is unknown.")
    replicas = _whole(sent, "replicas", 1, 1, MAX_REPLICAS)
    batch = _whole(sent, "max_batch_size", 1, 1, MAX_BATCH)
    delay = _whole(sent, "max_delay_ms", 0, 0, MAX_DELAY)
    folder = _model_dir(sent.get("model_dir"))
    endpoint, model, version = (
        _name(sent, field) for field in ("endpoint_name", "model_name", "model_version")
    )
    return Spec(folder, replicas, endpoint, model, version, batch, delay)


def _name(sent: dict[str, Any], field: str) -> str:
    name = str(sent.get(field, ""))
    if not _NAME.match(name):
        raise Problem(400, f"{field} must be a name of 1 to 255 characters without control characters.")
    return name


def _whole(sent: dict[str, Any], field: str, otherwise: int, least: int, most: int) -> int:
    value = sent.get(field, otherwise)
    if type(value) is not int or not least <= value <= most:
        raise Problem(400, f"{field} must be a whole number from {least} to {most}.")
    return value


def _model_dir(sent: object) -> str:
    if not isinstance(sent, str) or "\0" in sent or not Path(sent).is_absolute() or not Path(sent).is_dir():
        raise Problem(400, "model_dir must be the absolute path of a folder.")
    return sent
