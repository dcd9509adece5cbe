"""What start_run sees of the system and of Git by itself."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from podstack import MLOpsClient
from podstack import environment as environment_module
from podstack.environment import environment, git, without_credentials
from podstack.version import __version__
from tests.sdk.fake_server import FakeServer

GIT = shutil.which("git")
needs_git = pytest.mark.skipif(GIT is None, reason="There is no git here.")


def run_git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        [GIT or "git", *who, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit of train.py, whose origin's address holds a token."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "train.py").write_text("print(1)")
    run_git(folder, "init")
    run_git(folder, "add", ".")
    run_git(folder, "commit", "-m", "First")
    run_git(folder, "remote", "add", "origin", "https://ann:secret@example.com/team/code.git")
    return folder


@pytest.fixture
def afresh() -> None:
    environment_module._system.cache_clear()
    environment_module._packages.cache_clear()


def sent(server: FakeServer) -> dict[str, Any]:
    found: dict[str, Any] = server.requests("POST .*/runs$")[-1].json
    return found


def test_a_run_records_its_system_and_packages(client: MLOpsClient, server: FakeServer) -> None:
    client.start_run("exp").end()
    seen = sent(server)["environment"]
    assert seen["system"]["python"] == platform.python_version()
    assert seen["system"]["cpu_count"] == os.cpu_count()
    assert seen["system"]["platform"] and seen["system"]["hostname"]
    assert seen["system"]["memory_bytes"] > 2**20
    assert seen["packages"]["podstack"] == __version__
    assert all(isinstance(version, str) for version in seen["packages"].values())


@needs_git
def test_git_says_commit_branch_changes_and_origin(repository: Path) -> None:
    commit = run_git(repository, "rev-parse", "HEAD")
    clean = git(repository)
    remote = "https://example.com/team/code.git"
    assert clean == {"commit": commit, "branch": "main", "remote": remote, "dirty": False}
    (repository / "new.txt").write_text("untracked")
    assert git(repository)["dirty"] is False
    (repository / "train.py").write_text("print(2)")
    assert git(repository)["dirty"] is True
    run_git(repository, "checkout", "--detach")
    assert "branch" not in git(repository)


SCRIPT = """
import json
from podstack import MLOpsClient
from podstack.environment import environment
print(json.dumps(environment()))
"""


@needs_git
def test_the_repository_is_the_scripts_not_the_callers(repository: Path, tmp_path: Path) -> None:
    (repository / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(repository / "script.py")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["git"]["commit"] == run_git(repository, "rev-parse", "HEAD")


@needs_git
def test_the_commit_is_the_code_version_unless_one_is_given(
    client: MLOpsClient, server: FakeServer, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(repository / "train.py"), raising=False)
    client.start_run("exp").end()
    assert sent(server)["code_version"] == run_git(repository, "rev-parse", "HEAD")
    client.start_run("exp", code_version="v7").end()
    assert sent(server)["code_version"] == "v7"
    assert sent(server)["environment"]["git"]["branch"] == "main"


@pytest.mark.parametrize("value", ["0", "false", "No", " off "])
def test_the_environment_can_switch_it_off(
    client: MLOpsClient, server: FakeServer, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("PODSTACK_CAPTURE", value)
    client.start_run("exp", capture=True).end()
    assert not {"environment", "code_version"} & set(sent(server))


def test_the_caller_can_switch_it_off(client: MLOpsClient, server: FakeServer) -> None:
    run = client.start_run("exp", capture=False, code_version="v7")
    assert "environment" not in sent(server)
    assert sent(server)["code_version"] == "v7"
    run.start_child(capture=False).end()
    assert "environment" not in sent(server)
    run.start_child().end()
    assert "environment" in sent(server)
    run.end()


def test_nothing_breaks_and_nothing_waits_without_git(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, afresh: None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    took = []
    for _ in range(3):
        environment_module._system.cache_clear()
        environment_module._packages.cache_clear()
        before = time.perf_counter()
        seen = environment()
        took.append(time.perf_counter() - before)
        assert "git" not in seen and "system" in seen
    assert min(took) < 0.05


def test_outside_of_a_repository_there_is_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git(tmp_path) == {}
    assert git(tmp_path / "nowhere") == {}


def test_a_git_that_hangs_is_waited_for_one_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\nexec sleep 30\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    before = time.monotonic()
    assert git(tmp_path) == {}
    assert time.monotonic() - before < 15


def test_a_gpu_has_its_name_from_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment_module, "DRIVER", tmp_path)
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / bus).mkdir()
        (tmp_path / bus / "information").write_text("Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   24\n")
    assert environment()["system"]["gpus"] == ["NVIDIA H100 80GB HBM3"] * 2


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://example.com/team/code.git", "https://example.com/team/code.git"),
        ("https://ann:secret@example.com:8443/code.git", "https://example.com:8443/code.git"),
        ("https://secret@example.com/code.git?token=secret#secret", "https://example.com/code.git"),
        ("https://ann:sec/secret@example.com/code.git", ""),
        ("https://ann:sec#secret@example.com/code.git", ""),
        ("https://ann:sec?secret@example.com/code.git", ""),
        ("ssh://git:secret@example.com/code.git", "ssh://example.com/code.git"),
        ("git@example.com:team/code.git", "example.com:team/code.git"),
        ("git@example.com:/srv/code.git", "example.com:/srv/code.git"),
        ("ann:secret@example.com:code.git", ""),
        ("ext::sh -c 'curl secret'", ""),
        ("odd://secret@example.com", ""),
        ("/srv/git/code.git", "/srv/git/code.git"),
        ("", ""),
    ],
)
def test_no_credential_is_recorded(address: str, shown: str) -> None:
    assert without_credentials(address) == shown
    assert "secret" not in without_credentials(address)
