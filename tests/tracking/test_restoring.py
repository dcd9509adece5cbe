"""Bringing deleted runs back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.choices import Role, Scope
from accounts.models import AuditEntry, User
from accounts.permissions import system_actor
from tests.factories import Person, make_person, make_project, make_run
from tracking import services
from tracking.models import Run
from tracking.trash import purge_runs

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), Role.MAINTAINER, username="ann")


def delete(person: Person, run: Run, *, days_ago: float = 0) -> Run:
    services.delete_run(actor=person.actor, project=person.project, run_id=run.public_id)
    Run.objects.filter(pk=run.pk).update(deleted_at=timezone.now() - timedelta(days=days_ago))
    return run


def restore(person: Person, run: Run):
    return person.api.post(f"/api/v1/projects/{run.project.slug}/runs/{run.public_id}/restore")


def listed(person: Person, query: str) -> list[str]:
    answer = person.api.get(f"{person.base}/runs?{query}")
    assert answer.status_code == 200, answer.json()
    return [row["id"] for row in answer.json()["results"]]


def test_a_deleted_run_comes_back_as_it_was(ann: Person) -> None:
    run = make_run(ann, {"model.bin": b"123"}, accuracy=0.5)
    before = ann.api.get(f"{ann.base}/runs/{run.public_id}").json()
    delete(ann, run, days_ago=29)
    answer = restore(ann, run)
    assert (answer.status_code, answer.json()) == (200, before)
    assert ann.api.get(f"{ann.base}/runs/{run.public_id}/artifacts/model.bin").status_code == 200
    assert ann.api.get(f"{ann.base}/runs/{run.public_id}/metrics/accuracy").json()["values"] == [0.5]
    entry = AuditEntry.objects.get(verb="restore_run")
    assert (entry.actor.username, entry.object_id) == ("ann", run.public_id)


def test_maintainers_list_what_was_deleted(ann: Person) -> None:
    kept, gone, permanent = (make_run(ann) for _ in range(3))
    foreign = make_person(make_project("beta"))
    delete(foreign, make_run(foreign))
    delete(ann, gone)
    delete(ann, permanent, days_ago=31)
    assert listed(ann, "deleted=true") == [gone.public_id]
    assert listed(ann, "deleted=true&status=Failed") == []
    assert listed(ann, "deleted=false") == listed(ann, "") == [kept.public_id]
    row = ann.api.get(f"{ann.base}/runs?deleted=true").json()["results"][0]
    assert row["deleted_at"]
    wrong = ann.api.get(f"{ann.base}/runs?deleted=yes")
    assert (wrong.status_code, "deleted" in wrong.json()["errors"]) == (400, True)


def test_others_neither_see_nor_restore_what_was_deleted(ann: Person) -> None:
    run = delete(ann, make_run(ann))
    people = [
        (make_person(ann.project, Role.VIEWER), 403),
        (make_person(ann.project, Role.CONTRIBUTOR), 403),
        (make_person(ann.project, Role.ADMIN, scopes=[Scope.READ]), 403),
        (make_person(make_project("beta")), 404),
    ]
    for person, status in people:
        assert person.api.get(f"{ann.base}/runs?deleted=true").status_code == status
        assert person.api.get(f"{ann.base}/runs?deleted=true&deleted=false").status_code != 500
        assert restore(person, run).status_code == status
    run.refresh_from_db()
    assert run.deleted_at


def test_only_what_lies_in_the_trash_comes_back(ann: Person) -> None:
    alive, late, purged = make_run(ann), make_run(ann), make_run(ann)
    delete(ann, late, days_ago=30.1)
    delete(ann, purged, days_ago=31)
    purge_runs(actor=system_actor())
    for run in (alive, late, purged):
        answer = restore(ann, run)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_in_trash")
    assert ann.api.post(f"{ann.base}/runs/run-%00/restore").status_code in (400, 404)
    assert not AuditEntry.objects.filter(verb="restore_run").exists()


def test_an_operator_restores_a_run(ann: Person) -> None:
    run = delete(ann, make_run(ann))
    operator = Client()
    operator.force_login(User.objects.create_superuser("operator"))
    for said in ("is restored", "There is no run"):
        answer = operator.post(
            reverse("admin:tracking_run_changelist"),
            {"action": "restore_runs", "_selected_action": [run.pk]},
            follow=True,
        )
        assert said in answer.content.decode()
    run.refresh_from_db()
    assert run.deleted_at is None


@pytest.mark.django_db(transaction=True)
def test_of_several_restores_at_once_one_counts(ann: Person) -> None:
    run = delete(ann, make_run(ann))

    def one(_: int) -> int:
        try:
            return int(restore(ann, run).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(one, range(8))) == [200] + [404] * 7
    assert AuditEntry.objects.filter(verb="restore_run").count() == 1
