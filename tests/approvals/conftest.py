"""Who asks for moves, and who reviews them."""

from __future__ import annotations

import pytest

from accounts.choices import Role
from tests.factories import Person, make_person, make_project


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), Role.CONTRIBUTOR, username="ann")


@pytest.fixture
def max_(ann: Person) -> Person:
    return make_person(ann.project, Role.MAINTAINER, username="max")
