"""The pages that delete a model or a version: what they count and name, and what a wrong word does."""

from __future__ import annotations

import pytest

from registry.models import ModelVersion, RegisteredModel
from tests.factories import Person, browser, make_person, make_project, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def test_delete_model_counts_all_versions_and_names_the_newest_100(ann: Person) -> None:
    first = make_version(ann, "iris")
    kept = {"model": first.model, "manifest": first.manifest, "created_by": ann.user, "status": "Ready"}
    ModelVersion.objects.bulk_create(ModelVersion(number=n, **kept) for n in range(2, 131))
    RegisteredModel.objects.filter(pk=first.model.pk).update(version_count=130)
    shown = browser(ann).get("/projects/alpha/models/iris/delete/").content.decode()
    assert "This deletes 130 versions:" in shown
    assert "and 30 more" in shown
    assert shown.count('<span class="nowrap">v') == 100


def test_delete_model_of_one_version_says_nothing_of_more(ann: Person) -> None:
    make_version(ann, "iris")
    shown = browser(ann).get("/projects/alpha/models/iris/delete/").content.decode()
    assert "This deletes 1 version:" in shown
    assert " more</span>" not in shown


@pytest.mark.parametrize(("path", "wanted"), [("models/iris/", "iris"), ("models/iris/versions/1/", "v1")])
def test_a_wrong_word_keeps_what_was_typed_with_the_error_beside_it(
    ann: Person, path: str, wanted: str
) -> None:
    make_version(ann, "iris")
    refused = browser(ann).post(f"/projects/alpha/{path}delete/", {"confirm": "anothername"})
    shown = refused.content.decode()
    assert refused.status_code == 422
    assert 'value="anothername"' in shown
    assert f"Type {wanted} to confirm; nothing was deleted." in shown.split('id="id_confirm_error"')[1]
    assert "note-bad" not in shown


def test_what_holds_a_version_is_said_once_and_leads_to_where_it_is_changed(ann: Person) -> None:
    version = make_version(ann, "iris")
    ModelVersion.objects.filter(pk=version.pk).update(stage="Production")
    path = "/projects/alpha/models/iris/versions/1/delete/"
    shown = browser(ann).get(path).content.decode()
    assert 'It is in Production. <a href="/projects/alpha/models/iris/versions/1/stage/">' in shown
    refused = browser(ann).post(path, {"confirm": "v1"}).content.decode()
    assert "Version 1 is in Production." in refused and refused.count("note-bad") == 1
