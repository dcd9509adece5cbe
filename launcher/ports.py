"""Ports of this machine."""

from __future__ import annotations

import errno
import secrets
import socket

from launcher.errors import LaunchError

LOOPBACK = "127.0.0.1"
_TAKEN = frozenset({errno.EADDRINUSE})


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on host and port now. Raises OSError for a host that is not ours."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise
    return True


def free_port() -> int:
    """A loopback port that nobody listens on. Raises LaunchError when there is none.

    Below the range that outgoing connections use, so that it is still free at a restart.
    """
    for _ in range(200):
        port = 15_000 + secrets.randbelow(17_000)
        if is_free(port):
            return port
    raise LaunchError("No free port was found between 15000 and 32000: end what listens there.")


def answers(port: int, host: str = LOOPBACK) -> bool:
    """Whether somebody accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
