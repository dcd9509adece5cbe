"""Sign-ins in the audit trail: Django and allauth tell of them by signals alone."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added, authenticator_removed, authenticator_reset
from allauth.socialaccount.models import SocialAccount, SocialLogin
from allauth.socialaccount.signals import social_account_added, social_account_removed
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from accounts.audit import record
from accounts.choices import Door
from accounts.models import User
from accounts.permissions import Actor, system_actor
from common.api.problems import request_id_of


@receiver(user_logged_in)
def note_sign_in(request: HttpRequest, user: User, **more: Any) -> None:
    record(_actor(request, user), "sign_in", "user", user.username)


@receiver(user_logged_out)
def note_sign_out(request: HttpRequest, user: User | None, **more: Any) -> None:
    if user is not None:
        record(_actor(request, user), "sign_out", "user", user.username)


@receiver(user_login_failed)
def note_failure(credentials: dict[str, Any], **more: Any) -> None:
    """By which name somebody tried; the password is no part of it."""
    named = credentials.get("username") or credentials.get("email") or credentials.get("login") or ""
    record(
        system_actor(Door.PORTAL), "refuse_sign_in", "user", "".join(c for c in str(named) if c.isprintable())
    )


@receiver(authenticator_added)
def note_factor(request: HttpRequest, user: User, authenticator: Authenticator, **more: Any) -> None:
    record(_actor(request, user), "add_second_factor", "user", user.username, after=_kind(authenticator))


@receiver(authenticator_removed)
def note_factor_gone(request: HttpRequest, user: User, authenticator: Authenticator, **more: Any) -> None:
    record(_actor(request, user), "remove_second_factor", "user", user.username, before=_kind(authenticator))


@receiver(authenticator_reset)
def note_new_codes(request: HttpRequest, user: User, authenticator: Authenticator, **more: Any) -> None:
    record(_actor(request, user), "renew_second_factor", "user", user.username, after=_kind(authenticator))


@receiver(social_account_added)
def note_account(request: HttpRequest, sociallogin: SocialLogin, **more: Any) -> None:
    _note_of_provider(request, "add_provider_account", sociallogin.account)


@receiver(social_account_removed)
def note_account_gone(request: HttpRequest, socialaccount: SocialAccount, **more: Any) -> None:
    _note_of_provider(request, "remove_provider_account", socialaccount)


def _note_of_provider(request: HttpRequest, verb: str, account: SocialAccount) -> None:
    """By which account of the provider the person signs in from now on, or no more."""
    record(_actor(request, account.user), verb, "user", account.user.username, after={"uid": account.uid})


def _kind(authenticator: Authenticator) -> dict[str, str]:
    return {"kind": str(authenticator.type)}


def _actor(request: HttpRequest, user: User) -> Actor:
    door = Door.ADMIN if request.path.startswith("/admin/") else Door.PORTAL
    return Actor(user=user, door=door, request_id=request_id_of(request))
