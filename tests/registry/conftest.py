"""Who exports a version and who imports it, for the tests of bundles; other tests name people of their own."""

from __future__ import annotations

import pytest

from accounts.choices import Role
from registry.models import ModelVersion
from tests.factories import Person, make_person, make_project
from tests.registry.bundling import version_with_everything


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), Role.CONTRIBUTOR, username="ann")


@pytest.fixture
def bob() -> Person:
    """Somebody elsewhere, who knows nothing of alpha."""
    return make_person(make_project("beta"), Role.CONTRIBUTOR, username="bob")


@pytest.fixture
def version(ann: Person) -> ModelVersion:
    return version_with_everything(ann)
