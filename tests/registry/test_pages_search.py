"""Search from anywhere: what is found by which words, by whom, and what it costs."""

from __future__ import annotations

import html

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.choices import Role
from registry import aliases, services
from registry.lookup import LONGEST, OF_EACH, Found, look_up
from tests.factories import Person, browser, make_person, make_project, make_run, make_version

pytestmark = pytest.mark.django_db

HOSTILE = '<script>alert(1)</script> ‮ "quoted" & %_#1?'


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def names(found: Found) -> dict[str, list[str]]:
    return {
        "models": [model.name for model in found.models],
        "versions": [str(version) for version in found.versions],
        "experiments": [experiment.name for experiment in found.experiments],
        "runs": [run.public_id for run in found.runs],
    }


def test_names_that_hold_the_text_are_found_the_closest_first(ann: Person) -> None:
    for name in ("old-churn", "churn-predictor", "Churn", "fraud"):
        services.register_model(actor=ann.actor, project=ann.project, name=name)
    run = make_run(ann, experiment="churn-exp")
    found = names(look_up(ann.project, "churn"))
    assert found["models"] == ["Churn", "churn-predictor", "old-churn"]
    assert found["experiments"] == ["churn-exp"]
    assert names(look_up(ann.project, run.public_id))["runs"] == [run.public_id]
    assert names(look_up(ann.project, run.public_id[:8]))["runs"] == [run.public_id]


@pytest.mark.parametrize("text", ["iris v2", "iris 2", "iri v2", "iris/2", "v2"])
def test_a_version_is_found_by_its_models_name_and_its_number(ann: Person, text: str) -> None:
    make_version(ann, "iris")
    make_version(ann, "iris")
    assert names(look_up(ann.project, text))["versions"] == ["iris v2"]


def test_a_version_is_found_by_its_alias_and_by_its_annotation(ann: Person) -> None:
    make_version(ann, "iris")
    where = {"actor": ann.actor, "project": ann.project, "model_name": "iris"}
    aliases.set_alias(**where, alias="best-accuracy", version=1)
    services.set_version_tag(**where, ref=1, key="validated_by", value="ml-team")
    for text in ("best", "iris@best", "@best-accuracy", "validated_by", "validated_by: ml-team"):
        assert names(look_up(ann.project, text))["versions"] == ["iris v1"], text
    for text in ("validated_by:others", "rose@best", "worst"):
        assert not names(look_up(ann.project, text))["versions"], text


@pytest.mark.parametrize(
    "text", ["", "   ", "\0", "%", "_", "v99999999999", "a" * 5000, HOSTILE, "@", "'; --", "v2147483648"]
)
def test_no_text_fails_and_signs_are_no_wildcards(ann: Person, text: str) -> None:
    make_version(ann, "iris")
    assert look_up(ann.project, text).count in (0, 1)
    assert not look_up(ann.project, text).models
    for headers in ({}, {"HX-Request": "true"}):
        answer = browser(ann).get("/projects/alpha/search/", {"q": text}, headers=headers)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.content.decode()


def test_hostile_names_are_shown_as_text(ann: Person) -> None:
    make_run(ann, experiment=HOSTILE)
    shown = browser(ann).get("/projects/alpha/search/", {"q": "alert"}).content.decode()
    assert html.escape(HOSTILE) in shown
    assert "<script>alert" not in shown


def test_other_projects_and_what_was_deleted_are_not_found(ann: Person) -> None:
    other = make_person(make_project("beta"))
    make_version(other, "secret-iris")
    services.register_model(actor=ann.actor, project=ann.project, name="gone-iris")
    from registry import trash

    trash.delete_model(actor=ann.actor, project=ann.project, name="gone-iris", confirm="gone-iris")
    assert look_up(ann.project, "iris").count == 0
    assert look_up(ann.project, "v1").count == 0


def test_a_viewer_searches_and_a_stranger_finds_no_such_page(ann: Person) -> None:
    viewer, stranger = make_person(ann.project, Role.VIEWER), make_person(make_project())
    assert browser(viewer).get("/projects/alpha/search/?q=x").status_code == 200
    assert browser(stranger).get("/projects/alpha/search/?q=x").status_code == 404
    assert Client().get("/projects/alpha/search/?q=x").status_code == 302


def test_it_shows_a_few_of_each_kind_and_asks_four_times_whatever_there_is(ann: Person) -> None:
    make_version(ann, "iris-0")
    for number in range(1, OF_EACH + 5):
        services.register_model(actor=ann.actor, project=ann.project, name=f"iris-{number}")
    with CaptureQueriesContext(connection) as queries:
        found = look_up(ann.project, "iris" + " " * LONGEST)
    assert len(found.models) == OF_EACH
    assert len(queries) <= 4
    assert browser(ann).get("/projects/alpha/search/?q=iris").status_code == 200


def test_htmx_gets_options_and_a_page_without_scripts_gets_links(ann: Person) -> None:
    make_version(ann, "iris")
    fragment = browser(ann).get("/projects/alpha/search/?q=iris", headers={"HX-Request": "true"}).content
    assert b'role="option"' in fragment and b"<html" not in fragment
    whole = browser(ann).get("/projects/alpha/search/?q=iris").content.decode()
    assert "</html>" in whole and 'href="/projects/alpha/models/iris/"' in whole
    assert "Nothing is called so" in browser(ann).get("/projects/alpha/search/?q=zzz").content.decode()
