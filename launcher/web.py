"""The web server: granian with one listening socket for all its workers, whose answers leave at once.

Of itself granian opens a socket per worker on Linux, without TCP_NODELAY: the kernel then deals connections to
workers whether they are busy or not, and holds small answers back for up to 40 ms, until the client has
acknowledged the one before.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import socket

from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.net import SocketHolder
from granian.server import MPServer

# Counted in open connections, idle ones included: far more than threads.
BACKLOG, OPEN_CONNECTIONS = 2048, 1024
RESPAWN_SECONDS, END_SECONDS = 1, 8


class Web(MPServer):
    """Granian on a socket of ours."""

    def _init_shared_socket(self) -> None:
        self._sso = listening(self.bind_addr, self.bind_port)
        self._sfd = self._sso.fileno()
        self._shd = SocketHolder(self._sfd, False, BACKLOG)  # type: ignore[assignment, call-arg]


def listening(host: str, port: int) -> socket.socket:
    """A socket that workers accept from; what it hands out has TCP_NODELAY as well."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.create_server((host, port), family=family, backlog=BACKLOG)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    found.setblocking(False)
    found.set_inheritable(True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="web", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True, help="processes")
    parser.add_argument("--threads", type=int, required=True, help="requests at once in each")
    parser.add_argument("--log-level", default="info")
    asked = parser.parse_args()
    # Loaded once, before there are workers: they share its memory and the socket, and start at once.
    multiprocessing.set_start_method("fork")
    importlib.import_module("config.wsgi")
    Web(
        "config.wsgi:application",
        address=asked.host,
        port=asked.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=asked.workers,
        blocking_threads=asked.threads,
        backlog=BACKLOG,
        backpressure=OPEN_CONNECTIONS,
        respawn_failed_workers=True,
        respawn_interval=RESPAWN_SECONDS,
        workers_kill_timeout=END_SECONDS,
        log_access=False,
        log_level=LogLevels(asked.log_level),
    ).serve()


if __name__ == "__main__":
    main()
