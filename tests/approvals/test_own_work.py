"""Whose work a request is about: they review it only where the policy says so, and what they asked for ends with them."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.choices import Role
from accounts.models import User
from approvals.reviewers import waiting_for
from registry.services import create_version
from tests.approvals.test_requests import act, approve, asked, get, guarded, stage_of
from tests.factories import Person, make_person, make_run, make_version, run_jobs
from tracking.models import Run

pytestmark = pytest.mark.django_db


def register(person: Person, run: Run) -> None:
    """A version of m from somebody's run, looked at by a worker."""
    create_version(
        actor=person.actor,
        project=person.project,
        model_name="m",
        source_run_id=run.public_id,
        artifact_path="w.txt",
    )
    run_jobs()


def refused(person: Person, request_id: str) -> str:
    """Why this person does not review it; and it does not wait for them."""
    assert waiting_for(person.project, person.user) == []
    answer = approve(person, request_id)
    assert (answer.status_code, answer.json()["code"]) == (403, "own_request")
    return str(answer.json()["detail"])


def test_who_trained_a_version_does_not_review_it_whoever_registered_it(ann: Person, max_: Person) -> None:
    guarded(max_)
    register(ann, make_run(max_, {"w.txt": b"by max"}))
    request_id = asked(ann)
    assert "had a part in training this version" in refused(max_, request_id)
    other = make_person(ann.project, Role.MAINTAINER)
    assert len(waiting_for(ann.project, other.user)) == 1
    assert approve(other, request_id).json()["status"] == "Approved"


def test_another_version_of_the_same_run_is_nobody_elses(ann: Person, max_: Person) -> None:
    guarded(max_)
    run = make_run(ann, {"w.txt": b"by ann"})
    register(ann, run)
    register(max_, run)
    assert approve(max_, asked(ann, 1)).json()["status"] == "Approved"


def test_a_copy_is_theirs_who_made_the_original(ann: Person, max_: Person) -> None:
    guarded(max_)
    made = make_version(max_, "original", {"w/weights": b"of max"})
    path = f"{ann.base}/models/original/versions/{made.number}/copy"
    copied = ann.api.post(path, {"to_project": "alpha", "to_model": "m"}, format="json")
    assert copied.status_code == 201, copied.json()
    run_jobs()
    request_id = asked(ann)
    assert "had a part in training this version" in refused(max_, request_id)


def test_who_copies_something_first_made_nothing_of_it(ann: Person, max_: Person) -> None:
    """Of those who had the same files before, only who trained them is told to let others review."""
    guarded(max_)
    make_version(ann, "original", {"w/weights": b"of ann"})
    path = f"{ann.base}/models/original/versions/1/copy"
    for person, name in ((max_, "tried"), (ann, "m")):
        answer = person.api.post(path, {"to_project": "alpha", "to_model": name}, format="json")
        assert answer.status_code == 201, answer.json()
    run_jobs()
    assert approve(max_, asked(ann)).json()["status"] == "Approved"


def test_what_a_deactivated_person_asked_for_does_not_happen(ann: Person, max_: Person) -> None:
    guarded(max_)
    register(ann, make_run(ann, {"w.txt": b"by ann"}))
    request_id = asked(ann)
    User.objects.filter(pk=ann.user.pk).update(is_active=False)
    answer = approve(max_, request_id)
    assert (answer.status_code, answer.json()["status"]) == (200, "Superseded")
    assert "ann" in answer.json()["reason"]
    assert stage_of(max_) == "None"


def test_who_approved_says_so_again_when_the_policy_asks_for_fewer_now(ann: Person, max_: Person) -> None:
    """Else nobody could bring it to its end who has not left meanwhile."""
    words: dict[str, Any] = {"reviewers": ["max", "ray"]}
    ray = make_person(ann.project, Role.VIEWER, username="ray")
    guarded(max_, approvals_needed=2, **words)
    register(ann, make_run(ann, {"w.txt": b"by ann"}))
    request_id = asked(ann)
    assert approve(ray, request_id).json()["status"] == "Pending"
    assert approve(ray, request_id).json()["code"] == "already_approved"
    guarded(max_, approvals_needed=1, **words)
    assert approve(ray, request_id).json()["status"] == "Approved"
    assert stage_of(max_) == "Production"
    assert len(get(max_, request_id)["reviews"]) == 1
    assert act(ray, "approve", request_id).json()["code"] == "already_decided"
