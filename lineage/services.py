"""Acts on all that depends on a thing: tell the owners, quarantine the versions, release them again."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction
from django.urls import reverse
from django.utils.http import urlencode

from accounts.audit import record
from accounts.choices import Notice, Right
from accounts.models import Project
from accounts.notifications import notify
from accounts.permissions import Actor, require
from common.checks import check_text
from deployments.quarantine import UNDEPLOY, check_decision
from deployments.services import let_go
from lineage.impact import Impact, impact_of, owners_of
from lineage.things import find_things
from registry.quarantine import quarantine_versions, release_versions
from registry.services import version_label

MESSAGE_LENGTH = 1000


@dataclass(frozen=True)
class Quarantine:
    """Which versions were moved, as name/number, and which stayed as they were."""

    versions: tuple[str, ...]
    untouched: int


def notify_owners(*, actor: Actor, project: Project, node: str, message: str) -> list[str]:
    """Tells everybody who owns what depends on the thing; returns their names. For maintainers."""
    require(actor, project, Right.MAINTAIN)
    check_text("message", message, max_length=MESSAGE_LENGTH, required=True)
    impact = impact_of(project, find_things(project, node))
    people = owners_of(impact)
    with transaction.atomic():
        told = f"{_label(impact, node)}: {message}"
        notify(people, Notice.IMPACT, told, project=project, path=impact_path(project, node))
        names = sorted(person.username for person in people)
        record(
            actor,
            "notify_owners",
            "lineage",
            node[:200],
            project=project,
            after={"to": names, "message": message},
        )
    return names


def quarantine_impact(
    *, actor: Actor, project: Project, node: str, reason: str, endpoints: str | None = None
) -> Quarantine:
    """Quarantines every Ready version that depends on the thing: none is promoted or newly deployed until released.

    Those in the trash too: they come back as Quarantined.
    `endpoints` says what becomes of those that serve one: "keep" or "undeploy". It may be left out when none does.
    """
    require(actor, project, Right.MAINTAIN)
    impact = impact_of(project, find_things(project, node))
    with transaction.atomic():
        # First the versions' locks: nobody deploys one between the look at its endpoints and the end.
        moved = quarantine_versions(
            actor=actor,
            project=project,
            version_ids=_all_versions(impact),
            because=_cause(impact, node),
            reason=reason,
        )
        check_decision(endpoints, impact.version_ids)
        if endpoints == UNDEPLOY:
            let_go(actor=actor, project=project, version_ids=impact.version_ids)
    names = tuple(version_label(version) for version in moved)
    return Quarantine(names, len(_all_versions(impact)) - len(names))


def _all_versions(impact: Impact) -> tuple[int, ...]:
    return impact.version_ids + impact.trashed_ids


def release_impact(*, actor: Actor, project: Project, node: str) -> Quarantine:
    """Releases those versions that `quarantine_impact` of the same thing had quarantined."""
    require(actor, project, Right.MAINTAIN)
    impact = impact_of(project, find_things(project, node))
    moved = release_versions(
        actor=actor, project=project, version_ids=_all_versions(impact), because=_cause(impact, node)
    )
    names = tuple(version_label(version) for version in moved)
    return Quarantine(names, len(_all_versions(impact)) - len(names))


def impact_path(project: Project, node: str) -> str:
    """The address of the thing's Impact page."""
    return f"{reverse('lineage:impact', args=[project.slug])}?{urlencode({'node': node})}"


def _cause(impact: Impact, node: str) -> str:
    """How the thing is called in the reason of a quarantine: the same each time, so that a release finds it again.

    Runs and experiments change their names, and several runs may have one.
    """
    of = impact.of[0] if impact.of else None
    return of.id.replace(":", " ") if of and of.kind in ("run", "experiment") else _label(impact, node)


def _label(impact: Impact, node: str) -> str:
    """How people call the thing."""
    if node.startswith("model:") or not impact.of:
        return f"model {node.partition(':')[2]}"
    of = impact.of[0]
    return f"{of.kind} {of.name}" + (f" ({of.id})" if of.kind == "dataset" else "")
