"""batch_predict against a real serving runtime, mounted where the gateway would pass requests on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from click.testing import CliRunner

from podstack import MLOpsClient, NotFoundError, ValidationError
from podstack.cli import root
from serving.loaders import load
from serving.runtime import Application, Identity
from tests.serving import samples

PREFIX = "/serve/team/iris-api"


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """No line per request."""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[MLOpsClient]:
    code = samples.PREDICTOR.replace("sum(row)", 'row["a"] + row["b"]')
    model, detected = load(samples.folder(tmp_path / "m", predictor__py=code))
    application = Application(model, detected, Identity("iris-api", "iris", "1", "key"))

    def mounted(environ: dict[str, Any], start: Any) -> Any:
        path = environ["PATH_INFO"]
        if path == "/api/v1/projects/team/deployments/iris-api":
            start("200 OK", [("Content-Type", "application/json")])
            url = f"http://{environ['HTTP_HOST']}{PREFIX}"
            return [json.dumps({"endpoint_url": url}).encode()]
        if not path.startswith(PREFIX):
            start("404 Not Found", [("Content-Type", "application/json")])
            return [b'{"detail": "There is no such endpoint."}']
        environ["wsgi.input"] = _Limited(environ["wsgi.input"], int(environ["CONTENT_LENGTH"]))
        return application(
            {**environ, "PATH_INFO": path.removeprefix(PREFIX), "HTTP_X_SERVING_KEY": "key"}, start
        )

    server = make_server("127.0.0.1", 0, mounted, handler_class=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield MLOpsClient("podstack_x", f"http://127.0.0.1:{server.server_port}", "team")
    server.shutdown()
    server.server_close()


class _Limited:
    """What a real server hands to an application: a body that ends."""

    def __init__(self, stream: Any, left: int) -> None:
        self._stream, self._left = stream, left

    def readline(self, size: int) -> bytes:
        line = self._stream.readline(min(size, self._left))
        self._left -= len(line)
        return bytes(line)


def test_a_csv_file_becomes_json_lines_and_a_bad_row_an_error_line(
    client: MLOpsClient, tmp_path: Path
) -> None:
    rows = "".join(f"{number},{number * 2},x\n" for number in range(2500))
    (tmp_path / "rows.csv").write_text(f"a,b,c\n{rows}1,many,x\n")
    seen: list[int] = []
    summary = client.batch_predict("iris-api", tmp_path / "rows.csv", tmp_path / "out.jsonl", seen.append)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert (summary.rows, summary.failed, len(lines), seen[-1]) == (2501, 1, 2501, 2501)
    assert lines[2400] == {"row": 2401, "prediction": 7200}
    assert lines[2500]["row"] == 2501 and "unsupported operand" in lines[2500]["error"]


def test_rows_come_from_anywhere(client: MLOpsClient, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": 1, "b": 2}\n\n{"a": 3, "b": 4}\n')
    wanted = [{"row": 1, "prediction": 3}, {"row": 2, "prediction": 7}]
    assert list(client.iter_predictions("iris-api", tmp_path / "rows.jsonl")) == wanted
    assert list(client.iter_predictions("iris-api", ({"a": n, "b": n + 1} for n in (1, 3)))) == wanted


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("rows.txt", "1", "neither CSV nor JSON lines"),
        ("rows.csv", "a,a\n1,2\n", "different column names"),
        ("rows.csv", "a,b\n1\n", "Line 2 of rows.csv has 1 values; the header names 2"),
        ("rows.jsonl", "{}\n{\n", "Line 2 of rows.jsonl is not JSON"),
    ],
)
def test_a_file_that_is_no_table_says_where(
    client: MLOpsClient, tmp_path: Path, name: str, text: str, sentence: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValidationError, match=sentence):
        client.batch_predict("iris-api", tmp_path / name, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_an_unknown_endpoint_is_not_found(client: MLOpsClient, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        client.batch_predict("other", [{"a": 1}], tmp_path / "out.jsonl")


def test_text_that_only_looks_like_a_number_stays_text(client: MLOpsClient, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n007,x\n")
    (line,) = client.iter_predictions("iris-api", tmp_path / "rows.csv")
    assert line["prediction"] == "007x"


def test_the_command_writes_where_it_is_told(client: MLOpsClient, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    target = tmp_path / "answers.jsonl"
    where = ["--endpoint", client.settings.endpoint, "--token", "podstack_x", "--project", "team"]
    words = ["deployments", "batch-predict", "iris-api", str(tmp_path / "rows.csv"), "--to", str(target)]
    done = CliRunner().invoke(root, [*where, *words, "-o", "json"])
    assert (done.exit_code, json.loads(done.stdout)["output"]) == (0, str(target)), done.output
    assert json.loads(target.read_text()) == {"row": 1, "prediction": 3}
