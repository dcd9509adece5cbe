"""A version travels between two whole platforms: unknown at first, welcome once its server's key is trusted."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from podstack import ConflictError
from tests.e2e.conftest import Platform, another_platform

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent
COPY, EXPORT, IMPORT = re.findall(
    r"^```python\n(.*?)^```$", (ROOT / "docs" / "bundles.md").read_text(), re.DOTALL | re.MULTILINE
)
SIZE = int(os.environ.get("BUNDLE_BYTES", 40 << 20))
ALLOWED = 64 << 20  # bytes by which each web process may grow


def peaks(platform: Platform) -> dict[int, int]:
    """The most memory in bytes that each web process ever had."""
    found = {}
    for pid in platform.processes("launcher.web"):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
        found[pid] = int(peak) * 1024
    return found


def run_snippet(platform: Platform, snippet: str, folder: Path) -> str:
    """What a snippet of docs/bundles.md prints on this platform."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PODSTACK_")}
    done = subprocess.run(
        [sys.executable, "-c", snippet],
        cwd=folder,
        env={**kept, **platform.env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.write(b"GGUF")  # of a kind that the scan knows
        while size > 0:
            file.write(random.Random(size).randbytes(min(size, 1 << 20)))
            size -= 1 << 20


def test_a_version_travels_to_another_server(platform: Platform, tmp_path: Path) -> None:
    here = platform.client()
    (tmp_path / "model").mkdir()
    write(tmp_path / "model" / "weights.gguf", SIZE)
    (tmp_path / "model" / "notes.txt").write_text("one")
    with here.start_run("travels") as run:
        run.log_metric("accuracy", 0.9)
        run.log_artifact(tmp_path / "model")
    version = here.create_model_version("traveller", run.id, "model", tags={"k": "v"})
    here.transition_model_version_stage("traveller", 1, "Staging", note="Go.")
    assert run_snippet(platform, COPY, tmp_path) == "traveller-kept 1 traveller 1\n"
    key = here.get_bundle_key().public_key
    before = peaks(platform)
    assert run_snippet(platform, EXPORT, tmp_path) == f"traveller.zip {key}\n"
    bundle = tmp_path / "traveller.zip"
    assert bundle.stat().st_size > SIZE
    grown = [peak - before[pid] for pid, peak in peaks(platform).items() if pid in before]
    assert max(grown) < ALLOWED, grown

    with another_platform(WEB_WORKERS="1", BUNDLE_TRUSTED_KEYS=key) as other:
        there = other.client()
        before = peaks(other)
        made = there.import_model_version(bundle)
        grown = [peak - before[pid] for pid, peak in peaks(other).items() if pid in before]
        assert max(grown) < ALLOWED, grown
        assert run_snippet(other, IMPORT, tmp_path) == f"traveller 2 Ready {platform.url}\n"
        assert (made.status, made.manifest_digest, made.tags) == (
            "Ready",
            version.manifest_digest,
            {"k": "v"},
        )
        assert made.origin and made.origin["server"] == platform.url
        assert made.origin["history"]["transitions"][0]["note"] == "Go."
        there.download_model_version("traveller", 1, tmp_path / "back")
        for path in (tmp_path / "model").iterdir():
            assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()
        back = there.export_model_version("traveller", 1, tmp_path / "back.zip")
        with pytest.raises(ConflictError) as caught:
            here.import_model_version(back)
        assert caught.value.code == "signer_unknown"
