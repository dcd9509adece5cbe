"""README's ten lines do what they say."""

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


def test_the_snippet_of_the_readme_runs_as_it_stands(platform: Platform, tmp_path: Path) -> None:
    snippets = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    assert snippets
    data = load_iris()
    joblib.dump(LogisticRegression(max_iter=1000).fit(data.data, data.target), tmp_path / "model.joblib")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PODSTACK_")}
    for snippet in snippets:
        done = subprocess.run(
            [sys.executable, "-c", snippet],
            cwd=tmp_path,
            env={**kept, **platform.env, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert "/serve/" in done.stdout
