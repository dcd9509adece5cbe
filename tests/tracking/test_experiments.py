"""Experiments through REST."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from accounts.choices import Role, Scope
from accounts.models import AuditEntry
from tests.factories import Person, make_person, make_project, make_run, send_json
from tracking.models import Experiment

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def create(person: Person, name: object = "sentiment", **fields: Any):
    return send_json(person, "post", f"{person.base}/experiments", {"name": name, **fields})


def names(person: Person, query: str = "") -> list[str]:
    answer = person.api.get(f"{person.base}/experiments{query}")
    assert answer.status_code == 200, answer.json()
    return [row["name"] for row in answer.json()["results"]]


def test_an_experiment_is_made_and_found_by_id_and_by_name(ann: Person) -> None:
    made = create(ann, description="texts", tags=["nlp", "nlp", "en"])
    assert made.status_code == 201, made.json()
    experiment = made.json()
    assert experiment["id"].startswith("exp-")
    assert (experiment["description"], experiment["tags"]) == ("texts", ["nlp", "en"])
    assert (experiment["created_by"], experiment["archived_at"], experiment["run_count"]) == ("ann", None, 0)
    assert experiment["url"].endswith(f"/projects/alpha/experiments/{experiment['id']}/")
    for key in (experiment["id"], "sentiment"):
        assert ann.api.get(f"{ann.base}/experiments/{key}").json() == experiment


def test_a_name_is_given_once_per_project(ann: Person) -> None:
    create(ann)
    again = create(ann)
    assert (again.status_code, again.json()["code"]) == (409, "experiment_exists")
    assert create(make_person(make_project("beta"))).status_code == 201


def test_an_experiment_is_renamed_described_and_labelled(ann: Person) -> None:
    create(ann)
    create(ann, "other")
    url = f"{ann.base}/experiments/sentiment"
    changed = ann.api.patch(url, {"description": "new", "tags": ["a"]}, format="json").json()
    assert (changed["name"], changed["description"], changed["tags"]) == ("sentiment", "new", ["a"])
    taken = ann.api.patch(url, {"name": "other"}, format="json")
    assert (taken.status_code, taken.json()["code"]) == (409, "experiment_exists")
    assert ann.api.patch(url, {"name": "fresh"}, format="json").json()["name"] == "fresh"
    assert ann.api.get(url).status_code == 404
    entry = AuditEntry.objects.filter(verb="update_experiment").first()
    assert (entry.before, entry.after) == ({"name": "sentiment"}, {"name": "fresh"})


def test_an_archived_experiment_takes_no_runs_until_it_is_restored(ann: Person) -> None:
    create(ann)
    url = f"{ann.base}/experiments/sentiment"
    for _ in range(2):
        assert ann.api.post(f"{url}/archive").json()["archived_at"]
    refused = ann.api.post(f"{ann.base}/runs", {"experiment_id": "sentiment"}, format="json")
    assert (refused.status_code, refused.json()["code"]) == (409, "experiment_archived")
    for _ in range(2):
        assert ann.api.post(f"{url}/restore").json()["archived_at"] is None
    assert ann.api.post(f"{ann.base}/runs", {"experiment_id": "sentiment"}, format="json").status_code == 201
    verbs = AuditEntry.objects.filter(object_type="experiment").values_list("verb", flat=True)
    assert sorted(verbs) == ["archive_experiment", "create_experiment", "restore_experiment"]


def test_lists_are_searched_filtered_and_ordered(ann: Person) -> None:
    for name in ("beta", "alpha", "gamma"):
        create(ann, name, description=f"about {name}")
    ann.api.post(f"{ann.base}/experiments/beta/archive")
    assert names(ann) == ["gamma", "alpha", "beta"]
    assert names(ann, "?ordering=name") == ["alpha", "beta", "gamma"]
    assert names(ann, "?search=ABOUT+AL") == ["alpha"]
    assert names(ann, "?name=gamma") == ["gamma"]
    assert names(ann, "?archived=true") == ["beta"]
    assert names(ann, "?archived=false") == ["gamma", "alpha"]
    page = ann.api.get(f"{ann.base}/experiments?page_size=2&ordering=name").json()
    rest = ann.api.get(page["next"]).json()
    assert [row["name"] for row in page["results"] + rest["results"]] == ["alpha", "beta", "gamma"]


@pytest.mark.parametrize(
    "query", ["archived=maybe", "ordering=run_count", "nonsense=1", "search=%00", "page_size=0", "cursor=x"]
)
def test_a_wrong_filter_is_refused_by_name(ann: Person, query: str) -> None:
    answer = ann.api.get(f"{ann.base}/experiments?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["errors"]


@pytest.mark.parametrize(
    "name", ["", " ", "a\nb", "a\0b", "\ud800", "x" * 201, None, 1.5, [], {}, "exp-0123456789ab"]
)
def test_a_bad_name_is_refused_by_field(ann: Person, name: object) -> None:
    answer = create(ann, name)
    if name == 1.5:
        assert answer.status_code == 201
        return
    assert answer.status_code == 400
    assert "name" in answer.json()["errors"]
    started = send_json(ann, "post", f"{ann.base}/runs", {"experiment_id": name})
    assert started.status_code in (400, 404)
    assert started.status_code == 404 or "experiment_id" in started.json()["errors"]
    assert not Experiment.objects.exists()


def test_who_may_not_write_changes_nothing(ann: Person) -> None:
    create(ann)
    viewer = make_person(ann.project, Role.VIEWER)
    reading = make_person(ann.project, Role.ADMIN, scopes=[Scope.READ])
    stranger = make_person(make_project("beta"))
    url = f"{ann.base}/experiments"
    for person, read, write in ((viewer, 200, 403), (reading, 200, 403), (stranger, 404, 404)):
        assert person.api.get(url).status_code == read
        assert person.api.get(f"{url}/sentiment").status_code == read
        assert person.api.post(url, {"name": "x"}, format="json").status_code == write
        assert person.api.patch(f"{url}/sentiment", {"name": "x"}, format="json").status_code == write
        assert person.api.post(f"{url}/sentiment/archive").status_code == write
        assert person.api.post(f"{url}/sentiment/restore").status_code == write
    assert Experiment.objects.count() == 1


def test_an_experiment_of_another_project_is_not_found(ann: Person) -> None:
    foreign = create(make_person(make_project("beta"))).json()["id"]
    assert ann.api.get(f"{ann.base}/experiments/{foreign}").status_code == 404
    assert ann.api.patch(f"{ann.base}/experiments/{foreign}", {"name": "x"}, format="json").status_code == 404
    started = ann.api.post(f"{ann.base}/runs", {"experiment_id": foreign}, format="json")
    assert started.status_code == 404


def test_a_list_costs_the_same_at_3_and_at_30_rows(ann: Person, django_assert_num_queries) -> None:
    for number in range(30):
        make_run(ann, experiment=f"e{number}")
    ann.api.get(f"{ann.base}/experiments")
    for size in (3, 30):
        with django_assert_num_queries(2):
            page = ann.api.get(f"{ann.base}/experiments?page_size={size}").json()
        assert [row["run_count"] for row in page["results"]] == [1] * size


@pytest.mark.django_db(transaction=True)
def test_a_new_name_used_at_once_makes_one_experiment(ann: Person) -> None:
    def one(_: int) -> int:
        try:
            return ann.api.post(f"{ann.base}/runs", {"experiment_id": "new"}, format="json").status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(16))) == {201}
    assert Experiment.objects.get().runs.count() == 16
