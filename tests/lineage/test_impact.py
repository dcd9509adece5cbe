"""What depends on a thing, and acts on all of it: tell the owners, quarantine, release, make again."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from openlineage.client import event_v2
from openlineage.client.facet_v2 import dataset_version_dataset

from accounts.choices import Role
from accounts.models import AuditEntry, Notification
from deployments.choices import EndpointState, RevisionState, Wanted
from deployments.models import Deployment, DeploymentRevision
from lineage import services
from registry.models import ModelVersion
from scheduling.models import ScheduleExecution
from tests.factories import Person, make_person, make_project, make_version
from tests.lineage.chains import a_chain
from tests.scheduling.factories import drive, make_code, make_schedule, trigger
from tracking.models import Dataset, Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    person = make_person(make_project("alpha"), Role.MAINTAINER, username="ann")
    a_chain(person)
    return person


@pytest.fixture
def bob(ann: Person) -> Person:
    """A contributor with a version of his own that has nothing to do with the rest."""
    person = make_person(ann.project, Role.CONTRIBUTOR, username="bob")
    make_version(person, "other")
    return person


def flowers() -> str:
    return f"dataset:{Dataset.objects.get(name='flowers').pk}"


def post(person: Person, path: str, status: int = 200, **body: Any) -> Any:
    answer = person.api.post(f"{person.base}/{path}", body, format="json")
    assert answer.status_code == status, answer.content
    return answer.json()


def statuses() -> dict[str, str]:
    rows = ModelVersion.objects.values_list("model__name", "number", "status")
    return {f"{name}/{number}": status for name, number, status in rows}


def test_a_dataset_reaches_children_aliases_endpoints_and_owners(ann: Person, bob: Person) -> None:
    found = ann.api.get(f"{ann.base}/impact", {"node": flowers()}).json()
    assert found["counts"] == {"versions": 2, "aliases": 1, "endpoints": 1, "runs": 2}
    assert [node["id"] for node in found["versions"]] == ["version:iris/2", "version:iris/1"]
    assert [node["name"] for node in found["aliases"]] == ["@champion"]
    assert [node["id"] for node in found["endpoints"]] == ["endpoint:iris-api"]
    assert found["owners"] == [{"username": "ann", "versions": 2, "endpoints": 1}]


def test_only_an_endpoint_that_has_the_version_now_counts(ann: Person) -> None:
    found = ann.api.get(f"{ann.base}/impact", {"node": "version:iris/1"}).json()
    assert found["counts"]["endpoints"] == 1  # by its child, which is deployed
    ModelVersion.objects.filter(number=2).update(source_run=None, parent=None)
    found = ann.api.get(f"{ann.base}/impact", {"node": "version:iris/1"}).json()
    assert found["counts"]["endpoints"] == 0


def test_owners_are_told_once_each(ann: Person, bob: Person) -> None:
    assert post(ann, "impact/notify", node=flowers(), message="Columns were swapped.") == {
        "notified": ["ann"]
    }
    (told,) = Notification.objects.filter(kind="impact")
    assert told.user == ann.user
    assert "Columns were swapped." in told.text
    assert "node=dataset" in told.path
    assert AuditEntry.objects.filter(verb="notify_owners").count() == 1


def test_versions_are_quarantined_for_a_reason_and_released_as_easily(ann: Person, bob: Person) -> None:
    ModelVersion.objects.filter(model__name="iris", number=1).update(
        status="Quarantined", status_reason="by a scan"
    )
    found = post(ann, "impact/quarantine", node=flowers(), reason="columns were swapped")
    assert found == {"versions": ["iris/2"], "untouched": 1}
    assert statuses() == {"iris/1": "Quarantined", "iris/2": "Quarantined", "other/1": "Ready"}
    second = ModelVersion.objects.get(model__name="iris", number=2)
    assert "columns were swapped" in second.status_reason
    promoted = ann.api.post(
        f"{ann.base}/models/iris/versions/2/transition", {"stage": "Production"}, format="json"
    )
    assert promoted.status_code == 409
    assert promoted.json()["detail"].endswith(": " + second.status_reason)
    assert promoted.json()["hint"] == "A maintainer can release it with a note."
    deployed = ann.api.post(
        f"{ann.base}/deployments", {"model_name": "iris", "version": 2, "endpoint_name": "new"}, format="json"
    )
    assert deployed.status_code == 409
    assert post(ann, "impact/release", node=flowers()) == {"versions": ["iris/2"], "untouched": 1}
    assert statuses() == {"iris/1": "Quarantined", "iris/2": "Ready", "other/1": "Ready"}
    assert AuditEntry.objects.filter(verb="quarantine_version").count() == 1
    assert AuditEntry.objects.filter(verb="release_version").count() == 1


@pytest.mark.parametrize("kind", ["run", "experiment"])
def test_what_was_quarantined_is_released_though_its_cause_has_another_name(ann: Person, kind: str) -> None:
    run = Run.objects.order_by("pk")[0]
    public_id = run.public_id if kind == "run" else run.experiment.public_id
    ann.api.patch(f"{ann.base}/{kind}s/{public_id}", {"name": "before"}, format="json")
    cause = {"node": f"{kind}:{public_id}"}
    found = post(ann, "impact/quarantine", reason="bad", endpoints="keep", **cause)
    assert found["versions"] == ["iris/1", "iris/2"]
    assert f"because of {kind} {public_id}: bad" in ModelVersion.objects.get(number=1).status_reason
    ann.api.patch(f"{ann.base}/{kind}s/{public_id}", {"name": "after"}, format="json")
    assert post(ann, "impact/release", **cause)["versions"] == ["iris/1", "iris/2"]


def test_a_version_in_the_trash_is_quarantined_too_and_comes_back_so(ann: Person, bob: Person) -> None:
    version = f"{ann.base}/models/iris/versions/1"
    assert ann.api.delete(version).status_code == 204
    found = post(ann, "impact/quarantine", node=flowers(), reason="swapped", endpoints="keep")
    assert sorted(found["versions"]) == ["iris/1", "iris/2"]
    assert ann.api.get(f"{ann.base}/impact", {"node": flowers()}).json()["counts"]["versions"] == 1
    post(ann, "models/iris/versions/1/restore")
    assert "swapped" in ann.api.get(version).json()["status_reason"]
    assert statuses()["iris/1"] == "Quarantined"
    assert post(ann, "impact/release", node=flowers())["untouched"] == 0
    assert statuses()["iris/1"] == "Ready"


def test_another_dataset_of_the_same_name_releases_nothing(ann: Person) -> None:
    post(ann, "impact/quarantine", node=flowers(), reason="bad")
    twin = Dataset.objects.create(project=ann.project, name="flowers", digest="other")
    from tracking.models import RunDataset

    for run in Run.objects.all():
        RunDataset.objects.create(run=run, dataset=twin)
    assert post(ann, "impact/release", node=f"dataset:{twin.pk}")["versions"] == []
    assert statuses()["iris/1"] == "Quarantined"


def test_a_dataset_is_marked_bad_and_good_again(ann: Person, bob: Person) -> None:
    pk = flowers().partition(":")[2]
    assert post(bob, f"datasets/{pk}/mark", 403, reason="no")
    marked = post(ann, f"datasets/{pk}/mark", reason="columns were swapped")
    assert (marked["is_bad"], marked["bad_by"], marked["run_count"]) == (True, "ann", 1)
    assert [each["id"] for each in ann.api.get(f"{ann.base}/datasets?bad=true").json()["results"]] == [
        int(pk)
    ]
    refused = ann.api.get(f"{ann.base}/datasets?bad=True")
    assert (refused.status_code, refused.json()["detail"]) == (
        400,
        "bad is 'True'; it must be true or false.",
    )
    graph = ann.api.get(f"{ann.base}/lineage", {"node": f"dataset:{pk}"}).json()
    assert {node["status"] for node in graph["nodes"] if node["kind"] == "dataset"} == {"Bad"}
    assert post(ann, f"datasets/{pk}/clear")["is_bad"] is False
    assert post(ann, f"datasets/{pk}/clear", 409)["code"] == "dataset_not_bad"
    assert post(ann, f"datasets/{pk}/mark", 400, reason="")


def test_the_recipe_names_everything_and_says_why_it_cannot_run(ann: Person) -> None:
    recipe = ann.api.get(f"{ann.base}/models/iris/versions/2/recipe").json()
    assert recipe["inputs"] == [{"model_name": "iris", "version": 1}]
    assert recipe["run_id"]
    assert "client.upload_training_code" in recipe["why_not"]
    recipe = ann.api.get(f"{ann.base}/models/iris/versions/1/recipe").json()
    assert recipe["datasets"] == [
        {"name": "flowers", "path": "s3://data/flowers", "digest": "abc", "use": "training"}
    ]
    assert post(ann, f"runs/{recipe['run_id']}/again", 409)["code"] == "training_code_missing"


def test_a_run_is_started_again_with_the_code_it_had(ann: Person) -> None:
    schedule = make_schedule(ann, program="print('first')", configuration={"epochs": 3})
    first = drive(trigger(ann, schedule))
    make_code(ann, "print('newer')")
    assert first.run is not None
    found = post(ann, f"runs/{first.run.public_id}/again", 201)
    execution = ScheduleExecution.objects.get(public_id=found["id"])
    assert (execution.code, execution.configuration) == (first.code, {"epochs": 3})
    second = drive(execution).run
    assert second is not None
    assert second.tags.get(key="again_of").value == first.run.public_id
    edited = post(ann, f"runs/{first.run.public_id}/again", 201, configuration={"epochs": 5})
    assert ScheduleExecution.objects.get(public_id=edited["id"]).configuration == {"epochs": 5}
    graph = ann.api.get(f"{ann.base}/lineage", {"node": f"run:{second.public_id}"}).json()
    assert {"code", "execution", "experiment", "run"} == {node["kind"] for node in graph["nodes"]}
    ann.api.delete(f"{ann.base}/schedules/{schedule.name}")
    assert post(ann, f"runs/{first.run.public_id}/again", 409)["code"] == "schedule_deleted"


def test_events_are_what_openlineage_understands(ann: Person) -> None:
    events = ann.api.get(f"{ann.base}/lineage/events", {"node": "model:iris"}).json()["events"]
    assert [event["eventType"] for event in events] == ["COMPLETE", "COMPLETE"]
    read = [understood(event) for event in events]
    assert [each.name for each in read[0].inputs or []] == ["flowers"]
    assert [each.name for each in read[0].outputs or []] == ["models/iris/1"]
    assert [each.name for each in read[1].inputs or []] == ["models/iris/1"]
    assert [each.name for each in read[1].outputs or []] == ["models/iris/2"]
    assert read[0].run.runId != read[1].run.runId


def understood(event: dict[str, Any]) -> event_v2.RunEvent:
    """The event in the classes that are made from the published schema; they check types, times and UUIDs."""

    def dataset(kind: Any, data: dict[str, Any]) -> Any:
        facets = {}
        if "version" in data["facets"]:
            version = data["facets"]["version"]["datasetVersion"]
            made = dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=version)
            assert made._schemaURL.rsplit("/", 1)[-1] == "DatasetVersionDatasetFacet"
            facets["version"] = made
        return kind(namespace=data["namespace"], name=data["name"], facets=facets)

    known = {field.name for field in attrs.fields(event_v2.RunEvent)}
    assert set(event) <= known
    return event_v2.RunEvent(
        eventTime=event["eventTime"],
        eventType=event_v2.RunState[event["eventType"]],
        producer=event["producer"],
        run=event_v2.Run(**event["run"]),
        job=event_v2.Job(**event["job"]),
        inputs=[dataset(event_v2.InputDataset, each) for each in event["inputs"]],
        outputs=[dataset(event_v2.OutputDataset, each) for each in event["outputs"]],
    )


def test_who_quarantines_what_serves_says_what_becomes_of_the_endpoint(ann: Person) -> None:
    live = Deployment.objects.get(endpoint_name="iris-api")
    DeploymentRevision.objects.update(state=RevisionState.ACTIVE)
    Deployment.objects.update(serving_revision=live.wanted_revision, state=EndpointState.ACTIVE)
    answer = ann.api.post(
        f"{ann.base}/impact/quarantine", {"node": flowers(), "reason": "bad"}, format="json"
    )
    assert answer.status_code == 400
    assert "iris-api serves what is to be quarantined" in answer.json()["detail"]
    assert set(statuses().values()) == {"Ready"}
    kept = post(ann, "impact/quarantine", node=flowers(), reason="bad", endpoints="keep")
    assert sorted(kept["versions"]) == ["iris/1", "iris/2"]
    live.refresh_from_db()
    assert (live.state, live.wanted) == ("Active", "Running")
    post(ann, "impact/release", node=flowers())
    post(ann, "impact/quarantine", node=flowers(), reason="bad", endpoints="undeploy")
    live.refresh_from_db()
    assert (live.state, live.wanted) == ("Undeploying", "Stopped")
    assert AuditEntry.objects.filter(verb="undeploy").count() == 1


def test_an_endpoint_that_comes_at_the_same_moment_is_asked_about_too(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    DeploymentRevision.objects.update(state=RevisionState.ACTIVE)
    Deployment.objects.update(wanted=Wanted.STOPPED)
    quarantine = services.quarantine_versions

    def meanwhile(**about: Any) -> Any:
        Deployment.objects.update(wanted=Wanted.RUNNING)
        return quarantine(**about)

    monkeypatch.setattr(services, "quarantine_versions", meanwhile)
    asked = {"node": flowers(), "reason": "bad"}
    assert ann.api.post(f"{ann.base}/impact/quarantine", asked, format="json").status_code == 400
    assert set(statuses().values()) == {"Ready"}
