"""Registering, finding, changing and deleting models, through REST."""

from __future__ import annotations

import pytest

from accounts.choices import Role
from registry.models import RegisteredModel
from tests.factories import Person, make_person, make_project, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def register(person: Person, name: str, **fields: object) -> dict:
    answer = person.api.post(f"{person.base}/models", {"name": name, **fields}, format="json")
    assert answer.status_code == 201, answer.json()
    return answer.json()


def names(person: Person, query: str = "") -> list[str]:
    answer = person.api.get(f"{person.base}/models?{query}")
    assert answer.status_code == 200, answer.json()
    return [model["name"] for model in answer.json()["results"]]


def test_a_registered_model_is_answered_whole(ann: Person) -> None:
    made = register(ann, "sentiment-classifier", description="BERT", tags=["nlp", "sentiment"])
    assert made["tags"] == ["nlp", "sentiment"]
    assert made["latest_version"] is None and made["production_version"] is None
    assert made["created_by"] == "ann"
    assert ann.api.get(f"{ann.base}/models/sentiment-classifier").json() == made


def test_a_name_is_given_once_per_project(ann: Person) -> None:
    register(ann, "m")
    again = ann.api.post(f"{ann.base}/models", {"name": "m"}, format="json")
    assert (again.status_code, again.json()["code"]) == (409, "model_exists")
    register(make_person(make_project("beta")), "m")


@pytest.mark.parametrize(
    "name", ["", " ", "a/b", "a:b", "..", "a\x00b", "x" * 201, None, 7, ["m"], {"a": 1}, " m"]
)
def test_a_bad_name_is_refused_with_the_field_named(ann: Person, name: object) -> None:
    answer = ann.api.post(f"{ann.base}/models", {"name": name}, format="json")
    if name in (" m", 7):
        assert answer.status_code in (201, 400)
        return
    assert answer.status_code == 400
    assert "name" in answer.json()["errors"]
    assert not RegisteredModel.objects.exists()


def test_lists_are_searched_filtered_ordered_and_paged(ann: Person) -> None:
    register(ann, "alpha", description="reads reviews", tags=["nlp", "bert"])
    register(ann, "beta", tags=["nlp"])
    register(ann, "gamma", tags=["vision"])
    make_version(ann, "gamma")
    assert names(ann, "search=REVIEWS") == ["alpha"]
    assert names(ann, "tag=nlp&ordering=name") == ["alpha", "beta"]
    assert names(ann, "tag=nlp&tag=bert") == ["alpha"]
    assert names(ann, "stage=None") == ["gamma"]
    assert names(ann, "stage=Production") == []
    assert names(ann, "ordering=-name") == ["gamma", "beta", "alpha"]
    first = ann.api.get(f"{ann.base}/models?page_size=2&ordering=name").json()
    assert len(first["results"]) == 2
    second = ann.api.get(first["next"]).json()
    assert [m["name"] for m in second["results"]] == ["gamma"]


@pytest.mark.parametrize(
    "query", ["ordering=secret", "stage=Prod", "page_size=0", "page_size=x", "cursor=zzz", "colour=red"]
)
def test_a_bad_query_is_400_and_names_the_parameter(ann: Person, query: str) -> None:
    answer = ann.api.get(f"{ann.base}/models?{query}")
    assert answer.status_code == 400, answer.content
    assert query.split("=")[0] in answer.json()["errors"]


def test_a_list_costs_the_same_number_of_queries_at_3_and_at_30_rows(
    ann: Person, django_assert_num_queries
) -> None:
    for index in range(30):
        register(ann, f"m{index}", tags=["t"])
    for index in range(3):
        make_version(ann, f"m{index}")
        ann.api.put(f"{ann.base}/models/m{index}/aliases/best", {"version": 1}, format="json")
    ann.api.get(f"{ann.base}/models")
    for size in (3, 30):
        with django_assert_num_queries(3):
            assert len(ann.api.get(f"{ann.base}/models?page_size={size}").json()["results"]) == size


def test_description_and_tags_are_changed_alone_or_together(ann: Person) -> None:
    register(ann, "m", description="old", tags=["a"])
    changed = ann.api.patch(f"{ann.base}/models/m", {"description": "new"}, format="json").json()
    assert (changed["description"], changed["tags"]) == ("new", ["a"])
    changed = ann.api.patch(f"{ann.base}/models/m", {"tags": []}, format="json").json()
    assert (changed["description"], changed["tags"]) == ("new", [])


def test_a_stranger_learns_nothing_and_a_viewer_changes_nothing(ann: Person) -> None:
    make_version(ann, "m")
    stranger = make_person(make_project("beta"))
    viewer = make_person(ann.project, Role.VIEWER)
    contributor = make_person(ann.project, Role.CONTRIBUTOR)
    for method, path in [("get", "models"), ("get", "models/m"), ("post", "models"), ("delete", "models/m")]:
        answer = getattr(stranger.api, method)(f"{ann.base}/{path}", {"name": "x"}, format="json")
        assert answer.status_code == 404
        assert answer.json()["code"] == "project_not_found"
    assert viewer.api.get(f"{ann.base}/models/m").status_code == 200
    assert viewer.api.post(f"{ann.base}/models", {"name": "x"}, format="json").status_code == 403
    assert viewer.api.patch(f"{ann.base}/models/m", {"tags": []}, format="json").status_code == 403
    assert contributor.api.delete(f"{ann.base}/models/m").status_code == 403


def test_a_deleted_model_is_gone_and_its_name_goes_on_counting(ann: Person) -> None:
    make_version(ann, "m")
    make_version(ann, "m")
    assert ann.api.delete(f"{ann.base}/models/m").status_code == 204
    assert ann.api.get(f"{ann.base}/models/m").status_code == 404
    assert ann.api.get(f"{ann.base}/models/m/versions/1").status_code == 404
    assert names(ann) == []
    assert make_version(ann, "m").number == 3
    assert ann.api.delete(f"{ann.base}/models/m").status_code == 204
    assert make_version(ann, "m").number == 4


def test_a_model_with_a_production_version_is_deleted_only_by_its_name(ann: Person) -> None:
    make_version(ann, "m")
    move = {"stage": "Production"}
    assert ann.api.post(f"{ann.base}/models/m/versions/1/transition", move, format="json").status_code == 200
    refused = ann.api.delete(f"{ann.base}/models/m")
    assert (refused.status_code, refused.json()["code"]) == (409, "confirmation_needed")
    assert refused.json()["items"] == ["version 1 (Production)"]
    assert ann.api.delete(f"{ann.base}/models/m?confirm=n").status_code == 400
    assert ann.api.delete(f"{ann.base}/models/m?confirm=m").status_code == 204


def test_a_repeated_request_with_one_key_is_answered_once_and_done_once(ann: Person) -> None:
    headers = {"HTTP_IDEMPOTENCY_KEY": "k-1"}
    first = ann.api.post(f"{ann.base}/models", {"name": "m"}, format="json", **headers)
    second = ann.api.post(f"{ann.base}/models", {"name": "m"}, format="json", **headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second["Idempotent-Replay"] == "true"
    other = ann.api.post(f"{ann.base}/models", {"name": "n"}, format="json", **headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b'{"name": NaN}',
        b'{"name":"a","name":"b"}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_object_is_400(ann: Person, body: bytes) -> None:
    answer = ann.api.post(f"{ann.base}/models", body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()["detail"]
