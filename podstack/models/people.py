"""People, their tokens, and what they are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from podstack.models.base import Answer, mapping, moment, parsed


@dataclass(frozen=True, kw_only=True)
class Me(Answer):
    """Whose token this is; `projects` holds {"slug", "name", "role"}, `token` is None without one."""

    user: Mapping[str, Any] = mapping()
    token: Mapping[str, Any] | None = None
    projects: tuple[Mapping[str, Any], ...] = parsed(tuple, ())
    server: Mapping[str, Any] = mapping()


@dataclass(frozen=True, kw_only=True)
class Invitation(Answer):
    """Somebody who was asked by e-mail to join, and has not yet."""

    id: int = 0
    email: str = ""
    role: str = ""
    created_by: str = ""
    created_at: datetime | None = moment()
    expires_at: datetime | None = moment()


@dataclass(frozen=True, kw_only=True)
class Group(Answer):
    """A group of the project's members, whom policies and protections may name."""

    name: str = ""
    members: list[str] = field(default_factory=list)
    created_at: datetime | None = moment()


@dataclass(frozen=True, kw_only=True)
class Webhook(Answer):
    """An address that is told of what happens in the project; `secret` is there only when it was just made."""

    id: str = ""
    name: str = ""
    url: str = ""
    events: list[str] = field(default_factory=list)
    format: str = "standard"
    is_active: bool = True
    off_reason: str = ""
    secret: str = field(default="", repr=False)
    created_by: str = ""
    created_at: datetime | None = moment()
    updated_at: datetime | None = moment()


@dataclass(frozen=True, kw_only=True)
class WebhookDelivery(Answer):
    """One event for one webhook, and what became of its last attempt: Waiting, Delivered or Failed."""

    message_id: str = ""
    event: str = ""
    payload: dict[str, Any] = mapping()
    state: str = ""
    attempts: int = 0
    created_at: datetime | None = moment()
    tried_at: datetime | None = moment()
    request: str = ""
    status: int | None = None
    response: str = ""
    error: str = ""
    duration_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class Notification(Answer):
    """What you were told; `path` is the portal's page to look at."""

    id: int = 0
    kind: str = ""
    text: str = ""
    path: str = ""
    created_at: datetime | None = moment()
    read_at: datetime | None = moment()


@dataclass(frozen=True, kw_only=True)
class NotificationChoice(Answer):
    """Where one kind of notice reaches you, in all projects."""

    kind: str = ""
    label: str = ""
    inbox: bool = True
    email: bool = False


@dataclass(frozen=True, kw_only=True)
class Member(Answer):
    """A member of the project: viewer, contributor, maintainer or admin."""

    username: str = ""
    role: str = ""
    created_at: datetime | None = moment()


@dataclass(frozen=True, kw_only=True)
class Token(Answer):
    """An API token. `token` is its text, which only `create_token` answers with, once; else empty."""

    name: str = ""
    prefix: str = ""
    scopes: tuple[str, ...] = parsed(tuple, ())
    project: str | None = None
    created_at: datetime | None = moment()
    expires_at: datetime | None = moment()
    last_used_at: datetime | None = moment()
    revoked_at: datetime | None = moment()
    token: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class AuditEntry(Answer):
    """Who did what to which thing; `before` and `after` hold what changed, None where there was nothing."""

    id: int = 0
    at: datetime | None = moment()
    actor: str | None = None
    token_prefix: str = ""
    door: str = ""
    verb: str = ""
    object_type: str = ""
    object_id: str = ""
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    request_id: str = ""
