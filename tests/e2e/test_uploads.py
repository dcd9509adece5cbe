"""A large upload that breaks goes on: in the same process, and on another machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from podstack import MLOpsClient
from podstack.files import sending
from podstack.http import Retries
from tests.e2e.conftest import Platform
from tests.waiting import until

pytestmark = pytest.mark.slow

SIZE = 160 << 20
CUT_AFTER = 100 << 20
PART = 64 << 20
QUICK = Retries(first_pause=0.02, longest_pause=0.5, first_patience=30)


class Relay:
    """Passes bytes on to `target` and counts what clients sent; closes one connection after `cut_after` bytes."""

    def __init__(self, target: tuple[str, int], cut_after: int = 0) -> None:
        self.target = target
        self.cut_after = cut_after
        self.sent = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.target)
                threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()
                threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        came = 0
        with suppress(OSError):
            while data := source.recv(1 << 18):
                target.sendall(data)
                came += len(data)
                if counted:
                    self.sent += len(data)
                    if self.cut_after and came > self.cut_after:
                        self.cut_after = 0
                        break
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay_to(url: str, cut_after: int = 0) -> Iterator[Relay]:
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    relay = Relay((parts.hostname, parts.port), cut_after)
    try:
        yield relay
    finally:
        relay.listener.close()


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that no server has."""
    monkeypatch.setattr(sending, "LARGE", PART)
    block = os.urandom(1 << 20)
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        for number in range(SIZE >> 20):
            file.write(number.to_bytes(8, "big") + block[8:])
    return path


def test_an_upload_that_is_cut_goes_on_with_what_is_missing(platform: Platform, large: Path) -> None:
    with relay_to(platform.url, CUT_AFTER) as relay:
        client = MLOpsClient(platform.token, relay.url, platform.env["PODSTACK_PROJECT"], retries=QUICK)
        with client.start_run("uploads") as run:
            run.log_artifact(large)
    assert relay.sent < CUT_AFTER + SIZE - PART + (8 << 20)
    assert [file.size for file in platform.client().list_artifacts(run.id)] == [SIZE]


def test_an_upload_whose_process_was_killed_goes_on_on_another_machine(
    platform: Platform, large: Path, tmp_path: Path
) -> None:
    program = "import sys\nfrom podstack import MLOpsClient\nfrom podstack.files import sending\n"
    program += f"sending.LARGE = {PART}\n"
    program += "with MLOpsClient().start_run('uploads') as run:\n    run.log_artifact(sys.argv[1])\n"
    with relay_to(platform.url) as relay:
        env = {**os.environ, **platform.env, "PODSTACK_API_ENDPOINT": relay.url}
        env |= {"PODSTACK_API_TOKEN": platform.token, "PODSTACK_CACHE_DIR": str(tmp_path / "first")}
        process = subprocess.Popen([sys.executable, "-c", program, str(large)], env=env)
        until(lambda: relay.sent >= CUT_AFTER, 180, pause=0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    client = platform.client()
    until(lambda: uploads(client), 120)
    with relay_to(platform.url) as second:
        other = MLOpsClient(platform.token, second.url, platform.env["PODSTACK_PROJECT"], retries=QUICK)
        with other.start_run("uploads") as run:
            run.log_artifact(large)
    assert second.sent < SIZE - PART + (8 << 20)
    assert uploads(client) == []


def uploads(client: MLOpsClient) -> list[object]:
    answer = client.http.call("GET", client.path("blobs", "uploads"))
    return list(answer["results"])
