"""Sign-ins and refusals stand in the audit trail."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.choices import Role
from accounts.models import AuditEntry, User
from tests.factories import Person, make_person, make_project, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer() -> Person:
    project = make_project("alpha")
    make_version(make_person(project), "m")
    return make_person(project, Role.VIEWER, username="vic")


def entries(verb: str) -> list[tuple[str, str, str]]:
    rows = AuditEntry.objects.filter(verb=verb).select_related("actor")
    return [(row.actor.username if row.actor else "", row.door, row.object_id) for row in rows]


def test_a_refused_request_is_written_down_by_rest_and_portal(viewer: Person) -> None:
    path = f"{viewer.base}/models/m/versions/1/transition"
    assert viewer.api.post(path, {"stage": "Production"}, format="json").status_code == 403
    client = Client()
    client.force_login(viewer.user)
    assert client.post("/projects/alpha/models/m/versions/1/stage/", {"stage": "Staging"}).status_code == 403
    assert entries("refuse") == [
        ("vic", "portal", "POST /projects/alpha/models/m/versions/1/stage/"),
        ("vic", "rest", f"POST {path}"),
    ]
    assert AuditEntry.objects.filter(verb="refuse").last().after["code"] == "role_too_low"


def test_an_address_that_no_column_holds_is_written_down_too(viewer: Person) -> None:
    assert viewer.api.delete(f"{viewer.base}/members/a%00b").status_code == 403
    assert entries("refuse") == [("vic", "rest", f"DELETE {viewer.base}/members/a%00b")]


def test_a_strangers_request_leaves_nothing_in_a_project_that_is_not_theirs(viewer: Person) -> None:
    stranger = make_person(make_project("beta"))
    assert stranger.api.get(f"{viewer.base}/models").status_code == 404
    assert entries("refuse") == []


def test_signing_in_out_and_failing_to_is_written_down(viewer: Person) -> None:
    User.objects.create_user("ann", password="correct horse 1")
    client = Client()
    client.post("/account/login/", {"login": "ann", "password": "wrong"})
    client.post("/account/login/", {"login": "ann", "password": "correct horse 1"})
    client.post("/account/logout/")
    assert entries("sign_in") == [("ann", "portal", "ann")]
    assert entries("sign_out") == [("ann", "portal", "ann")]
    assert [(door, name) for _, door, name in entries("refuse_sign_in")] == [("portal", "ann")]
    assert not AuditEntry.objects.filter(after__icontains="horse").exists()
