"""People are invited by a link that is good for one of them, once, for a week."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts import invitations
from accounts.choices import Role
from accounts.models import AuditEntry, Invitation, Membership, User
from tests.factories import Person, make_person, make_project, run_jobs

pytestmark = pytest.mark.django_db
NEW = {"username": "newcomer", "password": "a long enough phrase 7"}


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), Role.ADMIN, username="ann")


def invite(person: Person, email: str = "new@example.com", role: str = "contributor"):
    return person.api.post(f"{person.base}/invitations", {"email": email, "role": role}, format="json")


def link(person: Person) -> str:
    """The path in the letter that was sent last."""
    run_jobs()
    found = re.search(r"https?://[^/]+(/invitations/\S+/)", str(mail.outbox[-1].body))
    assert found
    return found[1]


def test_a_newcomer_joins_by_the_link_in_the_letter(ann: Person) -> None:
    assert invite(ann).status_code == 201
    address = link(ann)
    assert mail.outbox[0].to == ["new@example.com"]
    client = Client()
    page = client.get(address).content.decode()
    assert "Join Alpha" in page
    assert "ann invites you as contributor" in page
    answer = client.post(address, NEW)
    assert (answer.status_code, answer["Location"]) == (302, "/projects/alpha/models/")
    assert client.get("/projects/alpha/models/").status_code == 200
    member = Membership.objects.get(user__username="newcomer")
    assert (member.role, member.user.email) == ("contributor", "new@example.com")
    assert AuditEntry.objects.filter(verb="accept_invitation", actor=member.user).exists()
    assert ann.api.get(f"{ann.base}/invitations").json()["results"] == []


def test_the_link_is_good_once(ann: Person) -> None:
    invite(ann)
    address = link(ann)
    assert Client().post(address, NEW).status_code == 302
    again = Client().post(address, {**NEW, "username": "second"})
    assert (again.status_code, "used, withdrawn or older" in again.content.decode()) == (404, True)
    assert not User.objects.filter(username="second").exists()


def test_a_link_that_is_old_withdrawn_replaced_or_made_up_is_good_for_nothing(ann: Person) -> None:
    invite(ann)
    first = link(ann)
    invite(ann)
    second = link(ann)
    assert first != second
    assert Client().get(first).status_code == 404
    (row,) = ann.api.get(f"{ann.base}/invitations").json()["results"]
    assert ann.api.delete(f"{ann.base}/invitations/{row['id']}").status_code == 204
    assert Client().get(second).status_code == 404
    invite(ann, "other@example.com")
    third = link(ann)
    Invitation.objects.filter(accepted_at=None).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert Client().get(third).status_code == 404
    for made_up in ("/invitations/1/", "/invitations/1:abc/", f"{third[:-2]}x/"):
        assert Client().post(made_up, NEW).status_code == 404


def test_an_invitation_by_who_is_no_admin_any_more_is_good_for_nothing(ann: Person) -> None:
    make_person(ann.project, Role.ADMIN)
    invite(ann)
    address = link(ann)
    Membership.objects.filter(user=ann.user).update(role=Role.MAINTAINER)
    for answer in (Client().get(address), Client().post(address, NEW)):
        said = "ann, who sent this invitation, is no admin of Alpha any more."
        assert (answer.status_code, said in answer.content.decode()) == (404, True)
    Membership.objects.filter(user=ann.user).update(role=Role.ADMIN)
    assert Client().get(address).status_code == 200
    User.objects.filter(pk=ann.user.pk).update(is_active=False)
    assert Client().post(address, NEW).status_code == 404


def test_who_has_an_account_joins_with_it_and_keeps_a_role(ann: Person) -> None:
    bob = make_person(make_project("beta"), username="bob")
    invite(ann)
    client = Client()
    client.force_login(bob.user)
    address = link(ann)
    assert "Join as bob" in client.get(address).content.decode()
    assert client.post(address).status_code == 302
    assert Membership.objects.get(project=ann.project, user=bob.user).role == "contributor"
    invite(ann, "again@example.com", "viewer")
    assert client.post(link(ann)).status_code == 302
    assert Membership.objects.get(project=ann.project, user=bob.user).role == "contributor"


def test_a_taken_name_and_a_weak_password_keep_the_invitation(ann: Person) -> None:
    invite(ann)
    address = link(ann)
    for wrong, field in (
        ({**NEW, "username": "ann"}, "taken"),
        ({**NEW, "username": "\uff41nn"}, "taken"),  # the same name in wide letters
        ({**NEW, "password": "123"}, "too short"),
        ({**NEW, "username": "a b"}, "username is"),
        ({**NEW, "username": ""}, "required"),
    ):
        answer = Client().post(address, wrong)
        assert (answer.status_code, field in answer.content.decode()) == (422, True), wrong
    assert Client().post(address, NEW).status_code == 302


def test_only_admins_invite_and_only_real_addresses(ann: Person) -> None:
    max_ = make_person(ann.project, Role.MAINTAINER)
    assert invite(max_).status_code == 403
    for email in ("nobody", "a@b", "", "a@example.com\r\nBcc: x@example.com"):
        assert list(invite(ann, email).json()["errors"]) == ["email"], email
    assert invite(ann, role="owner").status_code == 400
    User.objects.filter(pk=max_.user.pk).update(email="Max@Example.com")
    assert invite(ann, "max@example.com").json()["code"] == "member_already"


def test_the_letter_is_sent_once_and_not_after_a_withdrawal(ann: Person) -> None:
    invite(ann)
    row = Invitation.objects.get()
    run_jobs()
    invitations.mail_invitation(row.pk)
    assert len(mail.outbox) == 1
    invite(ann, "late@example.com")
    late = Invitation.objects.get(email="late@example.com")
    invitations.revoke_invitation(actor=ann.actor, project=ann.project, invitation_id=late.pk)
    run_jobs()
    assert len(mail.outbox) == 1


def test_the_page_invites_shows_the_link_and_withdraws(ann: Person) -> None:
    client = Client()
    client.force_login(ann.user)
    path = "/projects/alpha/invitations/"
    assert "Nobody is invited" in client.get(path).content.decode()
    answer = client.post(path, {"email": "not an address", "role": "viewer"})
    assert (answer.status_code, "not an address" in answer.content.decode()) == (422, True)
    answer = client.post(path, {"email": "new@example.com", "role": "viewer"}, follow=True)
    row = Invitation.objects.get()
    link = invitations.link_of(row)
    assert f'new@example.com is invited: <span class="id" title="{link}">' in answer.content.decode()
    assert f'data-copy="{link}"' in answer.content.decode()
    assert client.post(f"{path}{row.pk}/revoke/").status_code == 302
    assert client.post(f"{path}{row.pk}/revoke/").status_code == 404
    viewer = Client()
    viewer.force_login(make_person(ann.project, Role.VIEWER).user)
    assert viewer.get(path).status_code == 403
