"""The folders of model files that engines read: brought by jobs of their own, removed when no revision needs them.

A folder is called by its manifest's digest, and all revisions of the same files share it. Who starts a service says so by
`is_there`, who removes a folder looks under the same lock whether a revision needs it: so a folder that a deployment
found is never removed under it. A draft, which has a dot before its name, is being brought or removed.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction

from artifacts.errors import StoreFull
from artifacts.models import Manifest
from artifacts.services import beside, is_materialized, materialize
from common.jobs import LEASE, enqueue
from common.models import Job, JobState
from common.pacing import now_and_then
from deployments.models import Deployment, DeploymentRevision
from deployments.queries import ENDED, live_revisions
from deployments.wanting import look_soon

log = logging.getLogger(__name__)

BRINGING = "Its files are being brought."
LOOK_EVERY = 5.0  # seconds between two looks whether anybody still wants what is being brought
LEFT_AFTER = timedelta(hours=1)  # a draft to which nothing was written for so long is a dead worker's
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('model folder ' || %s, 0))"


class CannotBring(Exception):
    """Why the files cannot come, in words for the endpoint's people, without a full stop."""


class _Unwanted(Exception):
    """No revision needs the files any more."""


def folder_of(manifest: Manifest) -> Path:
    """Where the files are, or are to be."""
    return Path(settings.SERVING_MODELS_DIR) / manifest.digest


def is_there(manifest: Manifest) -> bool:
    """Whether the folder is there whole. For a revision that has not ended it stays from now on."""
    with transaction.atomic():
        _lock(manifest.digest)
        return is_materialized(manifest, folder_of(manifest))


def bring_soon(manifest: Manifest) -> str:
    """Has a worker bring the files, unless one does; how that stands, in a sentence."""
    key = f"bring-files:{manifest.pk}"
    job = Job.objects.filter(key=key, state__in=(JobState.QUEUED, JobState.RUNNING)).first()
    if job is None:
        enqueue("deployments.bring_files", key=key, manifest_id=manifest.pk)
    if job is None or not job.error:
        return BRINGING
    return f"Its files could not be brought: {job.error.rstrip('.')}. It is tried again."


def bring(manifest_id: int) -> None:
    """Brings the files, unless nobody needs them (any more), and has the endpoints that wait looked at.

    Raises CannotBring or BytesLost.
    """
    manifest = Manifest.objects.filter(pk=manifest_id).first()
    if manifest is None or not _is_needed(manifest.digest):
        return
    folder = folder_of(manifest)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_drafts(f".{folder.name}.*", LEASE / 2)
        _materialize(manifest, folder)
    except _Unwanted:
        log.info("Nobody needs the files %s any more.", manifest.digest)
    except OSError as error:
        raise CannotBring(error.strerror or str(error)) from error
    except StoreFull as error:
        raise CannotBring(error.message.rstrip(".")) from error
    for plan in waiting_for(manifest_id):
        look_soon(plan)


def waiting_for(manifest_id: int) -> list[Deployment]:
    """The endpoints that have, or are to have, a service from these files."""
    revisions = DeploymentRevision.objects.filter(version__manifest=manifest_id).exclude(state__in=ENDED)
    plans = Deployment.objects.with_details().filter(revisions__in=revisions).distinct()
    return [plan for plan in plans if live_revisions(plan)]


def remove_unneeded(keep: timedelta | None = None) -> int:
    """Removes the folders that no revision needed for `keep` (SERVING_MODELS_KEEP_HOURS), and what dead workers left.

    Returns how many folders were removed. A look at a folder that is needed is noted as its time of change.
    """
    keep = timedelta(hours=settings.SERVING_MODELS_KEEP_HOURS) if keep is None else keep
    home = Path(settings.SERVING_MODELS_DIR)
    if not home.is_dir():
        return 0
    _remove_drafts(".*", LEFT_AFTER)
    removed = [_put_away(folder, keep) for folder in home.iterdir() if not folder.name.startswith(".")]
    for draft in filter(None, removed):
        shutil.rmtree(draft, ignore_errors=True)
    return sum(draft is not None for draft in removed)


def _put_away(folder: Path, keep: timedelta) -> Path | None:
    """Where the folder is now, if nobody needed it for so long; a rename, so that the lock is short."""
    with transaction.atomic():
        _lock(folder.name)
        if not folder.exists():
            return None
        if _is_needed(folder.name):
            os.utime(folder)
            return None
        if time.time() - folder.stat().st_mtime < keep.total_seconds():
            return None
        return folder.rename(beside(folder))


def _is_needed(digest: str) -> bool:
    revisions = DeploymentRevision.objects.exclude(state__in=ENDED)
    return revisions.filter(version__manifest__digest=digest).exists()


def _check_needed(digest: str) -> None:
    if not _is_needed(digest):
        raise _Unwanted


def _materialize(manifest: Manifest, folder: Path) -> None:
    """Raises StoreFull when the files find no room, even without the folders that nobody needs."""
    watch = now_and_then(lambda: _check_needed(manifest.digest), LOOK_EVERY)
    try:
        materialize(manifest, folder, links=True, watch=watch)
    except StoreFull:
        if not remove_unneeded(timedelta()):
            raise
        materialize(manifest, folder, links=True, watch=watch)


def _remove_drafts(pattern: str, idle: timedelta) -> None:
    """Removes the drafts to which nothing was written for so long."""
    for draft in Path(settings.SERVING_MODELS_DIR).glob(pattern):
        if time.time() - _last_write(draft) > idle.total_seconds():
            shutil.rmtree(draft, ignore_errors=True)


def _last_write(draft: Path) -> float:
    """When something in it changed last; now, when it is going away at this moment."""
    try:
        return max(path.stat().st_mtime for path in (draft, *draft.rglob("*")))
    except OSError:
        return time.time()


def _lock(digest: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [digest])
