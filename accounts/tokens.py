"""The text of an API token, `podstack_<prefix>_<secret>`: only the secret's SHA-256 is ever kept."""

from __future__ import annotations

import hashlib
import hmac
import re

from common.errors import Unauthenticated

TOKEN = re.compile(r"podstack_([a-z0-9]{8})_([A-Za-z0-9_-]{43})")


def parse_token(text: str) -> tuple[str, str]:
    """Prefix and secret, or Unauthenticated."""
    match = TOKEN.fullmatch(text)
    if match is None:
        raise Unauthenticated(
            "The API token is malformed: it must look like podstack_<prefix>_<secret>.",
            "Copy it again, or make a new one.",
            code="token_malformed",
        )
    return match[1], match[2]


def hash_secret(secret: str) -> str:
    """What the database keeps of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_secret(secret: str, kept: str) -> bool:
    """Whether `kept` is this secret's hash, told in the same time whichever it is."""
    return hmac.compare_digest(kept, hash_secret(secret))


def token_refused() -> Unauthenticated:
    """Which of the three it is, a stranger does not learn."""
    return Unauthenticated(
        "The API token is unknown, expired or revoked.", "Make a new one.", code="token_refused"
    )
