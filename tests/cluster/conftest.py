"""One real cluster for all tests of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.engines.base import ServiceSpec
from deployments.engines.ray import RayEngine
from tests.folders import open_to_others
from tests.ray_cluster import TOKEN, RayCluster, end_shared_cluster, shared_cluster
from tests.waiting import until


@pytest.fixture(scope="package")
def started_cluster() -> Iterator[RayCluster]:
    """The cluster of this folder's tests; with the last of them it ends, else it slows down all that follow."""
    yield shared_cluster()
    end_shared_cluster()


@pytest.fixture
def ray_cluster(started_cluster: RayCluster, settings: Any, db: None) -> Iterator[RayCluster]:
    """The cluster, whole, as the settings name it; nothing that a test had it run is left."""
    started_cluster.heal()
    settings.RAY_ADDRESS, settings.RAY_TOKEN = started_cluster.url, TOKEN
    settings.RAY_SERVE_URL, settings.RAY_MODEL_FILES = started_cluster.serve_url, "shared"
    yield started_cluster
    started_cluster.heal()


@pytest.fixture
def engine(ray_cluster: RayCluster) -> Iterator[RayEngine]:
    engine = RayEngine(ray_cluster.dashboard, ray_cluster.serve_url, None, 1 << 20)
    yield engine
    for service in engine.services():
        engine.stop(service.service_id)
    until(lambda: not engine.services(), 60)


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """A model that answers the sum of each row, and its process by the parameter `who`."""
    folder = tmp_path / "model"
    folder.mkdir()
    open_to_others(tmp_path)
    (folder / "predictor.py").write_text(
        "import os\n\n\nclass Predictor:\n    def load(self, path):\n        print('it was loaded', flush=True)\n\n"
        "    def predict(self, rows):\n        return [sum(row) for row in rows]\n"
    )
    return folder


def a_spec(service_id: str, model_dir: Path, replicas: int = 1, gpu_type: str = "") -> ServiceSpec:
    return ServiceSpec(service_id, model_dir, replicas, "sums", "adder", 3, gpu_type=gpu_type)
