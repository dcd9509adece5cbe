"""The WSGI application of a serving process: one loaded model, plain predictions and Open Inference v2."""

from __future__ import annotations

import contextlib
import hmac
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from serving import lines
from serving.batching import ROWS, TENSORS, Batcher, Call, Form
from serving.formats import Detected
from serving.loaders import Model, one_line
from serving.problems import TITLES, WRONG_KEY, Problem
from serving.rows import instances_of
from serving.values import datatype_of, encode, parse, tensor

VERSION = "1"
MOST_COLUMNS, LONGEST_EXAMPLE = 200, 64 << 10  # that the metadata tells
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
Answer = dict[str, Any]


@dataclass(frozen=True)
class Identity:
    """Who this process is: endpoint and model names, the key that requests carry, the largest body."""

    endpoint_name: str
    model_name: str
    model_version: str
    key: str
    max_body_bytes: int = 32 << 20
    max_batch_size: int = 1
    max_delay_ms: int = 0


class Application:
    """Answers requests that carry the service's key. Made only once the model is loaded."""

    def __init__(self, model: Model, detected: Detected, identity: Identity) -> None:
        self._model, self._detected, self._identity = model, detected, identity
        self._rows, self._tensors = self._joined(model.predict_rows, ROWS), self._joined(model.infer, TENSORS)
        self._batched = _staying(model.predict_rows)
        name = f"/v2/models/{identity.endpoint_name}"
        self._gets: dict[str, Callable[[], Answer]] = {
            "/v2": self._server,
            "/v2/health/live": lambda: {"live": True},
            "/v2/health/ready": lambda: {"ready": True},
            name: self._metadata,
            f"{name}/ready": lambda: {"name": identity.endpoint_name, "ready": True},
        }
        self._posts = {"/predict": self._predict, f"{name}/infer": self._infer}
        self._key = identity.key.encode()

    def _joined(self, call: Call, form: Form) -> Call:
        """The call, for requests that are joined where the endpoint asks for it and the model takes any number of rows."""
        most, delay = self._identity.max_batch_size, self._identity.max_delay_ms / 1000
        fixed = any(one.shape and one.shape[0] >= 0 for one in self._model.inputs)
        call = _staying(call)
        return call if most == 1 or fixed else Batcher(call, form, most, delay)

    def warm_up(self) -> None:
        """One call with the model's own example, or with a row of zeros where it takes numbers.

        Raises what the model raises for its example; what a made-up row leads to says nothing.
        """
        if self._model.example:
            with contextlib.suppress(Problem):  # the example is no row of this model
                self._checked(self._model.example[:1], {}, self._model.predict_rows)
        elif self._model.inputs[0].datatype in ("FP64", "FP32") and len(self._model.inputs[0].shape) == 2:
            width = max(1, self._model.inputs[0].shape[1])
            if self._model.platform != "python_predictor":
                with contextlib.suppress(Exception):
                    self._model.predict_rows([[0.0] * width], {})

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """WSGI: route, answer JSON, turn every error into one sentence."""
        kind = "application/json"
        if environ.get("PATH_INFO") == "/batch-predict":
            return self._batch(environ, start_response)
        try:
            status, body = 200, encode(self._answer(environ))
        except Problem as problem:
            status, body, kind = _told(problem)
        except Exception as error:
            traceback.print_exc()
            status, body, kind = _told(Problem(500, f"The model failed on this request: {one_line(error)}."))
        reason = TITLES.get(status, "OK")
        start_response(f"{status} {reason}", [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    def _answer(self, environ: dict[str, Any]) -> Answer:
        self._check_key(environ)
        path, method = environ.get("PATH_INFO", "").rstrip("/"), environ["REQUEST_METHOD"]
        gets, posts = self._gets, self._posts
        if path in gets and method in ("GET", "HEAD"):
            return gets[path]()
        if path in posts and method == "POST":
            return posts[path](parse(self._body(environ)))
        if path in gets or path in posts:
            raise Problem(405, f"{path} takes {'GET' if path in gets else 'POST'}, not {method}.")
        raise Problem(
            404, f"There is nothing at {path[:200] or '/'}; POST /predict, or see /v2 for the other paths."
        )

    def _check_key(self, environ: dict[str, Any]) -> None:
        sent = environ.get("HTTP_X_SERVING_KEY", "").encode("latin-1", "replace")
        if not hmac.compare_digest(sent, self._key):
            raise Problem(401, WRONG_KEY)

    def _batch(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """JSON lines in and out; the query holds the parameters."""
        try:
            self._check_key(environ)
            if environ["REQUEST_METHOD"] != "POST":
                raise Problem(405, f"/batch-predict takes POST, not {environ['REQUEST_METHOD']}.")
        except Problem as problem:
            status, body, kind = _told(problem)
            length = str(len(body))
            start_response(f"{status} {TITLES[status]}", [("Content-Type", kind), ("Content-Length", length)])
            return [body]
        parameters = dict(parse_qsl(environ.get("QUERY_STRING", "")))
        start_response("200 OK", [("Content-Type", "application/x-ndjson")])
        return lines.answers(
            environ["wsgi.input"],
            lambda rows: self._checked(rows, parameters, self._batched),
            lambda error: f"The model failed on this row: {one_line(error)}.",
        )

    def _checked(self, rows: list[Any], parameters: dict[str, Any], call: Call) -> Any:
        signature = self._model.signature
        if signature is not None:
            signature.check(rows)
        return call(rows, parameters)

    def _body(self, environ: dict[str, Any]) -> bytes:
        limit = self._identity.max_body_bytes
        try:
            length = int(environ.get("CONTENT_LENGTH") or -1)
        except ValueError:
            raise Problem(400, "The Content-Length is not a number.") from None
        if length > limit:
            raise Problem(413, f"The body has {length} bytes; send at most {limit}, in several requests.")
        body: bytes = environ["wsgi.input"].read(limit + 1 if length < 0 else length)
        if len(body) > limit:
            raise Problem(413, f"The body has more than {limit} bytes; send it in several requests.")
        return body

    def _server(self) -> Answer:
        return {"name": "podstack-serving", "version": VERSION, "extensions": []}

    def _metadata(self) -> Answer:
        return {
            "name": self._identity.endpoint_name,
            "versions": [self._identity.model_version],
            "platform": self._model.platform,
            "inputs": [one.as_dict() for one in self._model.inputs],
            "outputs": [one.as_dict() for one in self._model.outputs],
            "parameters": {
                "model_name": self._identity.model_name,
                "format": self._detected.format,
                "device": self._model.device,
                **self._row(),
            },
        }

    def _row(self) -> Answer:
        """What the model's files tell of its rows beyond tensors, for forms."""
        signature, example = self._model.signature, self._model.example
        told: Answer = {}
        if signature is not None and len(signature.columns) <= MOST_COLUMNS:
            told["columns"] = [column.as_dict() for column in signature.columns]
        if example and len(encode(example[0])) <= LONGEST_EXAMPLE:
            told["example"] = example[0]
        return told

    def _predict(self, body: Answer) -> Answer:
        rows = instances_of(body)
        return {"predictions": self._checked(rows, _parameters(body), self._rows)}

    def _infer(self, body: Answer) -> Answer:
        inputs = body.get("inputs")
        if not isinstance(inputs, list) or not inputs:
            raise Problem(
                400, "The body has no list 'inputs'; send name, shape, datatype and data of each input."
            )
        tensors = {}
        for at, one in enumerate(inputs):
            if not isinstance(one, dict) or not isinstance(one.get("name"), str):
                raise Problem(400, f"inputs[{at}] has no name.")
            field = f"inputs[{at}]"
            if one["name"] in tensors:
                raise Problem(
                    400, f"{field} has the name {one['name']!r}, as another input has; send each once."
                )
            tensors[one["name"]] = tensor(field, one.get("datatype"), one.get("shape"), one.get("data"))
        if self._model.signature is not None:
            self._model.signature.check_tensors(tensors)
        answers = self._tensors(tensors, _parameters(body))
        arrays = {name: np.asarray(said) for name, said in _wanted(body, answers).items()}
        outputs = [
            {"name": name, "datatype": datatype_of(array), "shape": list(array.shape), "data": array.ravel()}
            for name, array in arrays.items()
        ]
        answer = {"model_name": self._identity.endpoint_name, "model_version": self._identity.model_version}
        sent_id = {"id": body["id"]} if isinstance(body.get("id"), str) else {}
        return {**answer, **sent_id, "outputs": outputs}


def _staying(call: Call) -> Call:
    """The call, by which a model fails its request at most, and does not end the process that answers others too."""

    def stays(asked: Any, parameters: dict[str, Any]) -> Any:
        try:
            return call(asked, parameters)
        except SystemExit as error:
            raise RuntimeError(f"it called sys.exit({error.code})") from error

    return stays


def _told(problem: Problem) -> tuple[int, bytes, str]:
    return problem.status, encode(problem.as_dict()), "application/problem+json"


def _parameters(body: Answer) -> dict[str, Any]:
    parameters = body.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise Problem(400, "The field 'parameters' must be a JSON object.")
    return parameters


def _wanted(body: Answer, answers: dict[str, Any]) -> dict[str, Any]:
    wanted = body.get("outputs")
    if not wanted:
        return answers
    if not isinstance(wanted, list) or not all(isinstance(one, dict) for one in wanted):
        raise Problem(400, "The field 'outputs' must be a list of objects with a name.")
    names = [str(one.get("name")) for one in wanted]
    for name in names:
        if name not in answers:
            raise Problem(422, f"outputs names '{name}'; the model answers {', '.join(answers)}.")
    return {name: answers[name] for name in names}
