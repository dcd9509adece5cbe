"""Manage Aliases: which versions can be chosen, what a refusal keeps, and what a protection leaves out."""

from __future__ import annotations

import pytest

from accounts.choices import Role
from deployments.services import deploy
from registry.aliases import set_alias
from registry.models import Alias, ModelVersion
from registry.protections import protect
from tests.factories import Person, browser, make_person, make_project, make_version

pytestmark = pytest.mark.django_db
PAGE = "/projects/alpha/models/iris/aliases/"


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def many_versions(ann: Person, count: int) -> None:
    first = make_version(ann, "iris")
    kept = {"model": first.model, "manifest": first.manifest, "created_by": ann.user, "status": "Ready"}
    ModelVersion.objects.bulk_create(ModelVersion(number=n, **kept) for n in range(2, count + 1))


def test_an_alias_is_set_to_an_old_version_among_very_many(ann: Person) -> None:
    many_versions(ann, 700)
    client = browser(ann)
    shown = client.get(PAGE).content.decode()
    assert 'type="number" name="version"' in shown
    assert shown.count("<option value=") == 100
    assert '<option value="700">' in shown and '<option value="600">' not in shown
    assert client.post(PAGE, {"alias": "old", "version": "3"}).status_code == 302
    assert Alias.objects.get().version.number == 3


@pytest.mark.parametrize("typed", ["99", "0", "-3", "two", "9" * 30])
def test_a_version_that_is_not_there_stays_typed_with_the_error_beside_it(ann: Person, typed: str) -> None:
    make_version(ann, "iris")
    refused = browser(ann).post(PAGE, {"alias": "best", "version": typed})
    shown = refused.content.decode()
    assert refused.status_code == 422
    assert f'name="version" value="{typed}"' in shown
    assert 'name="alias" value="best"' in shown
    assert 'id="id_version_error"' in shown
    if typed == "99":
        assert "iris has no version 99." in shown.split('id="id_version_error"')[1]


def test_a_protected_alias_has_no_delete_for_who_may_not_move_it(ann: Person) -> None:
    make_version(ann, "iris")
    for name in ("champion", "free"):
        set_alias(actor=ann.actor, project=ann.project, model_name="iris", alias=name, version=1)
    protect(actor=ann.actor, project=ann.project, kind="alias", name="champion", roles=["admin"])
    bob = make_person(ann.project, Role.CONTRIBUTOR)
    shown = browser(bob).get(PAGE).content.decode()
    assert "Delete the alias free" in shown
    assert "Delete the alias champion" not in shown
    assert 'title="Protected: only admin may move it."' in shown
    assert "Delete the alias champion" in browser(ann).get(PAGE).content.decode()


def test_before_an_alias_is_deleted_the_page_names_the_endpoints_that_follow_it(ann: Person) -> None:
    make_version(ann, "iris")
    for name in ("champion", "other"):
        set_alias(actor=ann.actor, project=ann.project, model_name="iris", alias=name, version=1)
    where = {"actor": ann.actor, "project": ann.project, "model_name": "iris"}
    deploy(**where, version="champion", endpoint_name="flowers")
    shown = browser(ann).get(f"{PAGE}champion/delete/").content.decode()
    assert "1 endpoint follows it" in shown
    assert 'deployments/flowers/">flowers</a>' in shown
    assert "flowers" not in browser(ann).get(f"{PAGE}other/delete/").content.decode()
    assert Alias.objects.count() == 2
