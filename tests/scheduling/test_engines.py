"""What the engines make of a program: its files' modes, its memory, its account, and how it says that it was killed."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from accounts.choices import Role
from scheduling.engines import local, ray, supervisor
from scheduling.engines.base import Work
from scheduling.models import ScheduleExecution
from tests.factories import Person, make_person, make_project
from tests.scheduling.factories import drive, make_code, make_schedule, processes_of, trigger
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("training_dir")

SCRIPT = "#!/bin/sh\necho trained by $0\n"


@pytest.fixture
def ann(db: None) -> Person:
    return make_person(make_project("alpha"), Role.CONTRIBUTOR, username="ann")


def test_a_script_of_the_bundle_is_run_as_a_program(ann: Person) -> None:
    make_code(ann, SCRIPT, command=["./train.py"])
    execution = drive(trigger(ann, make_schedule(ann)))
    assert (execution.state, execution.reason) == ("Succeeded", "")


def test_a_script_is_run_as_a_program_on_the_cluster_too(tmp_path: Path) -> None:
    here = Path(local.__file__).parent
    for name in ray.SHIPPED:
        (tmp_path / name).write_bytes((here / name).read_bytes())
    (tmp_path / "configuration.json").write_text("{}")
    spec = {"command": ["./run.sh"], "env": [], "timeout": 60, "memory": None, "cpu": None, "file_size": None}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    (tmp_path / "code" / "deep").mkdir(parents=True)
    (tmp_path / "code" / "run.sh").write_text("#!/bin/sh\nexec deep/more.sh\n")
    (tmp_path / "code" / "deep" / "more.sh").write_text(SCRIPT)
    for path in (tmp_path / "code").rglob("*.sh"):
        path.chmod(0o644)
    done = subprocess.run(
        [sys.executable, "runner.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert "trained by deep/more.sh" in done.stdout, done
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("program", "exit_code"),
    [
        ("import os\nos.kill(os.getpid(), 9)", -9),
        (
            "import subprocess, sys\nsys.exit(subprocess.call(['sh', '-c', \"sh -c 'kill -9 $$'; exit $?\"]))",
            137,
        ),
    ],
)
def test_a_program_that_the_system_killed_says_that_memory_may_be_why(
    program: str, exit_code: int, ann: Person
) -> None:
    execution = drive(trigger(ann, make_schedule(ann, program=program)))
    assert (execution.state, execution.end_reason, execution.exit_code) == ("Failed", "failed", exit_code)
    assert execution.reason == "It was killed by signal 9; the system may have run out of memory."


def test_memory_that_processes_share_counts_once(ann: Person) -> None:
    program = (
        "import os, time\n"
        "data = bytearray(b'x' * (150 << 20))\n"
        "for _ in range(4):\n"
        "    if not os.fork():\n"
        "        time.sleep(2); os._exit(0)\n"
        "for _ in range(4):\n"
        "    os.wait()\n"
    )
    execution = drive(trigger(ann, make_schedule(ann, program=program, memory_limit=400)))
    assert (execution.state, execution.reason) == ("Succeeded", "")
    assert execution.peak_memory is not None
    assert 150 << 20 < execution.peak_memory < 400 << 20


def test_where_the_share_of_memory_cannot_be_read_all_of_it_counts() -> None:
    assert supervisor._share(2**22 + 1, 5000) == 5000
    assert 0 < supervisor._share(os.getpid(), 1 << 40) < 1 << 40


def test_training_as_root_is_said_once_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(local, "_usable", None)
    monkeypatch.setattr(
        local.account, "usable", lambda: "This machine does not let the engine change accounts."
    )
    monkeypatch.setattr(local.os, "geteuid", lambda: 0)
    with caplog.at_level(logging.WARNING):
        assert [local._accounts_usable(), local._accounts_usable()] == [False, False]
    said = [record.getMessage() for record in caplog.records if record.name == local.__name__]
    assert said == [
        "Training programs run as root here, with all its rights."
        " This machine does not let the engine change accounts."
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives accounts")
def test_two_programs_never_share_an_account_and_one_that_ended_leaves_its_own_to_others(
    training_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_usable", True)  # `sleep` needs nothing of the platform
    engine = local.LocalTraining(training_dir)

    def begin(execution_id: str) -> int:
        engine.start(Work(execution_id, ["sleep", "60"], {}, {}, 60, None, Path.mkdir))
        begun = ScheduleExecution(public_id=execution_id)
        return int(until(lambda: {each.uids().real for each in processes_of(begun)} - {0}, 15).pop())

    def end(execution_id: str) -> None:
        engine.stop(execution_id)
        until(lambda: engine.observe(execution_id).state == "ended", 20)

    first, second = begin("exec-ab"), begin("exec-ba")
    assert len({first, second, 0}) == 3
    end("exec-ab")
    third = begin("exec-aab")
    assert third not in (first, second), "what lies in its folder is still its own"
    engine.forget("exec-ab")
    assert begin("exec-aba") == first
    for execution_id in ("exec-ba", "exec-aab", "exec-aba"):
        end(execution_id)


def test_who_looks_whether_a_supervisor_lives_keeps_none_from_its_work(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    with (tmp_path / "lock").open("a+b") as looking:
        local.fcntl.flock(looking, local.fcntl.LOCK_EX)
        starting = subprocess.Popen([sys.executable, "-I", str(local.SUPERVISOR), str(tmp_path)])
        time.sleep(0.3)
        assert starting.poll() is None
    assert starting.wait(20) == 0
