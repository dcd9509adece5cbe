"""A version's page: its metrics against another version's, its annotations, its histories and its endpoints."""

from __future__ import annotations

import re

import pytest

from accounts.choices import Role
from approvals.services import transition_stage
from tests.factories import Person, browser, make_person, make_project, make_version

pytestmark = pytest.mark.django_db
PAGE = "/projects/alpha/models/iris/versions/2/"


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def metrics(person: Person, code: int = 200, **query: str) -> str:
    """What the Metrics tab says, its tags left out."""
    answer = browser(person).get(PAGE, query)
    assert answer.status_code == code, answer.content
    part = answer.content.decode().split('id="metrics"')[1].split("</section>")[0]
    return " ".join(re.sub(r"<[^>]+>", " ", part).split())


def three_versions(ann: Person) -> None:
    make_version(ann, "iris", accuracy=0.75, loss=0.25, tokens=10.0)
    make_version(ann, "iris", accuracy=0.875, loss=0.5, tokens=20.0)
    make_version(ann, "iris", accuracy=0.875, loss=0.125)


def test_metrics_say_which_way_is_better_and_whether_the_version_is(ann: Person) -> None:
    three_versions(ann)
    transition_stage(actor=ann.actor, project=ann.project, model_name="iris", ref=1, stage="Production")
    shown = metrics(ann)
    assert "Production" in shown
    assert "accuracy ↑ better 0.875 0.75 +0.125 better" in shown
    assert "loss ↓ better 0.5 0.25 +0.25 worse" in shown
    assert shown.endswith("tokens 20 10 +10")


@pytest.mark.parametrize("named", ["v3", "3", "latest"])
def test_metrics_are_compared_with_the_version_that_the_address_names(ann: Person, named: str) -> None:
    three_versions(ann)
    shown = metrics(ann, against=named)
    assert "Metric v2 v3 Difference" in shown
    assert "accuracy ↑ better 0.875 0.875 0" in shown
    assert "loss ↓ better 0.5 0.125 +0.375 worse" in shown


@pytest.mark.parametrize("named", ["v999", "999", "nobody", "v-1", "²", "9" * 40, "a\0b", "v2"])
def test_a_version_that_is_not_there_is_said_in_a_sentence_and_stays_typed(ann: Person, named: str) -> None:
    three_versions(ann)
    transition_stage(actor=ann.actor, project=ann.project, model_name="iris", ref=1, stage="Production")
    shown = metrics(ann, 422, against=named)
    assert ("iris has no version" in shown) == (named != "v2")
    assert ("v2 is this version itself." in shown) == (named == "v2")
    assert "Difference" not in shown
    kept = browser(ann).get(PAGE, {"against": named}).content.decode()
    assert f'name="against" value="{named.replace(chr(0), "")}"' in kept


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [("team\x07", "vision", "key"), ("team", "vis\x07ion", "value"), ("", "vision", "key")],
)
def test_a_refused_annotation_stays_typed_with_the_error_beside_its_field(
    ann: Person, key: str, value: str, field: str
) -> None:
    make_version(ann, "iris")
    refused = browser(ann).post("/projects/alpha/models/iris/versions/1/", {"key": key, "value": value})
    shown = refused.content.decode()
    assert refused.status_code == 422
    assert f'id="id_{field}_error"' in shown
    assert f'value="{value}"' in shown
    assert "note-bad" not in shown


def test_a_page_without_an_endpoint_says_what_its_reader_can_do(ann: Person) -> None:
    make_version(ann, "iris")
    viewer = make_person(ann.project, Role.VIEWER)
    model, version = "/projects/alpha/models/iris/", "/projects/alpha/models/iris/versions/1/"

    def said(person: Person, address: str) -> str:
        shown = browser(person).get(address).content.decode()
        return shown.split("No endpoint serves ")[1].split("</p>")[0]

    assert said(ann, model) == "it. Open a version and press Deploy."
    assert said(ann, version) == "this version. Press Deploy to start one."
    assert said(viewer, model) == "it."
    assert said(viewer, version) == "this version."
