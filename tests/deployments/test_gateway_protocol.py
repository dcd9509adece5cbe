"""How long a connection of the gateway may keep it waiting, whatever comes by it or is taken from it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from gateway import protocol, request, traffic
from gateway.app import Gateway, Settings
from gateway.protocol import BoundedProtocol
from gateway.request import NotTaken, Request
from gateway.routes import Backend, Route
from gateway.traffic import Count, Traffic
from gateway.wire import Question
from launcher.ports import free_port
from tests.deployments.conftest import whole_answer
from tests.waiting import until

LARGE = b"x" * (32 << 20)
UNAUTHORIZED = b"HTTP/1.1 401"


async def _app(scope: Any, receive: Any, send: Any) -> None:
    """Answers before it has read anything: 401, or at /large many bytes; at /echo what it was sent."""
    body = LARGE if scope["path"] == "/large" else b"no"
    if scope["path"] == "/echo":
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message.get("more_body", False)
    headers = [(b"content-length", b"%d" % len(body))]
    status = 401 if body == b"no" else 200
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server with the gateway's protocol, and a second for all that has a time."""
    for name in ("HEADER_SECONDS", "STUCK_SECONDS", "LAST_SECONDS"):
        monkeypatch.setattr(protocol, name, 1.0)
    found = free_port()
    config = uvicorn.Config(
        _app, port=found, http=BoundedProtocol, lifespan="off", log_level="error", timeout_keep_alive=60
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, 30)
    yield found
    server.should_exit = server.force_exit = True
    thread.join(30)


def closes(link: socket.socket, drip: bytes = b"", seconds: float = 20) -> bool:
    """Whether the other side ends the connection, while now and then some bytes are sent."""
    end = time.monotonic() + seconds
    link.settimeout(0.2)
    while time.monotonic() < end:
        try:
            if drip:
                link.sendall(drip)
            if not link.recv(1 << 16):
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def answered(port: int, sent: bytes) -> socket.socket:
    """A connection by which the answer to these bytes came."""
    link = socket.create_connection(("127.0.0.1", port), timeout=30)
    link.sendall(sent)
    assert link.recv(1 << 16).startswith(UNAUTHORIZED)
    return link


WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "drip"),
    [
        (WHOLE, b"G"),
        (WHOLE, b"\r\n"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", b""),
    ],
    ids=["a second head", "empty lines", "a body that was answered", "such a body that never comes"],
)
def test_what_drips_after_an_answer_has_its_time_too(port: int, first: bytes, drip: bytes) -> None:
    with answered(port, first) as link:
        assert closes(link, drip)


def test_a_connection_whose_body_came_after_its_answer_is_used_again_and_ends_when_it_is_idle(
    port: int,
) -> None:
    with answered(port, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab") as link:
        link.sendall(b"cd" + WHOLE)
        assert link.recv(1 << 16).startswith(UNAUTHORIZED)
        link.sendall(b"\r\n")
        assert closes(link)


def test_who_takes_nothing_of_an_answer_loses_it(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as link:
        link.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(4)
        link.settimeout(20)
        got = 0
        try:
            while piece := link.recv(1 << 20):
                got += len(piece)
        except ConnectionError:
            pass
        assert got < len(LARGE)


def test_who_takes_nothing_of_an_answer_makes_the_endpoint_no_error(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "BODY_SECONDS", 0.2)
    backend = Backend(7, 1, "Active", 1, f"http://127.0.0.1:{port}", "key")
    route = Route("s", "e", 1, "m", "Running", "Active", "", 0, None, 30, None, backend, backend, None)
    scope = {"method": "POST", "path": "/", "query_string": b"", "headers": []}

    async def takes_nothing(message: Any) -> None:
        await asyncio.sleep(30 if message.get("more_body") else 0)

    async def asked() -> Count:
        gateway = Gateway(Settings("postgresql://127.0.0.1:1/none", 1, tmp_path / "limits", 1, 1, 1))
        caller = Request(scope, takes_nothing, takes_nothing)  # type: ignore[arg-type]
        with pytest.raises(NotTaken):
            question = Question("POST", "/large", b"", caller.id)
            await gateway._ask(route, caller, question)
        return gateway._traffic.count(7)

    count = asyncio.run(asked())
    assert (count.requests, count.errors, count.refused) == (1, 0, 0)


# As the HTTP client of Java's library sends its first request.
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\nUpgrade: h2c\r\n"


@pytest.mark.parametrize("name", [b"Upgrade", b"UPGRADE", b"upgrade"])
@pytest.mark.parametrize(
    "body", [b"Content-Length: 4\r\n\r\nabcd", b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"]
)
def test_who_offers_another_protocol_is_answered_in_this_one(port: int, name: bytes, body: bytes) -> None:
    first = b"POST /echo HTTP/1.1\r\nHost: x\r\n" + OFFER.replace(b"\nUpgrade", b"\n" + name) + body
    second = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nefgh"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as link:
        for sent, echoed in ((first, b"abcd"), (second, b"efgh")):
            link.sendall(sent)
            assert whole_answer(link).endswith(b"\r\n\r\n" + echoed)


def test_an_offer_that_comes_in_pieces_is_refused_and_no_body_is_taken_for_a_request(port: int) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\n" + OFFER + b"Content-Length: 27\r\n\r\n"
    cut = head.index(b"grade: h2c")
    with socket.create_connection(("127.0.0.1", port), timeout=30) as link:
        for piece in (head[:cut], head[cut:], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
            with suppress(ConnectionError):
                link.sendall(piece)
            time.sleep(0.3)
        answer = link.recv(1 << 16)
        assert answer.startswith(b"HTTP/1.1 400") and answer.count(b"HTTP/1.1 ") == 1


class NoDatabase:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written: list[Any] = []

    async def rows(self, query: str, values: Any) -> list[Any]:
        self.written.append(values)
        return []


def test_a_clock_that_is_set_back_leaves_no_load_in_the_future(monkeypatch: pytest.MonkeyPatch) -> None:
    now, kept = [1_000_000.0], NoDatabase()
    monkeypatch.setattr(traffic, "time", lambda: now[0])
    counted = Traffic(kept)  # type: ignore[arg-type]
    counted.begin(1)
    now[0] -= 3600
    for _ in range(3):
        counted.begin(1)
        now[0] += 1
    asyncio.run(counted.write())
    peaks = {row["at"].timestamp(): row["peak"] for row in kept.written}
    assert peaks == {1_000_000.0: 1, 996_400.0: 4}
