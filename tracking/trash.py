"""What becomes of deleted runs: after settings.TRASH_DAYS only the row is left."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.audit import record
from accounts.permissions import Actor
from common.errors import Denied
from common.relations import parts_of
from tracking.models import Run

RUNS_AT_ONCE = 500


def trash_ends() -> datetime:
    """What was deleted before this moment becomes permanent."""
    return timezone.now() - timedelta(days=settings.TRASH_DAYS)


def purge_runs(*, actor: Actor) -> int:
    """Lets go of all that was recorded in runs that lay in the trash long enough; returns how many runs.

    The row stays: its id is never used again, and versions and histories refer to it. A run waits in the trash
    until no version that came from it can come back. Only the system and operators may.
    """
    if not actor.is_operator:
        raise Denied(
            "Only operators empty the trash.", "It empties itself; ask an operator if it cannot wait."
        )
    return sum(_purge(actor, run_id) for run_id in _due())


def _in_trash() -> QuerySet[Run]:
    return Run.objects.filter(deleted_at__lte=trash_ends(), purged_at=None)


def _due() -> Iterator[int]:
    last = 0
    while ids := list(
        _in_trash().filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:RUNS_AT_ONCE]
    ):
        yield from ids
        last = ids[-1]


def _purge(actor: Actor, run_id: int) -> bool:
    """Whether it did: not when others do it now, have restored the run, or a version needs it."""
    with transaction.atomic():
        rows = _in_trash().select_related("project").select_for_update(of=("self",), skip_locked=True)
        run = rows.filter(pk=run_id).first()
        if run is None or run.versions.filter(purged_at=None).exists():
            return False
        for relation in parts_of(Run):
            relation.related_model._base_manager.filter(**{relation.field.name: run}).delete()
        run.notes = run.error = run.code_version = ""
        run.environment = {}
        run.purged_at = timezone.now()
        run.save(update_fields=["notes", "error", "code_version", "environment", "purged_at"])
        before = {"name": run.name, "deleted_at": run.deleted_at.isoformat() if run.deleted_at else None}
        record(actor, "purge_run", "run", run.public_id, project=run.project, before=before)
    return True
