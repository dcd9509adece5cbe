"""The snippets of docs/cli.md do what they say, on the whole platform."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from tests.e2e.conftest import Platform

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_snippets_of_the_page_run_as_they_stand(platform: Platform, tmp_path: Path) -> None:
    snippets = re.findall(
        r"^```sh\n(.*?)^```$", (ROOT / "docs" / "cli.md").read_text(), re.DOTALL | re.MULTILINE
    )
    assert len(snippets) == 2
    train(platform, tmp_path)
    answers = [run(platform, tmp_path, snippet) for snippet in snippets]
    assert "api_token" in (tmp_path / ".podstack" / "credentials").read_text()
    assert answers[-1].splitlines()[-1].split() == [
        "Url",
        f"{platform.url}/projects/default/deployments/flowers/",
    ]
    assert "\n0\n" in answers[-1]
    assert (tmp_path / "champion" / "model.joblib").read_bytes() == (tmp_path / "model.joblib").read_bytes()


def train(platform: Platform, folder: Path) -> None:
    data = load_iris()
    joblib.dump(LogisticRegression(max_iter=1000).fit(data.data, data.target), folder / "model.joblib")
    with platform.client().start_run("command-line") as run:
        run.log_metric("accuracy", 0.9)
        run.log_artifact(folder / "model.joblib")


def run(platform: Platform, folder: Path, snippet: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PODSTACK_")}
    paths = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", snippet],
        cwd=folder,
        env={**kept, **platform.env, "HOME": str(folder), "PATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert platform.token not in done.stdout + done.stderr
    return done.stdout
