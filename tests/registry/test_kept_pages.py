"""Lists are kept until something changes: never is an older one given than what was committed before the question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from common.api.kept import PAGES, Pages
from deployments.choices import EndpointState
from deployments.models import Deployment
from registry.models import RegisteredModel
from tests.factories import Person, make_person, make_project, make_run, make_version, run_jobs
from tests.registry.test_races import at_once

AT = "/api/v1/projects/alpha"
LISTS = (
    f"{AT}/models",
    f"{AT}/models?stage=Production",
    f"{AT}/models?live_endpoint=true",
    f"{AT}/models/churn/versions",
    f"{AT}/model-versions?filter=tags.a = 'b'",
)


@pytest.fixture
def ann(transactional_db: None) -> Person:
    return make_person(make_project("alpha"), username="ann")


def shown(person: Person) -> list[bytes]:
    return [person.api.get(path).content for path in LISTS]


def test_a_kept_page_costs_one_statement_and_is_the_same(ann: Person) -> None:
    make_version(ann, "churn")
    first = ann.api.get(LISTS[0]).content
    with CaptureQueriesContext(connection) as queries:
        assert ann.api.get(LISTS[0]).content == first
    assert len(queries) == 1, [query["sql"] for query in queries]


def test_the_portals_count_of_models_is_kept_and_never_older_than_the_page(ann: Person) -> None:
    make_version(ann, "churn")
    for path in ("models/", "versions/"):
        counted = count_of(ann, path)
        assert "1 model" in counted or "1 version" in counted
        with CaptureQueriesContext(connection) as queries:
            assert count_of(ann, path) == counted
        assert not [each["sql"] for each in queries if "COUNT(*)" in each["sql"]]
    make_version(ann, "fraud")
    assert "2 models" in count_of(ann, "models/") and "2 versions" in count_of(ann, "versions/")
    assert "1 model found" in count_of(ann, "models/?search=fraud")
    assert "0 models found" in count_of(ann, "models/?search=nothing")


def count_of(person: Person, path: str) -> str:
    """What stands under the title."""
    browser = Client()
    browser.force_login(person.user)
    page = browser.get(f"/projects/alpha/{path}").content.decode()
    return page.partition("</h1>")[2].partition("</p>")[0]


def changes(person: Person) -> list[tuple[str, Callable[[], Any]]]:
    """What lists show, changed by every verb that they show, and by what no person does."""
    at, api = f"{AT}/models/churn", person.api

    def send(method: str, path: str, body: Any = None) -> Callable[[], Any]:
        return lambda: getattr(api, method)(path, body, format="json")

    def endpoint(state: str) -> Callable[[], Any]:
        return lambda: Deployment.objects.update(state=state)

    return [
        ("register", send("post", f"{AT}/models", {"name": "other", "tags": ["x"]})),
        ("describe", send("patch", at, {"description": "d"})),
        ("tag", send("put", f"{at}/versions/1/tags/a", {"value": "b"})),
        ("untag", send("delete", f"{at}/versions/1/tags/a")),
        ("alias", send("put", f"{at}/aliases/best", {"version": 1})),
        ("no alias", send("delete", f"{at}/aliases/best")),
        ("validate", send("post", f"{at}/versions/1/validation-metrics", {"metrics": {"auc": 0.5}})),
        ("move", send("post", f"{at}/versions/1/transition", {"stage": "Production"})),
        (
            "deploy",
            send("post", f"{AT}/deployments", {"endpoint_name": "e", "model_name": "churn", "version": 1}),
        ),
        ("is up", endpoint(EndpointState.ACTIVE)),
        ("is down", endpoint(EndpointState.FAILED)),
        ("is up again", endpoint(EndpointState.ACTIVE)),
        ("stops", endpoint(EndpointState.INACTIVE)),
        ("delete", send("delete", f"{AT}/models/other")),
        ("rename the experiment", _rename(person)),
        ("rename the person", lambda: User.objects.filter(pk=person.user.pk).update(username="bea")),
    ]


def _rename(person: Person) -> Callable[[], Any]:
    def renamed() -> Any:
        found = person.api.get(f"{AT}/experiments").json()["results"][0]["id"]
        return person.api.patch(f"{AT}/experiments/{found}", {"name": "renamed"}, format="json")

    return renamed


def test_every_change_is_seen_at_once(ann: Person) -> None:
    make_version(ann, "churn")
    run_jobs()
    unseen, unchanged = [], []
    for name, change in changes(ann):
        before = shown(ann)
        answer = change()
        assert getattr(answer, "status_code", 200) < 300, (name, answer.content)
        after = shown(ann)
        PAGES.__init__()  # type: ignore[misc]
        if shown(ann) != after:
            unseen.append(name)
        if after == before:
            unchanged.append(name)
    assert not unseen
    assert unchanged in ([], ["deploy"])  # a file of text is no endpoint for long


def test_who_wrote_finds_it_in_the_list_whatever_others_do(ann: Person) -> None:
    run = make_run(ann, {"a.txt": b"1"})

    def write_and_look(number: int) -> Callable[[], Any]:
        def both() -> Any:
            for turn in range(8):
                name = f"m-{number}-{turn}"
                body = {"source_run_id": run.public_id, "artifact_path": "a.txt"}
                answer = ann.api.post(f"{AT}/models/{name}/versions", body, format="json")
                assert answer.status_code == 201, answer.content
                names = [each["name"] for each in ann.api.get(f"{AT}/models?page_size=500").json()["results"]]
                assert name in names
            return answer

        return both

    at_once([write_and_look(number) for number in range(6)])
    assert RegisteredModel.objects.count() == 48


def test_the_pages_asked_for_last_stay() -> None:
    pages = Pages()
    for number in range(100):
        pages.put(number, "state", bytes(200 << 10))
    assert pages.get(99, "state") and pages.get(0, "state") is None
    assert pages.get(99, "another state") is None
    pages.put("large", "state", bytes(1 << 20))
    assert pages.get("large", "state") is None
