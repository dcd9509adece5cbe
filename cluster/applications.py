"""What Serve is to run. One PUT states all of it, so that one writer at a time says it, from the database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.db import connection, transaction
from django.utils import timezone

from cluster.dashboard import Dashboard
from cluster.errors import ClusterRefused
from cluster.models import WantedApplication

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('cluster applications', 0))"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def wanted(name: str) -> dict[str, Any] | None:
    """The application as it was asked for last, or None."""
    found = WantedApplication.objects.filter(name=name).values_list("config", flat=True).first()
    return None if found is None else dict(found)


def put(dashboard: Dashboard, serve_url: str, name: str, config: Mapping[str, Any]) -> None:
    """Has Serve run this application. ClusterRefused leaves all as it was; after ClusterAway it is still wanted."""
    before = wanted(name)
    values = {"config": dict(config), "changed_at": timezone.now()}
    WantedApplication.objects.update_or_create(name=name, defaults=values)
    try:
        put_all(dashboard, serve_url)
    except ClusterRefused:
        rows = WantedApplication.objects.filter(name=name)
        if before is None:
            rows.delete()
        else:
            rows.update(config=before)
        raise


def remove(dashboard: Dashboard, serve_url: str, name: str) -> None:
    """Has Serve end this application; nothing happens where it is not wanted."""
    WantedApplication.objects.filter(name=name).delete()
    put_all(dashboard, serve_url)


def put_all(dashboard: Dashboard, serve_url: str) -> None:
    """Says to Serve all that is wanted."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(LOCK)
        configs = list(WantedApplication.objects.order_by("name").values_list("config", flat=True))
        dashboard.put_applications({**_proxies(serve_url), "applications": configs})


def _proxies(serve_url: str) -> dict[str, Any]:
    """Where Serve's proxies listen: at a loopback address only the head's can."""
    url = urlsplit(serve_url)
    local = url.hostname in LOOPBACK
    return {
        "proxy_location": "HeadOnly" if local else "EveryNode",
        "http_options": {"host": "127.0.0.1" if local else "0.0.0.0", "port": url.port or 80},  # noqa: S104
    }
