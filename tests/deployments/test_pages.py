"""The portal's pages of endpoints: what they show to whom, and what a row of a model looks like."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.choices import Role
from deployments import services
from deployments.asking import Field, inputs_from
from deployments.choices import EndpointState, RevisionState
from deployments.models import (
    Deployment,
    DeploymentEvent,
    DeploymentRevision,
    EndpointTraffic,
    ReplicaSample,
)
from deployments.revisions import step, take_over
from tests.factories import Person, make_person, make_project, make_version

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
    for word in ("Promote now", "Abort", "10 % to v2", "<strong>50 %</strong>", "Updating"):
        assert word in page, word


def test_endpoints_are_searched_and_filtered_by_state(ann: Person) -> None:
    deployed(ann)
    deployed(ann, "garden")
    Deployment.objects.filter(endpoint_name="garden").update(state=EndpointState.FAILED)
    assert "garden" not in shown(ann, "deployments/?search=flow")
    assert "flowers" not in shown(ann, "deployments/?state=Failed")
    assert "No endpoint matches" in shown(ann, "deployments/?search=nothing")


def test_the_page_of_an_endpoint_costs_the_same_with_a_long_past(ann: Person) -> None:
    found = deployed(ann)
    client = Client()
    client.force_login(ann.user)
    client.get("/projects/alpha/deployments/flowers/")
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
