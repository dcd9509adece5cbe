"""Deleting versions and models, what forbids it, and bringing them back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import AuditEntry
from accounts.permissions import system_actor
from approvals.services import transition_stage
from artifacts.models import Blob
from registry import trash
from registry.aliases import set_alias
from registry.models import AliasMove, ModelVersion, RegisteredModel, VersionMetric
from registry.protections import protect
from registry.trash import purge_models
from tests.factories import Person, make_person, make_project, make_version, run_jobs

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def post(person: Person, path: str, body: Any = None) -> Any:
    return person.api.post(f"{person.base}/{path}", body or {}, format="json")


def get(person: Person, path: str) -> Any:
    return person.api.get(f"{person.base}/{path}")


def delete(person: Person, path: str) -> Any:
    return person.api.delete(f"{person.base}/{path}")


def move(person: Person, ref: int, stage: str) -> None:
    transition_stage(actor=person.actor, project=person.project, model_name="iris", ref=ref, stage=stage)


def alias(person: Person, name: str, version: int) -> None:
    set_alias(actor=person.actor, project=person.project, model_name="iris", alias=name, version=version)


def age(days: int) -> None:
    """Everything in the trash as if it had been deleted that many days ago."""
    then = timezone.now() - timedelta(days=days)
    ModelVersion.objects.exclude(deleted_at=None).update(deleted_at=then)
    RegisteredModel.objects.exclude(deleted_at=None).update(deleted_at=then)


def test_a_deleted_version_comes_back_with_files_metrics_tags_and_aliases(ann: Person) -> None:
    for accuracy in (0.5, 0.6):
        make_version(ann, "iris", accuracy=accuracy)
    alias(ann, "best", 2)
    before = get(ann, "models/iris/versions/2").json()
    assert delete(ann, "models/iris/versions/2").status_code == 204
    assert get(ann, "models/iris/versions/2").status_code == 404
    assert get(ann, "models/iris").json()["latest_version"]["version"] == 1
    assert get(ann, "models/iris").json()["version_count"] == 1
    back = post(ann, "models/iris/versions/2/restore")
    assert back.status_code == 200
    assert {**back.json(), "updated_at": 0} == {**before, "updated_at": 0}
    assert get(ann, "models/iris").json()["latest_version"]["version"] == 2
    assert get(ann, "models/iris/versions/2/artifacts/weights.txt").status_code == 200
    assert AliasMove.objects.filter(name="best").count() == 3


def test_an_alias_that_somebody_took_since_stays_where_it_is(ann: Person) -> None:
    for _ in range(2):
        make_version(ann, "iris")
    alias(ann, "best", 2)
    delete(ann, "models/iris/versions/2")
    alias(ann, "best", 1)
    assert post(ann, "models/iris/versions/2/restore").json()["aliases"] == []
    assert get(ann, "models/iris/aliases/best").json()["version"] == 1


def test_a_deleted_model_comes_back_with_the_versions_that_went_with_it(ann: Person) -> None:
    for _ in range(3):
        make_version(ann, "iris")
    delete(ann, "models/iris/versions/1")
    age(2)
    move(ann, 3, "Production")
    alias(ann, "best", 3)
    assert delete(ann, "models/iris?confirm=iris").status_code == 204
    assert get(ann, "models/iris").status_code == 404
    back = post(ann, "models/iris/restore").json()
    assert back["aliases"] == {"best": 3}
    assert back["production_version"] == {"version": 3}
    assert [v["version"] for v in get(ann, "models/iris/versions").json()["results"]] == [3, 2]
    assert post(ann, "models/iris/versions/1/restore").status_code == 200


def test_a_model_comes_back_with_one_version_in_production_at_most_where_the_project_wants_that(
    ann: Person,
) -> None:
    for number in (1, 2):
        make_version(ann, "iris")
        move(ann, number, "Production")
    rules = f"{ann.base}/promotion-rules"
    assert ann.api.delete(f"{ann.base}/models/iris?confirm=iris").status_code == 204
    assert ann.api.patch(rules, {"one_production": True}, format="json").status_code == 200
    refused = post(ann, "models/iris/restore")
    assert (refused.status_code, refused.json()["code"]) == (409, "crowded_production")
    told = "Versions 1, 2 of 'iris' were in Production, where alpha wants one at most."
    assert refused.json()["detail"].startswith(told)
    assert not RegisteredModel.objects.alive().exists()
    assert ann.api.patch(rules, {"one_production": False}, format="json").status_code == 200
    assert post(ann, "models/iris/restore").json()["version_count"] == 2
    move(ann, 1, "Archived")
    assert ann.api.patch(rules, {"one_production": True}, format="json").status_code == 200


def test_numbers_go_on_after_delete_register_delete_and_restore(ann: Person) -> None:
    for _ in range(2):
        make_version(ann, "iris")
    delete(ann, "models/iris")
    assert make_version(ann, "iris").number == 3
    delete(ann, "models/iris")
    assert post(ann, "models/iris/restore").json()["version_count"] == 1
    delete(ann, "models/iris")
    first = RegisteredModel.objects.order_by("pk").first()
    assert first is not None
    RegisteredModel.objects.exclude(pk=first.pk).update(deleted_at=timezone.now() - timedelta(days=1))
    assert post(ann, "models/iris/restore").json()["version_count"] == 2
    assert make_version(ann, "iris").number == 4


def test_a_model_whose_name_is_taken_comes_back_under_another(ann: Person) -> None:
    make_version(ann, "iris")
    delete(ann, "models/iris")
    make_version(ann, "iris")
    refused = post(ann, "models/iris/restore")
    assert (refused.status_code, refused.json()["code"]) == (409, "model_exists")
    assert post(ann, "models/iris/restore", {"as_name": "iris-old"}).json()["name"] == "iris-old"
    assert {m["name"] for m in get(ann, "models").json()["results"]} == {"iris", "iris-old"}


def test_a_name_that_is_taken_at_that_moment_is_refused_too(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_version(ann, "iris")
    delete(ann, "models/iris")
    make_version(ann, "iris")
    monkeypatch.setattr(trash, "lock_model_unless_missing", lambda project, name: None)
    refused = post(ann, "models/iris/restore")
    assert (refused.status_code, refused.json()["code"]) == (409, "model_exists")


def test_the_trash_shows_what_can_come_back_to_maintainers_only(ann: Person) -> None:
    for _ in range(2):
        make_version(ann, "iris")
    make_version(ann, "gone")
    delete(ann, "models/iris/versions/1")
    delete(ann, "models/gone")
    shown = get(ann, "trash").json()["results"]
    assert [(each["model_name"], each["version"], each["deleted_by"]) for each in shown] == [
        ("gone", None, "ann"),
        ("iris", 1, "ann"),
    ]
    assert shown[0]["version_count"] == 1
    assert shown[0]["permanent_at"] > shown[0]["deleted_at"]
    bob = make_person(ann.project, "contributor")
    assert get(bob, "trash").status_code == 403
    assert post(bob, "models/gone/restore").status_code == 403
    assert post(make_person(make_project("beta")), "../alpha/models/gone/restore").status_code == 404


def test_after_its_time_a_version_is_permanently_gone_and_its_bytes_free(ann: Person) -> None:
    make_version(ann, "iris", files={"model/w.txt": b"only here"}, accuracy=0.5)
    make_version(ann, "iris")
    delete(ann, "models/iris/versions/1")
    age(29)
    assert purge_models(actor=system_actor()) == 0
    age(31)
    assert get(ann, "trash").json()["results"] == []
    refused = post(ann, "models/iris/versions/1/restore")
    assert (refused.status_code, refused.json()["code"]) == (404, "not_in_trash")
    assert purge_models(actor=system_actor()) == 1
    assert purge_models(actor=system_actor()) == 0
    version = ModelVersion.objects.get(number=1)
    assert version.manifest.file_count == 0
    assert not VersionMetric.objects.filter(version=version).exists()
    assert AuditEntry.objects.filter(verb="purge_version", object_id="iris/1").exists()
    assert Blob.objects.exists()


def test_a_purged_model_gives_its_numbers_to_nobody(ann: Person) -> None:
    make_version(ann, "iris")
    delete(ann, "models/iris")
    age(31)
    assert purge_models(actor=system_actor()) == 2
    assert make_version(ann, "iris").number == 2


def test_without_days_in_the_trash_what_is_deleted_is_permanent_at_once(ann: Person, settings: Any) -> None:
    settings.TRASH_DAYS = 0
    for _ in range(2):
        make_version(ann, "iris")
    delete(ann, "models/iris/versions/1")
    assert post(ann, "models/iris/versions/1/restore").status_code == 404
    run_jobs()
    assert ModelVersion.objects.get(number=1).purged_at is not None


@pytest.mark.parametrize("door", ["rest", "bulk"])
def test_what_holds_a_version_forbids_deleting_it_and_is_listed(ann: Person, door: str) -> None:
    make_version(ann, "iris")
    move(ann, 1, "Production")
    alias(ann, "champion", 1)
    protect(actor=ann.actor, project=ann.project, kind="alias", name="champion", model_name="iris")

    def refusal() -> Any:
        if door == "rest":
            return delete(ann, "models/iris/versions/1").json()
        items = [{"model_name": "iris", "version": 1}]
        return post(ann, "bulk", {"action": "delete_version", "items": items}).json()["results"][0]["error"]

    problem = refusal()
    assert problem["detail"] == "Version 1 is in Production. Move it to Archived before deleting it."
    assert problem["hint"] == ""
    assert problem["items"] == ["stage Production", "protected alias champion"]
    move(ann, 1, "Archived")
    problem = refusal()
    assert (problem["code"], problem["detail"], problem["hint"]) == (
        "alias_protected",
        "Version 1 is what the protected alias champion points to.",
        "Point the alias to another version, or remove it.",
    )
    assert ModelVersion.objects.filter(deleted_at=None).count() == 1


def test_a_model_with_a_protected_alias_is_deleted_only_by_its_name(ann: Person) -> None:
    make_version(ann, "iris")
    alias(ann, "champion", 1)
    protect(actor=ann.actor, project=ann.project, kind="alias", name="champion")
    problem = delete(ann, "models/iris").json()
    assert problem["code"] == "confirmation_needed"
    assert delete(ann, "models/iris?confirm=rose").json()["errors"] == {
        "confirm": ["confirm is 'rose'; it must be iris, which is deleted."]
    }
    assert problem["items"] == ["version 1 (None)", "protected alias champion"]
    assert delete(ann, "models/iris?confirm=iris").status_code == 204
