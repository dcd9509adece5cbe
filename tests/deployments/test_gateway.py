"""The endpoint's own address: who may ask, what comes back, and what never fails."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3
from django.conf import settings
from django.db import connection
from django.db.models import QuerySet, Sum
from django.test import Client
from django.utils import timezone

from accounts import services as accounts
from accounts.choices import Role, Scope
from accounts.models import ApiToken, Membership, User
from common.models import Job
from deployments.choices import RevisionState
from deployments.models import Deployment, DeploymentRevision, EndpointTraffic
from launcher.ports import free_port
from tests.deployments.conftest import (
    ROWS,
    EngineProcess,
    GatewayProcess,
    a_quick_version,
    a_version,
    ask,
    call,
    database_url,
    deploy,
    deployed,
    state,
    work_until,
)
from tests.deployments.door import Door
from tests.factories import Person, make_person, make_project
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


def test_members_may_predict_and_strangers_learn_nothing(ada: Person, gateway: GatewayProcess) -> None:
    deployed(ada, a_quick_version(ada))
    viewer = make_person(ada.project, Role.VIEWER)
    predictor = make_person(ada.project, Role.VIEWER, scopes=(Scope.PREDICT,))
    reader = make_person(ada.project, Role.ADMIN, scopes=(Scope.READ,))
    stranger = make_person(make_project())
    asked = [ask(who) for who in (viewer, predictor, reader)]
    assert [answer.status_code for answer in asked] == [200, 200, 403]
    assert asked[0].json() == {"predictions": [7] * len(ROWS), "model_name": "iris", "model_version": 1}
    assert asked[2].json()["code"] == "scope_missing"

    def refusal(slug: str, name: str) -> dict[str, Any]:
        answer = call(stranger, slug=slug, name=name, json={"instances": ROWS})
        assert answer.status_code == 404
        return {**answer.json(), "request_id": ""}

    there = refusal(ada.project.slug, "iris-api")
    assert there == refusal(ada.project.slug, "no-such-endpoint")
    nowhere = refusal("no-such-project", "iris-api")
    assert str(nowhere).replace("no-such-project", ada.project.slug) == str(there)
    assert ask(ada, "no-such-endpoint").json()["code"] == "deployment_not_found"


def test_each_caller_gets_in_or_not(ada: Person, gateway: GatewayProcess) -> None:
    """The endpoint does not run: 503 says that the caller got past the door."""
    deploy(ada, a_quick_version(ada))
    callers = {role: make_person(ada.project, role) for role in Role.values}
    callers |= {scope: make_person(ada.project, Role.ADMIN, [Scope(scope)]) for scope in Scope.values[:-1]}
    names = ("expired", "deactivated", "removed", "elsewhere", "of a run")
    gone = {name: make_person(ada.project) for name in names}
    ApiToken.objects.filter(user=gone["expired"].user).update(expires_at=timezone.now())
    User.objects.filter(pk=gone["deactivated"].user.pk).update(is_active=False)
    Membership.objects.filter(user=gone["removed"].user).delete()
    ApiToken.objects.filter(user=gone["elsewhere"].user).update(project=make_project())
    ApiToken.objects.filter(user=gone["of a run"].user).update(only_run="run_1", scopes=["read", "write"])
    found = {
        name: {
            call(person, slug=ada.project.slug, json={"instances": [[1]]}).status_code,
            call(person, "GET", "/v2/models/iris-api", slug=ada.project.slug).status_code,
            call(person, path="/batch-predict", slug=ada.project.slug, data="[1]").status_code,
        }
        for name, person in {**callers, **gone}.items()
    }
    refused = {"read": {403}, "expired": {401}, "deactivated": {401}, "removed": {404}, "elsewhere": {404}}
    refused["of a run"] = {403}
    assert found == {name: refused.get(name, {503}) for name in found}


def test_only_a_bearer_token_counts(ada: Person, gateway: GatewayProcess) -> None:
    deployed(ada, a_quick_version(ada))
    browser = Client()
    browser.force_login(ada.user)
    cookies = {name: morsel.value for name, morsel in browser.cookies.items()}
    for header in ("", "Basic YTpi", "Bearer", "Bearer nonsense", f"Bearer {ada.token}x"):
        refused = call(ada, headers={"Authorization": header}, json={"instances": ROWS}, cookies=cookies)
        assert refused.status_code == 401, header
        assert "WWW-Authenticate" in refused.headers
        assert refused.headers["Content-Type"] == "application/problem+json"
    right = call(ada, headers={"X-Request-ID": "request-of-mine"}, json={"instances": ROWS})
    assert (right.status_code, right.headers["X-Request-ID"]) == (200, "request-of-mine")


def test_what_was_revoked_ends_at_once(ada: Person, gateway: GatewayProcess) -> None:
    deployed(ada, a_quick_version(ada))
    leaving, dismissed, revoked = (make_person(ada.project, Role.VIEWER) for _ in range(3))
    people = (leaving, dismissed, revoked)
    assert [ask(person).status_code for person in people] == [200, 200, 200]
    accounts.remove_member(actor=ada.actor, project=ada.project, username=leaving.user.username)
    User.objects.filter(pk=dismissed.user.pk).update(is_active=False)
    accounts.revoke_token(actor=revoked.actor, prefix=revoked.token.split("_")[1])
    # Sooner than what was kept would be read again anyway.
    began = time.monotonic()
    until(lambda: [ask(person).status_code for person in people] == [404, 401, 401], 60)
    assert time.monotonic() - began < 4
    assert ask(ada).status_code == 200


def test_the_open_inference_protocol_is_passed_through(
    ada: Person, iris_file: bytes, iris_model: Any, gateway: GatewayProcess
) -> None:
    deployed(ada, a_version(ada, iris_file))
    for path in ("", "/health/live", "/health/ready", "/models/iris-api", "/models/iris-api/ready"):
        assert call(ada, "GET", f"/v2{path}").status_code == 200, path
    about = call(ada, "GET", "/v2/models/iris-api").json()
    tensor = {"name": about["inputs"][0]["name"], "shape": [len(ROWS), 4], "datatype": "FP64", "data": ROWS}
    answer = call(ada, path="/v2/models/iris-api/infer", json={"id": "q1", "inputs": [tensor]})
    assert answer.status_code == 200, answer.content
    assert answer.json()["id"] == "q1"
    assert answer.json()["outputs"][0]["data"] == iris_model.predict(ROWS).tolist()
    for path in (
        "/v2/models/other/infer",
        "/v2/../../services",
        "/v2/models/iris-api/unload",
        "/other",
        "/v3",
    ):
        assert call(ada, path=path, json={}).status_code == 404, path
    wrong = call(ada, "GET", "/v2/models/iris-api/infer")
    assert (wrong.status_code, wrong.json()["error"]) == (405, "GET is not allowed here.")
    assert call(ada, "GET").status_code == 405


def test_wrong_rows_come_back_with_the_models_own_sentence(
    ada: Person, iris_file: bytes, gateway: GatewayProcess
) -> None:
    deployed(ada, a_version(ada, iris_file))
    narrow = ask(ada, rows=[[1.0, 2.0]])
    assert narrow.status_code == 422 and "2 values" in narrow.json()["detail"]
    assert narrow.json()["code"] == "input_refused" and narrow.json()["request_id"]
    assert call(ada, json={"rows": []}).status_code == 400
    assert call(ada, data=b"{").status_code == 400


def test_a_body_that_is_too_large_is_refused(ada: Person, gateway: GatewayProcess) -> None:
    deployed(ada, a_quick_version(ada))
    Deployment.objects.update(max_body_bytes=1000)
    body = json.dumps({"instances": ROWS * 100}).encode()
    for sent in (body, iter([body[:500], body[500:]])):
        answer = call(ada, data=sent)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert ask(ada, rows=ROWS[:1]).status_code == 200
    until(lambda: sum(EndpointTraffic.objects.values_list("requests", flat=True)) == 3, 60)
    rows = EndpointTraffic.objects.all()
    assert (sum(row.refused for row in rows), sum(row.unfit for row in rows)) == (2, 0)


def test_a_model_that_raises_is_a_502_with_its_sentence(ada: Person, gateway: GatewayProcess) -> None:
    deployed(ada, a_quick_version(ada, "raise ValueError('no such flower')"))
    answer = ask(ada)
    assert (answer.status_code, answer.json()["code"]) == (502, "model_failed")
    assert "no such flower" in answer.json()["detail"]


def test_a_model_that_takes_too_long_is_a_504(ada: Person, gateway: GatewayProcess) -> None:
    deployed(ada, a_quick_version(ada, "import time; time.sleep(3); return rows"))
    Deployment.objects.update(timeout_seconds=1)
    answer = ask(ada)
    assert (answer.status_code, answer.json()["code"]) == (504, "model_too_slow")
    assert "within 1 s" in answer.json()["detail"]


def test_a_limited_endpoint_says_when_to_ask_again(ada: Person, gateway: GatewayProcess) -> None:
    deployed(ada, a_quick_version(ada))
    Deployment.objects.update(rate_limit=1)
    until(lambda: ask(ada).status_code == 429)
    answer = ask(ada)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert answer.headers["Retry-After"] == "1"
    until(lambda: ask(ada).status_code == 200)
    until(lambda: sum(EndpointTraffic.objects.values_list("refused", flat=True)) > 1, 60)
    for row in EndpointTraffic.objects.all():
        assert sum(row.buckets) == row.requests - row.refused, "what came to no model took it no time"


def test_an_endpoint_that_is_down_says_why(ada: Person, gateway: GatewayProcess) -> None:
    deployed(ada, a_quick_version(ada))
    assert ask(ada).status_code == 200
    ada.api.post(f"{ada.base}/deployments/iris-api/undeploy")
    until(lambda: ask(ada).status_code == 503, 60)
    answer = ask(ada).json()
    assert answer["code"] == "endpoint_not_live" and answer["error"] == answer["detail"]


def test_a_large_answer_is_streamed(ada: Person, gateway: GatewayProcess) -> None:
    deployed(ada, a_quick_version(ada, "return ['x' * 1000] * (rows[0] * 1000)"))
    answer = ask(ada, rows=[40])
    assert (answer.status_code, answer.headers.get("Transfer-Encoding")) == (200, "chunked")
    found = answer.json()
    assert (len(found["predictions"]), found["model_name"], found["model_version"]) == (40_000, "iris", 1)
    before = memory_of(gateway)
    assert len(ask(ada, rows=[100]).content) > 100_000_000
    assert memory_of(gateway) - before < 30_000_000


def test_many_rows_go_in_and_out_as_lines(ada: Person, gateway: GatewayProcess) -> None:
    deployed(ada, a_quick_version(ada, "return [sum(row) for row in rows]"))
    rows = [[number, 1] for number in range(20_000)]

    def lines() -> Iterator[bytes]:
        for row in rows:
            yield json.dumps(row).encode() + b"\n"

    answer = call(ada, path="/batch-predict", data=lines())
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/x-ndjson"), answer.text
    found = [json.loads(line) for line in answer.text.splitlines()]
    assert len(found) == len(rows)
    assert (found[0]["prediction"], found[-1]) == (1, {"row": 20_000, "prediction": 20_000})
    assert call(ada, "GET", "/batch-predict").status_code == 405


def test_a_batch_is_counted_and_how_long_its_caller_took_judges_nobody(
    ada: Person, gateway: GatewayProcess
) -> None:
    deployed(ada, a_quick_version(ada, "return [7 for row in rows]"))

    def slowly() -> Iterator[bytes]:
        for _ in range(3):
            yield b"[1]\n"
            time.sleep(0.4)

    assert call(ada, path="/batch-predict", data=slowly()).status_code == 200
    assert ask(ada).status_code == 200
    until(lambda: sum(EndpointTraffic.objects.values_list("requests", flat=True)) == 2, 60)
    rows = list(EndpointTraffic.objects.all())
    assert sum(sum(row.buckets) for row in rows) == 1
    assert sum(row.total_ms for row in rows) < 1000


def test_a_batch_whose_caller_goes_away_is_no_error_of_the_endpoint(
    ada: Person, gateway: GatewayProcess
) -> None:
    deployed(ada, a_quick_version(ada))
    head = f"POST /serve/{ada.project.slug}/iris-api/batch-predict HTTP/1.1\r\nHost: x\r\n"
    head += f"Authorization: Bearer {ada.token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    for rows, answer in ((300, b"prediction"), (1, b"")):  # with the answer begun, and before
        lines = b"[1]\n" * rows
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as link:
            link.sendall(head.encode() + b"%x\r\n%b\r\n" % (len(lines), lines))
            found = b""
            while answer and answer not in found:
                found += link.recv(1 << 16)
            time.sleep(0.5)
    until(lambda: sum(EndpointTraffic.objects.values_list("requests", flat=True)) == 2, 20)
    rows = list(EndpointTraffic.objects.all())
    assert [sum(getattr(row, name) for row in rows) for name in ("refused", "unfit", "errors")] == [2, 0, 0]


def memory_of(gateway: GatewayProcess) -> int:
    assert gateway.process is not None
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def test_what_was_asked_is_counted_by_revision(ada: Person, gateway: GatewayProcess) -> None:
    deployed(ada, a_quick_version(ada, "return rows if rows != [0] else 1 / 0"))
    for rows in ([1], [2], [3], [0]):
        ask(ada, rows=rows)
    call(ada, json={"rows": []})
    until(lambda: sum(EndpointTraffic.objects.values_list("requests", flat=True)) == 5, 60)
    rows = list(EndpointTraffic.objects.all())
    assert {row.revision_id for row in rows} == {Deployment.objects.get().serving_revision_id}
    assert (sum(row.errors for row in rows), sum(row.refused for row in rows)) == (1, 1)
    assert sum(row.unfit for row in rows) == 1
    assert sum(sum(row.buckets) for row in rows) == 5
    assert sum(row.total_ms for row in rows) > 0 and max(row.peak_in_flight for row in rows) >= 1
    until(lambda: ApiToken.objects.get(user=ada.user).last_used_at is not None, 60)


def test_a_request_counts_once_whoever_was_asked_and_where_nobody_answers(
    ada: Person, gateway: GatewayProcess
) -> None:
    """A canary that breaks off is judged by that, although what serves answers in its place."""
    deployed(ada, a_quick_version(ada))
    deployed(ada, a_quick_version(ada), "other-api")
    main, other = (Deployment.objects.get(endpoint_name=name) for name in ("iris-api", "other-api"))
    serving = DeploymentRevision.objects.filter(pk=main.serving_revision_id)
    canary = DeploymentRevision.objects.filter(pk=other.serving_revision_id)
    answers = Counter[int]()

    def sent() -> str:
        answer = ask(ada)
        answers[answer.status_code] += 1
        return answer.text

    nobody = f"http://127.0.0.1:{free_port()}"
    canary.update(address=nobody)
    Deployment.objects.filter(pk=main.pk).update(wanted_revision=canary.get().pk, canary_percent=100)
    until(lambda: "predictions" in sent() and counted(canary)["errors"], 60, pause=0.5)
    Deployment.objects.filter(pk=main.pk).update(wanted_revision=serving.get().pk, canary_percent=0)
    for address, said in ((nobody, "The process behind iris-api does"), ("", "The endpoint iris-api is")):
        serving.update(address=address)
        until(lambda said=said: said in sent(), 60)
    until(lambda: counted(serving | canary)["requests"] >= answers.total(), 60)
    time.sleep(1.5)  # what was counted twice is written within a second
    assert counted(serving | canary)["requests"] == answers.total()
    assert counted(serving)["errors"] == answers[503]
    assert counted(canary)["errors"] == counted(canary)["requests"]


def counted(revisions: QuerySet[DeploymentRevision]) -> dict[str, int]:
    """Requests and errors of these revisions, as far as the gateway has written them."""
    rows = EndpointTraffic.objects.filter(revision__in=revisions, shadow=False)
    found = rows.aggregate(requests=Sum("requests"), errors=Sum("errors"))
    return {name: number or 0 for name, number in found.items()}


def test_a_canary_gets_its_share_and_a_shadow_copies(ada: Person, gateway: GatewayProcess) -> None:
    first = a_quick_version(ada)
    deployed(ada, first)
    deployed(ada, a_quick_version(ada, "return [8 for row in rows]"), "other-api")
    main = Deployment.objects.get(endpoint_name="iris-api")
    other = Deployment.objects.get(endpoint_name="other-api")
    Deployment.objects.filter(pk=main.pk).update(wanted_revision=other.serving_revision_id, canary_percent=50)
    versions = Counter(ask(ada).json()["model_version"] for _ in range(60))
    assert versions.keys() == {1, 2} and min(versions.values()) > 5
    Deployment.objects.filter(pk=main.pk).update(
        wanted_revision=main.serving_revision_id,
        canary_percent=0,
        shadow_revision=other.serving_revision_id,
    )
    copies = EndpointTraffic.objects.filter(shadow=True, revision=other.serving_revision_id)
    # Asked again at each look: the first answers may still go by the canary's route, which copies nothing.
    until(lambda: ask(ada).ok and sum(copies.values_list("differed", flat=True)) > 0, 60)
    assert ask(ada).json()["model_version"] == 1
    assert sum(copies.values_list("agreed", flat=True)) == 0
    assert {ask(ada).json()["predictions"][0] for _ in range(5)} == {7}


def test_a_request_wakes_an_endpoint_and_waits_for_it(ada: Person, gateway: GatewayProcess) -> None:
    deployed(ada, a_quick_version(ada))
    revision = DeploymentRevision.objects.get()
    asleep = {"state": RevisionState.ASLEEP, "address": "", "min_replicas": 0}
    DeploymentRevision.objects.update(**asleep)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(ask, ada)
        until(lambda: Deployment.objects.get().wake_asked_at is not None, 60)
        assert Job.objects.filter(name="deployments.reconcile", state="queued").exists()
        assert not waiting.done()
        DeploymentRevision.objects.update(
            state=RevisionState.ACTIVE, address=revision.address, min_replicas=1
        )
        assert waiting.result(60).status_code == 200
    DeploymentRevision.objects.update(**asleep)
    Deployment.objects.update(timeout_seconds=1)
    until(lambda: ask(ada).status_code == 503, 60)


def test_probes_are_no_predictions_and_wake_nothing(ada: Person, gateway: GatewayProcess) -> None:
    deployed(ada, a_quick_version(ada))
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/iris-api/ready", "/v2/models/iris-api"):
        assert call(ada, "GET", path).status_code == 200, path
    assert ask(ada).status_code == 200
    until(lambda: EndpointTraffic.objects.exists(), 60)
    DeploymentRevision.objects.update(state=RevisionState.ASLEEP, address="", min_replicas=0)
    until(lambda: call(ada, "GET", "/v2/models/iris-api/ready").json() == {"ready": True}, 60)
    assert call(ada, "GET", "/v2/health/live").json() == {"live": True}
    model = "/v2/models/iris-api/versions"
    assert call(ada, "GET", f"{model}/1/ready").json() == {"ready": True}
    assert call(ada, "GET", f"{model}/99/ready").json()["code"] == "version_not_served"
    assert Deployment.objects.get().wake_asked_at is None
    assert sum(EndpointTraffic.objects.values_list("requests", flat=True)) == 1
    DeploymentRevision.objects.update(state=RevisionState.PENDING)
    Deployment.objects.update(reason="No node has a T4 free.")
    until(lambda: call(ada, "GET", "/v2/health/ready").status_code == 503, 60)
    assert call(ada, "GET", "/v2/models/iris-api/ready").json()["detail"] == "No node has a T4 free."
    Deployment.objects.update(rate_limit=1)
    until(lambda: call(ada, "GET", "/v2/health/live").status_code == 429, 60)


def test_a_killed_gateway_comes_back_and_counts_on(ada: Person, gateway: GatewayProcess) -> None:
    deployed(ada, a_quick_version(ada))
    assert ask(ada).status_code == 200
    gateway.end(signal.SIGKILL)
    with pytest.raises(requests.ConnectionError):
        ask(ada)
    gateway.start()
    assert ask(ada).status_code == 200


def test_known_routes_answer_while_the_database_is_away(ada: Person, tmp_path: Path) -> None:
    deployed(ada, a_quick_version(ada))
    stranger = make_person(make_project())
    host = connection.settings_dict["HOST"]
    with Door(host, int(connection.settings_dict["PORT"])) as door:
        gateway = GatewayProcess(tmp_path, database_url(door.port))
        gateway.start()
        settings.GATEWAY_URL = gateway.url
        try:
            assert ask(ada).status_code == 200
            door.shut()
            began, answers = time.monotonic(), []
            while time.monotonic() - began < 7:
                answers.append(ask(ada).status_code)
                time.sleep(0.05)
            assert set(answers) == {200}
            assert ask(stranger).status_code == 503
            assert urllib3.request("GET", f"{gateway.url}/readyz").json()["database"] == "does not answer"
            accounts.revoke_token(actor=ada.actor, prefix=ada.token.split("_")[1])
            door.open()
            until(lambda: ask(ada).status_code == 401, 60)
            until(lambda: sum(EndpointTraffic.objects.values_list("requests", flat=True)) >= len(answers), 60)
        finally:
            gateway.end()


def test_an_odd_head_is_refused(gateway: GatewayProcess) -> None:
    for sent, expected in (
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 60_000 + b"\r\n\r\n", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"TRACE /serve/a/b HTTP/1.1\r\nHost: x\r\n\r\n", b"401"),
        (b"GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
    ):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as raw:
            raw.sendall(sent)
            assert raw.recv(65536).split(b" ")[1] == expected, sent[:20]


@pytest.mark.slow
def test_no_request_fails_while_the_version_changes_ten_times(
    ada: Person, engine: EngineProcess, gateway: GatewayProcess
) -> None:
    """50 requests a second, or SOAK_REQUESTS a second; each answer comes from the old or from the new version."""
    versions = [a_quick_version(ada), a_quick_version(ada, "return [8 for row in rows]")]
    deployed(ada, versions[0])
    load = Load(ada, rate=int(os.environ.get("SOAK_REQUESTS", "50")))
    with load:
        for number in range(10):
            deploy(ada, versions[(number + 1) % 2])
            work_until(lambda: state(ada) == "Active", 120)
            work_until(lambda: len(engine.client.services()) == 1, 120)
    assert not load.failed, (len(load.failed), len(load.answers), load.failed[0])
    assert set(load.answers) == {(1, 7), (2, 8)}
    assert len(load.answers) > 100


class Load:
    """Ten requests a second from each of some threads, on connections that are kept; answers as (version, value)."""

    def __init__(self, person: Person, rate: int) -> None:
        self.answers: list[tuple[int, int]] = []
        self.failed: list[str] = []
        self._person, self._over = person, threading.Event()
        self._threads = [threading.Thread(target=self._keep_asking) for _ in range(max(1, rate // 10))]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(90)

    def _keep_asking(self) -> None:
        address = f"{settings.GATEWAY_URL}/serve/{self._person.project.slug}/iris-api"
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {self._person.token}"
            due = time.monotonic()
            while not self._over.wait(max(0.0, due - time.monotonic())):
                due += 0.1
                try:
                    found = session.post(address, json={"instances": [[1]]}, timeout=90)
                    content = found.json()
                    self.answers.append((content["model_version"], content["predictions"][0]))
                except (requests.RequestException, KeyError, ValueError) as error:
                    self.failed.append(f"{error!r} {found.text[:500] if 'found' in locals() else ''}")
