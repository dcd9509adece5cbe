"""XGBoost, LightGBM, MLflow and transformers folders: told by content, checked, and asked through WSGI."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_iris

from serving.describe import describe
from serving.formats import detect
from serving.loaders import load
from serving.problems import CannotLoad
from serving.runtime import Application, Identity
from serving.scan import scan
from tests.serving import samples
from tests.serving.test_runtime import _serve

ROWS: list[list[float]] = load_iris().data[::30].tolist()
NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


@pytest.fixture(scope="module")
def xgb() -> Any:
    x, y = load_iris(return_X_y=True)
    return xgboost.train(
        {"objective": "multi:softmax", "num_class": 3}, xgboost.DMatrix(x, y, feature_names=NAMES), 3
    )


@pytest.fixture(scope="module")
def lgb() -> Any:
    x, y = load_iris(return_X_y=True)
    settings = {"objective": "regression", "verbose": -1, "num_threads": 1}
    return lightgbm.train(settings, lightgbm.Dataset(x, y, feature_name=NAMES), 3)


@pytest.mark.parametrize("name", ["model.json", "model.ubj"])
def test_a_booster_of_xgboost_is_told_scanned_and_answers(xgb: Any, tmp_path: Path, name: str) -> None:
    xgb.save_model(tmp_path / name)
    found = detect(tmp_path)
    assert (found.format, found.framework, found.servable) == ("xgboost", "xgboost", True)
    assert scan(tmp_path).verdict == "clean"
    ask = _serve(tmp_path)
    wanted = xgb.predict(xgboost.DMatrix(np.array(ROWS), feature_names=NAMES)).tolist()
    assert ask("/predict", {"instances": ROWS}) == (200, {"predictions": wanted})
    by_name = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
    assert ask("/predict", {"instances": by_name}) == (200, {"predictions": wanted})


def test_a_classifier_of_xgboost_answers_classes_whatever_it_was_saved_as(tmp_path: Path) -> None:
    x, y = load_iris(return_X_y=True)
    model = xgboost.XGBClassifier(n_estimators=3, n_jobs=1).fit(x, y)
    own, pickled = samples.folder(tmp_path / "own"), samples.folder(tmp_path / "pickled")
    model.save_model(own / "model.ubj")
    joblib.dump(model, pickled / "model.joblib")
    wanted = model.predict(np.array(ROWS)).tolist()
    for folder in (own, pickled):
        assert scan(folder).verdict == "clean"
        assert _serve(folder)("/predict", {"instances": ROWS}) == (200, {"predictions": wanted})
    chances = _serve(own)("/predict", {"instances": ROWS, "parameters": {"method": "predict_proba"}})[1]
    assert np.allclose(np.sum(chances["predictions"], axis=1), 1, atol=1e-5)


def test_a_booster_of_lightgbm_is_told_scanned_and_answers(lgb: Any, tmp_path: Path) -> None:
    lgb.save_model(tmp_path / "model.txt")
    assert detect(tmp_path).format == "lightgbm" and scan(tmp_path).verdict == "clean"
    ask = _serve(tmp_path)
    status, said = ask("/predict", {"instances": ROWS})
    assert status == 200 and np.allclose(said["predictions"], lgb.predict(np.array(ROWS)))
    assert (
        "lacks the column 'petal_width'"
        in ask("/predict", {"instances": [dict.fromkeys(NAMES[:3], 1)]})[1]["detail"]
    )
    assert [one["name"] for one in describe(tmp_path)["signature"]["inputs"]] == NAMES


def test_a_pickled_booster_answers(xgb: Any, tmp_path: Path) -> None:
    folder = samples.folder(tmp_path / "m", model__pkl=pickle.dumps(xgb))
    assert _serve(folder)("/predict", {"instances": ROWS})[0] == 200


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        ([1, "wide", 1, 1], "Row 2 of 'instances': the column 'sepal_width' takes a number, not \"wide\"."),
        ([1, 1, 1], "Row 2 of 'instances' has 3 values; the model takes 4."),
        (dict.fromkeys([*NAMES, "x"], 1), "Row 2 of 'instances' has the unknown column 'x'"),
        (
            {**dict.fromkeys(NAMES, 1), "petal_width": [1]},
            "the column 'petal_width' takes a number, not [1].",
        ),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_its_column(
    xgb: Any, tmp_path: Path, row: Any, detail: str
) -> None:
    xgb.save_model(tmp_path / "model.json")
    good = ROWS[0] if isinstance(row, list) else dict(zip(NAMES, ROWS[0], strict=True))
    status, said = _serve(tmp_path)("/predict", {"instances": [good, row]})
    assert status == 422 and detail in said["detail"]


def test_a_text_that_an_estimator_cannot_take_is_the_requests_fault(tmp_path: Path) -> None:
    ask = _serve(samples.folder(tmp_path / "m", model__joblib=samples.joblib_bytes(samples.iris())))
    status, said = ask("/predict", {"instances": [ROWS[0], [1, "old", 1, 1]]})
    assert status == 422 and said["detail"].startswith(
        "Row 2 of 'instances': the column 2 does not take 'old'"
    )
    status, said = ask("/predict", {"instances": [[1, 1, None, 1]]})
    assert status == 422 and said["detail"].startswith("Row 1 of 'instances': the column 3 has no value")


def mlflow_folder(path: Path, flavors: str, **files: bytes | str) -> Path:
    columns = [{"type": "double", "name": name, "required": True} for name in NAMES]
    text = f"flavors:\n{flavors}signature:\n  inputs: '{json.dumps(columns)}'\n"
    example = json.dumps({"dataframe_split": {"columns": NAMES, "data": [ROWS[0]]}})
    return samples.folder(path, MLmodel=text, serving_input_example__json=example, **files)


TWO = {name: [1.0, 2.0] for name in NAMES}
SKLEARN = "  sklearn:\n    pickled_model: model.pkl\n  python_function:\n    loader_module: mlflow.sklearn\n"


def test_a_folder_of_mlflow_is_loaded_by_its_flavor_and_checked_by_its_signature(tmp_path: Path) -> None:
    folder = mlflow_folder(tmp_path / "m", SKLEARN, model__pkl=pickle.dumps(samples.iris()))
    found = detect(folder)
    assert (found.format, found.framework, found.main_path) == ("mlflow", "scikit-learn", "MLmodel")
    ask = _serve(folder)
    by_name = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
    assert ask("/predict", {"instances": by_name}) == ask("/predict", {"instances": ROWS})
    assert ask("/predict", {"instances": ROWS})[1] == {"predictions": samples.iris().predict(ROWS).tolist()}
    bad = {**by_name[0], "sepal_length": "long"}
    assert "the column 'sepal_length' takes a number" in ask("/predict", {"instances": [bad]})[1]["detail"]
    assert load(folder)[0].example == [by_name[0]]
    facts = ask("/v2/models/iris-api")[1]["parameters"]
    assert [column["name"] for column in facts["columns"]] == NAMES
    assert {column["kind"] for column in facts["columns"]} == {"number"} and facts["example"] == by_name[0]


@pytest.mark.parametrize(
    ("inputs", "detail"),
    [
        ({NAMES[0]: ["old", "young"]}, f"inputs lacks '{NAMES[1]}'"),
        (
            {**TWO, NAMES[2]: [1.0, "old"]},
            f"Row 2 of 'inputs': the column '{NAMES[2]}'",
        ),
        ({**TWO, "more": [1.0, 2.0]}, "inputs names 'more'"),
        (
            {"table": [[1.0] * 4, [1.0, 1.0, 1.0, "old"]]},
            f"Row 2 of 'inputs': the column '{NAMES[3]}' takes a number",
        ),
        (TWO, ""),
        ({"table": ROWS[:2]}, ""),
    ],
)
def test_tensors_are_checked_by_the_signature_as_rows_are(
    tmp_path: Path, inputs: dict[str, list[Any]], detail: str
) -> None:
    ask = _serve(mlflow_folder(tmp_path / "m", SKLEARN, model__pkl=pickle.dumps(samples.iris())))
    tensors = []
    for name, data in inputs.items():
        texts = any(isinstance(one, str) for row in data for one in (row if isinstance(row, list) else [row]))
        shape = [2, 4] if name == "table" else [2]
        tensors.append({"name": name, "shape": shape, "datatype": "BYTES" if texts else "FP64", "data": data})
    status, said = ask("/v2/models/iris-api/infer", {"inputs": tensors})
    assert (status, detail in said.get("detail", "")) == ((422 if detail else 200), True), said


def test_what_only_mlflow_can_load_says_what_is_missing(tmp_path: Path) -> None:
    folder = mlflow_folder(tmp_path / "m", "  python_function:\n    loader_module: mlflow.prophet\n")
    assert detect(folder).servable
    with pytest.raises(CannotLoad, match=r"'mlflow\.prophet', which needs the package 'mlflow'"):
        load(folder)


@pytest.mark.parametrize(
    ("architecture", "files", "sentence"),
    [
        (
            "BertForSequenceClassification",
            {"tokenizer__json": "{}"},
            r"'torch'|'transformers'|could not be loaded",
        ),
        ("BertForSequenceClassification", {}, "no tokenizer beside it; save it into the same folder"),
        (
            "ViTForImageClassification",
            {},
            r"ViTForImageClassification, which is not served .* put a predictor\.py",
        ),
    ],
)
def test_a_transformers_folder_says_what_it_lacks(
    tmp_path: Path, architecture: str, files: dict[str, str], sentence: str
) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + b"\0\0\0\0"
    config = json.dumps({"model_type": "bert", "architectures": [architecture]})
    folder = samples.folder(tmp_path / "m", model__safetensors=weights, config__json=config, **files)
    assert detect(folder).format == "transformers"
    with pytest.raises(CannotLoad, match=sentence):
        load(folder)


def test_many_rows_are_answered_line_by_line(xgb: Any, tmp_path: Path) -> None:
    xgb.save_model(tmp_path / "model.json")
    model, detected = load(tmp_path)
    application = Application(model, detected, Identity("e", "m", "1", "secret"))
    rows = [json.dumps(ROWS[at % len(ROWS)]) for at in range(600)]
    rows[300], rows[301] = '["x", 1, 1, 1]', "{"
    said = _lines(application, "\n".join(rows).encode())
    assert [line["row"] for line in said] == list(range(1, 601))
    assert [line["row"] for line in said if "error" in line] == [301, 302]
    assert said[300]["error"].startswith("Row 301: the column 'sepal_length' takes a number")


def _lines(application: Application, body: bytes) -> list[dict[str, Any]]:
    import io

    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/batch-predict", "HTTP_X_SERVING_KEY": "secret"}
    parts = application({**environ, "wsgi.input": io.BytesIO(body)}, lambda status, headers: None)
    return [json.loads(line) for line in b"".join(parts).splitlines()]
