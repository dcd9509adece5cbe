"""Django's sessions in the database, read by a prepared statement: every page reads one."""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.backends import db
from django.utils import timezone

from common import sql

READ = "SELECT {s} FROM django_session s WHERE s.session_key = %s AND s.expire_date > %s"


class SessionStore(db.SessionStore):
    def _get_session_from_db(self) -> Any:
        model = self.get_model_class()
        found = sql.one(model, sql.expand(READ, s=model), [self.session_key, timezone.now()])
        if found is None:
            self._session_key = None
        return found
