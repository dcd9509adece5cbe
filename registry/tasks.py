"""The queue's door to the registry: a worker looks at each new version's files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from accounts.permissions import system_actor
from artifacts.services import materialize
from common.jobs import job
from registry import services
from registry.choices import VersionStatus
from registry.models import ModelVersion
from serving.scan import run_limited

SCAN_SECONDS = 120


def _could_not_look(*, error: str, version_id: int) -> None:
    services.settle_version(
        actor=system_actor(),
        version_id=version_id,
        status=VersionStatus.QUARANTINED,
        reason=f"The files could not be looked at: {error}",
        format="",
        framework="",
        servable=False,
        servable_reason="The files could not be looked at.",
    )


@job("registry.inspect_version", max_attempts=3, on_exhausted=_could_not_look)
def inspect_version(*, version_id: int) -> None:
    """Says what the files are and whether they are safe, in a limited process that never loads them."""
    version = ModelVersion.objects.select_related("manifest").get(pk=version_id)
    if version.status != VersionStatus.PENDING:
        return
    with tempfile.TemporaryDirectory(prefix="inspect-") as folder:
        files = Path(folder) / "files"
        materialize(version.manifest, files)
        found = run_limited(files, timeout=SCAN_SECONDS)
    services.settle_version(actor=system_actor(), version_id=version_id, **_verdict(found))


def _verdict(found: dict[str, Any]) -> dict[str, Any]:
    clean = found["verdict"] == "clean"
    detected = found["detected"] or {}
    return {
        "status": VersionStatus.READY if clean else VersionStatus.QUARANTINED,
        "reason": "" if clean else " ".join(found["reasons"])[:5000],
        "format": detected.get("format", ""),
        "framework": detected.get("framework", ""),
        "servable": bool(detected.get("servable")),
        "servable_reason": detected.get("reason", "The files could not be recognised."),
    }
