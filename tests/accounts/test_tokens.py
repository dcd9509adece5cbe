"""API tokens: shown once, narrow, and ended at once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.choices import Role, Scope
from accounts.models import ApiToken, AuditEntry
from tests.factories import Person, make_person, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def with_token(text: str) -> APIClient:
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return api


def test_me_tells_who_a_token_is_and_where_it_may_act(ann: Person) -> None:
    me = ann.api.get("/api/v1/me").json()
    assert me["user"]["username"] == "ann"
    assert me["projects"] == [{"slug": "alpha", "name": "Alpha", "role": "admin"}]
    assert me["token"]["scopes"] == ["admin"]


def test_a_new_token_is_shown_once_and_works_in_its_project_only(ann: Person) -> None:
    made = ann.api.post(f"{ann.base}/tokens", {"name": "ci", "scopes": ["read"]}, format="json")
    assert made.status_code == 201, made.json()
    text = made.json()["token"]
    assert text not in str(ann.api.get(f"{ann.base}/tokens").json())
    assert not ApiToken.objects.filter(secret_hash__contains=text[20:]).exists()
    api = with_token(text)
    assert api.get(f"{ann.base}/models").status_code == 200
    other = make_project("beta")
    other.memberships.create(user=ann.user, role=Role.ADMIN)
    assert api.get("/api/v1/projects/beta/models").status_code == 404
    assert ann.api.get("/api/v1/projects/beta/models").status_code == 200


def test_a_read_token_may_not_write(ann: Person) -> None:
    reader = make_person(ann.project, scopes=[Scope.READ])
    answer = reader.api.post(f"{reader.base}/models", {"name": "m"}, format="json")
    assert answer.status_code == 403
    assert answer.json()["code"] == "scope_missing"


@pytest.mark.parametrize("text", ["", "x", "podstack_00000000_" + "a" * 43, "podstack_zz_é"])
def test_a_wrong_token_is_401_and_says_what_to_do(ann: Person, text: str) -> None:
    answer = with_token(text).get("/api/v1/me")
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_an_expired_a_revoked_and_a_deactivated_token_are_401(ann: Person) -> None:
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert ann.api.get("/api/v1/me").status_code == 401
    ApiToken.objects.update(expires_at=None)
    assert ann.api.get("/api/v1/me").status_code == 200
    ann.user.is_active = False
    ann.user.save()
    assert ann.api.get("/api/v1/me").status_code == 401


def test_a_scope_that_there_is_not_is_told_with_those_that_there_are(ann: Person) -> None:
    answer = ann.api.post(f"{ann.base}/tokens", {"name": "ci", "scopes": ["read", "wirte"]}, format="json")
    assert answer.status_code == 400
    assert answer.json()["detail"] == "scopes.1: 'wirte' is none of read, write, predict, admin."
    answer = ann.api.put(f"{ann.base}/members/ann", {"role": "owner"}, format="json")
    assert answer.json()["detail"] == "role: 'owner' is none of viewer, contributor, maintainer, admin."


def test_revoking_ends_a_token_at_once(ann: Person) -> None:
    made = ann.api.post(f"{ann.base}/tokens", {"name": "ci", "scopes": ["write"]}, format="json").json()
    assert ann.api.delete(f"{ann.base}/tokens/{made['prefix']}").status_code == 204
    assert with_token(made["token"]).get("/api/v1/me").status_code == 401


def test_a_token_makes_no_wider_token_and_a_stranger_revokes_none(ann: Person) -> None:
    writer = make_person(ann.project, scopes=[Scope.WRITE])
    answer = writer.api.post(f"{ann.base}/tokens", {"name": "x", "scopes": ["admin"]}, format="json")
    assert answer.status_code == 403
    prefix = ApiToken.objects.get(user=ann.user).prefix
    stranger = make_person(make_project(), username="mallory")
    assert stranger.api.delete(f"{stranger.base}/tokens/{prefix}").status_code == 404


def test_a_session_cookie_is_not_looked_at_beside_a_token(ann: Person) -> None:
    api = APIClient()
    api.force_login(ann.user)
    assert api.get("/api/v1/me").status_code == 200
    api.credentials(HTTP_AUTHORIZATION="Bearer wrong")
    assert api.get("/api/v1/me").status_code == 401


def test_a_session_without_the_csrf_token_changes_nothing(ann: Person) -> None:
    api = APIClient(enforce_csrf_checks=True)
    api.force_login(ann.user)
    assert api.post(f"{ann.base}/models", {"name": "m"}, format="json").status_code == 403


def test_members_are_managed_by_admins_and_the_last_admin_stays(ann: Person) -> None:
    ray = make_person(make_project(), username="ray")
    put = ann.api.put(f"{ann.base}/members/ray", {"role": "contributor"}, format="json")
    assert put.status_code == 200, put.json()
    assert ray.api.get(f"{ann.base}/models").status_code == 200
    assert ray.api.put(f"{ann.base}/members/ray", {"role": "admin"}, format="json").status_code == 403
    assert ann.api.delete(f"{ann.base}/members/ann").status_code == 409
    assert ann.api.delete(f"{ann.base}/members/ray").status_code == 204
    assert ray.api.get(f"{ann.base}/models").status_code == 404


def test_the_audit_trail_tells_who_and_is_never_changed(ann: Person) -> None:
    ann.api.post(f"{ann.base}/models", {"name": "m"}, format="json")
    rows = ann.api.get(f"{ann.base}/audit?verb=register_model").json()["results"]
    assert [(r["actor"], r["door"], r["object_id"]) for r in rows] == [("ann", "rest", "m")]
    viewer = make_person(ann.project, Role.VIEWER)
    assert viewer.api.get(f"{ann.base}/audit").status_code == 403
    for change in (AuditEntry.objects.all().delete, lambda: AuditEntry.objects.update(verb="x")):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()
