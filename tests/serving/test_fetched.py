"""A model's files as a machine of a cluster fetches and keeps them, from a real HTTP server."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from serving.fetched import files_of
from serving.problems import CannotLoad

LONG_AGO = 1_000_000_000
HOLDS = "import sys; from pathlib import Path; from serving.fetched import files_of; {}; input()"


class Platform:
    """Answers the files of one model to who has the key, and counts what it was asked for; a bucket asks for no key."""

    def __init__(self, *, is_bucket: bool = False) -> None:
        self.is_bucket = is_bucket
        self.files, self.asked = {"model/predictor.py": b"pass", "w.bin": b"123"}, list[str]()
        self.keys, self.bytes_are_at = list[str | None](), ""
        platform = self

        class Door(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                platform.asked.append(self.path)
                platform.keys.append(self.headers["X-Serving-Key"])
                if platform.bytes_are_at and self.path != "/files":
                    self.send_response(302)
                    self.send_header("Location", platform.bytes_are_at + self.path)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                known = self.headers["X-Serving-Key"] == "the-key" or platform.is_bucket
                content = platform.answer(self.path) if known else b""
                self.send_response(200 if known else 401)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self.server.server_port}/files"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path: str) -> bytes:
        digests = {hashlib.sha256(content).hexdigest(): content for content in self.files.values()}
        if path == "/files":
            rows = [
                {"path": name, "sha256": hashlib.sha256(content).hexdigest()}
                for name, content in self.files.items()
            ]
            return json.dumps({"files": rows}).encode()
        return digests[path.removeprefix("/files/")]


@pytest.fixture
def platform() -> Iterator[Platform]:
    platform = Platform()
    yield platform
    platform.server.shutdown()
    platform.server.server_close()


def test_files_are_fetched_once_and_others_may_read_them(platform: Platform, tmp_path: Path) -> None:
    folder = files_of(tmp_path / "models", "digest", platform.url, "the-key")
    assert (folder / "model" / "predictor.py").read_bytes() == b"pass"
    assert (folder / "w.bin").stat().st_mode & 0o777 == 0o644 and folder.stat().st_mode & 0o777 == 0o755
    before = len(platform.asked)
    assert files_of(tmp_path / "models", "digest", platform.url, "the-key") == folder
    assert len(platform.asked) == before == 3


def test_what_cannot_be_had_or_would_lie_elsewhere_is_a_sentence(platform: Platform, tmp_path: Path) -> None:
    with pytest.raises(CannotLoad, match=r"could not be fetched from http://127.*401"):
        files_of(tmp_path / "models", "digest", platform.url, "another-key")
    platform.files = {"../outside.txt": b"x"}
    with pytest.raises(CannotLoad, match=r"'../outside.txt' would lie outside"):
        files_of(tmp_path / "models", "digest", platform.url, "the-key")
    assert (
        not (tmp_path / "models" / "outside.txt").exists() and not (tmp_path / "models" / "digest").exists()
    )


def test_who_sends_the_bytes_for_the_platform_does_not_learn_the_key(
    platform: Platform, tmp_path: Path
) -> None:
    bucket = Platform(is_bucket=True)
    platform.bytes_are_at = bucket.url.removesuffix("/files")
    folder = files_of(tmp_path / "models", "digest", platform.url, "the-key")
    assert (folder / "w.bin").read_bytes() == b"123"
    assert set(platform.keys) == {"the-key"} and bucket.keys == [None, None]
    bucket.server.shutdown()
    bucket.server.server_close()


def test_what_nobody_has_used_for_a_week_is_removed(platform: Platform, tmp_path: Path) -> None:
    home = tmp_path / "models"
    ask = "; ".join(
        f"files_of(Path({str(home)!r}), {name!r}, {platform.url!r}, 'the-key')" for name in ("a", "b")
    )
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDS.format(f"{ask}; print(flush=True)")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout is not None
    other.stdout.readline()
    for name in ("a", "b"):
        os.utime(home / name, (LONG_AGO, LONG_AGO))
    files_of(home, "c", platform.url, "the-key")
    assert (home / "a").exists()  # the other process goes on using it
    other.communicate(b"\n")
    files_of(home, "b", platform.url, "the-key")
    assert not (home / "a").exists() and (home / "b").exists() and (home / "c").exists()
