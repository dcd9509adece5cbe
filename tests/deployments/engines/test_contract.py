"""What every engine must do, asked of real engines with real small models.

Interface of the suite: an engine comes under it by a `Harness` in harness.py (start, client, processes_of, stop,
seconds), named in HARNESSES; each test then runs for each engine. Models come from small_models.py, one per format.
Predictions are sent to `service.address` + "/predict" with the header X-Serving-Key: service.key, as the gateway does.
Run one engine with `pytest tests/deployments/engines -k local`.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from common.errors import Invalid
from deployments.engines.base import Engine, EngineAway, EngineRefused, Service, ServiceSpec, ServiceState
from tests.deployments.engines.harness import HARNESSES, Harness
from tests.deployments.engines.small_models import FORMATS, same
from tests.folders import open_to_others
from tests.serving.test_environments import wheel
from tests.waiting import until

# One group with all tests of the cluster: it is started once.
pytestmark = [pytest.mark.slow, pytest.mark.django_db]
NUMBERS = itertools.count(1)
TELLING = """
import os
class Predictor:
    def load(self, path):
        print("loaded from", os.path.basename(path), "by", os.getpid())
    def predict(self, rows):
        print("asked for", rows[0])
        return [os.getpid() for row in rows]
"""


@pytest.fixture(scope="module", params=list(HARNESSES))
def harness(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    folder = tmp_path_factory.mktemp(f"engine-{request.param}")
    open_to_others(folder)
    one = HARNESSES[request.param]()
    one.start(folder)
    yield one
    one.stop()


@pytest.fixture
def engine(harness: Harness) -> Engine:
    return harness.client()


class Started:
    """A service of a test, and what is done with it."""

    def __init__(self, harness: Harness, spec: ServiceSpec) -> None:
        self.harness, self.engine, self.spec = harness, harness.client(), spec
        self.engine.apply(spec)

    @property
    def now(self) -> Service:
        service = self.engine.observe(self.spec.service_id)
        assert service is not None
        return service

    def settled(self) -> Service:
        until(lambda: self.now.state != ServiceState.STARTING, self.harness.seconds)
        return self.now

    def ready(self) -> Service:
        service = self.settled()
        assert service.state == ServiceState.READY, service.reason
        return service

    def scaled(self, replicas: int) -> Service:
        self.engine.apply(replace(self.spec, replicas=replicas))
        until(lambda: self.now.ready_replicas == len(self.now.replicas) == replicas, self.harness.seconds)
        return self.now

    def ask(self, rows: Any, path: str = "/predict", **more: Any) -> requests.Response:
        return send(self.now, rows, path, **more)

    def stopped(self) -> None:
        self.engine.stop(self.spec.service_id)
        until(lambda: self.engine.observe(self.spec.service_id) is None, self.harness.seconds)


def send(service: Service, rows: Any, path: str = "/predict", **more: Any) -> requests.Response:
    headers = {"X-Serving-Key": service.key}
    return requests.post(
        service.address + path, json={"instances": rows, **more}, headers=headers, timeout=30
    )


@pytest.fixture
def started(harness: Harness, tmp_path: Path) -> Iterator[Any]:
    """Makes services; what a test leaves running is stopped."""
    made: list[Started] = []
    open_to_others(tmp_path)

    def make(folder: Path, **changes: Any) -> Started:
        name = f"svc-contract-{next(NUMBERS)}"
        spec = ServiceSpec(name, folder, 1, "iris-api", "iris", 3)
        made.append(Started(harness, replace(spec, **changes)))
        return made[-1]

    yield make
    for one in made:
        if one.engine.observe(one.spec.service_id) is not None:
            one.stopped()


def a_predictor(folder: Path, code: str = TELLING) -> Path:
    home = folder / "model"
    home.mkdir()
    (home / "predictor.py").write_text(code)
    return home


@pytest.mark.parametrize("name", FORMATS)
def test_a_model_of_each_format_answers_as_it_does_directly(name: str, started: Any, tmp_path: Path) -> None:
    made = FORMATS[name](tmp_path)
    service = started(tmp_path)
    assert service.ready().ready_replicas == 1
    answer = service.ask(made.rows)
    assert answer.status_code == 200, answer.text
    assert same(answer.json()["predictions"], made.predictions)
    about = requests.get(
        f"{service.now.address}/v2/models/iris-api", headers={"X-Serving-Key": service.now.key}, timeout=30
    ).json()
    assert about["name"] == "iris-api" and about["versions"] == ["3"]
    service.stopped()
    assert service.harness.processes_of(service.spec.service_id) == []


def test_a_value_that_does_not_fit_is_refused_and_many_rows_are_answered_in_lines(
    started: Any, tmp_path: Path
) -> None:
    made = FORMATS["mlflow"](tmp_path)
    service = started(tmp_path)
    service.ready()
    refused = service.ask([{**made.rows[0], "b": "wide"}])
    assert refused.status_code == 422 and "'b'" in refused.json()["detail"]
    rows = [*made.rows, {"a": 1}]
    said = requests.post(
        f"{service.now.address}/batch-predict",
        "\n".join(map(json.dumps, rows)),
        headers={"X-Serving-Key": service.now.key},
        timeout=30,
    )
    *good, bad = [json.loads(line) for line in said.text.splitlines()]
    assert same([line["prediction"] for line in good], made.predictions)
    assert bad["row"] == len(rows) and "'b'" in bad["error"]


def test_requests_are_joined_on_request(started: Any, tmp_path: Path) -> None:
    code = TELLING.replace("os.getpid() for", "len(rows) for")
    service = started(a_predictor(tmp_path, code), max_batch_size=8, max_delay_ms=1000)
    service.ready()
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda n: service.ask([n]).json()["predictions"], range(8)))
    assert max(answer[0] for answer in said) > 1


def test_what_is_not_there_is_told_and_may_be_stopped(engine: Engine) -> None:
    assert engine.observe("svc-nobody") is None
    assert list(engine.logs("svc-nobody", 10)) == []
    engine.stop("svc-nobody")
    assert "svc-nobody" not in [service.service_id for service in engine.services()]


def test_the_same_wish_again_changes_nothing(started: Any, tmp_path: Path) -> None:
    service = started(a_predictor(tmp_path))
    ready = service.ready()
    assert service.ask([1]).status_code == 200
    service.engine.apply(service.spec)
    again = service.now
    assert (again.address, again.key, again.replicas) == (ready.address, ready.key, ready.replicas)
    assert service.spec.service_id in [one.service_id for one in service.engine.services()]


def test_other_files_need_another_service(started: Any, tmp_path: Path) -> None:
    service = started(a_predictor(tmp_path))
    service.ready()
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises((EngineAway, EngineRefused)):
        service.engine.apply(replace(service.spec, model_dir=a_predictor(other)))


def test_a_request_without_the_key_is_refused(started: Any, tmp_path: Path) -> None:
    service = started(a_predictor(tmp_path))
    ready = service.ready()
    assert send(replace(ready, key="another"), [1]).status_code in (401, 403)


def test_a_model_that_cannot_be_loaded_fails_with_a_sentence(started: Any, tmp_path: Path) -> None:
    code = "import nowhere_at_all\n" + TELLING
    service = started(a_predictor(tmp_path, code))
    failed = service.settled()
    assert failed.state == ServiceState.FAILED
    assert "nowhere_at_all" in failed.reason and failed.reason.endswith(".")
    until(lambda: not service.harness.processes_of(service.spec.service_id), service.harness.seconds)
    assert any("nowhere_at_all" in line for line in service.engine.logs(service.spec.service_id, 500))


def test_replicas_come_and_go_without_a_failed_request(started: Any, tmp_path: Path) -> None:
    service = started(a_predictor(tmp_path))
    ready = service.ready()
    bad: list[object] = []
    done = threading.Event()

    def keep_asking() -> None:
        session = requests.Session()
        session.headers["X-Serving-Key"] = ready.key
        while not done.is_set():
            answer = session.post(f"{ready.address}/predict", json={"instances": [1]}, timeout=30)
            if answer.status_code != 200:
                bad.append(answer.text)

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        three = service.scaled(3)
        assert len({replica.id for replica in three.replicas}) == 3
        one = service.scaled(1)
    finally:
        done.set()
        asking.join(60)
    assert bad == []
    assert (one.state, one.address, one.key) == (ServiceState.READY, ready.address, ready.key)


def test_lines_of_the_log_are_found_by_replica_and_by_text(started: Any, tmp_path: Path) -> None:
    service = started(a_predictor(tmp_path), replicas=2)
    replicas = service.scaled(2).replicas
    name, logs = service.spec.service_id, service.engine.logs
    for number in range(40):
        service.ask([f"question-{number}"])
    assert any("question-7" in line for line in logs(name, 500, search="QUESTION-7"))
    assert list(logs(name, 500, search="never-said")) == []
    each = [list(logs(name, 500, replica=replica.id)) for replica in replicas]
    assert all(any("loaded from" in line for line in lines) for lines in each)
    assert not set(each[0]) & set(each[1])
    assert len(list(logs(name, 3))) == 3


def test_an_unknown_replica_is_told_with_those_that_there_are(started: Any, tmp_path: Path) -> None:
    service = started(a_predictor(tmp_path))
    (replica,) = service.ready().replicas
    for nobody in ("nobody", "999999999"):
        with pytest.raises(Invalid, match=f"replica is '{nobody}'; it must be .*{replica.id}"):
            service.engine.logs(service.spec.service_id, 10, replica=nobody)


def test_the_log_of_what_has_ended_can_still_be_read(started: Any, tmp_path: Path) -> None:
    service = started(a_predictor(tmp_path))
    (replica,) = service.ready().replicas
    service.ask(["a-last-question"])
    service.stopped()
    for chosen in (None, replica.id):
        lines = service.engine.logs(service.spec.service_id, 100, replica=chosen)
        assert any("a-last-question" in line and f"[{replica.id}]" in line for line in lines)


def test_a_model_has_the_packages_that_its_version_names(
    harness: Harness, started: Any, tmp_path: Path
) -> None:
    wheel(harness.wheels, version="9.9")
    folder = a_predictor(
        tmp_path, f"import tinypack\n{TELLING.replace('os.getpid() for', 'tinypack.VALUE for')}"
    )
    (folder / "requirements.txt").write_text("tinypack==9.9\n")
    service = started(folder)
    until(lambda: service.now.preparing or service.now.state != ServiceState.STARTING, harness.seconds)
    service.ready()
    assert service.ask([1]).json()["predictions"] == ["9.9"]


def test_a_lost_replica_is_replaced(started: Any, tmp_path: Path) -> None:
    service = started(a_predictor(tmp_path), replicas=2)
    service.ready()
    (pid,) = service.ask([1]).json()["predictions"]
    before = service.now.address
    os.kill(pid, 9)
    until(lambda: service.ask([1]).status_code == 200, service.harness.seconds)
    until(lambda: service.now.ready_replicas == 2, service.harness.seconds)
    until(lambda: service.ask([1]).json()["predictions"] != [pid], service.harness.seconds)
    assert service.now.address == before


def test_a_stopped_service_answers_no_more_and_may_come_again(started: Any, tmp_path: Path) -> None:
    service = started(a_predictor(tmp_path))
    ready = service.ready()
    service.stopped()
    with pytest.raises(requests.RequestException):
        send(ready, [1]).raise_for_status()
    service.engine.apply(service.spec)
    service.ready()
    assert service.ask([1]).status_code == 200
