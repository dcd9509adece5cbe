"""What docs/tracking.md shows works: the SDK in a process of its own, against a server of these tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from accounts.choices import Role
from accounts.models import AuditEntry
from tests.factories import make_person, make_project
from tracking.models import Run, RunAlert

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.django_db(transaction=True)
def test_the_snippets_run_as_they_stand(live_server: Any, tmp_path: Path) -> None:
    ann = make_person(make_project("alpha"), Role.MAINTAINER, username="ann")
    page = (ROOT / "docs" / "tracking.md").read_text()
    snippets = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert len(snippets) == 10
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PODSTACK_")}
    settings = {
        "PODSTACK_API_TOKEN": ann.token,
        "PODSTACK_API_ENDPOINT": live_server.url,
        "PODSTACK_PROJECT": "alpha",
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(snippets)],
        cwd=tmp_path,
        env={**kept, **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "It diverges. val_loss > 2.0 since 20" in done.stdout
    assert "has ended as Killed (Killed by ann: It costs too much)" in done.stdout
    assert "PodstackWarning" in done.stderr
    assert sorted(Run.objects.values_list("status", flat=True)) == ["Completed"] * 10 + ["Killed"]
    assert RunAlert.objects.get().fired_value == 2.6
    assert AuditEntry.objects.filter(verb="restore_run", door="sdk").count() == 1
