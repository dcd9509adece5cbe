"""Quarantine by people: versions that must not be promoted or newly deployed, for a reason, until it is gone."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from accounts.audit import record
from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from common.checks import check_text
from common.errors import Conflict
from registry.choices import VersionStatus
from registry.locks import lock_named_version
from registry.models import ModelVersion
from registry.services import version_label

REASON_LENGTH = 2000


def quarantine_version(
    *, actor: Actor, project: Project, model_name: str, ref: str | int, reason: str
) -> ModelVersion:
    """Quarantines a Ready version. What serves goes on serving: `deployments.quarantine` asks about that."""
    require(actor, project, Right.MAINTAIN)
    check_text("reason", reason, max_length=REASON_LENGTH, required=True)
    with transaction.atomic():
        version = lock_named_version(project, model_name, ref)
        if version.status != VersionStatus.READY:
            raise Conflict(f"Version {version.number} is {version.status}; only a Ready one is quarantined.")
        saying = f"Quarantined by {actor.user.username}: {reason}"
        return _move(
            actor, project, [version.pk], VersionStatus.READY, VersionStatus.QUARANTINED, "", saying
        )[0]


def quarantine_versions(
    *, actor: Actor, project: Project, version_ids: Sequence[int], because: str, reason: str
) -> list[ModelVersion]:
    """Quarantines those of these versions that are Ready; `because` names the common cause.

    Returns those that it quarantined. What serves goes on serving: undeploying is another decision.
    """
    require(actor, project, Right.MAINTAIN)
    check_text("reason", reason, max_length=REASON_LENGTH, required=True)
    sentence = _sentence(because, reason)
    return _move(actor, project, version_ids, VersionStatus.READY, VersionStatus.QUARANTINED, "", sentence)


def release_versions(
    *, actor: Actor, project: Project, version_ids: Sequence[int], because: str
) -> list[ModelVersion]:
    """Releases those of these versions that were quarantined for this cause; others stay where they are."""
    require(actor, project, Right.MAINTAIN)
    return _move(
        actor,
        project,
        version_ids,
        VersionStatus.QUARANTINED,
        VersionStatus.READY,
        _sentence(because, ""),
        "",
    )


def _sentence(because: str, reason: str) -> str:
    return f"Quarantined because of {because}: {reason}"


def _move(
    actor: Actor,
    project: Project,
    version_ids: Sequence[int],
    old: VersionStatus,
    new: VersionStatus,
    said: str,
    saying: str,
) -> list[ModelVersion]:
    """Moves those that are `old`, whose reason begins with `said`, to `new`."""
    with transaction.atomic():
        # What lies in the trash too: it comes back as it is.
        rows = ModelVersion.objects.filter(
            pk__in=version_ids, model__project=project, status=old, status_reason__startswith=said
        )
        versions = list(
            rows.select_related("model").select_for_update(of=("self",), no_key=True).order_by("pk")
        )
        for version in versions:
            before = {"status": version.status, "reason": version.status_reason}
            version.status, version.status_reason = new, saying
            version.updated_at = timezone.now()
            version.save(update_fields=["status", "status_reason", "updated_at"])
            record(
                actor,
                "quarantine_version" if new == VersionStatus.QUARANTINED else "release_version",
                "version",
                version_label(version),
                project=project,
                before=before,
                after={"status": new, "reason": saying},
            )
    return versions
