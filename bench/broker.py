"""What a write costs while the broker is away: its processes are stopped, as if the network to it were silent."""

from __future__ import annotations

import os
import signal
import time

from bench.load import Client
from bench.memory import below, command_of
from bench.report import Row
from bench.servers import Server

WRITES = 200
MOST_MS = 300.0


def broker_rows(server: Server) -> list[Row]:
    """p95 of writes that queue jobs: each is an event for a webhook."""
    client, base = Client(server.base, server.headers), "/api/v1/projects/default"
    hook = {"name": "bench", "url": "https://webhook.invalid/", "events": ["model.*"]}
    made = client.send(("POST", f"{base}/webhooks", hook))
    brokers = [pid for pid in below(server.pid) if _is_broker(command_of(pid))]
    times = []
    for pid in brokers:
        os.kill(pid, signal.SIGSTOP)
    try:
        for number in range(WRITES):
            begun = time.perf_counter()
            client.send(("POST", f"{base}/models", {"name": f"broker-away-{number}"}))
            times.append((time.perf_counter() - begun) * 1000)
    finally:
        for pid in brokers:
            os.kill(pid, signal.SIGCONT)
    client.send(("DELETE", f"{base}/webhooks/{made['id']}", None))
    if not brokers:
        raise RuntimeError("no broker of this platform's own was found")
    p95 = sorted(times)[int(WRITES * 0.95)]
    note = f"{WRITES} writes, slowest {max(times):.0f} ms; at most {MOST_MS:.0f} ms"
    return [Row("write with the broker away, p95", "ms", p95, None, MOST_MS / p95, 1, note)]


def _is_broker(command: str) -> bool:
    return "valkey-server" in command or "redis-server" in command
