"""Protected aliases and stages: only named roles and groups may move them."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group

from tests.factories import Person, make_person, make_project, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    ann = make_person(make_project("alpha"), username="ann")
    make_version(ann, "iris")
    make_version(ann, "iris")
    make_version(ann, "other")
    return ann


@pytest.fixture
def bob(ann: Person) -> Person:
    return make_person(ann.project, "contributor", username="bob")


def protect(person: Person, **body: Any) -> Any:
    return person.api.post(f"{person.base}/protections", body, format="json")


def set_alias(person: Person, alias: str = "champion", model: str = "iris", version: int = 1) -> Any:
    address = f"{person.base}/models/{model}/aliases/{alias}"
    return person.api.put(address, {"version": version}, format="json")


def move(person: Person, stage: str, model: str = "iris") -> Any:
    address = f"{person.base}/models/{model}/versions/1/transition"
    return person.api.post(address, {"stage": stage}, format="json")


def test_a_protected_alias_is_moved_by_the_named_roles_only(ann: Person, bob: Person) -> None:
    assert protect(ann, kind="alias", name="champion").status_code == 201
    refused = set_alias(bob)
    assert (refused.status_code, refused.json()["code"]) == (403, "protected")
    assert refused.json()["detail"] == (
        "The alias champion of iris is protected: only the roles admin, maintainer may move it."
    )
    assert set_alias(ann).status_code == 200
    assert bob.api.delete(f"{bob.base}/models/iris/aliases/champion").status_code == 403
    assert set_alias(bob, "other-alias").status_code == 200


def test_members_of_a_named_group_may_move_it(ann: Person, bob: Person) -> None:
    Group.objects.create(name="release").user_set.add(bob.user)
    protect(ann, kind="alias", name="champion", roles=[], groups=["release"])
    assert set_alias(bob).status_code == 200
    assert set_alias(ann, version=2).status_code == 403


def test_a_protected_stage_is_neither_entered_nor_left_by_others(ann: Person, bob: Person) -> None:
    assert protect(ann, kind="stage", name="production").json()["name"] == "Production"
    assert move(bob, "Production").status_code == 403
    assert move(bob, "Staging").status_code == 200
    assert move(ann, "Production").status_code == 200
    assert move(bob, "Archived").status_code == 403


def test_a_models_own_protection_goes_before_the_projects(ann: Person, bob: Person) -> None:
    protect(ann, kind="alias", name="champion", roles=["admin"])
    protect(ann, kind="alias", name="champion", model_name="iris", roles=["contributor"])
    assert set_alias(bob).status_code == 200
    assert set_alias(bob, model="other").status_code == 403


def test_protecting_again_replaces_who_may_and_taking_it_away_lets_all(ann: Person, bob: Person) -> None:
    made = protect(ann, kind="alias", name="champion").json()
    again = protect(ann, kind="alias", name="champion", roles=["contributor"]).json()
    assert again["id"] == made["id"]
    assert set_alias(bob).status_code == 200
    protect(ann, kind="alias", name="champion")
    assert ann.api.delete(f"{ann.base}/protections/{made['id']}").status_code == 204
    assert set_alias(bob, version=2).status_code == 200
    listed = ann.api.get(f"{ann.base}/protections").json()["results"]
    assert listed == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "tag", "name": "x"}, "kind"),
        ({"kind": "stage", "name": "Gold"}, "name"),
        ({"kind": "alias", "name": "latest"}, "alias"),
        ({"kind": "alias", "name": "x", "roles": ["king"]}, "roles"),
        ({"kind": "alias", "name": "x", "groups": ["nobody"]}, "groups"),
        ({"kind": "alias", "name": "x", "roles": []}, "roles"),
    ],
)
def test_a_protection_that_makes_no_sense_is_refused(ann: Person, body: Any, field: str) -> None:
    answer = protect(ann, **body)
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]


def test_contributors_protect_nothing_and_strangers_see_nothing(ann: Person, bob: Person) -> None:
    assert protect(bob, kind="alias", name="champion").status_code == 403
    eve = make_person(make_project("beta"))
    assert eve.api.get("/api/v1/projects/alpha/protections").status_code == 404
    made = protect(ann, kind="alias", name="champion").json()["id"]
    assert eve.api.delete(f"{eve.base}/protections/{made}").status_code == 404
