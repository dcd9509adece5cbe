"""Who may see and do what in the portal: every page with every method against every role, in one table.

Nobody and strangers are walked over the same addresses by test_every_address.py; the REST API has its own table.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from deployments import services as deployment_verbs
from tests.factories import make_person, make_project
from tests.structure.operations import World, make_world
from tests.structure.page_rights import OUTSIDE, PAGES

pytestmark = pytest.mark.django_db
ROLES = ("viewer", "contributor", "maintainer", "admin")
OTHER_METHODS = ("put", "patch", "delete")
AT = {
    "accounts:group": {"name": "risk"},
    "accounts:group_delete": {"name": "risk"},
    "approvals:change_stage": {"name": "guarded"},
    "registry:version_file": {"path": "weights.txt"},
    "registry:version_preview": {"path": "weights.txt"},
}


def pages(
    resolver: URLResolver | None = None, prefix: str = "/", space: str = ""
) -> Iterator[tuple[str, str]]:
    """(name, address with its parameters) of every page below a project."""
    for entry in (resolver or get_resolver()).url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from pages(entry, route, entry.namespace or space)
        elif isinstance(entry, URLPattern) and route.startswith("/projects/<"):
            yield f"{space}:{entry.name}", route


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    engine = SimpleNamespace(logs=lambda *asked: ["a line"], gpu_types=lambda: [])
    monkeypatch.setattr(deployment_verbs, "engine_for", lambda name: engine)
    return make_world()


def filled(world: World, name: str, route: str) -> str:
    values = {
        **world.values,
        "number": "1",
        "notification_id": "1",
        "revision": "1",
        "link": "1:nothing",
        "prefix": "00000000",
        "run_id": world.by_operation["get_run"]["run_id"],
        **AT.get(name, {}),
    }
    address = route
    while "<" in address:
        start, end = address.index("<"), address.index(">")
        address = address[:start] + values[address[start + 1 : end].rpartition(":")[2]] + address[end + 1 :]
    query = {"lineage:graph": "?node=version:iris/1", "lineage:impact": "?node=version:iris/1"}
    query |= {
        "registry:compare": "?v=1&v=2",
        "registry:annotation_remove": "?key=k",
        "approvals:many": "?v=1",
        "accounts:audit_export": "?format=csv",
    }
    first, second = world.by_operation["get_run"]["run_id"], world.values["run_id"]
    query["tracking:compare"] = f"?run={first}&run={second}"
    return address + query.get(name, "")


def found_rows(world: World) -> dict[str, tuple[str, str]]:
    """What GET and an empty POST answer to each role, page by page; the other methods answer 405 to all."""
    clients = {}
    for role in ROLES:
        clients[role] = Client()
        clients[role].force_login(make_person(world.person.project, role).user)
    rows = {}
    for name, route in pages():
        address = filled(world, name, route)
        rows[name] = (
            " ".join(asked(clients[role], "get", address) for role in ROLES),
            " ".join(asked(clients[role], "post", address) for role in ROLES),
        )
        for method in OTHER_METHODS:
            assert {asked(clients[role], method, address) for role in ROLES} <= {"405", "403"}, (name, method)
    return rows


def asked(client: Client, method: str, address: str) -> str:
    with transaction.atomic():
        answer: Any = getattr(client, method)(address)
        transaction.set_rollback(True)
    return str(answer.status_code)


def test_each_role_sees_and_does_what_the_table_says(world: World) -> None:
    found = found_rows(world)
    wrong = [
        f"{name}: {found[name]}, not {PAGES.get(name)}" for name in found if found[name] != PAGES.get(name)
    ]
    assert not wrong, "\n".join(wrong)
    assert set(PAGES) == set(found)
    assert len(found) * len(ROLES) * (2 + len(OTHER_METHODS)) >= 600


def outside() -> Iterator[tuple[str, str]]:
    """(name, address) of every page that is below no project, sign-in and the admin left out."""
    for entry in get_resolver().url_patterns:
        if isinstance(entry, URLResolver) and str(entry.pattern) == "":
            for page, route in every(entry, "/"):
                if not route.startswith("/projects/<"):
                    yield page, route


def every(resolver: URLResolver, prefix: str, space: str = "") -> Iterator[tuple[str, str]]:
    for entry in resolver.url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from every(entry, route, entry.namespace or space)
        else:
            yield f"{space}:{entry.name}", route


def test_pages_of_no_project_are_their_person_s_own(world: World) -> None:
    nobody, somebody = Client(), Client()
    somebody.force_login(world.person.user)
    found = {}
    for name, route in outside():
        address = filled(world, name, route)
        answers = [
            " ".join(asked(client, method, address) for method in ("get", "post", *OTHER_METHODS))
            for client in (nobody, somebody)
        ]
        found[name] = (answers[0], answers[1])
    assert found == OUTSIDE


def test_the_admin_is_closed_to_who_is_no_operator() -> None:
    client = Client()
    client.force_login(make_person(make_project("alpha")).user)
    admin = next(e for e in get_resolver().url_patterns if str(e.pattern) == "admin/")
    routes = [str(entry.pattern) for entry in admin.url_patterns if isinstance(entry, URLResolver)]
    assert len(routes) > 10
    for route in routes:
        for action in ("", "add/", "1/change/", "1/delete/", "1/history/"):
            for method in ("get", "post", *OTHER_METHODS):
                answer = asked(client, method, f"/admin/{route}{action}")
                assert answer in ("302", "404"), (route, action, method, answer)
