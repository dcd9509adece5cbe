"""What depends on a thing: versions, aliases, live endpoints, and whose they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

from accounts.models import Project, User
from deployments.models import Deployment, DeploymentRevision
from lineage.graph import Node, Thing, described
from lineage.links import steps
from registry.models import Alias, ModelVersion
from registry.trash import in_trash

MOST_REACHED = 50_000
MOST_SHOWN = 500


@dataclass(frozen=True)
class Owner:
    """A person, and how many of the versions and endpoints are theirs."""

    username: str
    versions: int
    endpoints: int


@dataclass(frozen=True)
class Impact:
    """What depends on `of`; the lists hold at most 500 each, the counts all. `truncated`: there is still more.

    `trashed_ids` are versions that can still come back from the trash; nothing else tells of them.
    """

    of: tuple[Node, ...]
    counts: dict[str, int]
    versions: tuple[Node, ...]
    aliases: tuple[Node, ...]
    endpoints: tuple[Node, ...]
    owners: tuple[Owner, ...]
    version_ids: tuple[int, ...]
    trashed_ids: tuple[int, ...]
    truncated: bool


def impact_of(project: Project, things: Sequence[Thing]) -> Impact:
    """Everything downstream; a version depends on itself. Of deleted things only `trashed_ids` tells."""
    reached, truncated = _reached(things)
    known = ModelVersion.objects.filter(
        pk__in=[key for kind, key in reached if kind == "version"], model__project=project
    )
    versions = list(known.alive().order_by("-created_at", "-pk").values_list("pk", flat=True))
    endpoints = _live_endpoints(project, versions)
    aliases = Alias.objects.filter(version__in=versions).values_list("pk", flat=True)
    named = {
        "version": [("version", pk) for pk in versions],
        "alias": [("alias", pk) for pk in aliases],
        "endpoint": [("endpoint", pk) for pk in endpoints],
    }
    shown = {kind: tuple(described(project, each[:MOST_SHOWN]).values()) for kind, each in named.items()}
    return Impact(
        of=tuple(described(project, things).values()),
        counts={
            **{f"{kind}s" if kind != "alias" else "aliases": len(each) for kind, each in named.items()},
            "runs": sum(kind == "run" for kind, _ in reached),
        },
        versions=shown["version"],
        aliases=shown["alias"],
        endpoints=shown["endpoint"],
        owners=_owners(versions, endpoints),
        version_ids=tuple(versions),
        trashed_ids=tuple(known.filter(pk__in=in_trash()).order_by("pk").values_list("pk", flat=True)),
        truncated=truncated,
    )


def owners_of(impact: Impact) -> list[User]:
    """The people whom it concerns."""
    return list(User.objects.filter(username__in=[owner.username for owner in impact.owners], is_active=True))


def _reached(things: Sequence[Thing]) -> tuple[list[Thing], bool]:
    statement = f"""
        WITH RECURSIVE walk (kind, id) AS (
            SELECT kind, id FROM unnest(%s::text[], %s::bigint[]) s (kind, id)
            UNION
            SELECT n.kind, n.id FROM walk w CROSS JOIN LATERAL ({steps(True, None)}) n
        )
        SELECT kind, id FROM walk LIMIT %s
    """  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(
            statement, [[kind for kind, _ in things], [key for _, key in things], MOST_REACHED + 1]
        )
        rows: list[Thing] = [(kind, key) for kind, key in cursor]
    return rows[:MOST_REACHED], len(rows) > MOST_REACHED


def _live_endpoints(project: Project, versions: Sequence[int]) -> list[int]:
    """Endpoints whose wanted or answering revision has one of these versions: earlier revisions do not count."""
    revisions = DeploymentRevision.objects.filter(version__in=versions)
    rows = Deployment.objects.alive().filter(project=project)
    wanted = rows.filter(wanted_revision__in=revisions)
    serving = rows.filter(serving_revision__in=revisions)
    return sorted({*wanted.values_list("pk", flat=True), *serving.values_list("pk", flat=True)})


def _owners(versions: Sequence[int], endpoints: Sequence[int]) -> tuple[Owner, ...]:
    made = ModelVersion.objects.filter(pk__in=versions).values_list("created_by__username", flat=True)
    deployed = Deployment.objects.filter(pk__in=endpoints).values_list("created_by__username", flat=True)
    by_version, by_endpoint = Counter(made), Counter(deployed)
    names = sorted({*by_version, *by_endpoint}, key=lambda n: (-by_version[n] - by_endpoint[n], n))
    return tuple(Owner(name, by_version[name], by_endpoint[name]) for name in names)
