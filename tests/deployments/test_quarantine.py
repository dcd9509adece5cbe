"""Quarantine of one version: by whom, for what reason, and what becomes of the endpoints that serve it."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.choices import Role
from accounts.models import AuditEntry
from deployments import rollouts
from deployments import services as verbs
from deployments.choices import RevisionState
from deployments.models import Deployment, DeploymentRevision
from deployments.quarantine import quarantine_version
from registry.models import ModelVersion
from tests.factories import Person, browser, make_person, make_project, make_version

pytestmark = pytest.mark.django_db
PAGE = "/projects/alpha/models/iris/versions/1/quarantine/"


@pytest.fixture
def ann() -> Person:
    person = make_person(make_project("alpha"), Role.MAINTAINER, username="ann")
    make_version(person, "iris")
    ModelVersion.objects.update(servable=True, format="joblib")
    return person


@pytest.fixture
def live(ann: Person) -> Deployment:
    """An endpoint that is about to serve version 1."""
    return verbs.deploy(
        actor=ann.actor, project=ann.project, model_name="iris", version=1, endpoint_name="iris-api"
    )


def quarantine(person: Person, **body: Any) -> Any:
    path = f"{person.base}/models/iris/versions/1/quarantine"
    return person.api.post(path, {"reason": "It answers nonsense.", **body}, format="json")


def status() -> str:
    return ModelVersion.objects.get().status


def test_a_quarantined_version_is_neither_promoted_nor_deployed_until_it_is_released(ann: Person) -> None:
    found = quarantine(ann)
    assert found.status_code == 200, found.content
    assert found.json()["status"] == "Quarantined"
    assert found.json()["status_reason"] == "Quarantined by ann: It answers nonsense."
    version = f"{ann.base}/models/iris/versions/1"
    asked = [
        ann.api.post(f"{version}/transition", {"stage": "Production"}, format="json"),
        ann.api.post(
            f"{ann.base}/deployments",
            {"model_name": "iris", "version": 1, "endpoint_name": "new"},
            format="json",
        ),
    ]
    for answer in asked:
        assert answer.status_code == 409
        assert "Quarantined by ann: It answers nonsense." in answer.json()["detail"]
    again = quarantine(ann)
    assert again.status_code == 409
    assert again.json()["detail"] == "Version 1 is Quarantined; only a Ready one is quarantined."
    (entry,) = AuditEntry.objects.filter(verb="quarantine_version")
    assert (entry.object_id, entry.before["status"], entry.after["status"]) == (
        "iris/1",
        "Ready",
        "Quarantined",
    )
    assert ann.api.post(f"{version}/release", {"note": "A wrong alarm."}, format="json").status_code == 200
    assert status() == "Ready"


def test_who_quarantines_what_serves_says_what_becomes_of_the_endpoint(ann: Person, live: Deployment) -> None:
    for decision in ({}, {"endpoints": "later"}):
        refused = quarantine(ann, **decision)
        assert refused.status_code == 400
        assert refused.json()["detail"].startswith("iris-api serves what is to be quarantined; endpoints is ")
        assert refused.json()["code"] == "endpoints_undecided"
        assert status() == "Ready"
    assert quarantine(ann, endpoints="keep").status_code == 200
    live.refresh_from_db()
    assert (status(), live.wanted) == ("Quarantined", "Running")


def test_the_sentence_about_endpoints_is_right_for_one_and_for_two(ann: Person, live: Deployment) -> None:
    said = "serves what is to be quarantined; endpoints is not given; it must be keep or undeploy."
    assert quarantine(ann).json()["detail"] == f"iris-api {said}"
    about = {"actor": ann.actor, "project": ann.project, "model_name": "iris", "version": 1}
    verbs.deploy(**about, endpoint_name="other-api")
    assert quarantine(ann).json()["detail"] == f"iris-api, other-api {said.replace('serves', 'serve')}"


def test_undeploying_goes_with_the_quarantine_or_not_at_all(ann: Person, live: Deployment) -> None:
    assert quarantine(ann, endpoints="undeploy").status_code == 200
    live.refresh_from_db()
    assert (status(), live.wanted) == ("Quarantined", "Stopped")
    assert set(AuditEntry.objects.values_list("verb", flat=True)) >= {"quarantine_version", "undeploy"}


def test_a_change_and_copies_that_a_quarantine_ends_are_told_as_if_a_person_had_ended_them(
    ann: Person,
) -> None:
    first, second = ModelVersion.objects.get(), make_version(ann, "iris")
    ModelVersion.objects.update(servable=True, format="joblib")
    about = {"actor": ann.actor, "project": ann.project, "endpoint_name": "iris-api"}
    endpoint = verbs.deploy(**about, model_name="iris", version=second.number)
    DeploymentRevision.objects.update(state=RevisionState.ACTIVE)
    Deployment.objects.update(serving_revision=endpoint.wanted_revision)
    verbs.update_deployment(**about, version=first.number)
    rollouts.set_shadow(**about, version=first.number)
    asked = {"model_name": "iris", "ref": first.number, "reason": "Nonsense.", "endpoints": "undeploy"}
    quarantine_version(actor=ann.actor, project=ann.project, **asked)
    endpoint.refresh_from_db()
    assert endpoint.wanted == "Running" and endpoint.shadow_revision is None
    assert endpoint.wanted_revision_id == endpoint.serving_revision_id
    told = AuditEntry.objects.filter(object_id="iris-api").order_by("-id").values_list("verb", flat=True)
    assert list(told[:2]) == ["abort_rollout", "unset_shadow"]


def test_only_maintainers_quarantine_and_they_say_why(ann: Person) -> None:
    cora = make_person(ann.project, Role.CONTRIBUTOR)
    assert quarantine(cora).status_code == 403
    assert quarantine(ann, reason=" ").status_code == 400
    assert status() == "Ready"


def test_the_page_asks_about_endpoints_only_where_there_are_some(ann: Person) -> None:
    client = browser(ann)
    assert PAGE in client.get("/projects/alpha/models/iris/versions/1/").content.decode()
    assert "endpoints" not in client.get(PAGE).context["form"].fields
    assert client.post(PAGE, {"reason": ""}).status_code == 422
    done = client.post(PAGE, {"reason": "It answers nonsense."}, follow=True)
    shown = done.content.decode()
    assert "The version is quarantined." in shown and "Quarantined by ann: It answers nonsense." in shown
    assert PAGE not in shown


def test_the_page_of_a_quarantined_version_offers_release_and_no_deployment(ann: Person) -> None:
    client = browser(ann)
    assert quarantine(ann).status_code == 200
    shown = client.get("/projects/alpha/models/iris/versions/1/").content.decode()
    assert (
        "versions/1/release/" in shown and "versions/1/deploy/" not in shown and "Press Deploy" not in shown
    )
    assert (
        shown.count("Quarantined by ann: It answers nonsense.") == 1
        and "<strong>Quarantined.</strong>" not in shown
    )
    again = client.get(PAGE).content.decode()
    assert "versions/1/release/" in again and 'name="reason"' not in again


def test_the_page_keeps_what_was_typed_until_the_endpoints_are_decided(ann: Person, live: Deployment) -> None:
    client = browser(ann)
    asked = client.get(PAGE).content.decode()
    assert "iris-api" in asked and "Endpoints that serve it" in asked and "if there are any" not in asked
    said = {"reason": "It answers nonsense."}
    for also, sentence in (
        ({}, "it must be keep or undeploy"),
        ({"endpoints": "undeploy"}, "Type undeploy to confirm; nothing was quarantined or undeployed."),
    ):
        refused = client.post(PAGE, {**said, **also})
        assert refused.status_code == 422
        assert sentence in refused.content.decode() and said["reason"] in refused.content.decode()
        assert status() == "Ready"
    assert client.post(PAGE, {**said, "endpoints": "undeploy", "confirm": "undeploy"}).status_code == 302
    live.refresh_from_db()
    assert (status(), live.wanted) == ("Quarantined", "Stopped")


def test_a_reader_finds_no_button_and_no_page(ann: Person) -> None:
    cora = browser(make_person(ann.project, Role.CONTRIBUTOR))
    assert PAGE not in cora.get("/projects/alpha/models/iris/versions/1/").content.decode()
    assert cora.get(PAGE).status_code == 403
    assert cora.post(PAGE, {"reason": "x"}).status_code == 403
    assert status() == "Ready"
