"""django-allauth as we use it: people are made by an operator, never by signing up."""

from __future__ import annotations

from allauth.account.adapter import DefaultAccountAdapter
from django.db import transaction
from django.http import HttpRequest

from accounts.audit import record
from accounts.choices import Door
from accounts.models import User
from accounts.permissions import Actor
from common.api.problems import request_id_of


class ClosedSignUp(DefaultAccountAdapter):
    def set_password(self, user: User, password: str) -> None:
        actor = Actor(user=user, door=Door.PORTAL, request_id=request_id_of(self.request))
        with transaction.atomic():
            super().set_password(user, password)
            record(actor, "change_password", "user", user.username)

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False
