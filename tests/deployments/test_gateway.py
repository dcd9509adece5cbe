"""The endpoint's own address: who may ask, what comes back, and what never fails."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.choices import Role, Scope
from tests.deployments.conftest import (
    ROWS,
    EngineProcess,
    a_quick_version,
    a_version,
    ask,
    deploy,
    deployed,
    state,
    work_until,
)
from tests.factories import Person, make_person, make_project

pytestmark = pytest.mark.django_db(transaction=True)


def test_members_may_predict_and_strangers_learn_nothing(ada: Person) -> None:
    deployed(ada, a_quick_version(ada))
    viewer = make_person(ada.project, Role.VIEWER)
    predictor = make_person(ada.project, Role.VIEWER, scopes=(Scope.PREDICT,))
    reader = make_person(ada.project, Role.ADMIN, scopes=(Scope.READ,))
    stranger = make_person(make_project())
    asked = {who: ask(ada_as(ada, who)).status_code for who in (viewer, predictor, reader)}
    assert list(asked.values()) == [200, 200, 403]

    def refusal(address: str) -> dict[str, Any]:
        answer = stranger.api.post(address, {"instances": ROWS}, format="json")
        assert answer.status_code == 404
        return {**answer.json(), "request_id": ""}

    there = refusal(f"/serve/{ada.project.slug}/iris-api")
    assert there == refusal(f"/serve/{ada.project.slug}/no-such-endpoint")
    nowhere = refusal("/serve/no-such-project/iris-api")
    assert str(nowhere).replace("no-such-project", ada.project.slug) == str(there)
    assert ask(ada, "no-such-endpoint").json()["code"] == "deployment_not_found"


def ada_as(ada: Person, who: Person) -> Person:
    """`who`, asking about ada's project."""
    return Person(who.user, ada.project, who.token, who.api)


def test_only_a_bearer_token_counts(ada: Person) -> None:
    deployed(ada, a_quick_version(ada))
    address = f"/serve/{ada.project.slug}/iris-api"
    signed_in = Client(enforce_csrf_checks=True)
    signed_in.force_login(ada.user)
    body = {"instances": ROWS}
    refused = signed_in.post(address, body, content_type="application/json")
    assert refused.status_code == 401 and "WWW-Authenticate" in refused.headers
    for header in ("Basic YTpi", "Bearer", "Bearer nonsense", f"Bearer {ada.token}x"):
        wrong = Client().post(
            address, body, content_type="application/json", headers={"Authorization": header}
        )
        assert wrong.status_code == 401, header
    headers = {"Authorization": f"Bearer {ada.token}", "X-Request-ID": "request-of-mine"}
    right = Client(enforce_csrf_checks=True).post(
        address, body, content_type="application/json", headers=headers
    )
    assert (right.status_code, right.headers["X-Request-ID"]) == (200, "request-of-mine")


def test_the_open_inference_protocol_is_passed_through(
    ada: Person, iris_file: bytes, iris_model: Any
) -> None:
    deployed(ada, a_version(ada, iris_file))
    base = f"/serve/{ada.project.slug}/iris-api/v2"
    for path in ("", "/health/live", "/health/ready", "/models/iris-api", "/models/iris-api/ready"):
        assert ada.api.get(base + path).status_code == 200, path
    about = ada.api.get(f"{base}/models/iris-api").json()
    tensor = {"name": about["inputs"][0]["name"], "shape": [len(ROWS), 4], "datatype": "FP64", "data": ROWS}
    answer = ada.api.post(f"{base}/models/iris-api/infer", {"id": "q1", "inputs": [tensor]}, format="json")
    assert answer.status_code == 200, answer.content
    assert answer.json()["id"] == "q1"
    assert answer.json()["outputs"][0]["data"] == iris_model.predict(ROWS).tolist()
    for path in ("/models/other/infer", "/../../services", "/models/iris-api/unload"):
        assert ada.api.post(base + path, {}, format="json").status_code == 404, path
    wrong = ada.api.get(f"{base}/models/iris-api/infer")
    assert (wrong.status_code, wrong.json()["error"]) == (405, "GET is not allowed here.")
    assert ada.api.get(f"/serve/{ada.project.slug}/iris-api").status_code == 405


def test_wrong_rows_come_back_with_the_models_own_sentence(ada: Person, iris_file: bytes) -> None:
    deployed(ada, a_version(ada, iris_file))
    narrow = ask(ada, rows=[[1.0, 2.0]])
    assert narrow.status_code == 422 and "2 values" in narrow.json()["detail"]
    assert narrow.json()["code"] == "input_refused" and narrow.json()["request_id"]
    address = f"/serve/{ada.project.slug}/iris-api"
    assert ada.api.post(address, {"rows": []}, format="json").status_code == 400
    assert ada.api.post(address, b"{", content_type="application/json").status_code == 400


def test_a_body_that_is_too_large_is_refused(ada: Person, settings: Any) -> None:
    settings.MAX_JSON_BYTES = 1000
    deployed(ada, a_quick_version(ada))
    answer = ask(ada, rows=ROWS * 100)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_model_that_raises_is_a_502_with_its_sentence(ada: Person, engine: EngineProcess) -> None:
    deployed(ada, a_quick_version(ada, "raise ValueError('no such flower')"))
    answer = ask(ada)
    assert (answer.status_code, answer.json()["code"]) == (502, "model_failed")
    assert "no such flower" in answer.json()["detail"]


def test_a_prediction_costs_at_most_three_queries(ada: Person) -> None:
    deployed(ada, a_quick_version(ada))
    ask(ada)
    with CaptureQueriesContext(connection) as queries:
        assert ask(ada).status_code == 200
    assert len(queries) <= 3, [query["sql"] for query in queries]


@pytest.mark.slow
def test_no_request_fails_while_the_version_changes(
    ada: Person, iris_file: bytes, constant_file: bytes, engine: EngineProcess
) -> None:
    first, second = a_version(ada, iris_file), a_version(ada, constant_file)
    deployed(ada, first)
    answers: list[Any] = []
    stop = threading.Event()

    def keep_asking() -> None:
        try:
            while not stop.is_set():
                answers.append(ask(ada))
                time.sleep(0.02)
        finally:
            connection.close()

    threads = [threading.Thread(target=keep_asking) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for version in (second, first):
            deploy(ada, version)
            work_until(lambda: state(ada) == "Active")
            work_until(lambda: len(engine.client.services()) == 1)
    finally:
        stop.set()
        for thread in threads:
            thread.join(70)
    failed = [answer.content for answer in answers if answer.status_code != 200]
    assert not failed, (len(failed), len(answers), failed[0])
    assert {answer.json()["model_version"] for answer in answers} == {1, 2}
    assert len(answers) > 50
