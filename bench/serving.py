"""What the gateway adds to a serving process's own answer, and both beside `mlflow models serve` of the same model."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import psycopg
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from bench.load import Figure, Request, measure, median_of
from bench.memory import below, command_of, engine_memory, spent
from bench.report import Row
from bench.servers import Server, free_port, running, wait_for
from podstack import MLOpsClient

ROWS: list[list[float]] = load_iris().data[:1].tolist()
READY = re.compile(r"is ready after ([\d.]+) s")
ADDED_P50, ADDED_P99 = 1.0, 3.0  # ms, at one client
SAVE = (
    "import joblib, mlflow.sklearn, sys; "
    "mlflow.sklearn.save_model(joblib.load(sys.argv[1]), sys.argv[2], serialization_format='cloudpickle')"
)
ROUTE = """
    SELECT r.address, r.serving_key FROM deployments_deployment d
    JOIN deployments_deploymentrevision r ON r.id = d.serving_revision_id WHERE d.endpoint_name = 'bench'
"""


@dataclass(frozen=True)
class Asked:
    """Who is asked, and the processes that work for its answers."""

    base: str
    headers: dict[str, str]
    path: str
    pids: list[int]
    rows_name: str = "instances"
    cpu_ms: list[float] = field(default_factory=list)


def gateway_rows(us: Server, mlflow: Path | None, folder: Path, seconds: float, rounds: int) -> list[Row]:
    """Rows of added latency at one client, and of requests a second and processor time at one and eight."""
    model = folder / "model.joblib"
    data = load_iris()
    joblib.dump(LogisticRegression(max_iter=1000).fit(data.data, data.target), model)
    url = _deploy(us, model)
    base, path = url.split("/serve/", 1)
    with psycopg.connect(us.database_url) as link:
        found = link.execute(ROUTE).fetchone()
    assert found is not None
    process = [pid for pid in below(us.pid) if "serving.spawn" in command_of(pid)]
    gateway = [pid for pid in below(us.pid) if "-m gateway" in command_of(pid)]
    asked = {
        "gateway": Asked(base, us.headers, f"/serve/{path}", gateway + process),
        "process": Asked(found[0], {"X-Serving-Key": found[1]}, "/predict", process),
    }
    with _mlflow(mlflow, model, folder) as theirs:
        if theirs:
            asked["mlflow"] = Asked(theirs[0], {}, "/invocations", below(theirs[1]), "inputs")
        rows: list[Row] = []
        for clients in (1, 8):
            figures = _measured(asked, clients, seconds, rounds)
            rows += _added(figures) if clients == 1 else []
            rows += [_rate(figures, clients), _work(asked, clients)]
    _client(us).undeploy("bench")  # what is measured next has the machine for itself
    return rows


def _deploy(us: Server, model: Path) -> str:
    client = _client(us)
    deployment = client.deploy_model("bench-serving", _version(client, model), "bench").wait(timeout=300)
    deployment.predict(ROWS)
    return deployment.endpoint_url


def _client(us: Server) -> MLOpsClient:
    token = us.headers["Authorization"].removeprefix("Bearer ")
    return MLOpsClient(api_token=token, api_endpoint=us.base, project="default")


def _version(client: MLOpsClient, model: Path) -> int:
    with client.start_run(experiment_id="bench-serving") as run:
        run.log_artifact(str(model))
    return client.create_model_version("bench-serving", run.id, "model.joblib").version


def _measured(asked: dict[str, Asked], clients: int, seconds: float, rounds: int) -> dict[str, Figure]:
    """All in turn, so that a machine that slows down slows down all."""
    found: dict[str, list[Figure]] = {name: [] for name in asked}
    for one in asked.values():
        one.cpu_ms.clear()
    for _ in range(rounds):
        for name, one in asked.items():

            def ask(number: int, one: Asked = one) -> Request:
                return ("POST", one.path, {one.rows_name: ROWS})

            before, begun = spent(one.pids), time.perf_counter()
            figure = measure(one.base, one.headers, ask, clients=clients, seconds=seconds)
            took = time.perf_counter() - begun
            one.cpu_ms.append((spent(one.pids) - before) / (figure.rate * took) * 1000)
            found[name].append(figure)
    return {name: median_of(figures) for name, figures in found.items()}


def _work(asked: dict[str, Asked], clients: int) -> Row:
    """Processor time of a prediction: it tells the same on a machine that others use too."""
    times = {name: _middle(one.cpu_ms) for name, one in asked.items()}
    mine, theirs = times["gateway"], times.get("mlflow")
    return Row(
        f"CPU time a prediction, {clients} client{'s' * (clients > 1)}",
        "ms",
        mine,
        theirs,
        theirs / mine if theirs else None,
        1,
        f"{times['process']:.2f} ms when the process itself is asked",
    )


def _added(figures: dict[str, Figure]) -> Iterator[Row]:
    gateway, process = figures["gateway"], figures["process"]
    for name, ours, own, aim in (
        ("p50", gateway.p50, process.p50, ADDED_P50),
        ("p99", gateway.p99, process.p99, ADDED_P99),
    ):
        note = f"{ours:.2f} ms through the gateway, {own:.2f} ms from the process itself; aim: {aim:g}"
        yield Row(f"gateway adds, {name}, 1 client", "ms", ours - own, None, None, None, note)


def _rate(figures: dict[str, Figure], clients: int) -> Row:
    mine, theirs = figures["gateway"], figures.get("mlflow")
    note = f"p50 {mine.p50:.2f} ms, p99 {mine.p99:.2f} ms"
    if theirs:
        note += f"; MLflow p50 {theirs.p50:.2f} ms, p99 {theirs.p99:.2f} ms"
    return Row(
        f"predictions, {clients} client{'s' * (clients > 1)}",
        "/s",
        mine.rate,
        theirs.rate if theirs else None,
        mine.rate / theirs.rate if theirs else None,
        1,
        note,
    )


@contextmanager
def _mlflow(python: Path | None, model: Path, folder: Path) -> Iterator[tuple[str, int] | None]:
    """The address and process of `mlflow models serve` with the same model; None without MLflow."""
    if python is None:
        yield None
        return
    saved, port = folder / "mlflow-model", free_port()
    subprocess.run([str(python), "-c", SAVE, str(model), str(saved)], check=True, capture_output=True)
    argv: list[Any] = [str(python.parent / "mlflow"), "models", "serve", "-m", str(saved)]
    argv += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    environ = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"}
    with running(argv, environ, folder / "mlflow-serve.log") as (begun, pid):
        wait_for(f"http://127.0.0.1:{port}/ping", begun)
        yield f"http://127.0.0.1:{port}", pid


def sleeper_rows(us: Server, folder: Path, count: int) -> list[Row]:
    """Rows of `count` endpoints that sleep: memory of each, and the first answer beside the model's own load."""
    model = folder / "model.joblib"
    data = load_iris()
    joblib.dump(LogisticRegression(max_iter=1000).fit(data.data, data.target), model)
    client = _client(us)
    version = _version(client, model)
    before, names = engine_memory(us), [f"sleeper-{number}" for number in range(count)]
    for name in names:
        client.deploy_model("bench-serving", version, name, min_replicas=0, idle_seconds=10).wait(timeout=300)
    while any("serving.spawn" in command_of(pid) for pid in below(us.pid)):
        time.sleep(1)  # the last ones still fall asleep
    asleep, known, wakes = (engine_memory(us) - before) / count, len(_loads(folder)), []
    for name in names:
        deployment, begun = client.get_deployment(name), time.perf_counter()
        deployment.predict(ROWS)
        wakes.append(time.perf_counter() - begun)
        client.undeploy(name)
    more = sorted(wake - load for wake, load in zip(wakes, _loads(folder)[known:], strict=True))
    note = f"the slowest {more[-1]:.2f} s more; the model's own load takes {_middle(_loads(folder)):.2f} s; aim: 1"
    return [
        Row(f"{count} sleepers, memory of each", "MiB", asleep, None, None, None, "aim: 25"),
        Row(f"{count} sleepers, first answer", "s", _middle(wakes), None, None, None, ""),
        Row(f"{count} sleepers, more than the load", "s", _middle(more), None, None, None, note),
    ]


def _loads(folder: Path) -> list[float]:
    """How long each start of a model took, as the engine logged it."""
    found = [log.read_text(errors="replace") for log in (folder / "var" / "logs").glob("*")]
    return [float(seconds) for text in found for seconds in READY.findall(text)]


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
