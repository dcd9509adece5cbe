"""The serving process's answers, asked through WSGI without a server."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline

from serving.loaders import load
from serving.problems import CannotLoad, Problem
from serving.rows import nested
from serving.runtime import Application, Identity
from serving.values import tensor
from tests.serving import samples

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
DEEP: list[Any] = functools.reduce(lambda inner, _: [inner], range(2000), [1])
Ask = Callable[..., tuple[int, Any]]


def _serve(folder: Path) -> Ask:
    model, detected = load(folder)
    application = Application(model, detected, Identity("iris-api", "iris", "3", "secret", 1 << 20))
    return functools.partial(_ask, application)


def _ask(application: Application, path: str, body: Any = None, key: str = "secret", method: str = "") -> Any:
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    environ = {
        "REQUEST_METHOD": method or ("GET" if body is None else "POST"),
        "PATH_INFO": path,
        "CONTENT_LENGTH": str(len(data)),
        "HTTP_X_SERVING_KEY": key,
        "wsgi.input": io.BytesIO(data),
    }
    said: list[str] = []
    answer = b"".join(application(environ, lambda status, headers: said.append(status)))
    return int(said[0].split()[0]), json.loads(answer)


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    return _serve(
        samples.folder(tmp_path_factory.mktemp("m"), model__joblib=samples.joblib_bytes(samples.iris(), 3))
    )


def _infer(**changes: Any) -> dict[str, Any]:
    one = {"name": "x", "shape": [2, 4], "datatype": "FP64", "data": ROWS, **changes}
    return {"id": "7", "inputs": [one]}


def test_rows_are_predicted_in_their_order(ask: Ask) -> None:
    assert ask("/predict", {"instances": ROWS}) == (200, {"predictions": [0, 2]})


def test_probabilities_are_predicted_when_asked_for(ask: Ask) -> None:
    status, said = ask("/predict", {"instances": ROWS, "parameters": {"method": "predict_proba"}})
    assert status == 200 and np.allclose(np.sum(said["predictions"], axis=1), 1)


def test_the_open_inference_protocol_is_spoken(ask: Ask) -> None:
    assert ask("/v2/health/live") == (200, {"live": True})
    assert ask("/v2/health/ready") == (200, {"ready": True})
    assert ask("/v2")[1]["name"] == "podstack-serving"
    status, about = ask("/v2/models/iris-api")
    assert status == 200 and about["versions"] == ["3"] and about["platform"] == "scikit-learn_Pipeline"
    assert about["inputs"] == [{"name": "instances", "datatype": "FP64", "shape": [-1, 4]}]
    status, said = ask("/v2/models/iris-api/infer", _infer())
    assert (status, said["id"], said["model_version"]) == (200, "7", "3")
    assert said["outputs"] == [{"name": "predictions", "datatype": "INT64", "shape": [2], "data": [0, 2]}]
    flat = [value for row in ROWS for value in row]
    assert ask("/v2/models/iris-api/infer", _infer(data=flat))[1] == said


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b"{", 400, "The body is not JSON"),
        (b'{"instances": [[NaN, 1, 1, 1]]}', 400, 'write NaN as the string "NaN"'),
        (b"[" * 100_000, 400, "nested too deeply"),
        ([1], 400, "must be a JSON object"),
        ({}, 400, "no field 'instances'"),
        ({"instances": []}, 400, "'instances' must be a list with at least one row"),
        ({"instances": "x"}, 400, "'instances' must be a list"),
        ({"instances": [[1, 2, 3, 4], [1, 2]]}, 422, "Row 2 of 'instances' has 2 values; the model takes 4."),
        ({"instances": [[1] * 5]}, 422, "Row 1 of 'instances' has 5 values; the model takes 4."),
        ({"instances": [[1, 2, 3, [4]]]}, 422, "Row 1 of 'instances' holds a list"),
        ({"instances": [[1, 2, 3, 4], 5]}, 422, "Row 2 of 'instances' is no list"),
        ({"instances": [{"a": 1}]}, 422, "knows no column names"),
        ({"instances": ROWS, "parameters": {"method": "fit"}}, 422, "parameters.method 'fit' is unknown"),
        ({"instances": [[1, 2, 3, 10**400]]}, 422, "hold a whole number that is too large"),
        ({"instances": [[1, 2, "NaN", 10**400]]}, 422, "hold a whole number that is too large"),
        ({"instances": ROWS, "parameters": 1}, 400, "'parameters' must be a JSON object"),
        (b'{"instances": "' + b"x" * (1 << 20) + b'"}', 413, "send at most 1048576"),
    ],
)
def test_a_bad_body_gets_a_sentence(ask: Ask, body: Any, status: int, detail: str) -> None:
    got, said = ask("/predict", body)
    assert got == status and detail in said["detail"] and said["status"] == status


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"datatype": "FLOAT"}, "inputs[0].datatype 'FLOAT' is unknown"),
        ({"shape": "2,4"}, "inputs[0].shape must be a list"),
        ({"shape": [10**12, 0], "data": []}, "inputs[0].shape must be a list of whole numbers from 1 on"),
        ({"shape": [2, 5]}, "inputs[0].data holds 8 values; the shape [2, 5] needs 10."),
        ({"shape": [4, 2]}, "has 2 columns; the model takes 4."),
        ({"shape": [8]}, "has 1 dimensions"),
        ({"data": ["a"] * 8}, "no FP64"),
        ({"name": 5}, "inputs[0] has no name."),
    ],
)
def test_a_bad_tensor_gets_a_sentence(ask: Ask, change: dict[str, Any], detail: str) -> None:
    status, said = ask("/v2/models/iris-api/infer", _infer(**change))
    assert status in (400, 422) and detail in said["detail"]


def test_two_tensors_of_one_name_are_refused(ask: Ask) -> None:
    twice = {"inputs": _infer()["inputs"] * 2}
    status, said = ask("/v2/models/iris-api/infer", twice)
    assert (status, said["detail"]) == (
        400,
        "inputs[1] has the name 'x', as another input has; send each once.",
    )


def test_requests_without_the_key_are_refused(ask: Ask) -> None:
    assert ask("/v2/health/ready", key="")[0] == ask("/predict", {"instances": ROWS}, key="secre")[0] == 401


def test_unknown_paths_and_methods_are_refused(ask: Ask) -> None:
    assert ask("/x")[0] == 404 and ask("/predict")[0] == 405 and ask("/v2/models/other")[0] == 404


def test_not_a_number_travels_as_text_both_ways(tmp_path: Path) -> None:
    code = "class Predictor:\n  def load(self, path): pass\n  def predict(self, rows):\n"
    code += "    return [float('nan'), float('inf'), {'a': -float('inf')}]\n"
    ask = _serve(samples.folder(tmp_path / "m", predictor__py=code))
    assert ask("/predict", {"instances": [1]})[1] == {"predictions": ["NaN", "Infinity", {"a": "-Infinity"}]}


def test_missing_numbers_come_as_null_or_text(tmp_path: Path) -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(max_iter=2).fit(np.arange(40.0).reshape(20, 2), np.arange(20))
    ask = _serve(samples.folder(tmp_path / "m", model__joblib=samples.joblib_bytes(model)))
    status, said = ask("/predict", {"instances": [[None, 1], ["NaN", 1]]})
    assert status == 200 and said["predictions"][0] == said["predictions"][1]


def test_rows_by_column_name_are_put_in_the_models_order(tmp_path: Path) -> None:
    model = LinearRegression().fit([[1, 10], [2, 30], [3, 20]], [1, 2, 3])
    model.feature_names_in_ = np.array(["age", "income"], dtype=object)
    ask = _serve(samples.folder(tmp_path / "m", model__joblib=samples.joblib_bytes(model)))
    by_name = ask("/predict", {"instances": [{"income": 10, "age": 1}]})
    assert by_name == ask("/predict", {"instances": [[1, 10]]}) and by_name[0] == 200
    assert (
        "lacks the column 'income'; the model takes age, income."
        in ask("/predict", {"instances": [{"age": 1}]})[1]["detail"]
    )
    assert (
        "unknown column 'x'" in ask("/predict", {"instances": [{"age": 1, "income": 2, "x": 3}]})[1]["detail"]
    )


def test_texts_are_rows_for_a_model_of_texts(tmp_path: Path) -> None:
    model = make_pipeline(CountVectorizer(), LogisticRegression()).fit(["good", "bad"], ["yes", "no"])
    ask = _serve(samples.folder(tmp_path / "m", model__skops=skops.io.dumps(model)))
    assert ask("/predict", {"instances": ["good", "bad"]}) == (200, {"predictions": ["yes", "no"]})


def test_onnx_answers_rows_and_tensors(tmp_path: Path) -> None:
    ask = _serve(samples.folder(tmp_path / "m", model__onnx=samples.onnx_bytes()))
    assert ask("/predict", {"instances": ROWS}) == (200, {"predictions": [0, 2]})
    status, said = ask("/v2/models/iris-api/infer", {"inputs": [{**_infer()["inputs"][0], "name": "X"}]})
    assert status == 200 and [one["name"] for one in said["outputs"]] == ["label", "probabilities"]
    assert "the model takes 4" in ask("/predict", {"instances": [[1, 2]]})[1]["detail"]
    assert "the model takes X" in ask("/v2/models/iris-api/infer", _infer())[1]["detail"]


def test_a_predictor_gets_its_folder_and_the_rows_as_they_came(tmp_path: Path) -> None:
    ask = _serve(samples.folder(tmp_path / "m", predictor__py=samples.PREDICTOR))
    assert ask("/predict", {"instances": [[1, 2], [3]]}) == (200, {"predictions": [3, 3]})
    assert ask("/v2/models/iris-api/infer", _infer())[1]["outputs"][0]["shape"] == [2]


def test_a_model_that_raises_answers_500_with_its_text(tmp_path: Path) -> None:
    ask = _serve(samples.folder(tmp_path / "m", predictor__py=samples.PREDICTOR))
    status, said = ask("/predict", {"instances": [["a"]]})
    assert status == 500 and said["detail"].startswith(
        "The model failed on this request: TypeError: unsupported"
    )
    assert said["detail"].endswith(".")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"model__pt": samples.torch_state_dict()}, "holds only a torch state_dict"),
        ({"predictor__py": "x = 1"}, "has no class Predictor; define a class Predictor with load"),
        ({"predictor__py": "class Predictor:\n  def load(self, path): pass"}, "a Predictor without predict"),
        ({"predictor__py": "import nowhere_at_all"}, "needs the package 'nowhere_at_all'"),
        ({"predictor__py": "1/0"}, "could not be loaded: ZeroDivisionError: division by zero."),
        ({"predictor__py": "raise OSError('No weights.')"}, "could not be loaded: OSError: No weights."),
        ({"model__joblib": samples.joblib_bytes(samples.iris())[:900]}, "'model.joblib'"),
        ({"model__onnx": samples.onnx_bytes()[:200]}, "'model.onnx'"),
    ],
)
def test_a_model_that_cannot_be_loaded_says_why(tmp_path: Path, files: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CannotLoad) as caught:
        load(samples.folder(tmp_path / "m", **files))
    assert sentence in str(caught.value)
    assert str(caught.value).endswith(".") and not str(caught.value).endswith("..")


def test_a_dict_of_models_is_refused_at_load(tmp_path: Path) -> None:
    folder = samples.folder(tmp_path / "m")
    joblib.dump({"model": samples.iris()}, folder / "model.joblib")
    with pytest.raises(CannotLoad, match="holds a dict, which has no predict method"):
        load(folder)


def test_torchscript_and_exported_programs_answer(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(4, 2).eval()
    scripted, exported = samples.folder(tmp_path / "s"), samples.folder(tmp_path / "e")
    torch.jit.script(module).save(str(scripted / "model.pt"))
    torch.export.save(torch.export.export(module, (torch.zeros(2, 4),)), str(exported / "model.pt2"))
    wanted = module(torch.tensor(ROWS)).detach().numpy()
    for folder in (scripted, exported):
        ask = _serve(folder)
        assert np.allclose(ask("/predict", {"instances": ROWS})[1]["predictions"], wanted, atol=1e-5)
        said = ask("/v2/models/iris-api/infer", _infer(datatype="FP32"))[1]
        assert said["outputs"][0]["shape"] == [2, 2]


def test_values_that_the_estimator_refuses_are_the_callers_mistake_in_the_protocol_too(ask: Ask) -> None:
    status, said = ask("/v2/models/iris-api/infer", _infer(data=[["NaN"] * 4] * 2))
    assert status == 422 and "The model does not take these values" in said["detail"]


def test_the_metadata_tells_the_columns_that_a_table_had_and_that_a_pipeline_takes_texts(
    tmp_path: Path,
) -> None:
    estimator = LogisticRegression().fit(ROWS, [0, 1])
    estimator.feature_names_in_ = np.array(["a", "b", "c", "d"], dtype=object)
    named = samples.joblib_bytes(estimator)
    ask = _serve(samples.folder(tmp_path / "table", model__joblib=named))
    columns = ask("/v2/models/iris-api")[1]["parameters"]["columns"]
    assert columns[0] == {"name": "a", "kind": "any", "required": True} and len(columns) == 4
    texts = make_pipeline(CountVectorizer(), LogisticRegression()).fit(["good day", "bad day"], [1, 0])
    ask = _serve(samples.folder(tmp_path / "texts", model__joblib=samples.joblib_bytes(texts)))
    assert ask("/v2/models/iris-api")[1]["inputs"] == [
        {"name": "instances", "datatype": "BYTES", "shape": [-1]}
    ]


def test_rows_that_are_nested_too_deeply_are_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="not all of one shape"):
        nested([DEEP], "float64")
    with pytest.raises(Problem, match=r"inputs\[0\].data is nested too deeply"):
        tensor("inputs[0]", "FP64", [1], DEEP)


def test_a_model_that_ends_its_process_fails_that_request_only(tmp_path: Path) -> None:
    code = "class Predictor:\n  def load(self, path): pass\n  def predict(self, rows): raise SystemExit(3)\n"
    ask = _serve(samples.folder(tmp_path / "m", predictor__py=code))
    for path in ("/predict", "/v2/models/iris-api/infer"):
        status, said = ask(path, {"instances": [1], **_infer()})
        assert status == 500 and "it called sys.exit(3)" in said["detail"]
    status, said = ask("/batch-predict", b"[1]\n")
    assert (status, said["row"]) == (200, 1) and "it called sys.exit(3)" in said["error"]
