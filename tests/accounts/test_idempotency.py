"""The header Idempotency-Key: one request, one effect, one answer, whoever sends it how often."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from accounts.models import ApiToken, Membership
from common.models import IdempotentAnswer
from registry.models import RegisteredModel
from tests.factories import Person, make_person, make_project, make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def register(person: Person, name: str, key: str, base: str = "") -> Any:
    address = f"{base or person.base}/models"
    return person.api.post(address, {"name": name}, format="json", headers={"Idempotency-Key": key})


def at_once(count: int, ask: Callable[[], Any]) -> list[Any]:
    def one(_: int) -> Any:
        try:
            return ask()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_a_key_that_comes_again_gets_the_same_answer(ann: Person) -> None:
    first, again = register(ann, "m", "k1"), register(ann, "m", "k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again["Idempotent-Replay"] == "true" and "Idempotent-Replay" not in first
    assert register(ann, "m", "k2").status_code == 409


def test_a_key_is_for_one_request_only(ann: Person) -> None:
    beta = make_project("beta")
    Membership.objects.create(project=beta, user=ann.user, role="admin")
    register(ann, "m", "k1")
    for answer in (register(ann, "other", "k1"), register(ann, "m", "k1", "/api/v1/projects/beta")):
        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_reused")
    assert RegisteredModel.objects.count() == 1


def test_the_order_of_the_fields_makes_no_other_request(ann: Person) -> None:
    """Some clients write the fields of an object in another order each time."""
    texts = ('{"name": "m", "tags": ["a"]}', '{"tags": ["a"], "name": "m"}', '{"name": "m", "tags": ["b"]}')
    first, again, other = (
        ann.api.generic(
            "POST", f"{ann.base}/models", text, "application/json", headers={"Idempotency-Key": "k"}
        )
        for text in texts
    )
    assert first.status_code == again.status_code == 201 and again["Idempotent-Replay"] == "true"
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")


@pytest.mark.parametrize("depth", [5, 500, 900, 950, 985])
def test_a_deep_body_with_a_key_is_refused_as_without(ann: Person, depth: int) -> None:
    body = '{"name": "m", "tags": ' + "[" * depth + "]" * depth + "}"
    answer = ann.api.generic(
        "POST", f"{ann.base}/models", body, "application/json", headers={"Idempotency-Key": "k"}
    )
    assert answer.status_code == 400, answer.content


def test_the_key_of_another_person_tells_nothing_of_theirs(ann: Person) -> None:
    register(ann, "m", "k1")
    bob = make_person(make_project("beta"))
    assert register(bob, "m", "k1").status_code == 201
    assert register(bob, "m", "k1", ann.base).status_code == 404
    colleague = make_person(ann.project)
    assert register(colleague, "m", "k1").status_code == 409


def test_a_refusal_is_not_kept(ann: Person) -> None:
    register(ann, "m", "k0")
    assert register(ann, "m", "k1").status_code == 409
    ann.api.delete(f"{ann.base}/models/m")
    assert register(ann, "m", "k1").status_code == 201


def test_who_lost_the_right_does_not_get_the_answer_again(ann: Person) -> None:
    bob = make_person(ann.project, "contributor")
    assert register(bob, "m", "k1").status_code == 201
    Membership.objects.filter(user=bob.user).delete()
    assert register(bob, "m", "k1").status_code == 404


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 201, "é", "a\x7f"])
def test_a_key_that_is_none_is_400(ann: Person, key: str) -> None:
    answer = register(ann, "m", key)
    assert answer.status_code == 400 and "Idempotency-Key" in answer.json()["detail"]
    assert not RegisteredModel.objects.exists()


def test_a_new_token_s_text_is_stored_nowhere(ann: Person) -> None:
    body = {"name": "ci", "scopes": ["read"]}
    headers = {"Idempotency-Key": "k1"}
    made = ann.api.post(f"{ann.base}/tokens", body, format="json", headers=headers)
    assert made.status_code == 201
    text = made.json()["token"]
    kept = IdempotentAnswer.objects.get()
    assert text not in str(kept.body) and text.split("_", 2)[2] not in str(kept.body)
    again = ann.api.post(f"{ann.base}/tokens", body, format="json", headers=headers)
    assert (again.status_code, again.json()["code"]) == (409, "shown_once")
    assert ApiToken.objects.filter(name="ci").count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_same_request_many_times_at_once_is_done_once(ann: Person) -> None:
    run = make_run(ann, {"a.txt": b"1"})
    body = {"source_run_id": run.public_id, "artifact_path": "a.txt"}
    headers = {"Idempotency-Key": "k1"}
    address = f"{ann.base}/models/m/versions"
    made = at_once(8, lambda: ann.api.post(address, body, format="json", headers=headers))
    assert [answer.status_code for answer in made] == [201] * 8
    assert {answer.json()["version"] for answer in made} == {1}
    assert [answer.status_code for answer in at_once(8, lambda: register(ann, "n", "k2"))] == [201] * 8
