"""Answers to POSTs that carried an Idempotency-Key: the same key gets the same answer for a day."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from common.errors import Conflict
from common.models import IdempotentAnswer

KEEP = timedelta(days=1)


@dataclass(frozen=True)
class Question:
    """One POST as its sender identified it: `fingerprint` covers path and body."""

    owner: str
    key: str
    fingerprint: str


def ask(owner: str, key: str, path: str, body: bytes) -> Question:
    """The question's identity; two questions under one key must be the same."""
    digest = hashlib.sha256(path.encode() + b"\0" + body).hexdigest()
    return Question(owner, key, digest)


def wait_for_turn(question: Question) -> None:
    """Until the transaction ends, nobody else works on this owner's key; the next then finds what was answered."""
    with connection.cursor() as cursor:
        name = f"answer {question.owner} {question.key}"
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])


def earlier(question: Question) -> IdempotentAnswer | None:
    """What was answered before under this key; Conflict when that was another question."""
    found = IdempotentAnswer.objects.filter(owner=question.owner, key=question.key).first()
    if found is not None and found.fingerprint != question.fingerprint:
        raise Conflict(
            "This Idempotency-Key was used before with another request.",
            "Use a new key for a new request.",
            code="idempotency_key_reused",
        )
    return found


def remember(question: Question, status: int, body: Any) -> None:
    """Stores the answer, in the transaction that did what was asked."""
    IdempotentAnswer.objects.create(
        owner=question.owner,
        key=question.key,
        fingerprint=question.fingerprint,
        status=status,
        body=body,
    )


def prune() -> int:
    """Removes answers older than a day."""
    return IdempotentAnswer.objects.filter(created_at__lt=timezone.now() - KEEP).delete()[0]
