"""Every Python block of the specification, in its order, against the running platform."""

from __future__ import annotations

import importlib.util
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import requests
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

from podstack import MLOpsClient
from podstack.errors import DeploymentFailed
from tests.e2e import standin_torch
from tests.e2e.conftest import ROOT, Platform

pytestmark = pytest.mark.slow

TORCH = importlib.util.find_spec("torch") is not None
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[str]:
    """The specification's Python blocks, first to last."""
    return BLOCK.findall((ROOT / "docs" / "specification.md").read_text())


class Net:
    """The model that the example's train_model() gives where torch is not installed."""

    def state_dict(self) -> dict[str, list[float]]:
        return {"weight": [0.5, -0.25], "bias": [0.1]}


def train_model() -> Any:
    if TORCH:
        import torch

        return torch.nn.Linear(2, 1)
    return Net()


def a_run_with(client: MLOpsClient, run_id: str, name: str, folder: Path, artifact_path: str = "") -> None:
    """A finished run of the name that the specification takes for granted."""
    with client.start_run(experiment_id="sentiment-exp", run_id=run_id) as run:
        run.log_params({"lr": 0.001})
        run.log_metrics({"accuracy": 0.9})
        run.log_artifact(folder / name, artifact_path=artifact_path or None)


@pytest.fixture
def place(platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder with the environment of `var/dev.env`, and something that is called torch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PODSTACK_API_ENDPOINT", platform.url)
    monkeypatch.setenv("PODSTACK_PROJECT", platform.env["PODSTACK_PROJECT"])
    if not TORCH:
        monkeypatch.setitem(sys.modules, "torch", standin_torch)
    yield tmp_path


def test_every_python_block_of_the_specification_works_as_written(
    platform: Platform, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = platform.client()
    standin_torch.save({"weight": [1.0]}, place / "model.pt")
    standin_torch.save({"weight": [2.0]}, place / "best_model.pt")
    data = load_breast_cancer()
    joblib.dump(LogisticRegression(max_iter=5000).fit(data.data, data.target), place / "model.joblib")
    a_run_with(client, "run-abc123", "model.pt", place)
    a_run_with(client, "run-xyz789", "best_model.pt", place, "checkpoints")
    a_run_with(client, "run-third0", "model.joblib", place)

    played: list[str] = []
    names: dict[str, Any] = {"train_model": train_model}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for block in blocks():
            exec(block.replace("your_token", platform.token), names)
            played.append(block)
            if "run-xyz789" in block:
                third = client.create_model_version("sentiment-classifier", "run-third0", "model.joblib")
                assert third.version == 3
            if "gpu_type" in block:
                deployment = names["deployment"].wait(timeout=60)
                assert deployment.state == "Active"
                assert any("T4" in warning for warning in deployment.warnings)
                answer = deployment.predict(data.data[:5].tolist())
                assert len(answer) == 5

    assert len(played) == 9
    said = [str(warning.message) for warning in caught]
    assert any("T4" in sentence and "CPU" in sentence for sentence in said)
    assert any("state_dict" in sentence for sentence in said)
    assert (place / "models" / "model.joblib").read_bytes() == (place / "model.joblib").read_bytes()
    assert names["model"].state_dict()
    with pytest.raises(DeploymentFailed, match="state_dict"):
        names["deployment"].wait(timeout=60)
    assert client.get_deployment("sentiment-api").serving_version == 3
    version = client.get_model_version("sentiment-classifier", 3)
    assert version.stage == "Production"
    assert version.tags == {"validated_by": "ml-team", "validation_accuracy": "0.943"}
    assert client.get_model_by_alias("sentiment-classifier", "latest-prod").version == 3
    last = client.get_model_version("sentiment-classifier", 4)
    assert (last.stage, last.format) == ("Production", "torch_state_dict")
    assert f"Model deployed at: {platform.gateway_url}/serve/default/sentiment-api" in capsys.readouterr().out


def test_a_bare_state_dict_fails_with_a_sentence_until_a_predictor_comes_with_it(
    platform: Platform, place: Path
) -> None:
    client = platform.client()
    standin_torch.save({"weight": [1.0, 2.0]}, place / "weights.pt")
    a_run_with(client, "run-bare00", "weights.pt", place)
    version = client.create_model_version("bare-weights", "run-bare00", "weights.pt")
    assert version.status == "Ready"
    with pytest.warns(UserWarning, match="state_dict"):
        deployment = client.deploy_model("bare-weights", version.version, "bare-api")
    assert deployment.state == "Failed"
    with pytest.raises(DeploymentFailed, match="state_dict"):
        deployment.wait(timeout=60)
    headers = {"Authorization": f"Bearer {platform.token}"}
    answer = requests.post(deployment.endpoint_url, json={"instances": [[1]]}, headers=headers, timeout=60)
    assert answer.status_code == 503
    assert "state_dict" in answer.json()["detail"]

    folder = place / "model"
    folder.mkdir()
    standin_torch.save({"weight": [1.0, 2.0]}, folder / "weights.pt")
    (folder / "predictor.py").write_text(PREDICTOR)
    with client.start_run(experiment_id="sentiment-exp", run_id="run-bare01") as run:
        run.log_artifacts(folder, artifact_path="model")
    better = client.create_model_version("bare-weights", "run-bare01", "model")
    live = client.deploy_model("bare-weights", better.version, "bare-api").wait(timeout=60)
    assert live.state == "Active"
    assert np.allclose(live.predict([[1.0, 1.0], [2.0, 0.5]]), [3.0, 3.0])


PREDICTOR = '''
"""A predictor that reads the weights itself."""

import struct
import zipfile
from pathlib import Path


class Predictor:
    def load(self, path):
        with zipfile.ZipFile(Path(path) / "weights.pt") as archive:
            self.weight = struct.unpack("<2f", archive.read("archive/data/0"))

    def predict(self, rows):
        return [sum(w * x for w, x in zip(self.weight, row)) for row in rows]
'''
