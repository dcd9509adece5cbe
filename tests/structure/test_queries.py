"""What a request costs: the number of SQL queries of the calls that programs make most.

One of them is the door's: the token with the project and the role in it. A change on purpose changes the number here.
"""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.structure.operations import World, make_world, operations

pytestmark = pytest.mark.django_db

READS = {
    "me": 2,
    "get_model": 2,
    "get_version": 2,
    "get_version_by_alias": 2,
    "get_run": 7,
    "get_experiment": 3,
    "get_deployment": 2,
    "list_models": 3,
    "list_versions": 4,
    "list_aliases": 3,
    "list_version_files": 4,
    "download_version_file": 4,
    "list_version_transitions": 4,
}
WRITES = {
    "register_model": 4,
    "create_version": 12,
    "transition_stage": 5,
    "set_alias": 5,
    "set_version_tag": 4,
    "log_metrics": 4,
    "log_params": 4,
    "deploy": 15,
}


@pytest.fixture
def world() -> World:
    return make_world()


@pytest.mark.parametrize("name", [*READS, *WRITES])
def test_a_request_asks_the_database_as_often_as_agreed(world: World, name: str) -> None:
    operation = next(each for each in operations() if each.name == name)
    assert world.send(world.person.api, operation, path="/api/v1/me").status_code in (200, 405)
    with CaptureQueriesContext(connection) as queries:
        answer = world.send(world.person.api, operation)
    assert answer.status_code < 300, answer.content
    asked = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
    assert len(asked) == {**READS, **WRITES}[name], "\n".join(asked)
