"""The second factor: kept encrypted, asked for by every door with a password, removed by operators."""

from __future__ import annotations

from typing import Any

import pyotp
import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import AuditEntry, User

pytestmark = pytest.mark.django_db
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
PASSWORD = "a long enough secret"


@pytest.fixture
def ann() -> User:
    user: User = User.objects.create_user("ann", password=PASSWORD, is_staff=True, is_superuser=True)
    TOTP.activate(user, SECRET)
    return user


def test_the_secret_lies_encrypted(ann: User) -> None:
    factor = Authenticator.objects.get()
    assert SECRET not in str(factor.data)
    assert TOTP(factor).validate_code(pyotp.TOTP(SECRET).now())


def test_a_password_alone_opens_nothing(ann: User) -> None:
    client = Client()
    answer = client.post("/account/login/", {"login": "ann", "password": PASSWORD})
    assert answer.status_code == 302
    assert "/2fa/authenticate/" in answer.url
    assert client.get("/settings/profile/").status_code == 302
    assert client.get("/admin/").status_code == 302
    wrong = client.post("/account/2fa/authenticate/", {"code": "000000"})
    assert "Incorrect code" in wrong.content.decode()
    right = client.post("/account/2fa/authenticate/", {"code": pyotp.TOTP(SECRET).now()})
    assert right.status_code == 302
    assert client.get("/admin/").status_code == 200


def test_the_admin_has_no_door_of_its_own(ann: User) -> None:
    client = Client()
    answer = client.post("/admin/login/?next=/admin/", {"username": "ann", "password": PASSWORD})
    assert answer.status_code == 302
    assert "/account/login/" in answer.url
    assert client.get("/admin/").status_code == 302


def test_an_operator_sees_no_secret_and_removes_a_lost_factor(ann: User) -> None:
    root = User.objects.create_user("root", password="!", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(root)
    factor = Authenticator.objects.get()
    page = client.get(f"/admin/mfa/authenticator/{factor.pk}/change/").content.decode()
    assert str(factor.data["secret"]) not in page
    assert client.post("/admin/mfa/authenticator/add/").status_code == 403
    act = {"action": "remove", "_selected_action": [factor.pk]}
    assert client.post("/admin/mfa/authenticator/", act).status_code == 302
    assert not Authenticator.objects.exists()
    entry = AuditEntry.objects.get(verb="remove_second_factor")
    assert (entry.actor.username, entry.object_id, entry.door) == ("root", "ann", "admin")


def test_staff_who_only_look_remove_nobodys_factor(ann: User) -> None:
    sue = User.objects.create_user("sue", password="!", is_staff=True)
    sue.user_permissions.add(Permission.objects.get(codename="view_authenticator"))
    client = Client()
    client.force_login(sue)
    act = {"action": "remove", "_selected_action": [Authenticator.objects.get().pk]}
    page = client.post("/admin/mfa/authenticator/", act, follow=True).content.decode()
    assert "Only an operator may remove the second factor of ann." in page
    assert Authenticator.objects.exists() and not AuditEntry.objects.filter(verb="remove_second_factor")


def test_setting_up_stands_in_the_trail(ann: User, django_capture_on_commit_callbacks: Any) -> None:
    Authenticator.objects.all().delete()
    client = Client()
    client.post("/account/login/", {"login": "ann", "password": PASSWORD})
    client.post("/account/reauthenticate/", {"password": PASSWORD})  # who sets it up says the password again
    page = client.get("/account/2fa/totp/activate/").content.decode()
    secret = page.split('id="authenticator_secret"')[1].split('value="')[1].split('"')[0]
    with django_capture_on_commit_callbacks(execute=True):
        answer = client.post("/account/2fa/totp/activate/", {"code": pyotp.TOTP(secret).now()})
    assert answer.status_code == 302
    kinds = AuditEntry.objects.filter(verb="add_second_factor").values_list("after__kind", flat=True)
    assert set(kinds) >= {"totp"}


def test_without_a_provider_there_is_no_button(ann: User) -> None:
    assert "Sign in with" not in Client().get("/account/login/").content.decode()
