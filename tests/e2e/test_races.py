"""Many at once, through REST, with four web workers."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.conftest import Platform

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("SOAK_RACE_ROUNDS", "2"))
AT_ONCE = 100


def test_versions_created_at_once_get_each_number_once(platform: Platform, tmp_path: Path) -> None:
    client = platform.client()
    (tmp_path / "weights.txt").write_text("1 2 3")
    with client.start_run(experiment_id="races") as run:
        run.log_artifact(tmp_path / "weights.txt")

    def create(_: int) -> int:
        return client.create_model_version("race", run.id, "weights.txt", wait=False).version

    with ThreadPoolExecutor(AT_ONCE) as pool:
        numbers = [n for _ in range(ROUNDS) for n in pool.map(create, range(AT_ONCE))]
    assert sorted(numbers) == list(range(1, ROUNDS * AT_ONCE + 1))
    assert client.get_model("race").latest_version.version == ROUNDS * AT_ONCE
