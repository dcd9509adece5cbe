"""django-allauth as we use it: people are made by an operator, never by signing up."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest

from accounts.audit import record
from accounts.choices import Door
from accounts.models import User
from accounts.permissions import Actor
from accounts.services import leave_to_owner
from common.api.problems import request_id_of


class ClosedSignUp(DefaultAccountAdapter):
    def set_password(self, user: User, password: str) -> None:
        actor = Actor(user=user, door=Door.PORTAL, request_id=request_id_of(self.request))
        with transaction.atomic():
            super().set_password(user, password)
            record(actor, "change_password", "user", user.username)

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False


class SingleSignOn(DefaultSocialAccountAdapter):
    """People of the provider that the operator named."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return bool(settings.OIDC_SIGN_UP)

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Who comes to an account by an address that it only claimed has it alone; its password ends in allauth."""
        by_address = sociallogin.is_existing and sociallogin.account.pk is None
        if by_address and not request.user.is_authenticated:
            addresses = [each.email for each in sociallogin.email_addresses if each.verified]
            actor = Actor(user=sociallogin.user, door=Door.PORTAL, request_id=request_id_of(request))
            leave_to_owner(actor=actor, addresses=addresses)

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        with transaction.atomic():
            user: User = super().save_user(request, sociallogin, form)
            actor = Actor(user=user, door=Door.PORTAL, request_id=request_id_of(request))
            record(actor, "sign_up", "user", user.username, after={"by": settings.OIDC_NAME})
        return user


class SecondFactor(DefaultMFAAdapter):
    """Secrets of authenticator apps lie encrypted in the database."""

    def encrypt(self, text: str) -> str:
        return _box().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _box().decrypt(encrypted_text.encode()).decode()


def _box() -> Fernet:
    """A key of its own, made from the platform's."""
    derived = HKDF(SHA256(), 32, salt=None, info=b"second factor").derive(settings.SECRET_KEY.encode())
    return Fernet(urlsafe_b64encode(derived))
