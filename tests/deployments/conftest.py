"""A real serving engine for the whole session, models that were really trained, and a worker of our own."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import joblib
import pytest
import requests
import urllib3
from celery import current_app
from django.conf import settings
from django.db import connection
from django.utils import timezone
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from common import jobs
from common.models import Job, JobState
from deployments.engines.local import LocalEngine
from launcher.ports import free_port
from registry.models import ModelVersion
from tests.factories import Person, make_person, make_project, make_version
from tests.folders import open_to_others
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent
TOKEN = "engine-token-for-tests"
ROWS: list[list[float]] = load_iris().data[::30].tolist()


class GatewayProcess:
    """The gateway on the tests' database, which tests may kill and start again at the same address."""

    def __init__(self, folder: Path, database_url: str, workers: int = 1) -> None:
        self.port, self.folder, self.workers = free_port(), folder, workers
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = {"PATH": os.environ["PATH"], "DATABASE_URL": database_url}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "--port", str(self.port), "--workers", str(self.workers)],
                cwd=ROOT,
                env=self.environ,
                stdout=log,
                stderr=log,
            )
        until(self.is_ready, 60)

    def is_ready(self) -> bool:
        try:
            return urllib3.request("GET", f"{self.url}/readyz", retries=False, timeout=2).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)
            self.process = None


def database_url(port: int = 0) -> str:
    """The tests' own database as libpq takes it, by its own port or by this one of this machine."""
    values = connection.settings_dict
    login = f"{quote(values['USER'], safe='')}:{quote(values['PASSWORD'], safe='')}"
    host = values["OPTIONS"].get("host") or values["HOST"]
    where = f"host={quote(host, safe='')}&port={values['PORT'] or 5432}"
    if port:
        where = f"host=127.0.0.1&port={port}"
    return f"postgresql://{login}@/{values['NAME']}?{where}"


class EngineProcess:
    """The serving engine daemon, which tests may kill and start again at the same address."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder, self.url = folder, f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = ["-m", "serving.engine", "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "engine.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words, "--state-dir", str(self.folder / "engine")],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "SERVING_ENGINE_TOKEN": TOKEN, "SERVING_GRACE": "1"},
                stdout=log,
                stderr=log,
            )
        until(self.answers, 20)

    def answers(self) -> bool:
        try:
            return urllib3.request("GET", f"{self.url}/livez", retries=False, timeout=1).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    @property
    def client(self) -> LocalEngine:
        return LocalEngine(self.url, TOKEN)

    def living(self) -> list[str]:
        """Ids of the services that the engine runs and was not told to stop."""
        return [service.service_id for service in self.client.services() if service.state != "stopping"]

    def serving_processes(self) -> list[int]:
        """Processes of gunicorn on this machine that were started from this engine's folder."""
        return [pid for pid in _pids() if str(self.folder).encode() in _command(pid)]


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def work_until(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Runs due jobs as a worker would, until `condition` holds."""

    def worked() -> bool:
        due = Job.objects.filter(state=JobState.QUEUED, run_after__lte=timezone.now()).order_by("run_after")
        if row := due.first():
            jobs.run(row.pk)
        return bool(condition())

    until(worked, seconds, pause=0.02)


def work_until_idle(seconds: float = 60) -> None:
    """Runs jobs until none waits, those that wait for their time included."""
    work_until(lambda: not Job.objects.filter(state=JobState.QUEUED).exists(), seconds)


@pytest.fixture(scope="session", autouse=True)
def tasks() -> None:
    """What a worker knows when it starts: the tasks of all floors."""
    current_app.loader.import_default_modules()


@pytest.fixture(scope="session")
def engine_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    folder = tmp_path_factory.mktemp("serving")
    open_to_others(folder)
    process = EngineProcess(folder)
    process.start()
    yield process
    process.stop()
    until(lambda: not process.serving_processes(), 10)


@pytest.fixture(scope="session")
def gateway_process(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None
) -> Iterator[GatewayProcess]:
    process = GatewayProcess(tmp_path_factory.mktemp("gateway"), database_url())
    yield process
    process.end()


@pytest.fixture
def gateway(gateway_process: GatewayProcess, settings: Any, transactional_db: None) -> GatewayProcess:
    """The gateway, running, as the platform's settings name it."""
    settings.GATEWAY_URL = gateway_process.url
    if not gateway_process.is_ready():
        gateway_process.end(signal.SIGKILL)
        gateway_process.start()
    return gateway_process


@pytest.fixture
def engine(engine_process: EngineProcess, settings: Any) -> Iterator[EngineProcess]:
    """The engine, as the platform's settings name it; what a test left running is stopped."""
    settings.SERVING_ENGINE_URL, settings.SERVING_ENGINE_TOKEN = engine_process.url, TOKEN
    settings.SERVING_MODELS_DIR = engine_process.folder / "models"
    settings.NO_GPU, settings.GPU_TYPES = "cpu", ("T4", "A10", "A100", "H100")
    if not engine_process.answers():
        engine_process.start()
    yield engine_process
    if engine_process.answers():
        for service_id in engine_process.living():
            engine_process.client.stop(service_id)


def dumped(model: Any) -> bytes:
    file = io.BytesIO()
    joblib.dump(model, file)
    return file.getvalue()


@pytest.fixture(scope="session")
def iris_model() -> Any:
    data = load_iris()
    return LogisticRegression(max_iter=1000).fit(data.data, data.target)


@pytest.fixture(scope="session")
def iris_file(iris_model: Any) -> bytes:
    return dumped(iris_model)


@pytest.fixture(scope="session")
def constant_file() -> bytes:
    """A model that answers 7, whatever is asked."""
    data = load_iris()
    return dumped(DummyClassifier(strategy="constant", constant=7).fit(data.data, data.target * 0 + 7))


@pytest.fixture
def ada(engine: EngineProcess) -> Person:
    """An admin of a project of her own."""
    return make_person(make_project(), username=f"ada-{time.monotonic_ns()}")


def a_version(person: Person, content: bytes, model_name: str = "iris", **changes: Any) -> ModelVersion:
    """A Ready version that says it can be served, without waiting for a worker to look at it."""
    version = make_version(person, model_name, files={"model.joblib": content})
    ModelVersion.objects.filter(pk=version.pk).update(**{"servable": True, "format": "joblib", **changes})
    Job.objects.filter(name="registry.inspect_version").delete()
    return version


PREDICTOR = """
class Predictor:
    def load(self, path):
        import os, time
        {load}

    def predict(self, rows):
        {predict}
"""


def a_quick_version(
    person: Person, predict: str = "return [7 for row in rows]", load: str = "pass", model_name: str = "iris"
) -> ModelVersion:
    """A version of plain Python, which a serving process loads in no time."""
    source = PREDICTOR.format(load=load, predict=predict)
    version = make_version(person, model_name, files={"model/predictor.py": source.encode()})
    ModelVersion.objects.filter(pk=version.pk).update(servable=True, format="predictor")
    Job.objects.filter(name="registry.inspect_version").delete()
    version.refresh_from_db()
    return version


def deploy(person: Person, version: ModelVersion, endpoint_name: str = "iris-api", **more: Any) -> Any:
    """The REST call; its response."""
    body = {"model_name": version.model.name, "version": version.number, "endpoint_name": endpoint_name}
    return person.api.post(f"{person.base}/deployments", {**body, **more}, format="json")


def endpoint(person: Person, name: str = "iris-api") -> dict[str, Any]:
    answer = person.api.get(f"{person.base}/deployments/{name}")
    assert answer.status_code == 200, answer.data
    return dict(answer.json())


def state(person: Person, name: str = "iris-api") -> str:
    return str(endpoint(person, name)["state"])


def deployed(person: Person, version: ModelVersion, endpoint_name: str = "iris-api") -> None:
    """Deploys and works until the endpoint answers."""
    assert deploy(person, version, endpoint_name).status_code in (200, 201)
    work_until(lambda: state(person, endpoint_name) == "Active")
    work_until_idle()


def call(
    person: Person,
    method: str = "POST",
    path: str = "",
    *,
    name: str = "iris-api",
    slug: str = "",
    **more: Any,
) -> requests.Response:
    """The gateway's answer to a request below an endpoint's address."""
    more["headers"] = {"Authorization": f"Bearer {person.token}", **more.get("headers", {})}
    address = f"{settings.GATEWAY_URL}/serve/{slug or person.project.slug}/{name}{path}"
    return requests.request(method, address, timeout=90, **more)


def ask(person: Person, name: str = "iris-api", rows: Any = ROWS) -> requests.Response:
    """The gateway's answer to rows."""
    return call(person, name=name, json={"instances": rows})


def whole_answer(link: socket.socket) -> bytes:
    """Head and body of an answer with Content-Length, which may come in several pieces; what came before the end."""
    found = b""
    while True:
        head, end, body = found.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        if end and length and len(body) >= int(length[1]):
            return found
        piece = link.recv(1 << 16)
        if not piece:
            return found
        found += piece


def events(person: Person, name: str = "iris-api") -> list[str]:
    """What happened, oldest first."""
    answer = person.api.get(f"{person.base}/deployments/{name}/events?page_size=100")
    return [row["message"] for row in reversed(answer.json()["results"])]
