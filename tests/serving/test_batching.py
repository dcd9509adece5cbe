"""Requests that come together are answered by one call of the model, each as if it had come alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from serving.loaders import load
from serving.runtime import Application, Identity
from tests.serving import samples
from tests.serving.test_runtime import ROWS, Ask, _ask

INFER = "/v2/models/e/infer"
# Answers the number of the call that a row came with, beside the row.
COUNTING = """
import itertools
class Predictor:
    calls = itertools.count(1)
    def load(self, path): pass
    def predict(self, rows):
        call = next(self.calls)
        if "bad" in rows: raise RuntimeError("bad row")
        return [[repr(row), call] for row in rows]
"""
HALVES = """
class Predictor:
    def load(self, path): pass
    def predict(self, rows):
        return [int(row) if row == int(row) else row for row in rows]
"""


def batching(folder: Path, most: int = 8, delay_ms: int = 5000, **files: bytes | str) -> Ask:
    """A model whose requests wait for others: until `most` rows are there, or for `delay_ms`."""
    model, detected = load(samples.folder(folder, **files))
    application = Application(model, detected, Identity("e", "m", "1", "secret", 1 << 20, most, delay_ms))
    return lambda path, body: _ask(application, path, body)


def at_once(ask: Ask, path: str, bodies: list[Any]) -> list[tuple[int, Any]]:
    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(lambda body: ask(path, body), bodies))


def one(name: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


def data(answer: Any) -> list[Any]:
    return list(answer["outputs"][0]["data"])


def test_plain_requests_are_joined_and_split_again(tmp_path: Path) -> None:
    ask = batching(tmp_path / "m", predictor__py=COUNTING)
    said = at_once(ask, "/predict", [{"instances": [number]} for number in range(8)])
    assert [answer["predictions"] for _, answer in said] == [[[str(number), 1]] for number in range(8)]


def test_infer_requests_are_joined_and_each_has_its_own_rows_id_and_outputs(tmp_path: Path) -> None:
    ask = batching(tmp_path / "m", predictor__py=COUNTING)
    bodies = [
        {"id": str(number), "inputs": [one("a", "INT64", [number] * 2), one("b", "BYTES", ["x"] * 2)]}
        for number in range(4)
    ]
    for number, (status, answer) in enumerate(at_once(ask, INFER, bodies)):
        row = repr({"a": number, "b": "x"})
        assert (status, answer["id"], answer["outputs"][0]["shape"]) == (200, str(number), [2, 2])
        assert data(answer) == [row, "1"] * 2


def test_what_does_not_go_together_is_not_joined(tmp_path: Path) -> None:
    ask = batching(tmp_path / "m", delay_ms=200, predictor__py=COUNTING)
    bodies = [
        {"inputs": [one("a", "INT64", [1])]},
        {"inputs": [one("a", "FP64", [1])]},
        {"inputs": [one("b", "INT64", [1])]},
        {"inputs": [one("a", "INT64", [1, 2], [1, 2])]},
        {"inputs": [one("a", "INT64", [1])], "parameters": {"method": "other"}},
        {"inputs": [one("a", "INT64", [1]), one("b", "INT64", [1, 2])]},
    ]
    said = at_once(ask, INFER, bodies)
    assert [status for status, _ in said] == [200, 200, 200, 200, 200, 500]
    assert len({data(answer)[1] for status, answer in said if status == 200}) == 5, "a call for each"


@pytest.mark.parametrize("path", ["/predict", INFER])
def test_one_bad_request_spoils_no_other(tmp_path: Path, path: str) -> None:
    ask = batching(tmp_path / "m", predictor__py=COUNTING)
    words = ["a", "b", "bad", "c", "d", "e", "f", "g"]
    bodies = [{"instances": [word], "inputs": [one("x", "BYTES", [word])]} for word in words]
    said = at_once(ask, path, bodies)
    assert [status for status, _ in said] == [200, 200, 500, 200, 200, 200, 200, 200]
    assert "bad row" in said[2][1]["detail"]


def test_a_joined_answer_has_the_datatype_that_it_would_have_alone(tmp_path: Path) -> None:
    ask = batching(tmp_path / "m", most=2, predictor__py=HALVES)
    whole, half = at_once(ask, INFER, [{"inputs": [one("x", "FP64", [value])]} for value in (2.0, 0.5)])
    assert whole[1]["outputs"] == [{"name": "predictions", "datatype": "INT64", "shape": [1], "data": [2]}]
    assert half[1]["outputs"] == [{"name": "predictions", "datatype": "FP64", "shape": [1], "data": [0.5]}]


def test_all_outputs_of_a_joined_call_are_split(tmp_path: Path) -> None:
    ask = batching(tmp_path / "m", most=3, model__onnx=samples.onnx_bytes())
    alone = ask(INFER, {"inputs": [one("X", "FP32", [*ROWS, ROWS[0]], [3, 4])]})[1]
    labels, shares = (output["data"] for output in alone["outputs"])
    bodies = [
        {"inputs": [one("X", "FP32", ROWS[:1], [1, 4])]},
        {"inputs": [one("X", "FP32", [ROWS[1], ROWS[0]], [2, 4])], "outputs": [{"name": "label"}]},
    ]
    (_, first), (_, second) = at_once(ask, INFER, bodies)
    assert [output["shape"] for output in first["outputs"]] == [[1], [1, 3]]
    assert data(first) == labels[:1] and first["outputs"][1]["data"] == pytest.approx(shares[:3])
    assert [output["name"] for output in second["outputs"]] == ["label"] and data(second) == labels[1:]


def test_a_bad_tensor_is_told_by_its_own_place(tmp_path: Path) -> None:
    ask = batching(tmp_path / "m", most=2, model__joblib=samples.joblib_bytes(samples.iris()))
    values = [[5.1, 3.5, 1.4, 0.2], [5.1, 3.5, 1.4, "NaN"]]
    good, bad = at_once(ask, INFER, [{"inputs": [one("x", "FP64", row, [1, 4])]} for row in values])
    assert (good[0], data(good[1])) == (200, [0])
    assert bad[0] == 422 and "does not take these values" in bad[1]["detail"]


def test_a_joined_call_that_ends_its_thread_gives_nobody_an_answer(tmp_path: Path) -> None:
    ends = COUNTING.replace('if "bad" in rows: raise RuntimeError("bad row")', "raise SystemExit")
    ask = batching(tmp_path / "m", most=3, delay_ms=300, predictor__py=ends)
    said = at_once(ask, "/predict", [{"instances": [number]} for number in range(3)])
    assert [status for status, _ in said] == [500, 500, 500]
