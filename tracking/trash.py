"""What becomes of deleted runs: they come back, or after settings.TRASH_DAYS only the row is left."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.audit import record
from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from common.checks import check_text, shorten
from common.errors import Denied, Missing
from common.relations import parts_of
from tracking.models import Run, RunQuerySet

RUNS_AT_ONCE = 500


def trash_ends() -> datetime:
    """What was deleted before this moment becomes permanent."""
    return timezone.now() - timedelta(days=settings.TRASH_DAYS)


def in_trash() -> RunQuerySet:
    """Deleted runs that can come back."""
    return Run.objects.filter(deleted_at__gt=trash_ends(), purged_at=None)


def listed_trash(*, actor: Actor, project: Project) -> RunQuerySet:
    """The project's deleted runs, which only maintainers see."""
    require(actor, project, Right.MAINTAIN)
    return in_trash().filter(project=project)


def restore_run(*, actor: Actor, project: Project, run_id: str) -> Run:
    """Brings a deleted run back with everything, in the state in which it was deleted."""
    require(actor, project, Right.MAINTAIN)
    check_text("run_id", run_id, max_length=40)
    with transaction.atomic():
        rows = in_trash().filter(project=project, public_id=run_id).select_for_update(of=("self",))
        run = rows.select_related("project").first()
        if run is None:
            raise Missing(
                f"There is no run {shorten(run_id)} in the trash of {project.slug}.",
                f"What was deleted stays there for {settings.TRASH_DAYS} days.",
                code="not_in_trash",
            )
        run.deleted_at = None
        run.save(update_fields=["deleted_at"])
        record(actor, "restore_run", "run", run.public_id, project=project, after={"name": run.name})
    return run


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


def _outdated() -> RunQuerySet:
    return Run.objects.filter(deleted_at__lte=trash_ends(), purged_at=None)


def _due() -> Iterator[int]:
    last = 0
    while ids := list(
        _outdated().filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:RUNS_AT_ONCE]
    ):
        yield from ids
        last = ids[-1]


def _purge(actor: Actor, run_id: int) -> bool:
    """Whether it did: not when others do it now, have restored the run, or a version needs it."""
    with transaction.atomic():
        rows = _outdated().select_related("project").select_for_update(of=("self",), skip_locked=True)
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
