"""A closed loop of clients: each sends its next request when the last was answered."""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

IDLE_SECONDS = 2
# A server without TCP_NODELAY that answers in two packets waits up to 40 ms for the kernel of a usual client to say that
# the first has come. Ours does not; MLflow's does, so this spares it that. BENCH_USUAL_CLIENT=1 measures without.
ACKNOWLEDGE_AT_ONCE = os.environ.get("BENCH_USUAL_CLIENT") != "1"
Request = tuple[str, str, Any]  # method, path with query, body or None
Make = Callable[[int], Request]


@dataclass(frozen=True)
class Figure:
    """Requests a second over all clients, and the times of single requests in milliseconds."""

    rate: float
    p50: float
    p99: float


class Client:
    """One kept-alive connection."""

    def __init__(self, base: str, headers: Mapping[str, str]) -> None:
        address = urlsplit(base)
        self.link = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        self.headers = {"Content-Type": "application/json", **headers}
        self.used_at = time.monotonic()

    def send(self, request: Request) -> Any:
        """The answer's JSON; RuntimeError for any refusal: a bench that measures errors measures nothing."""
        method, path, content = request
        if time.monotonic() - self.used_at > IDLE_SECONDS:
            self.link.close()  # the server may have done so too; the next request opens it again
        raw = None if content is None else json.dumps(content).encode()
        self.link.request(method, path, raw, self.headers)
        if ACKNOWLEDGE_AT_ONCE:
            self.link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        answer = self.link.getresponse()
        text = answer.read()
        self.used_at = time.monotonic()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path} answered {answer.status}: {text[:300]!r}")
        return json.loads(text) if text else None


def measure(base: str, headers: Mapping[str, str], make: Make, *, clients: int, seconds: float) -> Figure:
    """Runs `clients` closed loops for `seconds`; `make` gets a number that no other request gets."""
    numbers = iter(range(10**9))
    lock = threading.Lock()
    times: list[float] = []
    failures: list[BaseException] = []
    stop_at = time.perf_counter() + seconds

    def loop() -> None:
        client = Client(base, headers)
        own: list[float] = []
        try:
            while time.perf_counter() < stop_at and not failures:
                with lock:
                    number = next(numbers)
                begun = time.perf_counter()
                client.send(make(number))
                own.append(time.perf_counter() - begun)
        except BaseException as error:
            failures.append(error)
        with lock:
            times.extend(own)

    begun = time.perf_counter()
    threads = [threading.Thread(target=loop) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    ordered = sorted(times)
    return Figure(
        rate=len(times) / (time.perf_counter() - begun),
        p50=statistics.median(ordered) * 1000,
        p99=ordered[int(len(ordered) * 0.99)] * 1000,
    )


def median_of(figures: list[Figure]) -> Figure:
    """The figure of the run in the middle, by rate."""
    return sorted(figures, key=lambda figure: figure.rate)[len(figures) // 2]
