"""Every address takes the parameters that the API's description names, and refuses the others."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from tests.structure.operations import Operation, World, make_world, operations
from tests.structure.test_openapi import schema

pytestmark = pytest.mark.django_db

ORDERED = {"list_versions": "version", "search_versions": "version", "list_deployments": "endpoint_name"}


@pytest.fixture
def world() -> World:
    return make_world()


def asked(world: World, operation: Operation, **query: Any) -> Any:
    known = world.queries.get(operation.name, {})
    with transaction.atomic():
        return world.send(world.person.api, operation, query={**known, **query})


def test_an_address_refuses_what_its_description_does_not_name(world: World) -> None:
    """Also an ordering, where a list has one order: it would be taken and change nothing."""
    checked = [each for each in operations() if each.query or each.method != "get"]
    assert sum("cursor" in each.query for each in checked) > 25
    for operation in checked:
        for name in {"colour", "ordering"} - set(operation.query):
            answer = asked(world, operation, **{name: "name"})
            assert answer.status_code == 400, (operation, name)
            refused = answer.json()
            assert refused["detail"] == f"'{name}' is no parameter of this address.", operation
            known = refused["hint"].removeprefix("There are: ").removesuffix(".").split(", ")
            assert sorted(known) == sorted(operation.query) or not operation.query, operation
            assert operation.query or refused["hint"] == "It takes none.", operation


def test_a_parameter_that_has_one_value_is_taken_once(world: World) -> None:
    """The last one would count, and whoever gave both would believe that both did."""
    described = {
        (about["operationId"], each["name"]): each["schema"]
        for item in schema()["paths"].values()
        for about in item.values()
        for each in about.get("parameters", [])
    }
    several = {names for names, kind in described.items() if kind.get("type") == "array"}
    assert ("list_models", "tag") in several
    for operation in operations():
        for name in operation.query:
            value = described[operation.name, name].get("enum", [ORDERED.get(operation.name, "name")])[0]
            answer = asked(world, operation, **{name: [value, value]})
            said = answer.json().get("detail") if answer.status_code == 400 else ""
            once = said == f"{name} is given 2 times; give it once."
            assert once is ((operation.name, name) not in several), (operation, name, said)


def test_what_is_exported_has_no_pages(world: World) -> None:
    for operation in operations():
        if operation.name in ("export_audit", "export_runs"):
            for name in ("cursor", "page_size"):
                assert asked(world, operation, **{name: "5"}).json()["errors"].keys() == {name}, operation


def test_what_takes_no_body_refuses_one_that_says_something(world: World) -> None:
    """A reason given to a verb that keeps none would be believed to be kept; an empty object says nothing."""
    changing = [each for each in operations() if each.method != "get" and not each.binary]
    bodiless = [each for each in changing if each.body is None]
    assert len(bodiless) > 25
    for operation in bodiless:
        for sent, refused in ((b'{"reason": "x"}', True), (b"{}", False)):
            with transaction.atomic():
                answer = world.send(world.person.api, operation, raw=sent)
                transaction.set_rollback(True)
            assert (answer.status_code == 400) is refused, (operation, sent, answer.content)
            if refused:
                assert answer.json()["detail"] == "'reason' is no field of this request.", operation
