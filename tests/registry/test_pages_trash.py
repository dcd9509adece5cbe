"""The trash's page: what it costs, how it is paged, and what it says when a restore is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from registry import trash
from registry.models import ModelVersion, RegisteredModel
from tests.factories import Person, browser, make_person, make_project, make_run, make_version
from tracking.models import Run

pytestmark = pytest.mark.django_db
PAGE = "/projects/alpha/trash/"
MOST = 12


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def words(answer: HttpResponse) -> str:
    return answer.content.decode()


def fill(ann: Person, count: int) -> None:
    """So many deleted models, each with a version that went with it, deleted versions and deleted runs."""
    kept = ModelVersion.objects.filter(model__name="kept").first() or make_version(ann, "kept")
    run = Run.objects.first() or make_run(ann)
    version = {"manifest": kept.manifest, "created_by": ann.user, "status": "Ready", "deleted_by": ann.user}
    first = RegisteredModel.objects.exclude(deleted_at=None).count()
    moments = [timezone.now() - timedelta(minutes=n + 1) for n in range(first, count)]
    whose = {"project": ann.project, "created_by": ann.user, "deleted_by": ann.user}
    models = RegisteredModel.objects.bulk_create(
        RegisteredModel(name=f"gone-{n}", deleted_at=moment, **whose)
        for n, moment in enumerate(moments, first)
    )
    ModelVersion.objects.bulk_create(
        ModelVersion(model=model, number=1, deleted_at=model.deleted_at, **version) for model in models
    )
    ModelVersion.objects.bulk_create(
        ModelVersion(model=kept.model, number=n + 2, deleted_at=moment, **version)
        for n, moment in enumerate(moments, first)
    )
    Run.objects.bulk_create(
        Run(
            project=ann.project,
            experiment=run.experiment,
            public_id=f"run-gone-{n}",
            status="Completed",
            created_by=ann.user,
            deleted_at=moment,
        )
        for n, moment in enumerate(moments, first)
    )


def statements(client: Client, address: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert client.get(address).status_code == 200
    return len(queries)


def test_the_trash_costs_the_same_at_10_and_at_200_deleted_models(ann: Person) -> None:
    client = browser(ann)
    fill(ann, 10)
    client.get(PAGE)
    few = statements(client, PAGE)
    fill(ann, 200)
    assert statements(client, PAGE) == few <= MOST


def test_listing_the_trash_over_rest_costs_the_same_at_10_and_at_200_deleted_models(ann: Person) -> None:
    costs = []
    for count in (10, 200):
        fill(ann, count)
        with CaptureQueriesContext(connection) as queries:
            found = trash.list_trash(actor=ann.actor, project=ann.project)
        costs.append(len(queries))
        assert len(found) == 2 * count
    assert costs[0] == costs[1]


def test_the_trash_is_paged_and_says_how_much_there_is(ann: Person) -> None:
    fill(ann, 60)
    client = browser(ann)
    first = words(client.get(PAGE))
    assert 'Models and versions <span class="quiet">120</span>' in first
    assert 'Runs <span class="quiet">60</span>' in first
    assert "Page 1 of 3" in first and "Page 1 of 2" in first
    assert "Restore gone-0" in first and "Restore gone-59" not in first
    last = words(client.get(PAGE, {"page": "3", "runs": "2"}))
    assert "Restore gone-59" in last and "Restore run-gone-59" in last
    assert "Restore gone-0" not in last and "Restore run-gone-0" not in last


def test_the_trash_shows_with_a_model_only_the_versions_that_went_with_it(ann: Person) -> None:
    for _ in range(3):
        make_version(ann, "iris")
    where = {"actor": ann.actor, "project": ann.project}
    trash.delete_version(**where, model_name="iris", ref=1)
    trash.delete_model(**where, name="iris")
    shown = trash.list_trash(**where)
    assert [(row.model_name, row.number, row.version_count) for row in shown] == [("iris", None, 2)]


def test_a_refused_name_stands_beside_its_field_as_it_was_typed(ann: Person) -> None:
    make_version(ann, "iris")
    make_version(ann, "taken")
    trash.delete_model(actor=ann.actor, project=ann.project, name="iris")
    client = browser(ann)
    for name, sentence in (
        ("taken", "exists already in alpha"),
        ("a/b", "it must be 1 to 200 characters"),
        ("x" * 201, "at most 200 characters"),
    ):
        refused = client.post(PAGE, {"model": "iris", "as_name": name})
        shown = words(refused)
        assert refused.status_code == 422
        assert f'value="{name}" aria-invalid="true" aria-describedby="as_name_error"' in shown
        assert sentence in shown.split('id="as_name_error"')[1].split("</div>")[0]
    assert client.post(PAGE, {"model": "iris", "as_name": "free"}).status_code == 302
