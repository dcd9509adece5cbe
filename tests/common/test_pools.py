"""Pools of connections while their database is away, and afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import RequestFactory

from common.pages import server_error
from config.postgresql.base import TRUSTED_FOR, DatabaseWrapper
from gateway.database import Away, Database
from tests.deployments.conftest import database_url
from tests.deployments.door import Door

pytestmark = pytest.mark.django_db
# Waits that double end after about 1, 3, 7 and 15 s: after this time they would take four more at least.
AWAY_SECONDS, BACK_WITHIN = 9.5, 3.0


class Behind(DatabaseWrapper):
    """The platform's own connection, from pools that the tests' own connections do not share."""

    _connection_pools: dict[str, Any] = {}


@contextmanager
def database(port: int, timeout: float) -> Iterator[Behind]:
    """A connection to the tests' database by this port, from a pool with this timeout."""
    values = deepcopy(connection.settings_dict) | {"HOST": "127.0.0.1", "PORT": str(port)}
    values["OPTIONS"].pop("host", None)
    values["OPTIONS"]["pool"] |= {"timeout": timeout}
    link = Behind(values, alias="default")
    try:
        yield link
    finally:
        link.close()
        link.close_pool()


@pytest.fixture
def door() -> Iterator[Door]:
    with Door(connection.settings_dict["HOST"], int(connection.settings_dict["PORT"])) as door:
        yield door


def ask(link: Behind) -> float:
    """A query by a connection that is given back; seconds since 1970 at its end."""
    try:
        with link.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        link.close()
    return time.time()


def of_the_platform(port: int) -> float:
    """When it answers again, of a pool whose connection broke."""
    with database(port, timeout=60) as link:
        ask(link)
        time.sleep(1.5)  # the door is shut meanwhile
        return ask(link)


async def of_the_gateway(url: str) -> float:
    """The same of the gateway's."""
    asked = Database(url)
    await asked.open(lambda *_: None)
    await asked.rows("SELECT 1", [])
    await asyncio.sleep(1.5)
    try:
        while True:
            try:
                await asked.rows("SELECT 1", [])
                return time.time()
            except Away:
                await asyncio.sleep(0.05)
    finally:
        await asked.close()


def test_who_waits_for_the_database_goes_on_soon_after_it_is_back(door: Door) -> None:
    with ThreadPoolExecutor(2) as both:
        asked: list[Any] = [
            both.submit(of_the_platform, door.port),
            both.submit(lambda: asyncio.run(of_the_gateway(database_url(door.port)))),
        ]
        time.sleep(1)
        door.shut()
        time.sleep(AWAY_SECONDS)
        back = time.time()
        door.open()
        for one in asked:
            assert 0 < one.result(60) - back <= BACK_WITHIN


def test_a_restart_is_waited_out_and_of_a_long_outage_everybody_is_told_soon(door: Door) -> None:
    request = RequestFactory().get("/projects/alpha/models/")
    with database(door.port, timeout=5) as link:
        ask(link)
        usual = link.pool.timeout
        door.shut()
        time.sleep(TRUSTED_FOR)
        begun = time.monotonic()
        for least, most in ((5, 7), (1, 3), (1, 3)):
            asked = time.monotonic()
            try:
                ask(link)
            except OperationalError:
                answer = server_error(request)
            assert least <= time.monotonic() - asked <= most
            assert (answer.status_code, answer["Retry-After"]) == (503, "1")
            assert "The server is too busy to answer. Try again in a second." in answer.content.decode()
        assert time.monotonic() - begun < 13
        door.open()
        ask(link)
        assert link.pool.timeout == usual
