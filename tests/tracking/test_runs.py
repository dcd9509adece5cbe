"""Starting, resuming, changing, ending, listing and deleting runs through REST."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from accounts.choices import Role, Scope
from accounts.models import AuditEntry
from registry.models import ModelVersion
from tests.factories import Person, make_person, make_project, make_run, make_version, send_json
from tracking.models import Dataset, Experiment, Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def start(person: Person, experiment_id: object = "exp", **fields: Any):
    body = {"experiment_id": experiment_id, **fields}
    return person.api.post(f"{person.base}/runs", body, format="json")


def post(person: Person, run: dict[str, Any], what: str, body: object):
    return send_json(person, "post", f"{person.base}/runs/{run['id']}/{what}", body)


def get(person: Person, run: dict[str, Any]) -> dict[str, Any]:
    return person.api.get(f"{person.base}/runs/{run['id']}").json()


def test_a_run_starts_in_an_experiment_that_its_name_makes(ann: Person) -> None:
    answer = start(ann, "sentiment", name="first", tags={"gpu": "A100"}, code_version="abc123")
    assert answer.status_code == 201, answer.json()
    run = answer.json()
    assert (run["status"], run["name"], run["experiment_name"]) == ("Running", "first", "sentiment")
    assert (run["tags"], run["code_version"], run["created_by"]) == ({"gpu": "A100"}, "abc123", "ann")
    assert (run["params"], run["metrics"], run["metric_summary"], run["datasets"]) == ({}, {}, {}, [])
    assert (run["artifact_count"], run["artifact_bytes"], run["parent_run_id"]) == (0, 0, None)
    assert (run["ended_at"], run["error"], run["notes"]) == (None, "", "")
    assert run["duration_seconds"] >= 0
    assert run["url"].endswith(f"/projects/alpha/runs/{run['id']}/")
    by_id = start(ann, run["experiment_id"]).json()
    assert by_id["experiment_id"] == run["experiment_id"]
    assert Experiment.objects.count() == 1
    again = get(ann, run)
    assert {**again, "duration_seconds": 0} == {**run, "duration_seconds": 0}


def test_a_run_ends_and_says_how(ann: Person) -> None:
    run = start(ann).json()
    ended = post(ann, run, "end", {"status": "Failed", "error": "CUDA out of memory"}).json()
    assert (ended["status"], ended["error"]) == ("Failed", "CUDA out of memory")
    assert ended["ended_at"]
    again = post(ann, run, "end", {"status": "Failed"})
    assert (again.status_code, again.json()["error"]) == (200, "CUDA out of memory")
    other = post(ann, run, "end", {"status": "Completed"})
    assert (other.status_code, other.json()["code"]) == (409, "run_ended")
    assert get(ann, run)["status"] == "Failed"
    assert AuditEntry.objects.filter(verb="end_run").count() == 1


@pytest.mark.parametrize("status", ["Running", "completed", "", None, 1, {}])
def test_a_run_cannot_end_as_anything_else(ann: Person, status: object) -> None:
    run = start(ann).json()
    answer = post(ann, run, "end", {"status": status})
    assert (answer.status_code, "status" in answer.json()["errors"]) == (400, True)
    assert get(ann, run)["status"] == "Running"


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("metrics", {"series": [{"key": "loss", "values": [0.5]}]}),
        ("params", {"params": {"lr": 0.1}}),
        ("datasets", {"name": "imdb"}),
        ("artifacts", {"files": []}),
    ],
)
def test_an_ended_run_takes_nothing_more_until_it_is_resumed(ann: Person, what: str, body: object) -> None:
    run = start(ann).json()
    post(ann, run, "end", {"status": "Killed", "error": "stop"})
    refused = post(ann, run, what, body)
    assert (refused.status_code, refused.json()["code"]) == (409, "run_ended")
    resumed = start(ann, id=run["id"])
    assert (resumed.status_code, resumed.json()["status"]) == (200, "Running")
    assert (resumed.json()["error"], resumed.json()["ended_at"]) == ("", None)
    assert post(ann, run, what, body).status_code in (200, 201)
    assert AuditEntry.objects.filter(verb="resume_run").count() == 1


def test_a_run_gets_the_id_that_its_starter_chose_and_goes_on_under_it(ann: Person) -> None:
    first = start(ann, id="run-mine01", name="one", tags={"a": "1"})
    assert (first.status_code, first.json()["id"]) == (201, "run-mine01")
    again = start(ann, id="run-mine01", name="two", tags={"b": "2"})
    assert again.status_code == 200
    assert (again.json()["name"], again.json()["tags"]) == ("two", {"a": "1", "b": "2"})
    without = ann.api.post(f"{ann.base}/runs", {"id": "run-mine01"}, format="json")
    assert (without.status_code, without.json()["name"]) == (200, "two")
    other = start(ann, "elsewhere", id="run-mine01")
    assert (other.status_code, other.json()["code"]) == (409, "run_of_other_experiment")
    assert Run.objects.count() == 1
    assert not Experiment.objects.filter(name="elsewhere").exists()


def test_one_id_in_two_projects_is_two_runs(ann: Person) -> None:
    beta = make_person(make_project("beta"))
    assert [start(person, id="run-shared").status_code for person in (ann, beta)] == [201, 201]
    post(ann, {"id": "run-shared"}, "end", {"status": "Killed"})
    assert get(beta, {"id": "run-shared"})["status"] == "Running"


@pytest.mark.parametrize(
    "run_id",
    ["x", "run-", "run-abc", "run-ABCDEF", "run-" + "a" * 33, "run-a b c d", "run-äöüäöü", None, 1, "\0"],
)
def test_a_bad_id_is_refused_by_name(ann: Person, run_id: object) -> None:
    answer = start(ann, id=run_id)
    assert answer.status_code == 400
    assert "id" in answer.json()["errors"]


def test_a_run_without_an_experiment_is_refused(ann: Person) -> None:
    answer = ann.api.post(f"{ann.base}/runs", {}, format="json")
    assert (answer.status_code, "experiment_id" in answer.json()["errors"]) == (400, True)


def test_a_run_knows_its_parent(ann: Person) -> None:
    parent = start(ann).json()
    assert start(ann, parent_run_id=parent["id"]).json()["parent_run_id"] == parent["id"]
    foreign = start(make_person(make_project("beta"))).json()
    assert start(ann, parent_run_id=foreign["id"]).status_code == 404
    assert start(ann, parent_run_id="run-nothere").status_code == 404


def test_name_notes_and_tags_change_even_after_the_end(ann: Person) -> None:
    run = start(ann, tags={"keep": "1", "drop": "2", "change": "3"}).json()
    post(ann, run, "end", {"status": "Completed"})
    url = f"{ann.base}/runs/{run['id']}"
    body = {"name": "best", "notes": "# Notes\nlow loss", "tags": {"drop": None, "change": "4", "new": ""}}
    changed = ann.api.patch(url, body, format="json").json()
    assert (changed["name"], changed["notes"]) == ("best", "# Notes\nlow loss")
    assert changed["tags"] == {"keep": "1", "change": "4", "new": ""}
    entry = AuditEntry.objects.filter(verb="update_run").get()
    assert entry.before == {"name": "", "notes": "", "tags": {"drop": "2", "change": "3"}}
    ann.api.patch(url, body, format="json")
    assert AuditEntry.objects.filter(verb="update_run").count() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "x" * 201),
        ("name", None),
        ("notes", "x" * 20_001),
        ("notes", "\0"),
        ("tags", []),
        ("tags", {"": "x"}),
        ("tags", {"k" * 251: "x"}),
        ("tags", {"k": "x" * 5001}),
        ("tags", {"k": {}}),
        ("tags", {"k\0": "x"}),
        ("tags", {str(n): "x" for n in range(101)}),
    ],
)
def test_a_bad_change_is_refused_by_field(ann: Person, field: str, value: object) -> None:
    run = start(ann).json()
    answer = ann.api.patch(f"{ann.base}/runs/{run['id']}", {field: value}, format="json")
    assert answer.status_code == 400
    assert any(name.partition(".")[0].partition(" ")[0] == field for name in answer.json()["errors"])


def test_parameters_are_logged_once_and_never_silently_changed(ann: Person) -> None:
    run = start(ann).json()
    params = {"lr": 0.001, "epochs": 10, "optimizer": "adamw", "amp": True, "seed": None, "nan": "NaN"}
    assert post(ann, run, "params", {"params": params}).json() == {}
    assert post(ann, run, "params", {"params": {"lr": 0.001, "amp": True}}).status_code == 200
    changed = post(ann, run, "params", {"params": {"new": 1, "lr": 0.01}})
    assert (changed.status_code, changed.json()["code"]) == (409, "param_changed")
    for word in ("lr", "0.001", "0.01"):
        assert word in changed.json()["detail"]
    assert post(ann, run, "params", {"params": {"amp": 1}}).status_code == 409
    assert get(ann, run)["params"] == params


def test_all_parameters_of_a_run_together_have_a_bound(ann: Person) -> None:
    run = start(ann).json()
    long = {f"k{n}": "x" * 8000 for n in range(100)}
    assert post(ann, run, "params", {"params": long}).status_code == 200
    answer = post(ann, run, "params", {"params": {f"more{n}": "x" * 8000 for n in range(40)}})
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_params")
    assert "characters together; at most 1048576" in answer.json()["detail"]
    assert list(get(ann, run)["params"]) == sorted(long)
    short = dict.fromkeys(map(str, range(10_000 - len(long))), 1)
    assert post(ann, run, "params", {"params": short}).status_code == 200
    answer = post(ann, run, "params", {"params": {"more": 1}})
    assert (answer.status_code, "10001 parameters; at most 10000" in answer.json()["detail"]) == (409, True)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        (None, "params"),
        ([], "params"),
        ({"k": []}, "params.k"),
        ({"k": {"a": 1}}, "params.k"),
        ({"k": "x" * 8193}, "params.k"),
        ({"k": "ü" * 5000}, "params.k"),
        ({"k": "a\0b"}, "params.k"),
        ({"k": "\ud800"}, "params.k"),
        ({"": 1}, "params key"),
        ({"x" * 251: 1}, "params key"),
        ({"\0": 1}, "params key"),
    ],
)
def test_a_bad_parameter_is_refused_by_name(ann: Person, params: object, field: str) -> None:
    run = start(ann).json()
    answer = post(ann, run, "params", {"params": params})
    assert answer.status_code == 400
    assert field in answer.json()["errors"]
    assert get(ann, run)["params"] == {}


def test_datasets_are_shared_by_runs_and_another_digest_is_another_one(ann: Person) -> None:
    run, other = start(ann).json(), start(ann).json()
    data = {
        "name": "imdb",
        "path": "s3://data/imdb",
        "description": "reviews",
        "digest": "abc",
        "context": "training",
    }
    logged = post(ann, run, "datasets", data).json()
    assert ann.api.get(f"{ann.base}/datasets/{logged['id']}").json()["name"] == "imdb"
    assert logged == {**data, "id": logged["id"]}
    post(ann, run, "datasets", data)
    post(ann, other, "datasets", {**data, "context": "validation"})
    assert get(ann, run)["datasets"] == [logged]
    assert Dataset.objects.count() == 1
    post(ann, other, "datasets", {**data, "digest": "def"})
    assert Dataset.objects.count() == 2
    assert [d["digest"] for d in get(ann, other)["datasets"]] == ["abc", "def"]


@pytest.mark.parametrize("field", ["name", "path", "description", "digest", "context"])
@pytest.mark.parametrize("value", ["x" * 20_001, "a\0b", "\ud800", None, {}])
def test_a_bad_dataset_is_refused_by_field(ann: Person, field: str, value: object) -> None:
    run = start(ann).json()
    answer = post(ann, run, "datasets", {"name": "d", field: value})
    assert (answer.status_code, field in answer.json()["errors"]) == (400, True)


def test_a_deleted_run_is_gone_and_its_id_is_not_given_again(ann: Person) -> None:
    run = start(ann, id="run-gone01").json()
    assert ann.api.delete(f"{ann.base}/runs/{run['id']}").status_code == 204
    assert ann.api.get(f"{ann.base}/runs/{run['id']}").status_code == 404
    assert ann.api.delete(f"{ann.base}/runs/{run['id']}").status_code == 404
    assert post(ann, run, "metrics", {"series": []}).status_code == 404
    assert ann.api.get(f"{ann.base}/runs").json()["results"] == []
    assert ann.api.get(f"{ann.base}/experiments/exp").json()["run_count"] == 0
    again = start(ann, id="run-gone01")
    assert (again.status_code, again.json()["code"]) == (409, "run_deleted")


def test_a_run_that_versions_come_from_is_kept(ann: Person) -> None:
    version = make_version(ann, "iris")
    url = f"{ann.base}/runs/{version.source_run.public_id}"
    refused = ann.api.delete(url)
    assert (refused.status_code, refused.json()["code"]) == (409, "run_has_versions")
    assert refused.json()["items"] == ["iris version 1"]
    ModelVersion.objects.update(deleted_at=timezone.now())
    assert ann.api.delete(url).status_code == 204


def test_a_run_is_deleted_by_its_creator_and_by_maintainers_only(ann: Person) -> None:
    creator, colleague = (make_person(ann.project, Role.CONTRIBUTOR) for _ in range(2))
    maintainer = make_person(ann.project, Role.MAINTAINER)
    first, second = start(creator).json(), start(creator).json()
    assert colleague.api.delete(f"{ann.base}/runs/{first['id']}").status_code == 403
    assert creator.api.delete(f"{ann.base}/runs/{first['id']}").status_code == 204
    assert maintainer.api.delete(f"{ann.base}/runs/{second['id']}").status_code == 204


def test_who_may_not_write_changes_nothing(ann: Person) -> None:
    run = start(ann).json()
    viewer = make_person(ann.project, Role.VIEWER)
    reading = make_person(ann.project, Role.ADMIN, scopes=[Scope.READ])
    stranger = make_person(make_project("beta"))
    url = f"{ann.base}/runs/{run['id']}"
    writes = [
        ("post", f"{ann.base}/runs", {"experiment_id": "new"}),
        ("post", f"{ann.base}/runs", {"id": run["id"]}),
        ("patch", url, {"name": "x"}),
        ("delete", url, None),
        ("post", f"{url}/end", {"status": "Killed"}),
        ("post", f"{url}/params", {"params": {"a": 1}}),
        ("post", f"{url}/metrics", {"series": [{"key": "a", "values": [1]}]}),
        ("post", f"{url}/datasets", {"name": "x"}),
        ("post", f"{url}/artifacts", {"files": []}),
    ]
    for person, read, write in ((viewer, 200, 403), (reading, 200, 403), (stranger, 404, 404)):
        for address in (f"{ann.base}/runs", url, f"{url}/metrics", f"{url}/artifacts"):
            assert person.api.get(address).status_code == read
        for method, address, body in writes:
            assert getattr(person.api, method)(address, body, format="json").status_code == write, address
    assert get(ann, run)["status"] == "Running"
    assert Run.objects.count() == 1


def test_a_run_of_another_project_is_not_found(ann: Person) -> None:
    foreign = start(make_person(make_project("beta"))).json()
    url = f"{ann.base}/runs/{foreign['id']}"
    for address in (url, f"{url}/metrics", f"{url}/artifacts", f"{url}/metrics/loss", f"{url}/artifacts/a"):
        assert ann.api.get(address).status_code == 404
    assert ann.api.patch(url, {"name": "x"}, format="json").status_code == 404
    assert ann.api.delete(url).status_code == 404
    assert post(ann, foreign, "end", {"status": "Killed"}).status_code == 404
    assert post(ann, foreign, "params", {"params": {}}).status_code == 404
    assert post(ann, foreign, "metrics", {"series": []}).status_code == 404
    assert post(ann, foreign, "datasets", {"name": "x"}).status_code == 404
    assert post(ann, foreign, "artifacts", {"files": []}).status_code == 404


@pytest.mark.parametrize("run_id", ["run-%00", "%ff", "..", "x" * 300, "run-äöü", "%ed%a0%80"])
def test_an_address_that_names_no_run_is_no_server_error(ann: Person, run_id: str) -> None:
    assert ann.api.get(f"{ann.base}/runs/{run_id}").status_code in (400, 404)
    assert ann.api.post(f"{ann.base}/runs/{run_id}/end", {"status": "Killed"}, format="json").status_code in (
        400,
        404,
    )


def ids(person: Person, query: str = "") -> list[str]:
    answer = person.api.get(f"{person.base}/runs{query}")
    assert answer.status_code == 200, answer.json()
    return [row["id"] for row in answer.json()["results"]]


def test_lists_are_searched_filtered_and_ordered(ann: Person) -> None:
    one = start(ann, "first", name="b", id="run-number1").json()
    two = start(ann, "second", name="a", id="run-number2").json()
    post(ann, one, "end", {"status": "Failed"})
    assert ids(ann) == ["run-number2", "run-number1"]
    assert ids(ann, "?ordering=started_at") == ["run-number1", "run-number2"]
    assert ids(ann, "?ordering=name") == ["run-number2", "run-number1"]
    assert ids(ann, "?status=Failed") == ["run-number1"]
    assert ids(ann, f"?experiment={two['experiment_id']}") == ["run-number2"]
    assert ids(ann, "?experiment=first") == ["run-number1"]
    assert ids(ann, "?search=NUMBER2") == ["run-number2"]
    assert ids(ann, "?search=nothing") == []


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("runs?experiment=typo", "There is no experiment 'typo' in alpha."),
        ("runs?parent=run-nothing", "There is no run 'run-nothing' in alpha."),
        ("runs-export?format=csv&experiment=typo", "There is no experiment 'typo' in alpha."),
        ("schedules?experiment=typo", "There is no experiment 'typo' in alpha."),
        ("model-versions?experiment=typo", "There is no experiment 'typo' in alpha."),
        ("model-versions?run=run-nothing", "There is no run 'run-nothing' in alpha."),
        ("approvals?model=typo", "There is no model 'typo' in alpha."),
        ("deployments?model=typo", "There is no model 'typo' in alpha."),
    ],
)
def test_a_list_of_what_a_name_holds_says_that_there_is_no_such_name(
    ann: Person, address: str, sentence: str
) -> None:
    answer = ann.api.get(f"{ann.base}/{address}")
    assert (answer.status_code, answer.json().get("detail")) == (404, sentence)


@pytest.mark.parametrize(
    ("what", "body", "field", "known"),
    [
        (
            "metrics",
            {"series": [{"key": "a", "values": [1]}, {"key": "a", "values": [1], "step": [7]}]},
            "series.1.step",
            "key, values, steps, timestamps",
        ),
        ("artifacts", {"files": [{"path": "a", "digest": "0"}]}, "files.0.digest", "path, sha256"),
    ],
)
def test_a_point_or_a_file_with_a_field_that_would_be_passed_over_is_refused(
    ann: Person, what: str, body: dict[str, Any], field: str, known: str
) -> None:
    start(ann, "e", id="run-number1")
    answer = ann.api.post(f"{ann.base}/runs/run-number1/{what}", body, format="json")
    assert answer.status_code == 400
    assert answer.json()["detail"] == f"'{field}' is no field of this request."
    assert answer.json()["hint"] == f"There are: {known}."


def test_a_time_that_is_none_is_told_what_one_looks_like(ann: Person) -> None:
    answer = ann.api.get(f"{ann.base}/runs?started_after=yesterday")
    sentence = "started_after is 'yesterday'; it must be a time such as 2026-03-01T14:00:00Z."
    assert answer.json()["errors"] == {"started_after": [sentence]}


def test_the_children_of_a_run_in_the_trash_are_still_listed(ann: Person) -> None:
    parent = start(ann, "e", id="run-parent").json()
    start(ann, "e", id="run-child1", parent_run_id="run-parent")
    post(ann, parent, "end", {"status": "Completed"})
    assert ann.api.delete(f"{ann.base}/runs/run-parent").status_code == 204
    assert ids(ann, "?parent=run-parent") == ["run-child1"]


@pytest.mark.parametrize(
    "query",
    ["status=Done", "ordering=ended_at", "nonsense=1", "search=%00", "experiment=%00", "page_size=501"],
)
def test_a_wrong_filter_is_refused_by_name(ann: Person, query: str) -> None:
    answer = ann.api.get(f"{ann.base}/runs?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["errors"]


def test_a_wrong_choice_is_told_with_those_that_there_are(ann: Person) -> None:
    found = ann.api.get(f"{ann.base}/runs?status=FINISHED").json()
    known = "Running, Completed, Failed, Killed"
    assert found["detail"] == f"status is 'FINISHED'; it must be one of {known}."


def test_pages_of_runs_that_share_a_name_show_each_once(ann: Person) -> None:
    for _ in range(25):
        make_run(ann)
    found: list[str] = []
    query = "?ordering=name&page_size=7"
    while query:
        page = ann.api.get(f"{ann.base}/runs{query}").json()
        found += [row["id"] for row in page["results"]]
        query = f"?{page['next'].partition('?')[2]}" if page["next"] else ""
    assert len(found) == len(set(found)) == 25


def test_a_list_costs_the_same_at_3_and_at_30_rows(ann: Person, django_assert_num_queries) -> None:
    for number in range(30):
        run = make_run(ann, {"a": b"1", f"b{number}": b"22"}, accuracy=0.9)
        Run.objects.filter(pk=run.pk).update(status="Running")
        body = {"id": run.public_id}
        post(ann, body, "params", {"params": {"lr": 1}})
        post(ann, body, "datasets", {"name": "d"})
        ann.api.patch(f"{ann.base}/runs/{run.public_id}", {"tags": {"a": "b"}}, format="json")
    for size in (3, 30):
        with django_assert_num_queries(7):
            page = ann.api.get(f"{ann.base}/runs?page_size={size}").json()
        assert len(page["results"]) == size
        assert {(row["artifact_count"], row["artifact_bytes"]) for row in page["results"]} == {(2, 3)}
        assert get(ann, page["results"][0]).keys() == page["results"][0].keys()


@pytest.mark.django_db(transaction=True)
def test_one_id_started_at_once_is_one_run(ann: Person) -> None:
    answers = _at_once(16, lambda n: start(ann, id="run-atonce"))
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [201]
    assert Run.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_ends_at_once_one_counts(ann: Person) -> None:
    run = start(ann).json()
    ends = ["Completed", "Failed"]
    answers = _at_once(8, lambda n: post(ann, run, "end", {"status": ends[n % 2]}))
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [409] * 4
    assert AuditEntry.objects.filter(verb="end_run").count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_values_logged_at_once_one_stays_and_the_other_is_refused(ann: Person) -> None:
    run = start(ann).json()
    answers = _at_once(8, lambda n: post(ann, run, "params", {"params": {"a": 1, "lr": n}}))
    codes = [answer.status_code for answer in answers]
    assert sorted(codes) == [200] + [409] * 7
    assert get(ann, run)["params"]["lr"] == codes.index(200)


def _at_once(count: int, call: Any) -> list[Any]:
    def one(number: int) -> Any:
        try:
            return call(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, range(count)))
