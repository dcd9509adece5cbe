"""A way to the database that tests may shut."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class Door:
    """Passes TCP connections on while it is open; shutting it breaks those that pass."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open = True
        self._passing: set[socket.socket] = set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.shut()

    def open(self) -> None:
        self._open = True

    def shut(self) -> None:
        self._open = False
        for one in list(self._passing):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                inside, _ = self._listener.accept()
                outside = socket.create_connection(self._target) if self._open else None
            except OSError:
                return
            if outside is None:
                inside.close()
                continue
            self._passing |= {inside, outside}
            for pair in ((inside, outside), (outside, inside)):
                threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            self._passing.discard(one)
