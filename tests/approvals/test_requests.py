"""A move that a policy covers waits for reviewers, by whichever door it was asked for."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, transaction
from django.utils import timezone

from accounts.choices import Role, Scope
from accounts.models import AuditEntry, Membership, User
from approvals import policies, tasks
from approvals.models import ApprovalPolicy, ApprovalRequest, Review
from approvals.tasks import look_after_requests
from registry import services as registry_verbs
from registry import trash
from registry.models import Inspection, ModelVersion
from tests.factories import Person, browser, make_person, make_project, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    """A contributor with two versions of m."""
    person = make_person(make_project("alpha"), Role.CONTRIBUTOR, username="ann")
    make_version(person, "m", accuracy=0.9, loss=0.5)
    make_version(person, "m", accuracy=0.95, loss=0.4)
    return person


@pytest.fixture
def ray(ann: Person) -> Person:
    return make_person(ann.project, Role.VIEWER, username="ray")


def policy(person: Person, **words: Any):
    return person.api.post(f"{person.base}/approval-policies", words, format="json")


def guarded(person: Person, **words: Any) -> dict[str, Any]:
    answer = policy(person, **words)
    assert answer.status_code == 200, answer.json()
    return dict(answer.json())


def move(person: Person, ref: int = 1, stage: str = "Production", **words: Any):
    path = f"{person.base}/models/m/versions/{ref}/transition"
    return person.api.post(path, {"stage": stage, **words}, format="json")


def asked(person: Person, ref: int = 1, **words: Any) -> str:
    answer = move(person, ref, **words)
    assert answer.status_code == 202, answer.json()
    return str(answer.json()["approval"]["id"])


def act(person: Person, what: str, request_id: str, **words: Any):
    return person.api.post(f"{person.base}/approvals/{request_id}/{what}", words, format="json")


def approve(person: Person, request_id: str, **words: Any):
    return act(person, "approve", request_id, **words)


def get(person: Person, request_id: str) -> dict[str, Any]:
    return dict(person.api.get(f"{person.base}/approvals/{request_id}").json())


def stage_of(person: Person, ref: int = 1) -> str:
    return str(person.api.get(f"{person.base}/models/m/versions/{ref}").json()["stage"])


def test_without_a_policy_a_move_applies_at_once(ann: Person) -> None:
    assert move(ann).json()["status"] == "applied"
    assert not ApprovalRequest.objects.exists()


def test_a_guarded_move_waits_and_happens_with_the_approval(ann: Person, ray: Person, max_: Person) -> None:
    guarded(max_, reviewers=["ray"])
    answer = move(ann, note="better")
    assert (answer.status_code, answer.json()["status"]) == (202, "pending_approval")
    request_id = answer.json()["approval"]["id"]
    assert stage_of(ann) == "None"
    done = approve(ray, request_id, comment="looks good")
    assert (done.status_code, done.json()["status"]) == (200, "Approved")
    assert stage_of(ann) == "Production"
    moved = ann.api.get(f"{ann.base}/models/m/transitions").json()["results"][0]
    assert (moved["actor"], moved["approved_by"], moved["note"]) == ("ann", ["ray"], "better")
    assert moved["approval_id"] == request_id
    standing = ann.api.get(f"{ann.base}/models/m/standing").json()["stages"][0]
    assert (standing["stage"], standing["by"], standing["approved_by"]) == ("Production", "ann", ["ray"])
    assert standing["evidence"] == done.json()["evidence"] != ""
    verbs = list(AuditEntry.objects.order_by("id").values_list("verb", flat=True))[-4:]
    assert verbs == ["request_approval", "approve", "transition_stage", "complete_approval"]


def test_other_stages_are_not_guarded(ann: Person, max_: Person) -> None:
    guarded(max_)
    assert move(ann, stage="Staging").status_code == 200
    assert move(ann, stage="Archived").status_code == 200


def test_a_models_own_policy_goes_before_the_projects(ann: Person, ray: Person, max_: Person) -> None:
    guarded(max_, approvals_needed=1)
    guarded(max_, model_name="m", reviewers=["ray"])
    request_id = asked(ann)
    assert approve(max_, request_id).status_code == 403
    assert approve(ray, request_id).json()["status"] == "Approved"
    make_version(ann, "other")
    answer = ann.api.post(
        f"{ann.base}/models/other/versions/1/transition", {"stage": "Production"}, format="json"
    )
    assert approve(max_, answer.json()["approval"]["id"]).json()["status"] == "Approved"


def test_asking_again_answers_the_open_request(ann: Person, max_: Person) -> None:
    guarded(max_)
    first = asked(ann)
    bob = make_person(ann.project, Role.CONTRIBUTOR)
    assert asked(bob) == first
    assert ApprovalRequest.objects.count() == 1


def test_nobody_reviews_what_they_asked_for_or_made(ann: Person, max_: Person) -> None:
    guarded(max_)
    theirs = asked(max_)
    answer = approve(max_, theirs)
    assert (answer.status_code, answer.json()["code"]) == (403, "own_request")
    Membership.objects.filter(user=ann.user).update(role=Role.MAINTAINER)
    answer = approve(ann, theirs)
    assert (answer.status_code, answer.json()["code"]) == (403, "own_request")
    guarded(max_, own_review=True)
    assert approve(ann, theirs).json()["status"] == "Approved"


def test_only_named_reviewers_and_groups_review(ann: Person, ray: Person, max_: Person) -> None:
    team = Group.objects.create(name="validators")
    guarded(max_, groups=["validators"], reviewers=["max"])
    request_id = asked(ann)
    answer = approve(ray, request_id)
    assert (answer.status_code, answer.json()["code"]) == (403, "no_reviewer")
    assert "max" in answer.json()["hint"]
    ray.user.groups.add(team)
    assert approve(ray, request_id).status_code == 200


def test_a_token_that_may_only_read_does_not_review(ann: Person, max_: Person) -> None:
    guarded(max_, reviewers=["max"])
    request_id = asked(ann)
    reader = make_person(ann.project, Role.MAINTAINER, [Scope.READ])
    assert approve(reader, request_id).json()["code"] == "scope_missing"


def test_so_many_different_people_must_approve(ann: Person, ray: Person, max_: Person) -> None:
    guarded(max_, approvals_needed=2, reviewers=["ray", "max"])
    request_id = asked(ann)
    first = approve(ray, request_id)
    assert (first.json()["status"], first.json()["approvals_given"]) == ("Pending", 1)
    again = approve(ray, request_id)
    assert (again.status_code, again.json()["code"]) == (409, "already_approved")
    assert approve(max_, request_id).json()["status"] == "Approved"
    assert approve(max_, request_id).json()["code"] == "already_decided"


@pytest.mark.parametrize("lost", ["membership", "account", "named"])
def test_an_approval_of_who_may_review_no_more_is_not_counted(
    ann: Person, ray: Person, max_: Person, lost: str
) -> None:
    guarded(max_, approvals_needed=2, reviewers=["ray", "max"])
    request_id = asked(ann)
    assert approve(ray, request_id).json()["approvals_given"] == 1
    if lost == "membership":
        Membership.objects.filter(user=ray.user).delete()
    elif lost == "account":
        User.objects.filter(pk=ray.user.pk).update(is_active=False)
    else:
        guarded(max_, approvals_needed=1, reviewers=["max"])
    assert get(ann, request_id)["approvals_given"] == 0
    assert listed(ann)["approvals_given"] == 0
    assert "0 of" in browser(ann).get("/projects/alpha/approvals/").content.decode()
    page = browser(ann).get(f"/projects/alpha/approvals/{request_id}/").content.decode()
    assert "who may review it no more: it does not count" in page
    approved = approve(max_, request_id).json()
    if lost == "named":
        assert (approved["status"], approved["approvals_given"]) == ("Approved", 1)
        Membership.objects.filter(user=max_.user).delete()
        assert get(ann, request_id)["approvals_given"] == 1
    else:
        assert (approved["status"], approved["approvals_given"]) == ("Pending", 1)


def listed(person: Person) -> dict[str, Any]:
    (found,) = person.api.get(f"{person.base}/approvals").json()["results"]
    return dict(found)


def test_one_reject_ends_it_and_needs_a_reason(ann: Person, ray: Person, max_: Person) -> None:
    guarded(max_, approvals_needed=2, reviewers=["ray", "max"])
    request_id = asked(ann)
    approve(max_, request_id)
    for comment in ("", "  ", None):
        assert act(ray, "reject", request_id, comment=comment).status_code == 400
    assert act(ray, "reject", request_id, comment="too slow").json()["status"] == "Rejected"
    assert get(ann, request_id)["reason"] == "too slow"
    assert approve(max_, request_id).json()["code"] == "already_decided"
    assert stage_of(ann) == "None"
    assert asked(ann) != request_id


def test_the_requester_and_maintainers_withdraw(ann: Person, ray: Person, max_: Person) -> None:
    guarded(max_, reviewers=["ray"])
    request_id = asked(ann)
    assert act(ray, "cancel", request_id).json()["code"] == "not_yours"
    assert act(ann, "cancel", request_id, comment="not yet").json()["status"] == "Cancelled"
    assert act(max_, "cancel", asked(ann)).json()["status"] == "Cancelled"


def test_comments_stand_in_order_with_their_authors(ann: Person, ray: Person, max_: Person) -> None:
    guarded(max_, reviewers=["ray"])
    request_id = asked(ann)
    assert act(ray, "comments", request_id, text="Why so soon?").status_code == 201
    assert act(ann, "comments", request_id, text="It is better.").status_code == 201
    assert act(ann, "comments", request_id, text=" ").status_code == 400
    said = [(event["author"], event["text"]) for event in get(ray, request_id)["events"]]
    assert said == [("ray", "Why so soon?"), ("ann", "It is better.")]


CHECKS: list[tuple[dict[str, Any], str]] = [
    ({"check": "metric_at_least", "metric": "accuracy", "value": 0.92}, "accuracy is 0.9."),
    ({"check": "metric_at_most", "metric": "loss", "value": 0.45}, "loss is 0.5."),
    ({"check": "metric_at_least", "metric": "f1", "value": 0.5}, "f1 was not logged."),
    ({"check": "tag", "key": "validated_by"}, "There is no annotation validated_by."),
    ({"check": "dataset"}, "Its run recorded no dataset."),
    ({"check": "scan_clean"}, "Its files were not found clean."),
    ({"check": "description"}, "It has no description."),
]


@pytest.mark.parametrize(("check", "found"), CHECKS)
def test_a_check_that_fails_opens_nothing_and_says_what_would_be_right(
    ann: Person, max_: Person, check: dict[str, Any], found: str
) -> None:
    guarded(max_, checks=[check])
    answer = move(ann)
    assert (answer.status_code, answer.json()["code"]) == (409, "checks_failed")
    (line,) = answer.json()["items"]
    assert line.startswith(found)
    assert not ApprovalRequest.objects.exists()


def test_checks_that_hold_let_the_request_open(ann: Person, max_: Person) -> None:
    version = ModelVersion.objects.get(model__name="m", number=2)
    Inspection.objects.create(manifest=version.manifest, rules="1", status="Ready")
    where = {"actor": ann.actor, "project": ann.project, "model_name": "m", "ref": 2}
    registry_verbs.update_version(**where, description="good")
    registry_verbs.set_version_tag(**where, key="validated_by", value="ml-team")
    rules = [
        check for check, _ in CHECKS if check["check"] not in ("dataset",) and check.get("metric") != "f1"
    ]
    guarded(max_, checks=rules)
    found = get(ann, asked(ann, 2))["checks"]
    assert [each["passed"] for each in found] == [True] * len(rules)


def test_not_worse_than_production_by_more_than_the_tolerance(ann: Person, max_: Person) -> None:
    move(ann, 2)
    check = {"check": "not_worse", "metric": "accuracy", "tolerance": 0.01}
    guarded(max_, checks=[check, {"check": "not_worse", "metric": "loss", "tolerance": 0.2}])
    answer = move(ann, 1)
    assert answer.json()["items"] == [
        "accuracy is 0.9. accuracy must be at least 0.94: version 2 in Production has 0.95."
    ]


@pytest.mark.parametrize(
    "checks",
    [
        "accuracy",
        [1],
        [{"check": "speed"}],
        [{"check": "metric_at_least", "metric": "a"}],
        [{"check": "metric_at_least", "metric": "a", "value": "high"}],
        [{"check": "metric_at_least", "metric": "", "value": 1}],
        [{"check": "not_worse", "metric": "a", "tolerance": -1}],
        [{"check": "dataset", "name": "x"}],
        [{"check": "dataset"}] * 21,
    ],
)
def test_checks_that_are_none_are_refused(max_: Person, checks: object) -> None:
    answer = policy(max_, checks=checks)
    assert answer.status_code == 400
    assert next(iter(answer.json()["errors"])).startswith("checks")


def test_policies_that_nobody_could_meet_are_refused(ann: Person, max_: Person) -> None:
    answer = policy(max_, approvals_needed=2)
    assert "only 1 may review" in answer.json()["errors"]["approvals_needed"][0]
    assert list(policy(max_, reviewers=["nobody"]).json()["errors"]) == ["reviewers"]
    assert list(policy(max_, groups=["nobody"]).json()["errors"]) == ["groups"]
    assert list(policy(max_, stage="Live").json()["errors"]) == ["stage"]
    assert policy(ann).status_code == 403
    assert not ApprovalPolicy.objects.exists()


def test_a_metric_logged_later_makes_votes_stale(ann: Person, ray: Person, max_: Person) -> None:
    guarded(max_, approvals_needed=2, reviewers=["ray", "max"])
    request_id = asked(ann)
    approve(ray, request_id)
    path = f"{ann.base}/models/m/versions/1/validation-metrics"
    assert ann.api.post(path, {"metrics": {"accuracy": 0.2}}, format="json").status_code == 200
    assert approve(max_, request_id).json()["status"] == "Pending"
    found = get(ann, request_id)
    assert [(each["reviewer"], each["is_fresh"]) for each in found["reviews"]] == [
        ("ray", False),
        ("max", True),
    ]
    assert "1 vote must be given again" in found["events"][0]["text"]
    assert approve(ray, request_id).json()["status"] == "Approved"


def test_the_clock_notices_changed_evidence(ann: Person, ray: Person, max_: Person) -> None:
    guarded(max_, approvals_needed=2, reviewers=["ray", "max"])
    request_id = asked(ann)
    approve(ray, request_id)
    look_after_requests()
    assert get(ann, request_id)["approvals_given"] == 1
    registry_verbs.set_version_tag(
        actor=ann.actor, project=ann.project, model_name="m", ref=1, key="k", value="v"
    )
    look_after_requests()
    look_after_requests()
    found = get(ann, request_id)
    assert (found["approvals_given"], len(found["events"])) == (0, 1)


def test_a_check_that_fails_by_now_holds_the_last_approval_back(ann: Person, max_: Person) -> None:
    guarded(max_, checks=[{"check": "metric_at_least", "metric": "accuracy", "value": 0.8}])
    request_id = asked(ann)
    path = f"{ann.base}/models/m/versions/1/validation-metrics"
    ann.api.post(path, {"metrics": {"accuracy": 0.2}}, format="json")
    answer = approve(max_, request_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "checks_failed")
    assert get(ann, request_id)["status"] == "Pending"
    assert stage_of(ann) == "None"


def test_a_version_that_moved_meanwhile_makes_the_request_superseded(ann: Person, max_: Person) -> None:
    guarded(max_)
    request_id = asked(ann)
    move(ann, stage="Archived")
    found = get(ann, request_id)
    assert (found["status"], found["reason"]) == (
        "Superseded",
        "The version moved from None to Archived meanwhile.",
    )
    assert approve(max_, request_id).json()["code"] == "already_decided"


def test_a_version_that_was_deleted_leaves_no_open_request(ann: Person, max_: Person) -> None:
    guarded(max_)
    request_id = asked(ann)
    trash.delete_version(actor=max_.actor, project=ann.project, model_name="m", ref=1)
    assert approve(max_, request_id).status_code == 409
    look_after_requests()
    assert get(ann, request_id)["reason"] == "The version was deleted."


def test_a_request_expires_and_can_be_asked_for_again(ann: Person, max_: Person) -> None:
    guarded(max_, expires_days=1)
    request_id = asked(ann)
    ApprovalRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    answer = approve(max_, request_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "already_decided")
    look_after_requests()
    assert get(ann, request_id)["status"] == "Expired"
    assert asked(ann) != request_id


def test_of_very_many_requests_each_is_looked_at_in_its_turn(ann: Person, max_: Person) -> None:
    guarded(max_)
    for ref in (1, 2):
        asked(ann, ref)
        trash.delete_version(actor=max_.actor, project=ann.project, model_name="m", ref=ref)
    now, left = timezone.now(), [2]
    for turn in range(3):
        tasks.look_after(now + turn * timedelta(seconds=tasks.PERIOD), most=1)
        left.append(ApprovalRequest.objects.filter(state="Pending").count())
    assert all(before - after <= 1 for before, after in pairwise(left))
    assert left[-1] == 0


def test_what_stands_in_production_is_not_archived_past_a_policy_for_archived(
    ann: Person, max_: Person
) -> None:
    move(ann, stage="Production")
    guarded(max_, stage="Archived")
    answer = move(ann, 2, archive_previous=True)
    assert (answer.status_code, answer.json()["code"]) == (409, "production_taken")
    assert "a policy guards Archived" in answer.json()["detail"]
    assert stage_of(ann) == "Production"


def test_a_request_that_ends_with_its_policy_leaves_an_entry(ann: Person, max_: Person) -> None:
    guarded(max_)
    request_id = asked(ann)
    policies.delete_approval_policy(
        actor=max_.actor, project=ann.project, policy_id=ApprovalPolicy.objects.get().pk
    )
    entry = AuditEntry.objects.get(object_id=request_id, verb="supersede_approval")
    assert entry.actor == max_.user


def test_reviewers_are_reminded_once_before_it_expires(ann: Person, max_: Person) -> None:
    guarded(max_)
    request_id = asked(ann)
    look_after_requests()
    assert get(ann, request_id)["events"] == []
    now = timezone.now()
    ApprovalRequest.objects.update(created_at=now - timedelta(days=13), expires_at=now + timedelta(days=1))
    look_after_requests()
    look_after_requests()
    assert [event["kind"] for event in get(ann, request_id)["events"]] == ["reminder"]


def test_a_reviewer_who_lost_the_right_counts_no_more(ann: Person, ray: Person, max_: Person) -> None:
    guarded(max_, approvals_needed=2, reviewers=["ray", "max"])
    request_id = asked(ann)
    approve(ray, request_id)
    Membership.objects.filter(user=ray.user).delete()
    assert approve(max_, request_id).json()["status"] == "Pending"
    assert approve(ray, request_id).status_code == 404


def test_who_asked_must_still_be_allowed_to(ann: Person, max_: Person) -> None:
    guarded(max_)
    request_id = asked(ann)
    Membership.objects.filter(user=ann.user).update(role=Role.VIEWER)
    answer = approve(max_, request_id)
    assert answer.json()["status"] == "Superseded"
    assert "ann" in answer.json()["reason"]


def test_a_bypass_needs_the_policys_word_a_maintainer_and_a_reason(ann: Person, max_: Person) -> None:
    guarded(max_)
    assert move(max_, bypass_reason="fire").json()["code"] == "no_bypass"
    guarded(max_, bypass=True, checks=[{"check": "description"}])
    assert move(ann, bypass_reason="fire").status_code == 403
    answer = move(max_, bypass_reason="fire")
    assert (answer.status_code, answer.json()["bypass_reason"]) == (200, "fire")
    row = max_.api.get(f"{max_.base}/models/m/transitions").json()["results"][0]
    assert (row["bypass_reason"], row["approved_by"]) == ("fire", [])
    (request,) = max_.api.get(f"{max_.base}/approvals?status=Bypassed").json()["results"]
    assert (request["id"], request["reason"]) == (row["approval_id"], "fire")


def test_votes_and_comments_are_never_changed(ann: Person, ray: Person, max_: Person) -> None:
    guarded(max_, approvals_needed=2, reviewers=["ray", "max"])
    approve(ray, asked(ann))
    for change in (Review.objects.update, Review.objects.all().delete):
        with pytest.raises(DatabaseError), transaction.atomic():
            change(**({"comment": "x"} if change == Review.objects.update else {}))


def test_the_list_is_filtered_and_says_what_waits_for_me(ann: Person, ray: Person, max_: Person) -> None:
    guarded(max_, reviewers=["ray"])
    first, second = asked(ann, 1), asked(ann, 2)
    act(ray, "reject", first, comment="no")

    def ids(person: Person, query: str) -> list[str]:
        answer = person.api.get(f"{person.base}/approvals?{query}")
        assert answer.status_code == 200, answer.json()
        return [each["id"] for each in answer.json()["results"]]

    assert ids(ray, "") == [second, first]
    assert ids(ray, "status=Pending") == ids(ray, "waiting_for_me=true") == [second]
    assert ids(max_, "waiting_for_me=true") == []
    assert ids(max_, "version=1&requester=ann&model=m&stage=Production") == [first]
    for query in ("waiting_for_me=yes", "status=Open", "nothing=1", "version=x", "version=1.5"):
        assert ray.api.get(f"{ray.base}/approvals?{query}").status_code == 400
    refused = ray.api.get(f"{ray.base}/approvals?version=1.5").json()
    assert refused["detail"] == "version is '1.5'; it must be a whole number."
    stranger = make_person(make_project("beta"))
    assert stranger.api.get(f"/api/v1/projects/beta/approvals/{second}").status_code == 404


def test_removing_a_policy_supersedes_what_waits_and_moves_apply_again(ann: Person, max_: Person) -> None:
    found = guarded(max_)
    request_id = asked(ann)
    assert max_.api.delete(f"{max_.base}/approval-policies/{found['id']}").status_code == 204
    assert get(ann, request_id)["status"] == "Superseded"
    assert move(ann).status_code == 200


def test_a_model_may_have_one_version_in_production_at_most(ann: Person, max_: Person) -> None:
    path = f"{max_.base}/promotion-rules"
    move(ann, 1)
    move(ann, 2)
    answer = max_.api.patch(path, {"one_production": True}, format="json")
    assert (answer.status_code, answer.json()["items"]) == (409, ["m: 2 versions"])
    move(ann, 1, "Archived")
    assert max_.api.patch(path, {"one_production": True}, format="json").status_code == 200
    answer = move(ann, 1)
    assert (answer.status_code, answer.json()["code"]) == (409, "production_taken")
    assert move(ann, 1, archive_previous=True).status_code == 200
    assert (stage_of(ann, 1), stage_of(ann, 2)) == ("Production", "Archived")
    max_.api.patch(path, {"archive_previous": True}, format="json")
    assert move(ann, 2).status_code == 200
    assert (stage_of(ann, 1), stage_of(ann, 2)) == ("Archived", "Production")
    with pytest.raises(DatabaseError), transaction.atomic():
        ModelVersion.objects.filter(number=1).update(stage="Production", is_sole=True)


def test_rolling_back_gives_production_to_what_stood_there_before(ann: Person, max_: Person) -> None:
    def roll(person: Person):
        return person.api.post(f"{person.base}/models/m/rollback", {}, format="json")

    assert roll(ann).json()["code"] == "nothing_to_roll_back_to"
    move(ann, 1)
    move(ann, 2, archive_previous=True)
    assert roll(ann).status_code == 200
    assert (stage_of(ann, 1), stage_of(ann, 2)) == ("Production", "Archived")
    guarded(max_)
    answer = roll(ann)
    assert (answer.status_code, answer.json()["version"]) == (202, 2)
    approve(max_, answer.json()["approval"]["id"])
    assert (stage_of(ann, 1), stage_of(ann, 2)) == ("Archived", "Production")


def test_a_bulk_move_says_which_items_wait(ann: Person, max_: Person) -> None:
    guarded(max_)
    items = [{"model_name": "m", "version": 1}, {"model_name": "m", "version": 2}]
    body = {"action": "transition_stage", "items": items, "common": {"stage": "Production"}}
    results = ann.api.post(f"{ann.base}/bulk", body, format="json").json()["results"]
    assert [each["ok"] for each in results] == [True, True]
    assert {each["approval"] for each in results} == set(
        ApprovalRequest.objects.values_list("public_id", flat=True)
    )
