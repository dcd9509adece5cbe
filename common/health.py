"""Whether this process lives, and whether it can do its work."""

from __future__ import annotations

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse


def livez(request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """200 when the database answers and has all tables that this code needs, else 503."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        missing = not _has_all_tables()
    except Error:
        return JsonResponse({"status": "unavailable", "database": "does not answer"}, status=503)
    if missing:
        return JsonResponse({"status": "unavailable", "database": "is being brought up to date"}, status=503)
    return JsonResponse({"status": "ok"})


def _has_all_tables() -> bool:
    """Whether all migrations were applied; asked until it is so once."""
    if not _known:
        executor = MigrationExecutor(connection)
        if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
            _known.append(True)
    return bool(_known)


_known: list[bool] = []
