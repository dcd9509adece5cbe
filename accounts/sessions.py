"""Who a session's cookie stands for: each page reads a session and a person, by prepared statements."""

from __future__ import annotations

from typing import Any

from allauth.account.auth_backends import AuthenticationBackend
from django.contrib.sessions.backends import db
from django.utils import timezone

from accounts.models import User
from common import sql

SESSION = "SELECT {s} FROM django_session s WHERE s.session_key = %s AND s.expire_date > %s"
PERSON = "SELECT {u} FROM accounts_user u WHERE u.id = %s AND u.is_active"


class SessionStore(db.SessionStore):
    def _get_session_from_db(self) -> Any:
        model = self.get_model_class()
        found = sql.one(model, sql.expand(SESSION, s=model), [self.session_key, timezone.now()])
        if found is None:
            self._session_key = None
        return found


class SignIn(AuthenticationBackend):
    def get_user(self, user_id: int) -> User | None:
        return sql.one(User, sql.expand(PERSON, u=User), [user_id])
