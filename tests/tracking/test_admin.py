"""The operators' pages of runs and files: seen, searched, and changed only through verbs."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, User
from tests.factories import Person, make_person, make_project, make_run, make_version
from tracking import services
from tracking.alerts import create_run_alert
from tracking.models import Run

pytestmark = pytest.mark.django_db
NOUNS = [
    "artifacts.blob",
    "artifacts.manifest",
    "artifacts.manifestfile",
    "artifacts.projectblob",
    "tracking.dataset",
    "tracking.experiment",
    "tracking.run",
    "tracking.runalert",
    "tracking.rundataset",
    "tracking.runfile",
    "tracking.runmetric",
    "tracking.runparam",
    "tracking.runtag",
]


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client


def fill(ann: Person) -> Run:
    """A run with a row of every noun."""
    make_version(ann, accuracy=0.9)
    run = services.start_run(
        actor=ann.actor, project=ann.project, experiment_id="exp", run_id="run-filled", tags={"a": "b"}
    )
    where = {"actor": ann.actor, "project": ann.project, "run_id": "run-filled"}
    services.log_params(**where, params={"lr": 0.1})
    services.log_dataset(**where, name="imdb")
    create_run_alert(**where, condition="loss > 2")
    return run


@pytest.mark.parametrize("noun", NOUNS)
def test_every_noun_is_listed_searched_and_opened_and_never_edited(
    ann: Person, operator: Client, noun: str
) -> None:
    fill(ann)
    model = apps.get_model(noun)
    row = model._default_manager.first()
    base = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    listed = operator.get(reverse(f"{base}_changelist"), {"q": "a"})
    assert listed.status_code == 200
    assert operator.get(reverse(f"{base}_change", args=[row.pk])).status_code == 200
    assert operator.post(reverse(f"{base}_change", args=[row.pk]), {}).status_code == 403
    assert operator.get(reverse(f"{base}_add")).status_code == 403
    assert operator.post(reverse(f"{base}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
    assert admin.site._registry[model].search_fields
    assert admin.site._registry[model].list_filter


def act(operator: Client, action: str, run: Run):
    url = reverse("admin:tracking_run_changelist")
    return operator.post(url, {"action": action, "_selected_action": [run.pk]}, follow=True)


def test_an_operator_kills_a_run_by_the_verb(ann: Person, operator: Client) -> None:
    run = fill(ann)
    assert "run-filled is Killed" in act(operator, "kill", run).content.decode()
    run.refresh_from_db()
    assert (run.status, run.error) == ("Killed", "Killed by operator.")
    entry = AuditEntry.objects.get(verb="kill_run", object_id="run-filled")
    assert (entry.actor.username, entry.door) == ("operator", "admin")
    done = make_run(ann)
    assert "has ended as Completed" in act(operator, "kill", done).content.decode()


def test_an_operator_deletes_no_run_that_versions_come_from(ann: Person, operator: Client) -> None:
    run = fill(ann)
    source = Run.objects.exclude(pk=run.pk).get()
    assert "is the source of iris version 1" in act(operator, "delete_runs", source).content.decode()
    act(operator, "delete_runs", run)
    assert list(Run.objects.alive()) == [source]


def test_an_operator_archives_and_restores_experiments(ann: Person, operator: Client) -> None:
    experiment = fill(ann).experiment
    url = reverse("admin:tracking_experiment_changelist")
    for action in ("archive", "restore"):
        operator.post(url, {"action": action, "_selected_action": [experiment.pk]})
        experiment.refresh_from_db()
        assert (experiment.archived_at is not None) == (action == "archive")
