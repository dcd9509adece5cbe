"""Who comes by the provider to an account that was there: whose password stays good, and whose does not."""

from __future__ import annotations

import re
from typing import Any

import pytest
from allauth.core import context
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.socialaccount.internal.flows.connect import disconnect
from allauth.socialaccount.internal.flows.login import complete_login
from allauth.socialaccount.models import SocialApp, SocialLogin
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.sessions.backends.db import SessionStore
from django.core import mail
from django.test import Client, RequestFactory
from django.utils import timezone

from accounts.choices import Door, Role
from accounts.models import AuditEntry, User
from accounts.permissions import Actor
from accounts.services import create_token, update_profile
from tests.factories import make_person, make_project, run_jobs

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough phrase 7"


def at_provider(address: str, user: Any) -> tuple[Any, SocialLogin]:
    """The request of `user` who comes back from the provider as its person with this verified address."""
    request: Any = RequestFactory().get("/account/sso/oidc/sso/login/callback/")
    request.session = SessionStore()
    request.user = user
    request._messages = FallbackStorage(request)
    app = SocialApp(
        provider="openid_connect", provider_id="sso", name="Example ID", settings={"server_url": ""}
    )
    app.save()
    claims = {"sub": "u-1", "preferred_username": "new", "email": address, "email_verified": True}
    with context.request_context(request):
        provider = OpenIDConnectProvider(request, app=app)
        return request, provider.sociallogin_from_response(request, claims)


def come_by_provider(address: str) -> User:
    """Signs in by the provider; the account as it is then."""
    request, login = at_provider(address, AnonymousUser())
    with context.request_context(request):
        complete_login(request, login, raises=True)
    return User.objects.get(email=address)


def has_password(user: User) -> bool:
    return user.check_password(PASSWORD)


def test_an_address_that_an_operator_wrote_keeps_its_password() -> None:
    root = User.objects.create(username="root", is_superuser=True, is_staff=True)
    paul = User.objects.create_user("paul", "", PASSWORD)
    browser = Client()
    browser.force_login(root)
    form = browser.get(f"/admin/accounts/user/{paul.pk}/change/").context["adminform"].form
    words = {name: value for name, value in form.initial.items() if value not in (None, False)}
    joined = timezone.localtime(paul.date_joined)
    words |= {
        "date_joined_0": joined.date(),
        "date_joined_1": f"{joined:%H:%M:%S}",
        "email": "Paul@example.com",
    }
    answer = browser.post(f"/admin/accounts/user/{paul.pk}/change/", words)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert has_password(come_by_provider("Paul@example.com"))
    assert User.objects.count() == 2


def invited(address: str) -> tuple[str, str]:
    """Invites to the project alpha by its page: the link that the page shows, and the one in the letter."""
    ann = make_person(make_project("alpha"), Role.ADMIN, username="ann")
    browser = Client()
    browser.force_login(ann.user)
    page = browser.post(
        "/projects/alpha/invitations/", {"email": address, "role": "viewer"}, follow=True
    ).content.decode()
    run_jobs()
    links = [re.search(r"http://[^/]+(/invitations/[\w:-]+/)", text) for text in (page, mail.outbox[-1].body)]
    assert links[0] and links[1]
    return links[0][1], links[1][1]


def test_an_address_that_a_letter_reached_keeps_its_password() -> None:
    _, sent = invited("new@example.com")
    assert Client().post(sent, {"username": "new", "password": PASSWORD}).status_code == 302
    assert has_password(come_by_provider("new@example.com"))


def test_by_which_account_of_the_provider_a_person_signs_in_is_on_record() -> None:
    paul = User.objects.create_user("paul", "", PASSWORD)
    request, login = at_provider("paul@example.com", paul)
    with context.request_context(request):
        login.connect(request, paul)
        disconnect(request, login.account)
    rows = AuditEntry.objects.filter(object_type="user").order_by("id")
    assert [(row.verb, row.actor.username, row.after) for row in rows] == [
        ("add_provider_account", "paul", {"uid": "u-1"}),
        ("remove_provider_account", "paul", {"uid": "u-1"}),
    ]


def test_who_joined_by_the_link_on_the_page_does_not_wait_in_the_account_of_who_was_invited() -> None:
    shown, sent = invited("paul@example.com")
    assert shown != sent
    eve = Client()
    assert eve.post(shown, {"username": "eve", "password": PASSWORD}).status_code == 302
    assert eve.get("/projects/alpha/models/").status_code == 200
    paul = come_by_provider("paul@example.com")
    assert (paul.username, paul.has_usable_password()) == ("new", False)


def test_an_address_that_somebody_claimed_loses_its_password_to_its_owner() -> None:
    """Else who typed in another's address would know the password of the account that the owner comes to."""
    eve = User.objects.create_user("eve", "", PASSWORD)
    actor = Actor(user=eve, door=Door.PORTAL)
    update_profile(actor=actor, first_name="", last_name="", email="paul@example.com", password=PASSWORD)
    session = Client()
    session.force_login(eve)
    assert session.get("/settings/profile/").status_code == 200
    _, token = create_token(actor=actor, name="eve's", scopes=["read"])
    program = Client(headers={"Authorization": f"Bearer {token}"})
    assert program.get("/api/v1/me").status_code == 200
    TOTP.activate(eve, generate_totp_secret())
    assert not come_by_provider("paul@example.com").has_usable_password()
    assert session.get("/settings/profile/").status_code == 302
    assert program.get("/api/v1/me").status_code == 401
    assert not Authenticator.objects.filter(user=eve).exists()
