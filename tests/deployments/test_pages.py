"""The portal's pages of endpoints: what they show to whom, and what a row of a model looks like."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.choices import Role
from deployments import asking, services
from deployments.choices import EndpointState, RevisionState
from deployments.inputs import Field, inputs_from
from deployments.models import (
    Deployment,
    DeploymentEvent,
    DeploymentRevision,
    EndpointTraffic,
    ReplicaSample,
)
from deployments.revisions import step, take_over
from registry.models import ModelVersion
from tests.factories import Person, browser, make_person, make_project, make_version
from tests.waiting import until

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    ann = make_person(make_project("alpha"), username="ann")
    make_version(ann, "iris")
    make_version(ann, "iris")
    return ann


def deployed(ann: Person, name: str = "flowers") -> Deployment:
    """An endpoint whose first version serves."""
    found = services.deploy(
        actor=ann.actor, project=ann.project, model_name="iris", version=1, endpoint_name=name
    )
    revision = found.wanted_revision
    assert revision is not None
    DeploymentRevision.objects.filter(pk=revision.pk).update(
        state=RevisionState.ACTIVE, active_at=timezone.now(), reason=""
    )
    revision.refresh_from_db()
    take_over(ann.actor, found, revision)
    return Deployment.objects.with_details().get(pk=found.pk)


def shown(person: Person, path: str) -> str:
    client = Client()
    client.force_login(person.user)
    answer = client.get(f"/projects/alpha/{path}")
    assert answer.status_code == 200, answer.content
    return answer.content.decode()


def asked(client: Client) -> int:
    with CaptureQueriesContext(connection) as queries:
        client.get("/projects/alpha/deployments/flowers/")
    return len(queries)


def test_a_viewer_sees_no_button_that_he_may_not_press(ann: Person) -> None:
    deployed(ann)
    viewer = make_person(ann.project, Role.VIEWER)
    page, mine = shown(viewer, "deployments/flowers/"), shown(ann, "deployments/flowers/")
    for word in (">Undeploy<", ">Change<", ">Start<"):
        assert word in mine
        assert word not in page
    assert ">Logs<" in page


def test_a_canary_shows_its_steps_and_its_buttons(ann: Person) -> None:
    deployed(ann)
    services.update_deployment(
        actor=ann.actor,
        project=ann.project,
        endpoint_name="flowers",
        version=2,
        rollout={"steps": [10, 50], "bake_seconds": 600},
    )
    found = Deployment.objects.with_details().get(endpoint_name="flowers")
    coming = found.wanted_revision
    assert coming is not None
    DeploymentRevision.objects.filter(pk=coming.pk).update(state=RevisionState.ACTIVE)
    coming.refresh_from_db()
    step(found, coming, 0)
    page = shown(ann, "deployments/flowers/")
    for word in (
        "Promote now",
        "Abort",
        "10 % to v2",
        "<strong>50 %</strong>",
        "Updating",
        "above 5 % errors",
    ):
        assert word in page, word


def test_a_shadow_that_does_not_answer_and_a_change_that_waits_are_said_to_be_so(ann: Person) -> None:
    found = deployed(ann)
    ModelVersion.objects.update(servable=True)
    ann.api.put(f"{ann.base}/deployments/flowers/shadow", {"version": 2}, format="json")
    shadows = DeploymentRevision.objects.filter(deployment=found, is_shadow=True)
    shadows.update(state=RevisionState.FAILED, reason="It has no loader.")
    assert "Version 2 gets no copies of the requests now: it is Failed. It has no loader." in shown(
        ann, "deployments/flowers/"
    )
    shadows.update(state=RevisionState.ACTIVE)
    assert "Version 2 gets copies of the requests;" in shown(ann, "deployments/flowers/")
    ann.api.patch(f"{ann.base}/deployments/flowers", {"version": 2}, format="json")
    page = shown(ann, "deployments/flowers/")
    assert "Version 2 waits to be started; version 1 goes on serving until it is healthy." in page


def test_a_change_one_after_the_other_is_chosen_in_the_form_and_its_page_says_what_gives_way(
    ann: Person,
) -> None:
    found = deployed(ann)
    ModelVersion.objects.update(servable=True)
    typed = {
        "version": "2",
        "min_replicas": "1",
        "max_replicas": "1",
        "rollout": "replace",
        "timeout_seconds": "60",
    }
    assert browser(ann).post("/projects/alpha/deployments/flowers/change/", typed).status_code == 302
    assert "version 1 gives way once its files are in place." in shown(ann, "deployments/flowers/")
    DeploymentRevision.objects.filter(pk=found.serving_revision_id).update(state=RevisionState.ASLEEP)
    assert "version 1 gave way to it, and requests wait." in shown(ann, "deployments/flowers/")
    assert "v1 is started again" in shown(ann, "deployments/flowers/abort/")
    assert '<option value="replace" selected>' in shown(ann, "deployments/flowers/change/")


def test_a_body_that_no_process_takes_is_refused_where_it_is_asked_for(ann: Person) -> None:
    deployed(ann)
    url = f"{ann.base}/deployments/flowers"
    answer = ann.api.patch(url, {"max_body_bytes": 2**25 + 1}, format="json")
    assert answer.status_code == 400, answer.data
    assert "a serving process takes at most 33554432 bytes" in answer.json()["detail"]
    assert ann.api.patch(url, {"max_body_bytes": 2**25}, format="json").status_code == 200


def test_endpoints_are_searched_and_filtered_by_state(ann: Person) -> None:
    deployed(ann)
    deployed(ann, "garden")
    Deployment.objects.filter(endpoint_name="garden").update(state=EndpointState.FAILED)
    assert "garden" not in shown(ann, "deployments/?search=flow")
    assert "flowers" not in shown(ann, "deployments/?state=Failed")
    assert "No endpoint matches" in shown(ann, "deployments/?search=nothing")
    client = Client()
    client.force_login(ann.user)
    answer = client.get("/projects/alpha/deployments/?state=Nonsense")
    assert answer.status_code == 422
    assert "Nonsense is not one of the available choices" in answer.content.decode()
    assert "flowers" not in answer.content.decode()


def test_endpoints_are_sorted_by_their_heads(ann: Person) -> None:
    deployed(ann)
    deployed(ann, "garden")

    def order(query: str) -> bool:
        page = shown(ann, f"deployments/{query}")
        return page.index('title="flowers"') < page.index('title="garden"')

    assert order("?ordering=endpoint_name") and not order("?ordering=-endpoint_name")
    assert not order("")
    assert 'aria-sort="ascending"' in shown(ann, "deployments/?ordering=endpoint_name")
    client = Client()
    client.force_login(ann.user)
    assert client.get("/projects/alpha/deployments/?ordering=secret").status_code == 400


def sent_form(person: Person, path: str, **changes: str) -> tuple[int, str]:
    """The form of a page as it is shown, with some of its values changed, as it is answered."""
    client = Client()
    client.force_login(person.user)
    form = client.get(f"/projects/alpha/{path}").context["form"]
    values = {each.name: each.value() for each in form}
    typed = {name: "" if value is None else str(value) for name, value in values.items()}
    answer = client.post(f"/projects/alpha/{path}", {**typed, **changes})
    return answer.status_code, answer.content.decode()


def test_deploy_and_change_offer_limits_a_description_and_the_engine(ann: Person, settings: Any) -> None:
    path = "models/iris/versions/1/deploy/"
    assert 'name="engine"' not in shown(ann, path)
    settings.SERVING_ENGINE_URL, settings.RAY_ADDRESS = "http://127.0.0.1:9", "http://127.0.0.1:9"
    page = shown(ann, path)
    assert "<summary>More</summary>" in page and '<option value="ray">Ray cluster</option>' in page
    more = {"description": "Irises", "engine": "ray", "rate_limit": "9", "max_body_bytes": "1000"}
    assert sent_form(ann, path, endpoint_name="flowers", **more)[0] == 302
    found = Deployment.objects.get(endpoint_name="flowers")
    assert (found.description, found.engine, found.rate_limit) == ("Irises", "ray", 9)
    assert (found.max_body_bytes, found.timeout_seconds) == (1000, 60)
    assert "<dt>Engine</dt><dd>Ray cluster</dd>" in shown(ann, "deployments/flowers/")

    path = "deployments/flowers/change/"
    status, page = sent_form(ann, path, max_body_bytes=str(2**26))
    assert status == 422 and '<details class="more" open>' in page
    assert "a serving process takes at most" in page
    assert sent_form(ann, path, description="Flowers", timeout_seconds="30", rate_limit="")[0] == 302
    found.refresh_from_db()
    assert (found.description, found.engine, found.rate_limit) == ("Flowers", "ray", None)
    assert (found.max_body_bytes, found.timeout_seconds) == (1000, 30)


def test_a_change_that_failed_is_tried_again_or_given_up_on_the_page(ann: Person) -> None:
    deployed(ann)
    where = {"actor": ann.actor, "project": ann.project, "endpoint_name": "flowers"}
    services.update_deployment(**where, version=2)
    found = Deployment.objects.get(endpoint_name="flowers")
    found.revisions.filter(number=2).update(state=RevisionState.FAILED, reason="It has no weights.")
    Deployment.objects.filter(pk=found.pk).update(state=EndpointState.DEGRADED)
    page = shown(ann, "deployments/flowers/")
    assert ">Deploy v2 again<" in page and ">Abort the change<" in page and ">Delete<" not in page
    client = Client()
    client.force_login(ann.user)
    assert client.post("/projects/alpha/deployments/flowers/abort/").status_code == 302
    assert "again<" not in shown(ann, "deployments/flowers/")
    found.refresh_from_db()
    assert found.wanted_revision_id == found.serving_revision_id


def test_the_page_of_an_endpoint_costs_the_same_with_a_long_past(ann: Person) -> None:
    found = deployed(ann)
    client = Client()
    client.force_login(ann.user)
    client.get("/projects/alpha/deployments/flowers/")
    ReplicaSample.objects.create(deployment=found, wanted=1, ready=1)
    counts = [asked(client)]
    first = found.wanted_revision
    assert first is not None
    kept = {"deployment": found, "version": first.version, "created_by": ann.user}
    DeploymentRevision.objects.bulk_create(
        DeploymentRevision(**kept, number=n, service_id=f"s{n}") for n in range(10, 60)
    )
    DeploymentEvent.objects.bulk_create(
        DeploymentEvent(deployment=found, revision=first, state="Active", message="Something")
        for _ in range(60)
    )
    EndpointTraffic.objects.bulk_create(
        EndpointTraffic(deployment=found, revision=row, at=timezone.now(), requests=3, buckets=[0, 3])
        for row in found.revisions.all()
    )
    ReplicaSample.objects.bulk_create(ReplicaSample(deployment=found, wanted=1, ready=1) for _ in range(60))
    counts.append(asked(client))
    assert counts[0] == counts[1] <= 12, counts


def test_an_endpoint_is_offered_to_be_tried_once_it_answers(ann: Person) -> None:
    found = deployed(ann)
    assert "It can be tried once it answers." in shown(ann, "deployments/flowers/")
    found.revisions.update(address="http://127.0.0.1:9")
    page = shown(ann, "deployments/flowers/")
    assert 'id="answers-1"' in page and "It can be tried" not in page


class Model:
    """A serving process whose model has two inputs; once `gone`, nothing listens at its address."""

    def __init__(self) -> None:
        self.status, self.said = 200, {"predictions": [7]}
        tensors = [("age", "INT64"), ("city", "BYTES")]
        inputs = [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in tensors]
        self.about: dict[str, Any] = {"inputs": inputs}
        self.rows: list[Any] = []
        self.pause = 0.0  # seconds between two bytes of an answer
        self.asked, self.may_answer = 0, threading.Event()
        self.may_answer.set()
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(200, model.about)

            def do_POST(self) -> None:
                model.rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
                model.asked += 1
                model.may_answer.wait(60)
                self._answer(model.status, model.said)

            def _answer(self, status: int, said: Any) -> None:
                self.send_response(status)
                self.end_headers()
                content = json.dumps(said).encode()
                if model.pause:
                    for byte in content:
                        self.wfile.write(bytes([byte]))
                        time.sleep(model.pause)
                else:
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def gone(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def model() -> Iterator[Model]:
    model = Model()
    yield model
    model.gone()


def filled_in(page: str) -> dict[str, str]:
    """The values of the form of **Try it**, as a browser sends them."""
    form = page[page.index('id="try"') :]
    fields = re.findall(r'<input[^>]* name="(shape|field-\d+)" value="([^"]*)"', form)
    fields += re.findall(r'<textarea[^>]* name="(rows)"[^>]*>([^<]*)<', form)
    return {name: unescape(value) for name, value in fields}


def tried(person: Person, sent: dict[str, str]) -> str:
    client = Client()
    client.force_login(person.user)
    answer = client.post("/projects/alpha/deployments/flowers/try/", sent, headers={"HX-Request": "true"})
    assert answer.status_code == 200, answer.content
    return str(answer.content.decode())


def test_what_was_typed_stays_beside_the_error_whatever_becomes_of_the_prediction(
    ann: Person, model: Model
) -> None:
    found = deployed(ann)
    found.revisions.update(address=model.address)
    sent = filled_in(shown(ann, "deployments/flowers/try/"))
    assert (sent["field-0"], sent["field-1"]) == ("1", "some text")
    sent |= {"field-0": "41", "field-1": "Zürich"}
    assert "Version 1 answered in" in tried(ann, sent)

    model.status, model.said = 422, {"detail": "Row 1 has no street."}
    page = tried(ann, sent)
    assert 'role="alert">Row 1 has no street.<' in page and filled_in(page) == sent
    model.status = 503
    assert filled_in(tried(ann, sent)) == sent
    page = tried(ann, {**sent, "field-0": "many"})
    assert "it must be a whole number" in page and filled_in(page)["field-0"] == "many"

    model.gone()
    page = tried(ann, sent)
    assert "The process behind the endpoint does not answer." in page and filled_in(page) == sent
    found.revisions.update(address="", state=RevisionState.ASLEEP)
    page = tried(ann, sent)
    assert "is being woken" in page and filled_in(page) == sent


def test_an_answer_that_comes_byte_by_byte_has_its_time_as_a_whole(ann: Person, model: Model) -> None:
    found = deployed(ann)
    found.revisions.update(address=model.address)
    Deployment.objects.update(timeout_seconds=1)
    sent = filled_in(shown(ann, "deployments/flowers/try/"))
    model.pause = 0.1
    page = tried(ann, {**sent, "rows": "[[1]]"})
    assert "The model did not answer within 1 s." in page and "Version 1 answered" not in page


def connections_in_use() -> int:
    found = connection.pool.get_stats()
    return int(found["pool_size"] - found["pool_available"])


@pytest.mark.django_db(transaction=True)
def test_slow_models_leave_others_their_threads_and_database_connections(ann: Person, model: Model) -> None:
    deployed(ann).revisions.update(address=model.address)
    sent = {"rows": "[[1]]"}

    def one(_: int) -> str:
        try:
            return tried(ann, sent)
        finally:
            connection.close()

    model.may_answer.clear()
    with ThreadPoolExecutor(asking.MOST_AT_ONCE) as pool:
        pages = pool.map(one, range(asking.MOST_AT_ONCE))
        try:
            until(lambda: model.asked == asking.MOST_AT_ONCE, 25)
            until(lambda: connections_in_use() <= 1, 10)
            assert "endpoints are being asked here at once" in tried(ann, sent)
        finally:
            model.may_answer.set()
        assert all("Version 1 answered in" in page for page in pages)
    assert "Version 1 answered in" in tried(ann, sent), "their places are free again"


def asked_about(ann: Person, model: Model, **parameters: Any) -> str:
    """The form for a model of a table of numbers, as its process tells of it."""
    deployed(ann).revisions.update(address=model.address)
    tensor = {"name": "instances", "datatype": "FP64", "shape": [-1, 3]}
    model.about = {"inputs": [tensor], "parameters": parameters}
    return shown(ann, "deployments/flowers/try/")


def test_a_form_has_a_field_for_each_column_with_the_versions_own_example(ann: Person, model: Model) -> None:
    kinds = {"age": "whole", "city": "text", "member": "truth", "zone": "any"}
    columns = [{"name": name, "kind": kind, "required": name != "zone"} for name, kind in kinds.items()]
    page = asked_about(ann, model, columns=columns, example={"age": 41, "city": "Zürich", "member": False})
    for name in kinds:
        assert f">{name}</label>" in page
    sent = filled_in(page)
    assert (sent["field-0"], sent["field-1"], sent["field-3"]) == ("41", "Zürich", "")
    assert "<option selected>false</option>" in page
    tried(ann, {**sent, "field-2": "true"})
    assert model.rows == [{"age": 41, "city": "Zürich", "member": True}]
    tried(ann, {**sent, "field-2": "true", "field-3": "4"})
    assert model.rows[0]["zone"] == 4
    assert "it must be a whole number" in tried(ann, {**sent, "field-0": "many"})


def test_a_model_of_texts_is_asked_by_one_text(ann: Person, model: Model) -> None:
    deployed(ann).revisions.update(address=model.address)
    model.about = {"inputs": [{"name": "instances", "datatype": "BYTES", "shape": [-1]}]}
    page = shown(ann, "deployments/flowers/try/")
    assert ">Text</label>" in page and ">some text</textarea>" in page
    page = tried(ann, {**filled_in(page), "field-0": "a fine day"})
    assert model.rows == ["a fine day"] and ">a fine day</textarea>" in page


def test_the_example_says_what_a_row_is_where_no_signature_does(ann: Person, model: Model) -> None:
    page = asked_about(ann, model, example=[1.5, 2, "red"])
    assert [filled_in(page)[f"field-{n}"] for n in range(3)] == ["1.5", "2", "red"]
    model.about = {"inputs": [], "parameters": {"example": {"deep": [1, [2]]}}}
    assert filled_in(shown(ann, "deployments/flowers/try/")) == {"rows": '[{"deep": [1, [2]]}]'}
    model.about = {"inputs": [], "parameters": {"example": "a question"}}
    assert ">a question</textarea>" in shown(ann, "deployments/flowers/try/")


def test_rows_typed_as_json_stay_when_the_model_tells_its_fields_meanwhile(ann: Person, model: Model) -> None:
    found = deployed(ann)
    found.revisions.update(address="http://127.0.0.1:9")
    assert filled_in(shown(ann, "deployments/flowers/try/")) == {"rows": "[[1.0, 2.0]]"}
    found.revisions.update(address=model.address)
    model.status, model.said = 422, {"detail": "No."}
    for rows in ('[{"age": 4}, {"age": 5}]', "[[1, "):
        assert filled_in(tried(ann, {"rows": rows})) == {"rows": rows}


def test_the_form_stays_on_the_page_while_the_endpoint_wakes_up_or_is_started_again(ann: Person) -> None:
    found = deployed(ann)
    for state in (RevisionState.ASLEEP, RevisionState.DEPLOYING, RevisionState.PENDING):
        found.revisions.update(address="", state=state)
        assert 'id="answers-1"' in shown(ann, "deployments/flowers/"), state


def test_a_row_is_made_from_the_inputs_of_a_model() -> None:
    table = inputs_from([{"name": "input-0", "datatype": "FP64", "shape": [-1, 3]}])
    assert [field.name for field in table.fields] == ["Value 1", "Value 2", "Value 3"]
    assert table.example == [0.5, 0.5, 0.5]
    columns = inputs_from(
        [
            {"name": "age", "datatype": "INT64", "shape": [-1]},
            {"name": "city", "datatype": "BYTES", "shape": [-1, 1]},
        ]
    )
    assert columns.named
    assert columns.fields[0] == Field("age", "whole", 1)
    assert columns.example == {"age": 1, "city": "some text"}
    image = inputs_from([{"name": "pixels", "datatype": "FP32", "shape": [-1, 2, 2]}])
    assert image.example == [[0.5, 0.5], [0.5, 0.5]]
    assert inputs_from([]).fields == ()


def test_undeploy_says_who_asks_the_endpoint_and_wants_its_name(ann: Person) -> None:
    found = deployed(ann)
    address = "/projects/alpha/deployments/flowers/undeploy/"
    page = shown(ann, "deployments/flowers/")
    assert f'href="{address}"' in page and f'action="{address}"' not in page
    asks = shown(ann, "deployments/flowers/undeploy/")
    assert "none in the last 24 hours" in asks and "It is in use" not in asks
    EndpointTraffic.objects.create(
        deployment=found, revision=found.serving_revision, at=timezone.now(), requests=1234
    )
    asks = shown(ann, "deployments/flowers/undeploy/")
    for words in (services.endpoint_url(found), "<bdi>iris</bdi> v1", "1,234 in the last 24 hours", "in use"):
        assert words in asks, words
    client = Client()
    client.force_login(ann.user)
    for typed in ("", "flower", "flowers x"):
        refused = client.post(address, {"confirm": typed})
        assert refused.status_code == 422
    assert "Type flowers to confirm; the endpoint stays as it is." in refused.content.decode()
    found.refresh_from_db()
    assert found.state == EndpointState.ACTIVE
    assert client.post(address, {"confirm": " flowers "}).status_code == 302
    found.refresh_from_db()
    assert found.state == EndpointState.UNDEPLOYING


def test_rollback_names_both_revisions_before_it_moves_requests(ann: Person) -> None:
    found = deployed(ann)
    services.update_deployment(actor=ann.actor, project=ann.project, endpoint_name="flowers", version=2)
    address = "deployments/flowers/rollback/1/"
    assert f'href="/projects/alpha/{address}" data-sure' in shown(ann, "deployments/flowers/")
    asks = shown(ann, address)
    assert "Roll <bdi>flowers</bdi> back to revision 1, v1?" in asks
    assert "revision 1 (v1) serves until then" in asks
    assert DeploymentRevision.objects.filter(deployment=found).count() == 2
