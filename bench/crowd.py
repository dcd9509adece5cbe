"""Sixty-four clients at once: small batches of metrics and reads of a model, mixed."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bench.load import Make
from bench.servers import Server

CLIENTS = 64
PATIENCE = 30.0


@dataclass
class Crowd:
    """What came of it: answers, refusals for load (503 with Retry-After), failures, times in milliseconds."""

    answered: int = 0
    put_off: int = 0
    failed: int = 0
    times: list[float] = field(default_factory=list, repr=False)
    reasons: dict[str, int] = field(default_factory=dict)

    def percentile(self, share: float) -> float:
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def crowd(server: Server, write: Make, read: Make, seconds: float) -> Crowd:
    """64 closed loops for `seconds`, each writing and reading in turn; a broken answer is counted and goes on."""
    found, lock = Crowd(), threading.Lock()
    stop_at = time.perf_counter() + seconds
    loops = [
        threading.Thread(target=_loop, args=(server, write, read, number, stop_at, found, lock))
        for number in range(CLIENTS)
    ]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join()
    return found


def _loop(
    server: Server,
    write: Make,
    read: Make,
    number: int,
    stop_at: float,
    found: Crowd,
    lock: threading.Lock,
) -> None:
    address = urlsplit(server.base)
    link = http.client.HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE)
    turn = number * 1_000_000
    while time.perf_counter() < stop_at:
        turn += 1
        method, path, content = (write if turn % 2 else read)(turn)
        raw = None if content is None else json.dumps(content).encode()
        begun = time.perf_counter()
        try:
            link.request(method, path, raw, {"Content-Type": "application/json", **server.headers})
            answer = link.getresponse()
            answer.read()
            what = "ok" if answer.status < 400 else str(answer.status)
            if answer.status == 503 and answer.headers.get("Retry-After"):
                what = "later"
        except (OSError, http.client.HTTPException) as error:
            what = type(error).__name__
            link.close()
        with lock:
            _count(found, what, (time.perf_counter() - begun) * 1000)


def _count(found: Crowd, what: str, took: float) -> None:
    found.times.append(took)
    if what == "ok":
        found.answered += 1
    elif what == "later":
        found.put_off += 1
    else:
        found.failed += 1
        found.reasons[what] = found.reasons.get(what, 0) + 1
