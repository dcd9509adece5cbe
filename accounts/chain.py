"""The chain of hashes over the audit trail: what the database seals at each commit, and whether it still holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from accounts.models import Project
from common import sql

CONTENT = """jsonb_build_array(
    e.id, to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), e.project_id, e.actor_id, e.token_prefix,
    e.door, e.verb, e.object_type, e.object_id, e.before, e.after, e.request_id)::text"""
LINKS = f"""
    SELECT s.chain, s.position, e.id,
           s.position - lag(s.position, 1, 0) OVER way AS step,
           e.id IS NOT NULL AND s.hash = encode(sha256(convert_to(
               lag(s.hash, 1, '') OVER way || {CONTENT}, 'UTF8')), 'hex') AS holds
    FROM accounts_auditseal s LEFT JOIN accounts_auditentry e
      ON e.id = s.entry_id AND coalesce(e.project_id, 0) = s.chain
    WHERE (%s::bigint IS NULL OR s.chain = %s)
    WINDOW way AS (PARTITION BY s.chain ORDER BY s.position)
"""  # noqa: S608
BROKEN = f"SELECT chain, position, id, step, holds FROM ({LINKS}) links WHERE step <> 1 OR NOT holds"  # noqa: S608
UNSEALED = """
    SELECT e.id, coalesce(e.project_id, 0) FROM accounts_auditentry e
    WHERE NOT EXISTS (SELECT 1 FROM accounts_auditseal s WHERE s.entry_id = e.id)
      AND (%s::bigint IS NULL OR coalesce(e.project_id, 0) = %s) ORDER BY e.id
"""
HEADS = """
    SELECT DISTINCT ON (chain) chain, position, hash FROM accounts_auditseal
    WHERE (%s::bigint IS NULL OR chain = %s) ORDER BY chain, position DESC
"""
AT = "SELECT hash FROM accounts_auditseal WHERE chain = %s AND position = %s"


@dataclass(frozen=True)
class Head:
    """The last link of a chain: who keeps it elsewhere can tell later that nothing before it was changed or cut."""

    chain: str
    position: int
    hash: str

    def __str__(self) -> str:
        return f"{self.chain}:{self.position}:{self.hash}"


def faults(project: Project | None = None) -> Iterator[str]:
    """A sentence for each link that does not hold, of one project or of all; nothing when all is as it was."""
    names = _names()
    asked = [None if project is None else project.pk] * 2
    for chain, position, entry_id, step, holds in sql.rows(BROKEN, asked):
        where = f"{names.get(chain, chain)}, position {position}"
        if step != 1:
            yield f"{where}: {step - 1} links before it are missing; entries were removed."
        if entry_id is None:
            yield f"{where}: its entry is missing; it was removed or moved to another project."
        elif not holds:
            yield f"{where}: entry {entry_id}, or the link before it, was changed."
    for entry_id, chain in sql.rows(UNSEALED, asked):
        yield f"{names.get(chain, chain)}: entry {entry_id} has no link; it was inserted past the platform."


def heads(project: Project | None = None) -> list[Head]:
    """The last link of each chain; the chain of entries of no project is called "-"."""
    names = _names()
    asked = [None if project is None else project.pk] * 2
    return [Head(str(names.get(chain, chain)), at, digest) for chain, at, digest in sql.rows(HEADS, asked)]


def still_holds(head: Head) -> bool:
    """Whether a head that was kept elsewhere is still a link of its chain."""
    chains = {name: chain for chain, name in _names().items()}
    found = sql.row(AT, [chains.get(head.chain, -1), head.position])
    return found is not None and found[0] == head.hash


def _names() -> dict[int, str]:
    return {0: "-", **dict(Project.objects.values_list("pk", "slug"))}
