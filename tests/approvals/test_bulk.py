"""One call for many: each item is done or refused by itself."""

from __future__ import annotations

from typing import Any

import pytest

from registry.models import ModelVersion, StageTransition
from tests.factories import Person, make_person, make_project, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    ann = make_person(make_project("alpha"), username="ann")
    for _ in range(4):
        make_version(ann, "iris")
    return ann


def bulk(person: Person, action: str, items: Any, **common: Any) -> Any:
    body = {"action": action, "items": items, "common": common}
    return person.api.post(f"{person.base}/bulk", body, format="json")


def versions(*numbers: int, **more: Any) -> list[dict[str, Any]]:
    return [{"model_name": "iris", "version": number, **more} for number in numbers]


def test_forty_versions_are_archived_by_one_call(ann: Person) -> None:
    for _ in range(36):
        make_version(ann, "iris")
    answer = bulk(ann, "transition_stage", versions(*range(1, 41)), stage="Archived", note="old")
    assert answer.status_code == 200
    assert (answer.json()["succeeded"], answer.json()["failed"]) == (40, 0)
    assert ModelVersion.objects.filter(stage="Archived").count() == 40
    assert StageTransition.objects.filter(note="old").count() == 40


def test_what_is_refused_says_why_and_holds_no_other_back(ann: Person) -> None:
    bulk(ann, "transition_stage", versions(2), stage="Production")
    answer = bulk(
        ann, "delete_version", [*versions(1, 2, 99), {"model_name": "none", "version": 1}, *versions(3)]
    )
    found = answer.json()
    assert (found["succeeded"], found["failed"]) == (2, 3)
    assert [each["ok"] for each in found["results"]] == [True, False, False, False, True]
    assert [each["error"] and each["error"]["code"] for each in found["results"]] == [
        None,
        "version_in_production",
        "version_not_found",
        "model_not_found",
        None,
    ]
    assert set(ModelVersion.objects.filter(deleted_at=None).values_list("number", flat=True)) == {2, 4}


def test_nothing_is_done_where_a_version_is_no_name_at_all(ann: Person) -> None:
    for wrong in ("a\0b", "\x1b", "x" * 101, True, 1.5, None):
        answer = bulk(ann, "delete_version", [*versions(1), {"model_name": "iris", "version": wrong}])
        assert answer.status_code == 400, wrong
        assert any(name.startswith("items.1") for name in answer.json()["errors"]), answer.json()
    assert ModelVersion.objects.filter(deleted_at=None).count() == 4


def test_a_version_in_the_trash_is_known_by_its_number_alone(ann: Person) -> None:
    bulk(ann, "delete_version", versions(1, 2))
    wrong = [{"model_name": "iris", "version": ref} for ref in ("latest", "best", "\u00b2", 10**30)]
    found = bulk(
        ann, "restore_version", [*wrong, *versions(1), {"model_name": "iris", "version": "v2"}]
    ).json()
    assert [each["error"] and each["error"]["code"] for each in found["results"]] == ["invalid"] * 4 + [
        None
    ] * 2
    assert ModelVersion.objects.filter(deleted_at=None).count() == 4


def test_an_item_may_say_for_itself_what_all_say(ann: Person) -> None:
    items = [*versions(1), *versions(2, value="own")]
    assert bulk(ann, "set_version_tag", items, key="team", value="all").json()["failed"] == 0
    tags = [ann.api.get(f"{ann.base}/models/iris/versions/{n}").json()["tags"] for n in (1, 2)]
    assert tags == [{"team": "all"}, {"team": "own"}]


def test_models_are_deleted_and_restored_in_bulk(ann: Person) -> None:
    make_version(ann, "spare")
    names = [{"model_name": "iris"}, {"model_name": "spare"}]
    assert bulk(ann, "delete_model", names).json()["succeeded"] == 2
    assert ann.api.get(f"{ann.base}/models").json()["results"] == []
    assert bulk(ann, "restore_model", names).json()["succeeded"] == 2
    assert bulk(ann, "restore_version", versions(1)).json()["results"][0]["error"]["code"] == "not_in_trash"


@pytest.mark.parametrize(
    ("action", "items", "common", "field"),
    [
        ("explode", versions(1), {}, "action"),
        ("transition_stage", versions(1), {}, "items.0.stage"),
        ("delete_version", [{"model_name": "iris"}], {}, "items.0.version"),
        ("delete_version", versions(1, alias="x"), {}, "items.0.alias"),
        ("delete_version", versions(*range(501)), {}, "items"),
        ("delete_version", [], {}, "items"),
    ],
)
def test_a_call_that_makes_no_sense_does_nothing(
    ann: Person, action: str, items: Any, common: Any, field: str
) -> None:
    answer = bulk(ann, action, items, **common)
    assert answer.status_code == 400
    assert next(iter(answer.json()["errors"])).startswith(field)
    assert ModelVersion.objects.filter(deleted_at=None).count() == 4


def test_the_same_key_does_it_once(ann: Person) -> None:
    body = {"action": "transition_stage", "items": versions(1, 2), "common": {"stage": "Staging"}}
    first, second = (
        ann.api.post(f"{ann.base}/bulk", body, format="json", HTTP_IDEMPOTENCY_KEY="k-1") for _ in range(2)
    )
    assert first.json() == second.json()
    assert StageTransition.objects.count() == 2


def test_each_item_asks_for_the_right_of_its_act(ann: Person) -> None:
    bob = make_person(ann.project, "contributor")
    assert bulk(bob, "transition_stage", versions(1), stage="Staging").json()["succeeded"] == 1
    assert bulk(bob, "delete_version", versions(1)).json()["results"][0]["error"]["code"] == "role_too_low"
    assert (
        bulk(make_person(ann.project, "viewer"), "transition_stage", versions(1), stage="None").status_code
        == 403
    )
