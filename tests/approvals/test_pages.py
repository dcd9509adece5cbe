"""The portal's pages of approvals."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.choices import Role
from approvals.models import ApprovalPolicy, ApprovalRequest, PromotionRules
from approvals.policies import set_approval_policy
from approvals.services import comment_approval, transition_stage
from registry.models import ModelVersion
from tests.factories import Person, browser, make_person, make_project, make_version

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>\u202e=1+1"


def text(person: Person, path: str, code: int = 200) -> str:
    answer = browser(person).get(f"/projects/alpha/{path}")
    assert answer.status_code == code
    return str(answer.content.decode())


def post(person: Person, path: str, **data: object):
    return browser(person).post(f"/projects/alpha/{path}", data)


def asked(ann: Person, max_: Person, count: int = 1, **words: object) -> ApprovalRequest:
    """A request of ann's to bring a version of m, the last of so many, into Production; max may review it."""
    if not ApprovalPolicy.objects.exists():
        set_approval_policy(actor=max_.actor, project=ann.project, **words)  # type: ignore[arg-type]
    for _ in range(count):
        version = make_version(ann, "m", accuracy=0.9)
        request = transition_stage(
            actor=ann.actor, project=ann.project, model_name="m", ref=version.number, stage="Production"
        )
    assert isinstance(request, ApprovalRequest)
    return request


def test_without_a_policy_the_list_teaches_how_to_set_one(ann: Person, max_: Person) -> None:
    shown = text(max_, "approvals/")
    assert "client.set_approval_policy(" in shown
    assert "Set a policy" in shown
    assert "Set a policy" not in text(ann, "approvals/")


def test_setting_a_policy_is_two_clicks(max_: Person) -> None:
    shown = text(max_, "approval-policies/new/")
    for label in ("Stage", "Approvals needed", "Reviewers", "Set policy"):
        assert label in shown
    answer = post(max_, "approval-policies/new/", stage="Production", approvals_needed=1, expires_days=14)
    assert answer.status_code == 302
    assert ApprovalPolicy.objects.get().approvals_needed == 1


def test_a_wrong_policy_keeps_what_was_typed(max_: Person) -> None:
    words = {"stage": "Production", "approvals_needed": 3, "expires_days": 14, "reviewers": "max, nobody"}
    answer = post(max_, "approval-policies/new/", **words, checks="[1, ")
    shown = answer.content.decode()
    assert answer.status_code == 422
    assert "max, nobody" in shown
    assert "This is not JSON" in shown
    answer = post(max_, "approval-policies/new/", **words)
    assert "is no member of alpha" in answer.content.decode().replace("&#x27;", "'")


def test_a_policy_is_edited_and_removed(ann: Person, max_: Person) -> None:
    request = asked(ann, max_)
    pk = ApprovalPolicy.objects.get().pk
    answer = post(
        max_,
        f"approval-policies/{pk}/",
        stage="Production",
        approvals_needed=1,
        reviewers="max",
        expires_days=3,
    )
    assert answer.status_code == 302
    assert ApprovalPolicy.objects.get().expires_days == 3
    assert "1 open request" in text(max_, f"approval-policies/{pk}/delete/")
    assert post(max_, f"approval-policies/{pk}/delete/").status_code == 302
    request.refresh_from_db()
    assert request.state == "Superseded"
    assert text(max_, f"approval-policies/{pk}/", 404)


def test_the_rules_for_production_are_saved(ann: Person, max_: Person) -> None:
    assert post(max_, "approval-policies/", one_production="on").status_code == 302
    assert PromotionRules.objects.get().one_production is True
    assert post(ann, "approval-policies/", one_production="on").status_code == 403
    assert ">Save<" not in text(ann, "approval-policies/")


def test_change_stage_says_that_it_waits_and_leads_to_the_request(ann: Person, max_: Person) -> None:
    set_approval_policy(actor=max_.actor, project=ann.project)
    make_version(ann, "m")
    shown = text(ann, "models/m/versions/1/stage/")
    assert "waits for 1 approval" in shown
    assert "bypass" not in shown
    answer = post(ann, "models/m/versions/1/stage/", stage="Production", note="ready")
    assert (answer.status_code, "/approvals/apr-" in answer["Location"]) == (302, True)


def test_a_move_that_checks_refuse_says_each_of_them(ann: Person, max_: Person) -> None:
    checks = [
        {"check": "metric_at_least", "metric": "accuracy", "value": 0.95},
        {"check": "tag", "key": "validated_by"},
    ]
    set_approval_policy(actor=max_.actor, project=ann.project, checks=checks)
    make_version(ann, "m", accuracy=0.9)
    answer = post(ann, "models/m/versions/1/stage/", stage="Production")
    note = (
        answer.content.decode().split('<div class="note note-bad wrap" role="alert">')[1].split("</div>")[0]
    )
    _, *lines = note.split("\n")
    assert (answer.status_code, len(lines)) == (422, 2)
    assert "accuracy" in lines[0] and "0.95" in lines[0] and "validated_by" in lines[1]
    many = post(ann, "models/m/many/?v=1", act="transition_stage", stage="Production")
    assert all(f"<br>{line}" in many.content.decode() for line in lines)


def test_asking_again_says_who_asked_before(ann: Person, max_: Person) -> None:
    asked(ann, max_)

    def answer(person: Person, number: int) -> str:
        there, sent = f"/projects/alpha/models/m/versions/{number}/stage/", {"stage": "Production"}
        return str(browser(person).post(there, sent, follow=True).content.decode())

    assert "waits for approval already: ann asked for it." in answer(make_person(ann.project), 1)
    make_version(ann, "m")
    assert "The move to Production waits for approval." in answer(ann, 2)


def test_a_reviewer_finds_it_waiting_approves_and_the_version_moves(ann: Person, max_: Person) -> None:
    request = asked(ann, max_)
    shown = text(max_, "approvals/")
    assert "Waiting for you" in shown
    assert "m v1" in shown
    page = text(max_, f"approvals/{request.public_id}/")
    assert ">Approve<" in page
    assert ">Reject<" in page
    assert "Nothing stands in Production" in page
    answer = post(max_, f"approvals/{request.public_id}/approve/", comment="fine")
    assert answer.status_code == 302
    assert ModelVersion.objects.get(model__name="m").stage == "Production"
    assert "fine" in text(ann, f"approvals/{request.public_id}/")
    assert "approved by max" in text(ann, "models/m/versions/1/?tab=history")


def test_the_requester_sees_no_buttons_but_withdraw(ann: Person, max_: Person) -> None:
    request = asked(ann, max_)
    page = text(ann, f"approvals/{request.public_id}/")
    assert ">Approve<" not in page
    assert "others review it" in page
    assert post(ann, f"approvals/{request.public_id}/approve/").status_code == 403
    assert post(ann, f"approvals/{request.public_id}/withdraw/").status_code == 302
    request.refresh_from_db()
    assert request.state == "Cancelled"


def test_rejecting_without_a_comment_says_what_is_missing(ann: Person, max_: Person) -> None:
    request = asked(ann, max_)
    answer = post(max_, f"approvals/{request.public_id}/reject/", comment="")
    assert (answer.status_code, "comment must not be empty" in answer.content.decode()) == (422, True)
    assert post(max_, f"approvals/{request.public_id}/reject/", comment="too slow").status_code == 302
    assert "too slow" in text(ann, f"approvals/{request.public_id}/")
    assert "Rejected" in text(ann, "approvals/?show=decided")


def test_a_review_that_comes_too_late_says_so_and_keeps_its_comment(ann: Person, max_: Person) -> None:
    request = asked(ann, max_)
    post(max_, f"approvals/{request.public_id}/approve/")
    answer = post(max_, f"approvals/{request.public_id}/reject/", comment="too slow for us")
    shown = answer.content.decode()
    assert (answer.status_code, "is Approved" in shown) == (422, True)
    assert ">\ntoo slow for us</textarea>" in shown
    assert "1 of 1 approval<" in shown


def test_a_viewer_reads_and_a_stranger_finds_nothing(ann: Person, max_: Person) -> None:
    request = asked(ann, max_)
    viewer = make_person(ann.project, Role.VIEWER)
    for path in ("approvals/", "approval-policies/", f"approvals/{request.public_id}/"):
        shown = text(viewer, path)
        for label in (">Approve<", ">Reject<", ">Withdraw<", "Set a policy", ">Remove<"):
            assert label not in shown, (path, label)
    assert post(viewer, f"approvals/{request.public_id}/approve/").status_code == 403
    assert post(viewer, "approval-policies/new/", stage="Production").status_code == 403
    stranger = make_person(make_project("beta"))
    text(stranger, f"approvals/{request.public_id}/", 404)


def test_production_stands_beside_it_with_what_differs(ann: Person, max_: Person) -> None:
    make_version(ann, "m", accuracy=0.8)
    transition_stage(actor=ann.actor, project=ann.project, model_name="m", ref=1, stage="Production")
    request = asked(ann, max_)
    page = text(max_, f"approvals/{request.public_id}/")
    assert "Beside Production" in page
    assert "+0.1" in page
    assert "Compare with Production" in page


def test_hostile_text_shows_as_text(ann: Person, max_: Person) -> None:
    request = asked(ann, max_)
    comment_approval(
        actor=max_.actor, project=ann.project, request_id=request.public_id, text="<script>alert(1)</script>"
    )
    for path in ("approvals/", f"approvals/{request.public_id}/"):
        assert "<script>alert" not in text(max_, path)


def test_rolling_back_is_one_button(ann: Person) -> None:
    for number in (1, 2):
        make_version(ann, "m")
        transition_stage(
            actor=ann.actor,
            project=ann.project,
            model_name="m",
            ref=number,
            stage="Production",
            archive_previous=True,
        )
    assert "Roll back" in text(ann, "models/m/")
    assert "Roll back to v1" in text(ann, "models/m/roll-back/")
    assert post(ann, "models/m/roll-back/", note="worse").status_code == 302
    assert ModelVersion.objects.get(number=1).stage == "Production"


def test_no_stage_is_chosen_for_the_person(ann: Person) -> None:
    make_version(ann, "m")
    assert " checked" not in text(ann, "models/m/versions/1/stage/")
    refused = post(ann, "models/m/versions/1/stage/", note="ready")
    assert refused.status_code == 422 and "Choose the new stage." in refused.content.decode()


def test_where_nothing_can_be_rolled_back_nothing_is_asked(ann: Person) -> None:
    make_version(ann, "m")
    shown = text(ann, "models/m/roll-back/")
    assert "stood in Production before" in shown and 'name="note"' not in shown


def test_the_pages_cost_the_same_at_2_and_at_30_requests(ann: Person, max_: Person) -> None:
    costs = []
    for more in (2, 28):
        request = asked(ann, max_, more)
        for path in ("approvals/", f"approvals/{request.public_id}/"):
            client = browser(max_)
            client.get(f"/projects/alpha/{path}")
            with CaptureQueriesContext(connection) as asked_for:
                client.get(f"/projects/alpha/{path}")
            costs.append(len(asked_for))
    assert costs[:2] == costs[2:]
    assert costs[0] <= 12, costs
    assert costs[1] <= 24, costs


def test_what_stood_in_production_at_a_moment_is_one_page(ann: Person, max_: Person) -> None:
    request = asked(ann, max_)
    assert post(max_, f"approvals/{request.public_id}/approve/", comment="fine").status_code == 302
    page = text(ann, "models/m/standing/")
    assert "Production" in page
    assert request.public_id in page
    assert ">max</a>" in page
    request.refresh_from_db()
    assert request.evidence in page
    assert "There was no version yet" in text(ann, "models/m/standing/?as_of=2020-01-01T00:00:00")
    earlier = text(ann, "models/m/standing/?as_of=2020-01-01T02:00:00%2B02:00")
    assert 'type="datetime-local"' in earlier and 'value="2020-01-01T00:00:00"' in earlier
    wrong = text(ann, "models/m/standing/?as_of=yesterday", 422)
    assert "it must be a time such as" in wrong
    assert 'value="yesterday"' in wrong
