"""The queue's door to the registry: a worker looks at each new version's files."""

from __future__ import annotations

import logging
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from celery import shared_task
from django.utils import timezone

from accounts.permissions import system_actor
from artifacts.errors import StoreFull
from artifacts.services import materialize
from common.errors import Busy
from common.jobs import Again, enqueue, job
from registry import services
from registry.choices import VersionStatus
from registry.models import ModelVersion
from registry.trash import purge_models
from serving.scan import run_limited
from tracking.trash import purge_runs

log = logging.getLogger(__name__)

SCAN_SECONDS = 120
# A full disk is often full of what others are looking at, and storage comes back; after so long an operator has to act.
WAITS_AT_MOST, ROOM_AGAIN_SECONDS, STORAGE_AGAIN_SECONDS = timedelta(hours=1), 60, 5


def _could_not_look(*, error: str, version_id: int) -> None:
    findings = services.Findings(
        status=VersionStatus.QUARANTINED,
        status_reason=f"The files could not be looked at: {error}",
        format="",
        framework="",
        servable=False,
        servable_reason="The files could not be looked at.",
    )
    services.settle_version(actor=system_actor(), version_id=version_id, findings=findings)


@job("registry.inspect_version", max_attempts=3, on_exhausted=_could_not_look, long=True)
def inspect_version(*, version_id: int) -> Again | None:
    """Says what the files are and whether they are safe, in a limited process that never loads them."""
    version = ModelVersion.objects.select_related("manifest").get(pk=version_id)
    if version.status != VersionStatus.PENDING:
        return None
    with tempfile.TemporaryDirectory(prefix="inspect-") as folder:
        files = Path(folder) / "files"
        try:
            materialize(version.manifest, files, links=True)
        except (StoreFull, Busy) as error:
            if timezone.now() - version.created_at > WAITS_AT_MOST:
                raise
            log.warning("The files of version %s are looked at later: %s", version_id, error)
            services.note_waiting(version_id=version_id, reason=error.message)
            return Again(ROOM_AGAIN_SECONDS if isinstance(error, StoreFull) else STORAGE_AGAIN_SECONDS)
        found = run_limited(files, timeout=SCAN_SECONDS)
    findings = _findings(found)
    if found["detected"]:  # a look that was ended by force says nothing about the files
        services.keep_inspection(manifest=version.manifest, findings=findings)
    services.settle_version(actor=system_actor(), version_id=version_id, findings=findings)
    return None


def _findings(found: dict[str, Any]) -> services.Findings:
    clean = found["verdict"] == "clean"
    detected = found["detected"] or {}
    return services.Findings(
        status=VersionStatus.READY if clean else VersionStatus.QUARANTINED,
        status_reason="" if clean else " ".join(found["reasons"])[:5000],
        format=detected.get("format", ""),
        framework=detected.get("framework", ""),
        servable=bool(detected.get("servable")),
        servable_reason=detected.get("reason", "The files could not be recognised."),
        details=found.get("described") or {},
    )


@job("registry.purge_trash", long=True)
def purge_trash() -> None:
    """Makes permanent what lay in the trash long enough."""
    # Models first: a run waits for the versions that came from it.
    purge_models(actor=system_actor())
    purge_runs(actor=system_actor())


@shared_task(name="registry.empty_trash", ignore_result=True)
def empty_trash() -> None:
    """Every few minutes, as a job: it may take longer than the clock waits for an answer."""
    enqueue("registry.purge_trash", key="purge_trash")
