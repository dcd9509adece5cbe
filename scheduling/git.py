"""The files of one commit of a Git repository, read by the git program: nothing is checked out, nothing of it runs.

Only a caller that checked the address calls `fetched`: an operator names what may be fetched (TRAINING_GIT_URLS).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

SECONDS = 600
MOST_PACK = 4 << 30  # bytes that a fetch may write into one file
PLAIN_FILES = ("100644", "100755")
KINDS = {"120000": "a link", "160000": "a submodule"}
LONGEST_SAYING = 500
LONGEST_ENTRY = 64 << 10
MOST_FILES = 10_000
LATE = "It took too long."
# git's helpers for https stand beside it; nothing of the worker's own environment goes along.
KEPT = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")


class GitError(Exception):
    """What a person can be told of a fetch that did not work."""


@dataclass(frozen=True)
class GitFile:
    """A file of the commit: path below the folder asked for, git's own id, size in bytes."""

    path: str
    object_id: str
    size: int


class Repository:
    """A bare repository in a folder of its own that holds one commit."""

    def __init__(self, folder: Path, config: str) -> None:
        self.folder, self.config = folder, config
        self.deadline = time.monotonic() + SECONDS

    def fetch(self, url: str, commit: str) -> None:
        """Brings `commit` (a full id) from `url`: alone where the server gives it so, else with its history."""
        self._git("init", "--quiet", "--bare", "--object-format", "sha1" if len(commit) == 40 else "sha256")
        fetch = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules")
        try:
            self._git(*fetch, "--depth", "1", "--", url, commit, url=url)
        except GitError:
            self._git(*fetch, "--", url, "+refs/*:refs/fetched/*", url=url)
        found = self._git("cat-file", "-t", commit).strip()
        if found != b"commit":
            raise GitError(f"{commit} is a {found.decode()} there, no commit.")

    def files(self, commit: str, path: str = "") -> list[GitFile]:
        """All files below the folder `path` of `commit`; links and submodules are refused.

        It stops at the first file too many: a small pack can name more of them than any memory holds.
        """
        tree = f"{commit}:{path}" if path else commit
        found: list[GitFile] = []
        with closing(self._entries("ls-tree", "-r", "-z", "-l", "--full-tree", tree)) as entries:
            for entry in entries:
                if len(found) == MOST_FILES:
                    raise GitError(f"There are more files than the {MOST_FILES} that are allowed.")
                found.append(_file(entry))
        return found

    @contextmanager
    def content(self, file: GitFile) -> Iterator[IO[bytes]]:
        """The bytes of a file, as a stream."""
        with subprocess.Popen(
            ["git", "cat-file", "blob", file.object_id],
            cwd=self.folder,
            env=self._environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdout is not None
            yield process.stdout

    def _git(self, *words: str, url: str = "") -> bytes:
        """What git wrote; GitError with what it said when it failed or ran too long."""
        process = self._started(*words, url=url)
        try:
            out, said = process.communicate(timeout=self._left())
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise GitError(LATE) from None
        _check(process.returncode, said)
        return out

    def _entries(self, *words: str) -> Generator[bytes, None, None]:
        """What git writes, piece by piece between NULs; closed early, git ends too."""
        with tempfile.TemporaryFile() as said, self._started(*words, stderr=said) as process:
            late = threading.Timer(self._left(), process.kill)
            late.start()
            try:
                assert process.stdout is not None
                rest = b""
                while piece := process.stdout.read1(1 << 16):  # type: ignore[attr-defined]
                    *whole, rest = (rest + piece).split(b"\0")
                    if len(rest) > LONGEST_ENTRY:
                        raise GitError("The name of a file is too long.")
                    yield from whole
                if process.wait() == -signal.SIGKILL:
                    raise GitError(LATE)
                said.seek(0)
                _check(process.returncode, said.read(1 << 16))
            finally:
                late.cancel()
                process.kill()

    def _started(
        self, *words: str, url: str = "", stderr: int | IO[bytes] = subprocess.PIPE
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", LIMITED, str(MOST_PACK), "git", *words],
            cwd=self.folder,
            env=self._environ(url),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )

    def _left(self) -> float:
        return max(1.0, self.deadline - time.monotonic())

    def _environ(self, url: str = "") -> dict[str, str]:
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        return kept | {
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": self.config or os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": urlsplit(url).scheme or "none",
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
            # A redirect would lead away from what the operator allowed.
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.followRedirects",
            "GIT_CONFIG_VALUE_0": "false",
        }


# Sets the limit in the child itself and becomes the program: no code of ours runs between fork and exec.
LIMITED = (
    "import os, resource, sys; most = int(sys.argv[1]); "
    "resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)); os.execvp(sys.argv[2], sys.argv[2:])"
)


@contextmanager
def fetched(url: str, commit: str, config: str = "") -> Iterator[Repository]:
    """A repository with that commit, gone after the block."""
    if shutil.which("git") is None:
        raise GitError("The worker's machine has no git program; an operator has to install it.")
    with tempfile.TemporaryDirectory(prefix="podstack-git-") as folder:
        repository = Repository(Path(folder), config)
        repository.fetch(url, commit)
        yield repository


def _check(returncode: int, said: bytes) -> None:
    if returncode != 0:
        lines = said.decode("utf-8", "replace").strip().splitlines()
        raise GitError(" ".join(lines)[-LONGEST_SAYING:] or f"git ended with {returncode}.")


def _file(entry: bytes) -> GitFile:
    facts, _, path = entry.partition(b"\t")
    mode, _, object_id, size = facts.decode("ascii").split()
    name = path.decode("utf-8", "replace")
    if mode not in PLAIN_FILES:
        raise GitError(f"{name} is {KINDS.get(mode, 'no file')}; training code holds files only.")
    return GitFile(name, object_id, int(size))
