"""Public identifiers: a readable prefix and 12 letters or digits of randomness (62 bits)."""

from __future__ import annotations

import secrets

ALPHABET = "0123456789abcdefghijkmnpqrstuvwxyz"


def new_id(prefix: str) -> str:
    """`new_id("run")` -> "run-4k2m9x…"."""
    return f"{prefix}-" + "".join(secrets.choice(ALPHABET) for _ in range(12))
