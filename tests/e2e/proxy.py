"""A proxy in front of the platform that drops, delays, cuts, doubles and damages what passes through it."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")


class Faults:
    """Which fault each request meets, by chance; `done` counts them."""

    def __init__(self, shares: Mapping[str, float], seed: int = 1) -> None:
        self.shares = dict(shares)
        self.random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.lock = threading.Lock()

    def next(self) -> str:
        with self.lock:
            fault = self.random.choices([*self.shares, ""], [*self.shares.values(), self._none()])[0]
            self.done[fault or "none"] += 1
        return fault

    def _none(self) -> float:
        return max(0.0, 1.0 - sum(self.shares.values()))


@contextmanager
def proxy_to(url: str, faults: Faults) -> Iterator[str]:
    """The address of a proxy to `url`.

    Faults: drop (nothing is passed on), lose (passed on, the answer is not), delay, cut (the answer ends in its
    middle), double (passed on twice), flip (one bit of the answer's body is another).
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(urlsplit(url).netloc, faults))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(target: str, faults: Faults) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            with suppress(OSError):
                super().handle_one_request()

        def passed_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = faults.next()
            if fault == "drop":
                return self._hang_up()
            if fault == "delay":
                time.sleep(0.2)
            answer, content = self._ask(body)
            if fault == "double":
                answer, content = self._ask(body)
            if fault == "lose":
                return self._hang_up()
            if fault == "flip" and content:
                place = faults.random.randrange(len(content))
                content = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
            self._answer(answer, content, cut=fault == "cut")
            return None

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = passed_on

        def _ask(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
            link = http.client.HTTPConnection(target, timeout=60)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
            link.request(self.command, self.path, body or None, {**headers, "Content-Length": str(len(body))})
            answer = link.getresponse()
            content = answer.read()
            link.close()
            return answer, content

        def _answer(self, answer: http.client.HTTPResponse, content: bytes, *, cut: bool) -> None:
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in (*HOP, "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if cut else content)
            if cut:
                self._hang_up()

        def _hang_up(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(2)

        def log_message(self, format: str, *words: object) -> None:
            """Says nothing."""

    return Handler
