"""The list of models: what a row cuts stands in a title, and how its heads sort."""

from __future__ import annotations

import pytest
from django.test import Client

from registry import services
from tests.factories import Person, make_person, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def listed(person: Person, **query: str) -> str:
    client = Client()
    client.force_login(person.user)
    return str(client.get("/projects/alpha/models/", query).content.decode())


def test_the_tags_that_a_row_leaves_out_stand_in_its_title(ann: Person) -> None:
    tags = ["a", "b", "c", "d", "e & f", "g"]
    services.register_model(actor=ann.actor, project=ann.project, name="iris", tags=tags)
    assert '<span class="quiet small" title="e &amp; f, g">+2</span>' in listed(ann)


def test_the_first_click_sorts_names_from_a_and_numbers_and_times_from_the_largest(ann: Person) -> None:
    services.register_model(actor=ann.actor, project=ann.project, name="iris")
    shown = listed(ann, ordering="-version_count")
    assert 'href="?ordering=name" title="Sort by Model"' in shown
    assert 'href="?ordering=version_count" title="Sort by Versions"' in shown
    assert 'href="?ordering=-updated_at" title="Sort by Last change"' in shown


def test_a_second_click_turns_the_order_around(ann: Person) -> None:
    services.register_model(actor=ann.actor, project=ann.project, name="iris")
    assert 'href="?ordering=-name" title="Sort by Model"' in listed(ann, ordering="name")
    assert 'href="?ordering=name" title="Sort by Model"' in listed(ann, ordering="-name")
    assert 'href="?ordering=-version_count" title="Sort by Versions"' in listed(ann, ordering="name")
