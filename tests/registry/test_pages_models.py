"""Lists of models and of versions: what a row shows and cuts, and how heads sort."""

from __future__ import annotations

import pytest
from django.test import Client

from registry import services
from tests.factories import Person, browser, make_person, make_project, make_version

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


@pytest.mark.parametrize("path", ["models/iris/", "versions/"])
def test_a_row_shows_the_metrics_of_its_run_beside_which_validation_stands_on_its_own_page(
    ann: Person, path: str
) -> None:
    make_version(ann, "iris", accuracy=0.75, drift=float("nan"))
    values = {"accuracy": 0.5, "auc": 0.25}
    services.log_validation_metrics(
        actor=ann.actor, project=ann.project, model_name="iris", ref=1, metrics=values
    )
    shown = browser(ann).get(f"/projects/alpha/{path}").content.decode()
    assert '<td class="num">0.75</td><td class="num">NaN</td>' in shown
    assert "0.5<" not in shown and "auc" not in shown
