"""Groups of a project's members: made by its admins, named by policies and protections, seen by no other project."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from accounts.choices import Role
from accounts.models import AuditEntry, User
from approvals.models import ApprovalPolicy
from approvals.reviewers import reviewers_of
from tests.factories import Person, make_person, make_project, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), Role.ADMIN, username="ann")


@pytest.fixture
def ray(ann: Person) -> Person:
    return make_person(ann.project, Role.VIEWER, username="ray")


def put(person: Person, name: str, *members: str) -> Any:
    return person.api.put(f"{person.base}/groups/{name}", {"members": members}, format="json")


def test_an_admin_makes_a_group_changes_it_and_deletes_it(ann: Person, ray: Person) -> None:
    assert put(ann, "risk", "ray").json()["members"] == ["ray"]
    assert put(ann, "risk", "ann", "ray").json()["members"] == ["ann", "ray"]
    assert [row["name"] for row in ray.api.get(f"{ann.base}/groups").json()["results"]] == ["risk"]
    assert ann.api.delete(f"{ann.base}/groups/risk").status_code == 204
    assert ann.api.delete(f"{ann.base}/groups/risk").status_code == 404
    assert not Group.objects.exists()
    trail = AuditEntry.objects.filter(object_type="group").order_by("id")
    assert [(entry.verb, entry.before, entry.after) for entry in trail] == [
        ("set_group", None, {"members": ["ray"]}),
        ("set_group", {"members": ["ray"]}, {"members": ["ann", "ray"]}),
        ("delete_group", {"members": ["ann", "ray"]}, None),
    ]


def test_a_group_of_viewers_reviews_and_who_leaves_it_does_not(ann: Person, ray: Person) -> None:
    bob = make_person(ann.project, Role.CONTRIBUTOR, username="bob")
    put(ann, "risk", "ray")
    policy = ann.api.post(
        f"{ann.base}/approval-policies", {"stage": "Production", "groups": ["risk"]}, format="json"
    )
    assert policy.status_code < 300, policy.content
    assert policy.json()["groups"] == ["risk"]
    make_version(bob, "m")
    asked = bob.api.post(f"{ann.base}/models/m/versions/1/transition", {"stage": "Production"}, format="json")
    address = f"{ann.base}/approvals/{asked.json()['approval']['id']}/approve"
    assert ann.api.post(address, {}, format="json").status_code == 403
    put(ann, "risk", "bob")
    assert ray.api.post(address, {}, format="json").status_code == 403
    put(ann, "risk", "ray")
    assert ray.api.post(address, {}, format="json").json()["status"] == "Approved"
    ann.api.delete(f"{ann.base}/members/ray")
    assert put(ann, "risk").json()["members"] == []
    assert not reviewers_of(ApprovalPolicy.objects.get()).exists()


def test_a_group_that_a_policy_or_a_protection_names_stays(ann: Person, ray: Person) -> None:
    put(ann, "risk", "ray")
    put(ann, "release", "ray")
    ann.api.post(f"{ann.base}/approval-policies", {"stage": "Production", "groups": ["risk"]}, format="json")
    made = ann.api.post(
        f"{ann.base}/protections",
        {"kind": "stage", "name": "Staging", "roles": [], "groups": ["release"]},
        format="json",
    )
    assert made.status_code < 300, made.content
    for name in ("risk", "release"):
        answer = ann.api.delete(f"{ann.base}/groups/{name}")
        assert (answer.status_code, answer.json()["code"]) == (409, "group_in_use")
        assert User.objects.filter(groups__name=f"alpha/{name}", username="ray").exists()
    make_version(ann, "m")
    refused = ann.api.post(f"{ann.base}/models/m/versions/1/transition", {"stage": "Staging"}, format="json")
    assert "only the groups release may move it" in refused.json()["detail"]


def test_nothing_of_another_projects_groups_shows(ann: Person, ray: Person) -> None:
    other = make_person(make_project("beta"), Role.ADMIN, username="eve")
    other.api.put(f"{other.base}/members/ray", {"role": "viewer"}, format="json")
    put(other, "secret-plans", "ray")
    browser = Client()
    browser.force_login(ann.user)
    assert "secret-plans" not in browser.get("/projects/alpha/members/").content.decode()
    assert ann.api.get(f"{ann.base}/groups").json()["results"] == []
    for name in ("secret-plans", "beta/secret-plans"):
        answer = ann.api.post(
            f"{ann.base}/approval-policies", {"stage": "Production", "groups": [name]}, format="json"
        )
        assert answer.status_code == 400
        assert "There is no group" in answer.json()["errors"]["groups"][0]
    assert put(ann, "secret-plans", "ray").status_code == 200  # each project has its own names


@pytest.mark.parametrize(
    ("name", "members", "status"),
    [
        ("risk", ["nobody"], 400),
        ("risk", "ray", 400),
        ("-", [], 400),
        ("a,b", [], 400),
        ("x" * 81, [], 400),
        ("operators", [], 409),
    ],
)
def test_what_is_no_group_is_refused(ann: Person, name: str, members: Any, status: int) -> None:
    Group.objects.create(name="operators")
    answer = ann.api.put(f"{ann.base}/groups/{name}", {"members": members}, format="json")
    assert answer.status_code == status, answer.content
    assert Group.objects.count() == 1


def test_the_portal_makes_changes_and_deletes_a_group(ann: Person, ray: Person) -> None:
    browser = Client()
    browser.force_login(ann.user)
    page = "/projects/alpha/groups/"
    assert browser.post(page, {"name": "risk reviewers", "members": "ray"}).status_code == 302
    shown = browser.get(page).content.decode()
    assert "risk reviewers" in shown and "ray" in shown
    assert (
        "There is a group" in browser.post(page, {"name": "risk reviewers", "members": ""}).content.decode()
    )
    group = f"{page}risk%20reviewers/"
    assert 'value="ray"' in browser.get(group).content.decode()
    wrong = browser.post(group, {"members": "ray, nobody"})
    assert (wrong.status_code, "is no member of alpha" in wrong.content.decode()) == (422, True)
    assert browser.post(group, {"members": "ann, ray"}).status_code == 302
    assert "risk reviewers" in browser.get("/projects/alpha/members/").content.decode()
    refused = browser.post(f"{group}delete/", {"confirm": "risk"})
    assert refused.status_code == 422 and "Type risk reviewers to confirm" in refused.content.decode()
    assert browser.post(f"{group}delete/", {"confirm": "risk reviewers"}).status_code == 302
    assert "No groups yet" in browser.get(page).content.decode()
    browser.force_login(ray.user)
    assert browser.get(page).status_code == 200
    assert browser.post(page, {"name": "x"}).status_code == 403
