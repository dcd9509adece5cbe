"""Who asks, and whether they may: the rules of accounts.permissions for a bearer token and one project."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from weakref import WeakValueDictionary

from accounts.choices import Right
from accounts.rights import (
    ROLE_RIGHTS,
    no_project,
    only_its_run,
    role_too_low,
    scope_missing,
    scopes_allow,
)
from accounts.tokens import hash_secret, parse_token, token_refused
from common.errors import Unauthenticated
from gateway.cache import Cache
from gateway.database import Away, Database
from gateway.room import Places

# As the REST API notes it, see accounts.services.
LAST_USE_EVERY = timedelta(minutes=1)
READ = """
    SELECT t.id, u.id, t.secret_hash, t.scopes, t.only_run, t.expires_at, t.last_used_at,
           CASE WHEN t.project_id IS NULL OR t.project_id = p.id THEN m.role END
    FROM accounts_apitoken t
    JOIN accounts_user u ON u.id = t.user_id AND u.is_active
    LEFT JOIN accounts_project p ON p.slug = %s
    LEFT JOIN accounts_membership m ON m.project_id = p.id AND m.user_id = u.id
    WHERE t.prefix = %s AND t.revoked_at IS NULL
"""
NOTE_USE = "UPDATE accounts_apitoken SET last_used_at = now() WHERE id = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Access:
    """What a token may do in one project: the user's role there, or None, and the token's own limits."""

    user_id: int
    role: str | None
    scopes: Sequence[str]
    only_run: str
    expires_at: datetime | None
    places: Places

    def check(self, slug: str) -> None:
        """Raises what the REST API would."""
        if self.expires_at is not None and datetime.now(UTC) >= self.expires_at:
            raise token_refused()
        if self.role is None:
            raise no_project(slug)
        if self.only_run:
            raise only_its_run(self.only_run)
        if not scopes_allow(self.scopes, Right.PREDICT):
            raise scope_missing(self.scopes, Right.PREDICT)
        if Right.PREDICT not in ROLE_RIGHTS[self.role]:
            raise role_too_low(self.role, slug, Right.PREDICT)


@dataclass(frozen=True, slots=True)
class Claim:
    """A token as it was sent, for one project. What is kept of its secret is the hash."""

    prefix: str
    secret_hash: str
    slug: str


class Accesses:
    """Tokens' rights, kept until the database says that the user's changed."""

    def __init__(self, database: Database, most_at_once: int) -> None:
        self._database, self._most_at_once = database, most_at_once
        self._cache: Cache[Claim, Access] = Cache(database, self._read)
        self._used: set[int] = set()
        # Kept by what was read of a person, and by their requests: a new read counts on.
        self._places: WeakValueDictionary[int, Places] = WeakValueDictionary()

    async def check(self, authorization: bytes, slug: str) -> Places:
        """The places of who asks. Raises Unauthenticated, Denied or Missing to who may not ask the project's endpoints."""
        prefix, secret = parse_token(_bearer(authorization))
        claim = Claim(prefix, hash_secret(secret), slug)
        access = self._cache.known(claim) or await self._cache.get(claim)
        if access is None:
            raise token_refused()
        access.check(slug)
        return access.places

    def changed(self, payload: str) -> None:
        """The database's news: the user whose tokens, roles or account changed."""
        self._cache.forget(lambda _, access: str(access.user_id) == payload)

    async def note_uses(self) -> None:
        """Write which tokens were used; what cannot be written now is written later."""
        used, self._used = self._used, set()
        if used:
            try:
                await self._database.rows(NOTE_USE, [list(used)])
            except Away:
                self._used |= used

    async def _read(self, claim: Claim) -> Access | None:
        found = await self._database.rows(READ, [claim.slug, claim.prefix])
        if not found or not hmac.compare_digest(found[0][2], claim.secret_hash):
            return None
        token_id, user_id, _, scopes, only_run, expires_at, last_used_at, role = found[0]
        if last_used_at is None or datetime.now(UTC) - last_used_at > LAST_USE_EVERY:
            self._used.add(token_id)
        places = self._places.setdefault(user_id, Places(self._most_at_once))
        return Access(user_id, role, tuple(scopes), only_run, expires_at, places)


def _bearer(authorization: bytes) -> str:
    scheme, _, text = authorization.decode("latin-1").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated(
            "This needs an API token.", "Send it in the header Authorization: Bearer podstack_…"
        )
    return text.strip()
