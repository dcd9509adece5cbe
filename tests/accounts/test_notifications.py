"""People are told of what concerns them, where they chose to be told, each once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts import notifications
from accounts.choices import Notice, Role
from accounts.models import Membership, Notification
from approvals import services
from approvals.models import ApprovalRequest
from approvals.policies import delete_approval_policy, set_approval_policy
from approvals.tasks import look_after_requests
from common.models import Job
from registry.services import set_version_tag
from scheduling import executions
from tests.factories import Person, make_person, make_project, make_run, make_version, run_jobs
from tests.scheduling.factories import make_schedule, trigger
from tracking.alerts import create_run_alert
from tracking.services import log_metrics, start_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), Role.CONTRIBUTOR, username="ann")


@pytest.fixture
def ray(ann: Person) -> Person:
    person = make_person(ann.project, Role.MAINTAINER, username="ray")
    type(person.user).objects.filter(pk=person.user.pk).update(email="ray@example.com")
    person.user.email = "ray@example.com"
    return person


def told(person: Person) -> list[tuple[str, str]]:
    rows = person.api.get(f"{person.base}/notifications").json()["results"]
    return [(row["kind"], row["text"]) for row in reversed(rows)]


def asked(ann: Person, ray: Person, **words: Any) -> str:
    set_approval_policy(actor=ray.actor, project=ann.project, **words)
    version = make_version(ann, "m")
    request = services.transition_stage(
        actor=ann.actor, project=ann.project, model_name="m", ref=version.number, stage="Production"
    )
    assert isinstance(request, ApprovalRequest)
    return request.public_id


def test_the_reviewer_is_told_at_once_and_the_requester_of_the_outcome(ann: Person, ray: Person) -> None:
    at = asked(ann, ray)
    assert told(ray) == [("approval_requested", "ann asks for m version 1 to move to Production.")]
    assert told(ann) == []
    services.comment_approval(actor=ray.actor, project=ann.project, request_id=at, text="Which data?")
    services.approve(actor=ray.actor, project=ann.project, request_id=at, comment="fine")
    assert told(ann) == [
        ("approval_comment", "ray on m version 1 to Production: 'Which data?'"),
        ("approval_decided", "Your request for m version 1 to move to Production is Approved by ray."),
    ]
    assert len(told(ray)) == 1


def test_rejections_expiry_and_removed_policies_are_told_with_the_reason(ann: Person, ray: Person) -> None:
    services.reject(actor=ray.actor, project=ann.project, request_id=asked(ann, ray), comment="too slow")
    asked(ann, ray)
    ApprovalRequest.objects.filter(state="Pending").update(expires_at=timezone.now() - timedelta(1))
    look_after_requests()
    asked(ann, ray)
    (policy,) = ann.project.approval_policies.all()
    delete_approval_policy(actor=ray.actor, project=ann.project, policy_id=policy.pk)
    texts = [text for _, text in told(ann)]
    assert "is Rejected by ray: 'too slow'" in texts[0]
    assert "is Expired: 'Nobody decided in time.'" in texts[1]
    assert "is Superseded by ray: 'The policy was removed" in texts[2]


def test_reviewers_are_told_that_their_vote_is_stale_and_reminded_once(ann: Person, ray: Person) -> None:
    bob = make_person(ann.project, Role.MAINTAINER, username="bob")
    at = asked(ann, ray, approvals_needed=2)
    services.approve(actor=ray.actor, project=ann.project, request_id=at)
    set_version_tag(actor=ann.actor, project=ann.project, model_name="m", ref=1, key="k", value="v")
    look_after_requests()
    assert [kind for kind, _ in told(ray)] == ["approval_requested", "approval_stale"]
    assert [kind for kind, _ in told(bob)] == ["approval_requested"]
    now = timezone.now()
    ApprovalRequest.objects.update(created_at=now - timedelta(days=13), expires_at=now + timedelta(days=1))
    look_after_requests()
    look_after_requests()
    assert [kind for kind, _ in told(bob)] == ["approval_requested", "approval_reminder"]


def test_a_bypass_is_told_to_the_reviewers(ann: Person, ray: Person) -> None:
    max_ = make_person(ann.project, Role.MAINTAINER, username="max")
    asked(ann, ray, bypass=True)
    services.transition_stage(
        actor=max_.actor, project=ann.project, model_name="m", ref=1, stage="Production", bypass_reason="fire"
    )
    assert told(ray)[-1] == ("policy_bypassed", "max moved m version 1 to Production past the policy: 'fire'")


def test_what_is_refused_tells_nobody(ann: Person, ray: Person) -> None:
    set_approval_policy(actor=ray.actor, project=ann.project, checks=[{"check": "description"}])
    make_version(ann, "m")
    with pytest.raises(Exception, match="does not meet"):
        services.transition_stage(
            actor=ann.actor, project=ann.project, model_name="m", ref=1, stage="Production"
        )
    assert not Notification.objects.exists()
    assert not Job.objects.filter(name="accounts.mail_notification").exists()


def test_mail_goes_out_once_with_the_address_of_the_page(ann: Person, ray: Person, settings: Any) -> None:
    settings.PUBLIC_URL = "https://registry.example.com"
    at = asked(ann, ray)
    assert mail.outbox == []
    run_jobs()
    (letter,) = mail.outbox
    assert letter.to == ["ray@example.com"]
    assert letter.subject == "ann asks for m version 1 to move to Production."
    assert f"https://registry.example.com/projects/alpha/approvals/{at}/" in str(letter.body)
    row = Notification.objects.get()
    assert letter.extra_headers["Message-ID"] == f"<notification-{row.pk}@registry.example.com>"
    notifications.mail_notification(row.pk)
    assert len(mail.outbox) == 1


def test_a_worker_that_died_while_sending_sends_again_under_the_same_id(ann: Person, ray: Person) -> None:
    asked(ann, ray)
    row = Notification.objects.get()
    notifications.mail_notification(row.pk)
    Notification.objects.update(mailed_at=None)
    notifications.mail_notification(row.pk)
    assert len({letter.extra_headers["Message-ID"] for letter in mail.outbox}) == 1


def test_a_subject_is_one_line_whatever_the_text_holds(ann: Person, ray: Person) -> None:
    notifications.notify(
        [ray.user],
        Notice.APPROVAL_DECIDED,
        "a\r\nBcc: evil@example.com\n" + "x" * 600,
        project=ann.project,
        path="/",
    )
    run_jobs()
    (letter,) = mail.outbox
    assert "\n" not in letter.subject
    assert letter.bcc == []


def test_each_person_chooses_what_reaches_them_where(ann: Person, ray: Person) -> None:
    path = f"{ray.base}/notification-choices"
    choices = {each["kind"]: each for each in ray.api.get(path).json()["results"]}
    assert set(choices) == set(Notice.values)
    assert (choices["approval_requested"]["email"], choices["approval_comment"]["email"]) == (True, False)
    answer = ray.api.patch(
        path, {"kind": "approval_requested", "email": False, "inbox": False}, format="json"
    )
    assert answer.status_code == 200
    asked(ann, ray)
    run_jobs()
    assert (told(ray), mail.outbox) == ([], [])
    for bad in ({"kind": "spam"}, {"inbox": True}, {"kind": "approval_requested", "inbox": "perhaps"}):
        assert ray.api.patch(path, bad, format="json").status_code == 400


def test_who_left_the_project_or_was_deactivated_is_told_nothing(ann: Person, ray: Person) -> None:
    bob = make_person(ann.project, Role.MAINTAINER, username="bob")
    Membership.objects.filter(user=bob.user).delete()
    type(ray.user).objects.filter(pk=ray.user.pk).update(is_active=False)
    notifications.notify(
        [bob.user, ray.user], Notice.APPROVAL_DECIDED, "secret", project=ann.project, path="/"
    )
    assert not Notification.objects.exists()


def test_reading_marks_ones_own_alone(ann: Person, ray: Person) -> None:
    bob = make_person(ann.project, Role.MAINTAINER, username="bob")
    asked(ann, ray)
    mine = ray.api.get(f"{ray.base}/notifications?unread=true").json()["results"][0]["id"]
    theirs = Notification.objects.get(user=bob.user).pk
    answer = ray.api.post(f"{ray.base}/notifications/read", {"ids": [mine, theirs]}, format="json")
    assert answer.json() == {"marked": 1}
    assert Notification.objects.get(pk=theirs).read_at is None
    assert ray.api.get(f"{ray.base}/notifications?unread=true").json()["results"] == []
    assert bob.api.post(f"{bob.base}/notifications/read", {}, format="json").json() == {"marked": 1}


def test_a_failed_execution_is_told_to_who_made_the_schedule(
    ann: Person, settings: Any, tmp_path: Path
) -> None:
    settings.TRAINING_DIR = tmp_path / "training"
    execution = trigger(ann, make_schedule(ann))
    executions.give_up(execution.pk, "the disk is full")
    ((kind, text),) = told(ann)
    assert kind == "schedule_failed"
    assert text == "nightly failed: Workers failed on it again and again: the disk is full"


def test_an_alert_is_told_to_who_set_it(ann: Person) -> None:
    run = start_run(actor=ann.actor, project=ann.project, experiment_id="exp")
    create_run_alert(
        actor=ann.actor, project=ann.project, run_id=run.public_id, condition="loss > 2", message="diverged"
    )
    log_metrics(
        actor=ann.actor,
        project=ann.project,
        run_id=run.public_id,
        series=[{"key": "loss", "values": [3.0], "steps": [7]}],
    )
    assert told(ann) == [("run_alert", f"loss > 2 on {run.public_id}: loss is 3 at step 7. diverged")]


def test_the_bell_counts_the_inbox_opens_and_is_emptied(ann: Person, ray: Person) -> None:
    at = asked(ann, ray)
    client = Client()
    client.force_login(ray.user)

    def page(path: str) -> str:
        answer = client.get(f"/projects/alpha/{path}")
        assert answer.status_code == 200
        return str(answer.content.decode())

    assert "Notifications, 1 unread" in page("models/")
    assert "ann asks for m version 1" in page("notifications/")
    row = Notification.objects.get()
    answer = client.post(f"/projects/alpha/notifications/{row.pk}/")
    assert answer["Location"] == f"/projects/alpha/approvals/{at}/"
    assert "unread" not in page("models/").split("<main")[0]
    assert client.post("/projects/alpha/notifications/").status_code == 302
    assert client.post("/projects/alpha/notifications/choices/", {"run_alert-email": "on"}).status_code == 302
    chosen = {choice.kind: choice for choice in notifications.choices_of(ray.user)}
    assert (chosen["run_alert"].email, chosen["run_alert"].inbox) == (True, False)
    stranger = Client()
    stranger.force_login(make_person(make_project("beta")).user)
    assert stranger.get("/projects/alpha/notifications/").status_code == 404
    other = Client()
    other.force_login(ann.user)
    assert other.post(f"/projects/alpha/notifications/{row.pk}/").status_code == 404


def test_an_empty_inbox_says_what_will_come(ann: Person) -> None:
    make_run(ann)
    client = Client()
    client.force_login(ann.user)
    assert (
        "Nothing happened that concerns you" in client.get("/projects/alpha/notifications/").content.decode()
    )
