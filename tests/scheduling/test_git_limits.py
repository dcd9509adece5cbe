"""Commits that name more files than any memory holds."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scheduling import git
from scheduling.models import TrainingCode
from tests.factories import make_person, make_project, run_jobs
from tests.scheduling.factories import make_experiment
from tests.waiting import until

DEPTH = 12  # 10 entries in each: 10^12 files


@pytest.fixture
def bomb(tmp_path: Path, settings: Any) -> tuple[str, str]:
    """A repository of a few objects; its address and its commit."""
    folder = tmp_path / "origins" / "bomb"
    folder.mkdir(parents=True)
    settings.TRAINING_GIT_URLS = ((tmp_path / "origins").as_uri() + "/",)

    def said(*words: str, given: str = "") -> str:
        name = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        done = subprocess.run(
            ["git", *name, *words], cwd=folder, input=given, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    said("init", "--quiet")
    kind, found = "100644 blob", said("hash-object", "-w", "--stdin", given="x")
    for _ in range(DEPTH):
        found = said("mktree", given="".join(f"{kind} {found}\tname{each}\n" for each in range(10)))
        kind = "040000 tree"
    commit = said("commit-tree", found, "-m", "x")
    said("update-ref", "refs/heads/main", commit)
    return folder.as_uri(), commit


@pytest.mark.django_db(transaction=True)
def test_a_commit_of_countless_files_is_refused_at_once_and_in_little_memory(bomb: tuple[str, str]) -> None:
    ada = make_person(make_project())
    body = {"git_url": bomb[0], "git_commit": bomb[1], "command": ["python", "train.py"]}
    path = f"{ada.base}/experiments/{make_experiment(ada)}/training-code"
    assert ada.api.post(path, body, format="json").status_code == 201
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run_jobs()
    code = TrainingCode.objects.get()
    assert (code.state, code.manifest) == ("Failed", None)
    assert "There are more files than the 10000 that are allowed." in code.reason
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_a_listing_ends_with_the_time_that_it_has_and_leaves_no_process(bomb: tuple[str, str]) -> None:
    with git.fetched(*bomb) as repository:
        repository.deadline = 0
        entries = repository._entries("ls-tree", "-r", "-z", bomb[1])
        with pytest.raises(git.GitError, match="It took too long"):
            for _ in entries:
                pass
        children = Path("/proc/self/task").glob("*/children")
        until(
            lambda: (
                not any("ls-tree" in _command(pid) for one in children for pid in one.read_text().split())
            ),
            5,
        )


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_what_git_says_of_a_listing_that_fails_is_told(bomb: tuple[str, str]) -> None:
    with git.fetched(*bomb) as repository, pytest.raises(git.GitError, match="nowhere"):
        repository.files(bomb[1], "nowhere")
