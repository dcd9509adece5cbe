"""Versions that runs start from."""

from __future__ import annotations

from django.db import connection, transaction

from accounts.audit import record
from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from common.errors import Conflict
from registry.models import ModelVersion, RunInput
from registry.queries import find_model, version_among
from registry.services import version_label
from tracking.models import Run
from tracking.queries import running_run

# Whether the version came from the run, by however many steps.
CAME_FROM = """
    WITH RECURSIVE came (run, version) AS (
        SELECT %(run)s::bigint, NULL::bigint
        UNION
        SELECT n.run, n.version FROM came c CROSS JOIN LATERAL (
            SELECT NULL::bigint AS run, v.id AS version FROM registry_modelversion v WHERE v.source_run_id = c.run
            UNION ALL SELECT r.id, NULL FROM tracking_run r WHERE r.parent_id = c.run
            UNION ALL SELECT NULL, v.id FROM registry_modelversion v WHERE v.parent_id = c.version
            UNION ALL SELECT i.run_id, NULL FROM registry_runinput i WHERE i.version_id = c.version
        ) n
    )
    SELECT EXISTS (SELECT FROM came WHERE version = %(version)s)
"""


def use_model(
    *, actor: Actor, project: Project, run_id: str, model_name: str, version: str | int
) -> RunInput:
    """Records that a Running run started from this version; the same again changes nothing.

    Conflict where the version came from this run: a graph of causes has no circles.
    """
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        found = version_among(ModelVersion.objects.all(), find_model(project, model_name), version)
        run = running_run(project, run_id)
        _refuse_circle(run, found)
        row, created = RunInput.objects.get_or_create(
            run=run, version=found, defaults={"ref": str(version)[:64]}
        )
        if created:
            after = {"version": version_label(found), "ref": row.ref}
            record(actor, "use_model", "run", run.public_id, project=project, after=after)
    return row


def _refuse_circle(run: Run, version: ModelVersion) -> None:
    with connection.cursor() as cursor:
        cursor.execute(CAME_FROM, {"run": run.pk, "version": version.pk})
        (came_from,) = cursor.fetchone()
    if came_from:
        raise Conflict(
            f"{version_label(version)} came from run {run.public_id}, which so cannot have started from it.",
            "Start another run from it.",
            code="lineage_circle",
        )
