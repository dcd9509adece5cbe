"""The audit trail's one pen: every verb writes its entry in its own transaction.

The same statement gives the entry to the project's webhooks, so that none is told of what did not happen, and none
misses what did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from accounts.models import Project
from accounts.permissions import Actor
from common import sql
from common.errors import DomainError

# What concerns people and single runs goes only to webhooks that name it.
NOT_BY_ITSELF = ("token", "member", "user", "webhook", "run", "experiment", "request")
RECORD = f"""
    entry AS (
        INSERT INTO accounts_auditentry
            (at, project_id, actor_id, token_prefix, door, verb, object_type, object_id, before, after, request_id)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        RETURNING id, at, project_id, door, verb, object_type, object_id, before, after, request_id,
                  object_type || '.' || verb AS event
    ), told AS (
        INSERT INTO accounts_webhookdelivery
            (webhook_id, message_id, event, payload, state, attempts, created_at, request, response, error)
        SELECT w.id, 'msg_' || replace(gen_random_uuid()::text, '-', ''), e.event,
               jsonb_build_object(
                   'type', e.event,
                   'timestamp', {sql.TIME.format("e.at")},
                   'data', jsonb_build_object(
                       'project', %s::text, 'actor', %s::text, 'door', e.door, 'object_type', e.object_type,
                       'object_id', e.object_id, 'before', e.before, 'after', e.after, 'request_id', e.request_id
                   )
               ), 'Waiting', 0, now(), '', '', ''
        FROM entry e JOIN accounts_webhook w ON w.project_id = e.project_id AND w.is_active
        WHERE CASE WHEN w.events = '{{}}' THEN e.object_type <> ALL (%s)
              ELSE e.event = ANY (w.events) OR e.object_type || '.*' = ANY (w.events) END
        RETURNING id
    ), queued AS (
        INSERT INTO common_job (name, kwargs, key, state, run_after, fence, attempts, error, created_at)
        SELECT 'accounts.deliver_webhook', jsonb_build_object('delivery_id', told.id), '', 'queued', now(), 0, 0,
               '', now()
        FROM told
    )
"""  # noqa: S608


def record(
    actor: Actor,
    verb: str,
    object_type: str,
    object_id: str,
    *,
    project: Project | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    along: Sequence[sql.Step] = (),
) -> sql.Row:
    """Writes who did `verb` to which object; `before` and `after` hold what changed, as JSON values.

    `along`: the verb's own last steps, done by the same statement; answers the id that each gave, or None.
    """
    found = sql.rows(
        _recording(tuple(step.statement for step in along)),
        [
            *sql.params_of(along),
            timezone.now(),
            None if project is None else project.pk,
            actor.user.pk,
            actor.token.prefix if actor.token else "",
            str(actor.door),
            verb,
            object_type,
            object_id[:300],
            _json(before),
            _json(after),
            actor.request_id,
            "" if project is None else project.slug,
            actor.user.username,
            list(NOT_BY_ITSELF),
        ],
    )
    return found[0]


@cache
def _recording(steps: tuple[str, ...]) -> str:
    """The entry after these steps, in one statement."""
    before, ids = (f"{sql.clauses(steps)},", sql.ids(len(steps))) if steps else ("", "id")
    return f"WITH {before} {RECORD} SELECT {ids} FROM entry"  # noqa: S608


def record_refusal(actor: Actor, project: Project, what: str, error: DomainError) -> None:
    """Writes that a member was refused, in a transaction of its own: the verb's is gone.

    `what` may hold anything that an address can, also what no column holds.
    """
    with transaction.atomic():
        record(
            actor,
            "refuse",
            "request",
            what.replace("\0", "%00"),
            project=project,
            after={"code": error.code, "message": error.message},
        )


def _json(value: Mapping[str, Any] | None) -> Any:
    return None if value is None else connection.ops.adapt_json_value(dict(value), None)
