"""The whole platform's start and end, with doubles for its own processes (see double.py)."""

from __future__ import annotations

import ast
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.env import NAMES, ROOT
from launcher import ports
from launcher.house import read_exports
from launcher.process import wait_until
from tests.launcher.conftest import alive, family


class Launched:
    """A launcher in a process of its own, and what it printed."""

    def __init__(self, var_dir: Path, **settings: str) -> None:
        self.var_dir = var_dir
        environ = {name: value for name, value in os.environ.items() if name not in NAMES}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.launcher.double"],
            cwd=ROOT,
            env=environ | {"VAR_DIR": str(var_dir)} | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def said(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, text: str, seconds: float = 120) -> None:
        assert wait_until(lambda: text in self.said or not self._reader.is_alive(), seconds), self.said
        assert text in self.said, self.said

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(120)
        self._reader.join(60)
        return status

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))


def first_words(log: Path) -> str:
    """What a process logged, once it has: nothing that the launcher says waits for a worker's first line."""
    assert wait_until(lambda: log.read_text().endswith("\n"), 60), log.name
    return log.read_text()


@pytest.fixture
def settings() -> dict[str, str]:
    return {"PORT": str(ports.free_port())}


@pytest.fixture
def launched(open_dir: Path, settings: dict[str, str]) -> Iterator[Launched]:
    launched = Launched(open_dir / "var", **settings)
    launched.wait_for("Done. The portal now shows")
    yield launched
    launched.end()


def test_first_start_shows_address_login_and_exports_and_plays_the_example(
    launched: Launched, settings: dict[str, str]
) -> None:
    address = f"http://127.0.0.1:{settings['PORT']}"
    for line in (
        f"  Portal    {address}",
        "  Login     admin",
        "  Password  it is random",
        f"  export PODSTACK_API_ENDPOINT={address}",
        "  export PODSTACK_API_TOKEN=podstack_a_b",
        "  export PODSTACK_PROJECT=default",
        "The example says default False",
    ):
        assert line in launched.lines
    for name in ("secret_key", "serving_token", "dev.env", "platform.env", "launcher.lock"):
        assert (launched.var_dir / name).stat().st_mode & 0o777 == 0o600, name
    assert read_exports(launched.var_dir / "platform.env")["DATABASE_URL"].startswith("postgresql://")
    engine = first_words(launched.var_dir / "logs" / "engine.log")
    assert engine.startswith("no secret")
    assert "SERVING_ENGINE_TOKEN" in engine
    assert not {"HOME", "DATABASE_URL", "REDIS_URL"} & set(ast.literal_eval(engine.partition("secret ")[2]))
    assert first_words(launched.var_dir / "logs" / "worker.log").startswith("secret")


def test_sigterm_ends_everything_and_the_second_start_goes_on_with_what_is_there(
    launched: Launched, settings: dict[str, str]
) -> None:
    left = family(launched.process.pid)
    assert len(left) > 10
    assert launched.end(signal.SIGTERM) == 0
    assert launched.lines[-1] == "Ended; everything is kept."
    assert not alive(left)
    other_port = str(ports.free_port())
    again = Launched(launched.var_dir, PORT=other_port)
    again.wait_for("Ctrl-C ends everything.")
    assert again.end(signal.SIGINT) == 0
    assert "it is random" not in again.said
    assert "as set at first start, see" in again.said
    assert f"export PODSTACK_API_ENDPOINT=http://127.0.0.1:{other_port}" in again.said
    assert "The example says" not in again.said


@pytest.mark.slow
def test_sigkill_of_the_launcher_leaves_nothing(launched: Launched) -> None:
    left = family(launched.process.pid)
    launched.end(signal.SIGKILL)
    assert wait_until(lambda: not alive(left), 60)
    again = Launched(launched.var_dir, PORT=str(ports.free_port()), DEMO="0")
    again.wait_for("The platform is ready")
    again.end()


def test_a_killed_worker_is_started_again(launched: Launched) -> None:
    log = str(launched.var_dir / "logs" / "worker.log")
    workers = [pid for pid in family(launched.process.pid) if os.readlink(f"/proc/{pid}/fd/1") == log]
    os.kill(min(workers), signal.SIGKILL)
    launched.wait_for("worker is running again.")
    assert "worker was ended by SIGKILL" in launched.said
    assert any(line.startswith("worker | ") for line in launched.lines)


def test_a_second_launcher_and_a_taken_port_are_refused(launched: Launched, settings: dict[str, str]) -> None:
    second = Launched(launched.var_dir, PORT=str(ports.free_port()))
    assert second.process.wait(120) == 1
    second.wait_for(f"already running on {launched.var_dir} (process {launched.process.pid})")
    beside = Launched(launched.var_dir.with_name("beside"), **settings)
    assert beside.process.wait(120) == 1
    beside.wait_for(f"Port {settings['PORT']} of 127.0.0.1 is taken")
    assert "Traceback" not in second.said + beside.said


def test_a_failing_example_is_told_and_the_platform_goes_on(open_dir: Path, settings: dict[str, str]) -> None:
    launched = Launched(open_dir / "var", DOUBLE_DEMO_STATUS="3", **settings)
    launched.wait_for("The example failed (status 3")
    assert launched.process.poll() is None
    assert launched.end() == 0


def test_a_failing_migration_ends_the_start_with_its_last_words(
    open_dir: Path, settings: dict[str, str]
) -> None:
    launched = Launched(open_dir / "var", DOUBLE_FAILS="migrate", **settings)
    assert launched.process.wait(120) == 1
    launched.wait_for("`migrate` failed")
    assert "the database said no" in launched.said


def test_ctrl_c_while_starting_ends_it(open_dir: Path, settings: dict[str, str]) -> None:
    launched = Launched(open_dir / "var", **settings)
    launched.wait_for("Starting…")
    left = family(launched.process.pid)
    assert launched.end(signal.SIGINT) == 0
    assert not alive(left)


def test_demo_0_leaves_the_example_out(open_dir: Path, settings: dict[str, str]) -> None:
    launched = Launched(open_dir / "var", DEMO="0", **settings)
    launched.wait_for("Ctrl-C ends everything.")
    assert launched.end() == 0
    assert "The example" not in launched.said


def launcher(words: list[str], **settings: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name not in NAMES} | settings
    command = [sys.executable, "-m", "launcher", *words]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)


def test_bad_settings_end_with_status_2_and_sentences() -> None:
    done = launcher([], PORT="x", DEBUG="1", HOST="0.0.0.0", LOG_LEVEL="?")
    assert done.returncode == 2
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["PORT", "LOG_LEVEL"]


def test_env_prints_the_exports(tmp_path: Path) -> None:
    assert launcher(["env"], VAR_DIR=str(tmp_path)).returncode == 1
    (tmp_path / "dev.env").write_text(
        "export PODSTACK_API_ENDPOINT='http://h:1'\nexport PODSTACK_ADMIN_PASSWORD=x\nPODSTACK_API_TOKEN=t\n"
    )
    done = launcher(["env"], VAR_DIR=str(tmp_path))
    assert done.stdout == "export PODSTACK_API_ENDPOINT=http://h:1\nexport PODSTACK_API_TOKEN=t\n"
    assert launcher(["other"]).returncode == 2


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = launcher([], VAR_DIR=str(tmp_path / "file" / "var"))
    assert done.returncode == 1
    assert "set VAR_DIR to one that can." in done.stdout


def test_a_foreign_host_is_told(tmp_path: Path) -> None:
    done = launcher([], VAR_DIR=str(tmp_path / "var"), HOST="192.0.2.1")
    assert done.returncode == 1
    assert "HOST 192.0.2.1 is no address of this machine" in done.stdout


def test_a_taken_ipv6_port_is_seen() -> None:
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind(("::1", 0))
        listener.listen()
        assert not ports.is_free(listener.getsockname()[1], "::1")
