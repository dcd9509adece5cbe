"""The SDK's calls on a real server: searching, trash, protections, bulk acts, standing, parents."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from podstack import ConflictError, MLOpsClient, NotFoundError, PermissionDeniedError, ValidationError
from tests.factories import Person, make_person, make_project, make_run, make_version

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


@pytest.fixture
def client(ann: Person, live_server: Any) -> Iterator[MLOpsClient]:
    yield MLOpsClient(ann.token, live_server.url, "alpha")


def test_versions_runs_and_models_are_searched(ann: Person, client: MLOpsClient) -> None:
    for accuracy in (0.7, 0.95, 0.92):
        make_version(ann, "iris", accuracy=accuracy)
    found = client.search_model_versions("metrics.accuracy > 0.9", order_by="-metrics.accuracy")
    assert [version.version for version in found] == [2, 3]
    assert [v.version for v in client.list_model_versions("iris", filter="version < 2")] == [1]
    runs = list(client.search_runs("metrics.accuracy > 0.9", order_by="metrics.accuracy"))
    assert [run.metrics["accuracy"] for run in runs] == [0.92, 0.95]
    assert [m.name for m in client.list_models(filter="latest = 3", author="ann", live_endpoint=False)] == [
        "iris"
    ]
    assert list(client.list_models(created_before=datetime(2020, 1, 1, tzinfo=UTC))) == []
    with pytest.raises(ValidationError, match="character 20: expected a value"):
        list(client.search_model_versions("metrics.accuracy > high"))


def test_what_was_deleted_comes_back(ann: Person, client: MLOpsClient) -> None:
    for _ in range(2):
        make_version(ann, "iris")
    client.delete_model_version("iris", 2)
    assert [(each.model_name, each.version) for each in client.list_trash()] == [("iris", 2)]
    assert client.restore_model_version("iris", 2).version == 2
    client.transition_model_version_stage("iris", 1, "Production")
    with pytest.raises(ConflictError, match="is in Production"):
        client.delete_model("iris")
    client.delete_model("iris", confirm="iris")
    with pytest.raises(NotFoundError):
        client.get_model("iris")
    back = client.restore_model("iris", as_name="iris-2")
    assert (back.name, back.version_count) == ("iris-2", 2)


def test_a_protected_stage_and_alias(ann: Person, client: MLOpsClient, live_server: Any) -> None:
    make_version(ann, "iris")
    bob = MLOpsClient(make_person(ann.project, "contributor").token, live_server.url, "alpha")
    made = client.protect_stage("Production")
    client.protect_alias("champion", "iris", roles=["admin"])
    with pytest.raises(PermissionDeniedError, match="The stage Production of iris is protected"):
        bob.transition_model_version_stage("iris", 1, "Production")
    with pytest.raises(PermissionDeniedError):
        bob.set_model_alias("iris", "champion", 1)
    assert [(p.kind, p.name, p.model_name) for p in client.list_protections()] == [
        ("stage", "Production", None),
        ("alias", "champion", "iris"),
    ]
    client.remove_protection(made.id)
    assert bob.transition_model_version_stage("iris", 1, "Production").status == "applied"


def test_bulk_acts_have_an_outcome_each(ann: Person, client: MLOpsClient) -> None:
    for _ in range(2):
        make_version(ann, "iris")
    items = [{"model_name": "iris", "version": number} for number in (1, 2, 3)]
    found = client.bulk("transition_stage", items, stage="Archived", note="old")
    assert [outcome.ok for outcome in found] == [True, True, False]
    assert found[2].error is not None
    assert found[2].error["code"] == "version_not_found"


def test_production_at_a_moment(ann: Person, client: MLOpsClient) -> None:
    for _ in range(2):
        make_version(ann, "iris")
    client.transition_model_version_stage("iris", 1, "Production", note="first")
    then = datetime.now(UTC)
    client.transition_model_version_stage("iris", 1, "Archived")
    client.transition_model_version_stage("iris", 2, "Production")
    before = client.get_model_standing("iris", as_of=then).production
    assert before is not None
    assert (before.version, before.by, before.door, before.note) == (1, "ann", "sdk", "first")
    now = client.get_model_standing("iris").production
    assert now is not None
    assert now.version == 2


def test_a_parent_and_validation_metrics(ann: Person, client: MLOpsClient) -> None:
    make_version(ann, "base")
    run = make_run(ann, {"m/w.txt": b"1"})
    made = client.create_model_version(
        "tuned", run.public_id, "m", wait=False, parent="base/1", relation="fine_tuned"
    )
    assert made.parent is not None
    assert (made.parent.model_name, made.parent.version) == ("base", 1)
    found = client.log_validation_metrics("tuned", 1, {"f1": 0.8, "drift": float("inf")})
    assert found.validation_metrics == {"f1": 0.8, "drift": float("inf")}
