"""Where trainings of this machine have their folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def training_dir(settings: Any, tmp_path: Path) -> Path:
    """A folder of the test's own, through whose parents the account of a training may pass."""
    settings.TRAINING_DIR = tmp_path / "training"
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    return tmp_path / "training"
