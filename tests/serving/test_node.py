"""One service on a machine of a cluster, without a cluster: real serving processes, started from here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from serving.node import OneService
from serving.problems import CannotLoad
from serving.service import Settings, Spec
from tests.folders import open_to_others
from tests.waiting import until

WHO = """
import os
class Predictor:
    def load(self, path):
        print("it was loaded")
    def predict(self, rows):
        return [[os.getpid(), os.getuid(), sorted(os.environ)] for row in rows]
"""


@pytest.fixture
def model_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A model that tells its process, its account and what its environment holds."""
    open_to_others(tmp_path)
    monkeypatch.setenv("CLUSTER_TOKEN", "secret")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "predictor.py").write_text(WHO)
    return folder


def started(model_dir: Path, name: str) -> OneService:
    spec = Spec(str(model_dir), 1, "sums", "adder", "3")
    return OneService(spec, "the-key", Settings(grace=1), model_dir.parent / "logs" / f"{name}.log")


def asked(service: OneService, key: str = "the-key") -> requests.Response:
    body, headers = {"instances": [[1]]}, {"X-Serving-Key": key}
    return requests.post(f"{service.address()}/predict", json=body, headers=headers, timeout=30)


def test_services_of_one_machine_have_processes_and_accounts_of_their_own(model_dir: Path) -> None:
    services = [started(model_dir, name) for name in ("one", "two")]
    told = [asked(service).json()["predictions"][0] for service in services]
    assert asked(services[0], key="another").status_code == 401
    pids, uids, names = zip(*told, strict=True)
    assert len(set(pids)) == 2 and "CLUSTER_TOKEN" not in names[0]
    if os.getuid() == 0 and 0 not in uids:  # where other accounts can read the code
        assert len(set(uids)) == 2
    services[0].end()
    assert services[1].ready() and not Path(f"/proc/{pids[0]}").exists()
    assert "it was loaded" in (model_dir.parent / "logs" / "one.log").read_text()
    services[1].end()
    assert not Path(f"/proc/{pids[1]}").exists()


def test_nothing_is_left_of_one_whose_process_is_killed(model_dir: Path) -> None:
    program = (
        "import sys, time; from tests.serving.test_node import asked, started; from pathlib import Path\n"
        f"service = started(Path({str(model_dir)!r}), 'killed')\n"
        "print(asked(service).json()['predictions'][0][0], flush=True); time.sleep(600)"
    )
    environ = {**os.environ, "TMPDIR": str(model_dir.parent)}
    process = subprocess.Popen([sys.executable, "-c", program], env=environ, stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.kill()
    process.wait()
    until(lambda: not Path(f"/proc/{pid}").exists(), 10)


def test_one_whose_serving_process_ends_says_so(model_dir: Path) -> None:
    service = started(model_dir, "ended")
    pid = asked(service).json()["predictions"][0][0]
    os.kill(psutil.Process(pid).ppid(), signal.SIGKILL)
    with pytest.raises(CannotLoad, match="ended by force while it served"):
        until(lambda: not service.ready(), 10)
    service.end()


def test_a_model_that_cannot_be_loaded_says_why(model_dir: Path) -> None:
    (model_dir / "predictor.py").write_text("import nowhere_at_all")
    service = started(model_dir, "bad")
    with pytest.raises(CannotLoad, match="nowhere_at_all"):
        service.address()
    service.end()
