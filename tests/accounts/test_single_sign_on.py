"""Who comes by the provider to an account that was there: whose password stays good, and whose does not."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.core import context
from allauth.socialaccount.internal.flows.login import complete_login
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client, RequestFactory
from django.utils import timezone

from accounts import invitations
from accounts.choices import Door
from accounts.models import User
from accounts.permissions import Actor
from accounts.services import update_profile
from tests.factories import make_person, make_project

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough phrase 7"


def come_by_provider(address: str) -> User:
    """Signs in as the provider's person with this verified address; the account as it is then."""
    request: Any = RequestFactory().get("/account/sso/oidc/sso/login/callback/")
    request.session = SessionStore()
    request.user = AnonymousUser()
    request._messages = FallbackStorage(request)
    app = SocialApp(
        provider="openid_connect", provider_id="sso", name="Example ID", settings={"server_url": ""}
    )
    app.save()
    claims = {"sub": "u-1", "preferred_username": "new", "email": address, "email_verified": True}
    with context.request_context(request):
        provider = OpenIDConnectProvider(request, app=app)
        complete_login(request, provider.sociallogin_from_response(request, claims), raises=True)
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


def test_an_address_that_a_letter_reached_keeps_its_password() -> None:
    ann = make_person(make_project("alpha"), username="ann")
    made = invitations.invite(actor=ann.actor, project=ann.project, email="new@example.com", role="viewer")
    invitations.join(
        link=invitations.link_of(made).rstrip("/").rpartition("/")[2], username="new", password=PASSWORD
    )
    assert has_password(come_by_provider("new@example.com"))


def test_an_address_that_somebody_claimed_loses_its_password_to_its_owner() -> None:
    """Else who typed in another's address would know the password of the account that the owner comes to."""
    eve = User.objects.create_user("eve", "", PASSWORD)
    actor = Actor(user=eve, door=Door.PORTAL)
    update_profile(actor=actor, first_name="", last_name="", email="paul@example.com", password=PASSWORD)
    session = Client()
    session.force_login(eve)
    assert session.get("/settings/profile/").status_code == 200
    assert not come_by_provider("paul@example.com").has_usable_password()
    assert session.get("/settings/profile/").status_code == 302
