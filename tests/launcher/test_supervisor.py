"""The supervisor: what dies is started again, all end in order, nothing outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.env import ROOT
from launcher import supervisor as supervisor_module
from launcher.process import LOG_BYTES, Child, last_lines, open_log, wait_until
from launcher.supervisor import StopRequest, Supervisor
from tests.launcher.conftest import alive, family

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
# Ignores SIGTERM and has a child that does, too.
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
print('up', flush=True)
time.sleep(600)
"""


class Scene:
    """A supervisor with its children, and what it said."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.stop = StopRequest()
        self.supervisor = Supervisor(self.stop, self.said.append)
        self.folder = folder
        self.names: list[str] = []

    def child(self, name: str, code: str = SLEEPER) -> Child:
        child = Child(name, [sys.executable, "-c", code], log=self.folder / f"{name}.log", env={})
        self.names.append(name)
        self.supervisor.start(child)
        assert wait_until(lambda: last_lines(child.log) != [], 60)
        return child


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(supervisor_module, "SHORTEST_PAUSE", 0.1)
    monkeypatch.setattr(supervisor_module, "LONGEST_PAUSE", 0.4)
    scene = Scene(tmp_path)
    yield scene
    scene.supervisor.end_all([scene.names], 5)


def test_a_killed_child_is_started_again_and_told(scene: Scene) -> None:
    child = scene.child("worker")
    first = child.pid
    assert first
    os.kill(first, signal.SIGKILL)
    assert scene.supervisor.wait(lambda: child.pid != first, 60)
    assert child.pid and alive(family(child.pid))
    assert any("worker was ended by SIGKILL" in line for line in scene.said)
    assert "worker | up" in scene.said
    assert scene.said[-1] == "worker is running again."


def test_what_a_dead_child_left_is_killed_before_it_is_started_again(scene: Scene) -> None:
    child = scene.child("worker", STUBBORN)
    assert wait_until(lambda: len(family(child.pid or 0)) == 2, 60)
    left = family(child.pid or 0)
    assert child.pid
    os.kill(child.pid, signal.SIGKILL)
    assert scene.supervisor.wait(lambda: child.pid not in left, 60)
    assert wait_until(lambda: not alive(left), 60)


def test_a_child_that_always_dies_is_tried_at_growing_distances(scene: Scene) -> None:
    scene.child("worker", "print('up', flush=True); raise SystemExit(3)")
    scene.supervisor.wait(lambda: len([s for s in scene.said if "started again in" in s]) >= 3, 60)
    assert any("ended with status 3" in line for line in scene.said)


def test_children_end_step_by_step(scene: Scene) -> None:
    order: list[str] = []
    children = [scene.child(name) for name in ("postgres", "worker", "web")]
    for child in children:
        original = child.stop

        def stop(*, seconds: float = 10, child: Child = child, original: object = original) -> None:
            order.append(child.name)
            assert child.ended()

        child.stop = stop  # type: ignore[method-assign]
    scene.supervisor.end_all([("web",), ("worker", "nobody"), ("postgres",)], 5)
    assert order == ["web", "worker", "postgres"]


def test_a_child_that_does_not_listen_is_killed_with_its_children(scene: Scene) -> None:
    child = scene.child("worker", STUBBORN)
    assert wait_until(lambda: len(family(child.pid or 0)) == 2, 60)
    left = family(child.pid or 0)
    scene.supervisor.end_all([("worker",)], 0.5)
    assert wait_until(lambda: not alive(left), 60)


def test_a_second_ctrl_c_kills_at_once(scene: Scene) -> None:
    scene.child("worker", STUBBORN)
    scene.stop.count = 2
    began = time.monotonic()
    scene.supervisor.end_all([("worker",)], 600)
    assert time.monotonic() - began < 60


@pytest.mark.slow
@pytest.mark.parametrize("also_the_guard", [False, True])
def test_nothing_outlives_a_killed_launcher(tmp_path: Path, also_the_guard: bool) -> None:
    code = SLEEPER if also_the_guard else STUBBORN
    script = f"""
        import sys, time
        from pathlib import Path
        from launcher import guard
        from launcher.process import Child
        from launcher.supervisor import StopRequest, Supervisor
        supervisor = Supervisor(StopRequest(), print)
        for name in ("web", "worker"):
            log = Path(sys.argv[1]) / name
            supervisor.start(Child(name, [sys.executable, "-c", {code!r}], log=log, env={{}}))
        print("started", flush=True)
        time.sleep(600)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout and launcher.stdout.readline() == "started\n"
        assert wait_until(lambda: len(family(launcher.pid)) == (4 if also_the_guard else 6), 60)
        left = family(launcher.pid)
        if also_the_guard:
            guard = next(pid for pid in left if b"guard.py" in Path(f"/proc/{pid}/cmdline").read_bytes())
            os.kill(guard, signal.SIGKILL)
        launcher.kill()
    assert wait_until(lambda: not alive(left), 60)


def test_a_large_log_is_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "web.log"
    for text in (b"x" * (LOG_BYTES + 1), b"fresh\n"):
        with open_log(log) as file:
            file.write(text)
    assert last_lines(log) == ["fresh"]
    assert log.stat().st_mode & 0o777 == 0o600
    assert log.with_name("web.log.1").stat().st_size > LOG_BYTES


def test_a_signal_is_noted_and_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert not stop
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop and not stop.at_once
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.at_once
    assert signal.getsignal(signal.SIGTERM) == before
