"""Objects that become files of a run: texts, dictionaries, figures and models."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from podstack import MLOpsClient, ValidationError
from podstack.run import ActiveRun
from tests.sdk.fake_server import FakeServer


@pytest.fixture
def run(client: MLOpsClient) -> ActiveRun:
    return client.start_run("first")


def stored(server: FakeServer, run: ActiveRun) -> dict[str, bytes]:
    """What the run has, by path."""
    found = {}
    for request in server.requests(f"/runs/{run.id}/artifacts"):
        for file in request.json["files"]:
            found[file["path"]] = server.blobs[file["sha256"]]
    assert all(hashlib.sha256(content).hexdigest() in server.blobs for content in found.values())
    return found


def test_texts_and_dictionaries(run: ActiveRun, server: FakeServer) -> None:
    run.log_text("Größe\n", "notes/report.md")
    run.log_dict({"classes": np.array([1, 2]), "best": np.float32(0.5), "none": float("nan")}, "labels.json")
    files = stored(server, run)
    assert files["notes/report.md"].decode() == "Größe\n"
    assert json.loads(files["labels.json"]) == {"classes": [1, 2], "best": 0.5, "none": "NaN"}
    for call in (lambda: run.log_text(3, "x"), lambda: run.log_dict({"x": object()}, "x.json")):  # type: ignore[arg-type]
        with pytest.raises(ValidationError):
            call()


class Figure:
    """As matplotlib's: it writes itself."""

    def savefig(self, path: str) -> None:
        Path(path).write_bytes(b"picture of " + Path(path).suffix.encode())


def test_figures(run: ActiveRun, server: FakeServer) -> None:
    run.log_figure(Figure(), "plots/loss.png")
    assert stored(server, run) == {"plots/loss.png": b"picture of .png"}
    with pytest.raises(ValidationError, match="figure is of type int; it must be a figure"):
        run.log_figure(3, "x.png")


def test_a_model_with_rows_to_try_it(run: ActiveRun, server: FakeServer) -> None:
    rows = np.array([[0.0], [1.0]])
    run.log_model(LogisticRegression().fit(rows, [0, 1]), input_example=rows)
    files = stored(server, run)
    assert sorted(files) == ["model/input_example.json", "model/model.joblib"]
    assert json.loads(files["model/input_example.json"]) == {"instances": [[0.0], [1.0]]}
    assert list(joblib.load(io.BytesIO(files["model/model.joblib"])).predict(rows)) == [0, 1]


def test_a_booster_writes_its_own_format(run: ActiveRun, server: FakeServer) -> None:
    def save_model(self: Any, path: str) -> None:
        Path(path).write_bytes(b"trees")

    booster = type("Booster", (), {"__module__": "xgboost.core", "save_model": save_model})()
    run.log_model(booster, "trees")
    assert stored(server, run) == {"trees/model.ubj": b"trees"}


def test_a_model_that_has_no_single_way_is_told_one(run: ActiveRun) -> None:
    base = type("Module", (), {"__module__": "torch.nn.modules.module", "predict": lambda self: None})
    with pytest.raises(ValidationError, match=r"torch\.jit\.script\(model\)\.save"):
        run.log_model(type("Net", (base,), {})())
    with pytest.raises(ValidationError, match=r"builtins\.dict; log_model saves what scikit-learn"):
        run.log_model({"weights": 1})
