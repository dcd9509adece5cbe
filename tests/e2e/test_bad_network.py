"""The SDK behind a network that drops, delays, cuts, doubles and damages: nothing is lost, done twice or taken wrong.

SOAK_NETWORK is the number of versions and of downloads (1,000 in `make soak`).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from podstack import DigestMismatch, MLOpsClient
from podstack.http import Retries
from tests.e2e.conftest import Platform
from tests.e2e.proxy import Faults, proxy_to

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("SOAK_NETWORK", "60"))
BAD = {"drop": 0.08, "lose": 0.08, "delay": 0.05, "cut": 0.08, "double": 0.08}
QUICK = Retries(first_pause=0.02, longest_pause=0.2, first_patience=30)


def behind(platform: Platform, url: str) -> MLOpsClient:
    return MLOpsClient(platform.token, url, platform.env["PODSTACK_PROJECT"], retries=QUICK)


def test_as_many_versions_are_there_as_were_asked_for(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text("1 2 3")
    faults = Faults(BAD)
    with proxy_to(platform.url, faults) as url:
        client = behind(platform, url)
        with client.start_run("network") as run:
            run.log_artifact(tmp_path / "w.txt")
            run.log_metrics({"loss": 0.5}, step=1)

        def create(number: int) -> int:
            made = client.create_model_version("network", run.id, "w.txt", tags={"asked": number}, wait=False)
            return made.version

        with ThreadPoolExecutor(8) as pool:
            numbers = list(pool.map(create, range(COUNT)))
    assert sorted(numbers) == list(range(1, COUNT + 1))
    there = list(platform.client().list_model_versions("network"))
    assert len(there) == COUNT
    assert {version.tags["asked"] for version in there} == {str(number) for number in range(COUNT)}
    history = platform.client().get_metric_history(run.id, "loss")
    assert list(history.values) == [0.5]
    assert COUNT < 50 or all(faults.done[fault] for fault in BAD), faults.done


def test_files_come_whole_through_a_bad_network(platform: Platform, tmp_path: Path) -> None:
    content = os.urandom(300_000)
    (tmp_path / "w.bin").write_bytes(content)
    with proxy_to(platform.url, Faults({**BAD, "flip": 0.05}, seed=2)) as url:
        client = behind(platform, url)
        with client.start_run("network") as run:
            run.log_artifact(tmp_path / "w.bin")
        client.create_model_version("network-files", run.id, "w.bin", wait=False)
        for number in range(max(5, COUNT // 20)):
            target = tmp_path / f"down-{number}"
            try:
                client.download_model_version("network-files", 1, target)
            except DigestMismatch:  # damaged twice in a row
                assert not [path for path in target.rglob("*") if path.name == "w.bin"]
                continue
            assert (target / "w.bin").read_bytes() == content


def test_each_download_with_a_flipped_bit_is_refused(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(os.urandom(5000))
    own = platform.client()
    with own.start_run("network") as run:
        run.log_artifact(tmp_path / "w.bin")
    own.create_model_version("network-flips", run.id, "w.bin", wait=False)
    file = own.list_model_version_artifacts("network-flips", 1)[0]
    with proxy_to(platform.url, Faults({"flip": 1.0}, seed=3)) as url:
        from podstack.files import download

        client = behind(platform, url)
        path = client.path("models", "network-flips", "versions", 1, "artifacts")
        for number in range(COUNT):
            target = tmp_path / f"flip-{number}"
            with pytest.raises(DigestMismatch):
                download(client.http, path, [file], target)
            assert not list(target.rglob("w.bin"))
