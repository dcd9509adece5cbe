"""One person may ask much of a web process, but not all of it."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.choices import Role
from common.limits import LIMITS
from tests.factories import Person, browser, make_person, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def test_who_sends_too_many_requests_is_told_to_wait_and_others_are_not(ann: Person, settings: Any) -> None:
    settings.REQUESTS_PER_SECOND = 1
    refused = next(
        answer
        for answer in (ann.api.get(f"{ann.base}/models") for _ in range(50))
        if answer.status_code != 200
    )
    assert (refused.status_code, refused["Retry-After"], refused.json()["code"]) == (429, "1", "rate_limited")
    assert refused["Content-Type"] == "application/problem+json"
    assert "more than 1 requests a second" in refused.json()["detail"]
    bob = make_person(ann.project, Role.VIEWER)
    assert bob.api.get(f"{bob.base}/models").status_code == 200
    settings.REQUESTS_PER_SECOND = 0
    assert {ann.api.get(f"{ann.base}/models").status_code for _ in range(5)} == {200}


def test_tokens_and_the_portal_count_together_and_pages_say_it(ann: Person, settings: Any) -> None:
    settings.REQUESTS_AT_ONCE = 1
    client = browser(ann)
    path = "/projects/alpha/models/"
    with LIMITS.turn(ann.user.pk):
        page = client.get(path)
        assert (page.status_code, page["Retry-After"]) == (429, "1")
        assert "more than 1 requests at once" in page.content.decode()
        part = client.get(path, headers={"HX-Request": "true"})
        assert (part.status_code, "more than 1 requests at once" in part["HX-Trigger"]) == (429, True)
        assert ann.api.get(f"{ann.base}/models").status_code == 429
    assert client.get(path).status_code == 200
    assert [ann.api.get(f"{ann.base}/{room}").status_code for room in ("models", "nothing", "models")] == [
        200,
        404,
        200,
    ]
