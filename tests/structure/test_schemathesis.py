"""Requests that Schemathesis makes up from the API's description: never a 5xx, and answers as described."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import pytest_django
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from config.wsgi import application
from tests.structure.operations import World, make_world, operations
from tests.structure.test_openapi import schema

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

EXAMPLES = 100 if os.environ.get("SOAK_INPUT") == "1" else 4
# Their bodies are bytes of a format of their own; tests/structure/test_bad_input.py attacks those.
BINARY = ("store_blob", "import_version", "store_blobs")


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker) -> Iterator[World]:
    """Made once for all operations, as each request is rolled back.

    As with Django's own test client, the connection with the transaction stays open between requests.
    """
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    with django_db_blocker.unblock(), transaction.atomic():
        yield make_world()
        transaction.set_rollback(True)
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@cache
def strategies() -> dict[str, Any]:
    """operationId -> the requests that Schemathesis makes up for it."""
    api = schemathesis.openapi.from_dict(schema())
    api.app = application
    found = (result.ok() for result in api.get_all_operations())
    return {each.definition.raw["operationId"]: each.as_strategy() for each in found}


@pytest.mark.parametrize("name", [each.name for each in operations() if each.name not in BINARY])
def test_no_request_is_answered_by_a_server_error(name: str, world: World) -> None:
    known = {**world.values, **world.by_operation.get(name, {})}

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(case=strategies()[name], real=st.booleans())
    def ask(case: Any, real: bool) -> None:
        # In the world's project and, for about every other request, about things that are there.
        parameters = case.path_parameters or {}
        named = {key: known[key] for key in parameters if key in known and (real or key == "project")}
        parameters.update(named)
        with transaction.atomic():
            answer = case.call(headers={"Authorization": f"Bearer {world.person.token}"})
            transaction.set_rollback(True)
        if answer.status_code == 503:  # no serving engine runs beside this test
            return
        checks = [not_a_server_error]
        if answer.status_code < 300:
            checks += [content_type_conformance, response_schema_conformance]
        case.validate_response(answer, checks=checks)

    ask()
