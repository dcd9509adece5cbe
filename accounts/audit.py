"""The audit trail's one pen: every verb writes its entry in its own transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accounts.models import AuditEntry, Project
from accounts.permissions import Actor
from common import sql


def record(
    actor: Actor,
    verb: str,
    object_type: str,
    object_id: str,
    *,
    project: Project | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Writes who did `verb` to which object; `before` and `after` hold what changed, as JSON values."""
    entry = AuditEntry(
        project=project,
        actor=actor.user,
        token_prefix=actor.token.prefix if actor.token else "",
        door=actor.door,
        verb=verb,
        object_type=object_type,
        object_id=object_id[:300],
        before=dict(before) if before is not None else None,
        after=dict(after) if after is not None else None,
        request_id=actor.request_id,
    )
    sql.insert(entry)
