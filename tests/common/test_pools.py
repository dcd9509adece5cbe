"""Pools of connections after their database was away."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from psycopg_pool import ConnectionPool

from gateway.database import Away, Database
from tests.deployments.conftest import database_url
from tests.deployments.door import Door

# Waits that double end after about 1, 3, 7 and 15 s: after this time they would take four more at least.
AWAY_SECONDS, BACK_WITHIN = 9.5, 3.0


def of_the_platform(url: str) -> float:
    """Seconds since 1970 at which the platform's pool has a connection for one who waits."""
    with ConnectionPool(url, open=True, **settings.DATABASES["default"]["OPTIONS"]["pool"]) as pool:
        with suppress(psycopg.OperationalError), pool.connection() as link:
            time.sleep(0.5)  # the door is shut meanwhile
            link.execute("SELECT 1")
        while True:  # first come those that nobody has found broken yet
            with suppress(psycopg.OperationalError), pool.connection() as link:
                link.execute("SELECT 1")
                return time.time()


async def of_the_gateway(url: str) -> float:
    """The same of the gateway's."""
    database = Database(url)
    await database.open(lambda *_: None)
    await database.rows("SELECT 1", [])
    await asyncio.sleep(0.5)
    try:
        while True:
            try:
                await database.rows("SELECT 1", [])
                return time.time()
            except Away:
                await asyncio.sleep(0.05)
    finally:
        await database.close()


@pytest.mark.django_db
def test_who_waits_for_the_database_goes_on_soon_after_it_is_back() -> None:
    host, port = connection.settings_dict["HOST"], int(connection.settings_dict["PORT"])
    with Door(host, port) as door, ThreadPoolExecutor(2) as both:
        url = database_url(door.port)
        asked: list[Any] = [
            both.submit(of_the_platform, url),
            both.submit(lambda: asyncio.run(of_the_gateway(url))),
        ]
        time.sleep(0.3)
        door.shut()
        time.sleep(AWAY_SECONDS)
        back = time.time()
        door.open()
        for one in asked:
            assert 0 < one.result(60) - back <= BACK_WITHIN
