"""Every list takes the parameters that the API's description names, and refuses the others."""

from __future__ import annotations

import pytest
from django.db import transaction

from tests.structure.operations import World, make_world, operations

pytestmark = pytest.mark.django_db


def test_a_list_refuses_what_its_description_does_not_name() -> None:
    """Also an ordering, where a list has one order: it would be taken and change nothing."""
    world: World = make_world()
    lists = [each for each in operations() if "cursor" in each.query]
    assert len(lists) > 25
    for operation in lists:
        for name in {"colour", "ordering"} - set(operation.query):
            with transaction.atomic():
                answer = world.send(world.person.api, operation, query={name: "name"})
            assert answer.status_code == 400, (operation, name)
            refused = answer.json()
            assert refused["detail"] == f"'{name}' is no parameter of this address."
            known = refused["hint"].removeprefix("There are: ").removesuffix(".").split(", ")
            assert sorted(known) == sorted(operation.query), operation


def test_what_is_exported_has_no_pages() -> None:
    world = make_world()
    for operation in operations():
        if operation.name in ("export_audit", "export_runs"):
            for name in ("cursor", "page_size"):
                answer = world.send(world.person.api, operation, query={"format": "csv", name: "5"})
                assert answer.json()["errors"].keys() == {name}, operation
