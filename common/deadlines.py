"""A bound on a whole exchange over a socket, whose own time-out is for each single read."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress


@contextmanager
def cut_at(until: float, link: socket.socket) -> Iterator[None]:
    """Ends the connection at this moment of `time.monotonic`, whatever in the block waits for it then.

    What is read after that ends early, or raises: look at the clock. It is cut by a second handle, since TLS takes over
    the first one while it still shakes hands.
    """
    with closing(link.dup()) as handle:

        def cut() -> None:
            with suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(max(0, until - time.monotonic()), cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
