"""What was deleted long enough ago becomes permanent, and nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connections
from django.utils import timezone

from accounts.models import AuditEntry
from accounts.permissions import system_actor
from approvals.models import RunAuthor
from artifacts.collect import collect
from artifacts.models import Blob
from common.errors import Denied
from common.relations import parts_of
from registry.models import ModelVersion
from registry.tasks import empty_trash
from tests.factories import Person, make_person, make_project, make_run, make_version, run_jobs
from tracking import services
from tracking.alerts import create_run_alert
from tracking.models import MetricChunk, Run, RunAlert, RunFile, RunMetric, RunParam, RunTag
from tracking.trash import purge_runs

pytestmark = pytest.mark.django_db

CONTENT = (MetricChunk, RunAlert, RunMetric, RunParam, RunTag, RunFile)


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def make_full_run(person: Person) -> Run:
    """A run with something of everything."""
    run = make_run(person, {"w": b"weights"}, accuracy=0.9)
    Run.objects.filter(pk=run.pk).update(environment={"system": {"hostname": "secret"}})
    who = {"actor": person.actor, "project": person.project, "run_id": run.public_id}
    services.resume_run(**who)
    services.log_params(**who, params={"depth": 3})
    services.log_dataset(**who, name="iris")
    create_run_alert(**who, condition="loss > 2")
    services.update_run(**who, name="a name", notes="a secret note", tags={"k": "v"})
    services.end_run(**who, status="Failed", error="a secret error")
    return run


def delete(person: Person, run: Run, *, days_ago: float) -> None:
    services.delete_run(actor=person.actor, project=person.project, run_id=run.public_id)
    Run.objects.filter(pk=run.pk).update(deleted_at=timezone.now() - timedelta(days=days_ago))


def purge() -> int:
    return purge_runs(actor=system_actor())


def test_all_that_a_long_deleted_run_held_goes_and_its_row_stays(ann: Person) -> None:
    run, kept = make_full_run(ann), make_full_run(ann)
    delete(ann, run, days_ago=31)
    assert purge() == 1
    assert [model.objects.count() for model in CONTENT] == [1] * len(CONTENT)
    run.refresh_from_db()
    assert run.purged_at is not None
    assert (run.name, run.notes, run.error, run.environment) == ("a name", "", "", {})
    kept.refresh_from_db()
    assert (kept.purged_at, kept.notes) == (None, "a secret note")
    entry = AuditEntry.objects.get(verb="purge_run")
    assert (entry.object_id, entry.project, entry.actor.username) == (run.public_id, ann.project, "system")
    assert purge() == 0


def test_a_run_deleted_less_than_the_setting_s_days_ago_stays_as_it_was(ann: Person, settings) -> None:
    run = make_full_run(ann)
    delete(ann, run, days_ago=29)
    assert purge() == 0
    assert all(model.objects.exists() for model in CONTENT)
    settings.TRASH_DAYS = 28
    assert purge() == 1


def test_zero_days_are_at_once(ann: Person, settings) -> None:
    delete(ann, make_full_run(ann), days_ago=0)
    settings.TRASH_DAYS = 0
    assert purge() == 1


def test_the_clock_and_an_operator_s_command_purge(ann: Person, capsys: pytest.CaptureFixture[str]) -> None:
    delete(ann, make_full_run(ann), days_ago=31)
    empty_trash()
    empty_trash()
    run_jobs()
    assert Run.objects.exclude(purged_at=None).count() == 1
    delete(ann, make_full_run(ann), days_ago=31)
    call_command("purge")
    assert "1 runs" in capsys.readouterr().out
    assert [entry.door for entry in AuditEntry.objects.filter(verb="purge_run").order_by("pk")] == [
        "job",
        "command",
    ]


def test_the_id_of_a_purged_run_is_never_used_again(ann: Person) -> None:
    run = make_full_run(ann)
    delete(ann, run, days_ago=31)
    purge()
    answer = ann.api.post(f"{ann.base}/runs", {"experiment_id": "exp", "id": run.public_id}, format="json")
    assert answer.status_code == 409
    assert ann.api.get(f"{ann.base}/runs/{run.public_id}").status_code == 404


def test_a_run_waits_while_a_version_from_it_may_come_back(ann: Person) -> None:
    version = make_version(ann)
    ModelVersion.objects.update(deleted_at=timezone.now())
    delete(ann, version.source_run, days_ago=31)
    assert purge() == 0
    ModelVersion.objects.update(purged_at=timezone.now())
    assert purge() == 1


def test_its_bytes_are_freed_by_the_collector(ann: Person, settings) -> None:
    settings.BLOB_GRACE_HOURS = 0
    delete(ann, make_full_run(ann), days_ago=31)
    assert collect().blobs == 0
    purge()
    assert collect().blobs == 1
    assert not Blob.objects.exists()


def test_only_the_system_and_operators_empty_the_trash(ann: Person) -> None:
    run = make_full_run(ann)
    delete(ann, run, days_ago=31)
    with pytest.raises(Denied):
        purge_runs(actor=ann.actor)
    run.refresh_from_db()
    assert run.purged_at is None


def test_what_goes_with_a_run_was_chosen() -> None:
    """A new foreign key to runs that cascades goes at the purge: think, then add it here."""
    assert {each.related_model for each in parts_of(Run)} == {*CONTENT, RunAuthor} - {MetricChunk}


@pytest.mark.django_db(transaction=True)
def test_several_at_once_purge_each_run_once(ann: Person) -> None:
    for _ in range(10):
        delete(ann, make_run(ann, {"w": b"weights"}), days_ago=31)

    def one(_: int) -> int:
        try:
            return purge()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(one, range(4))) == 10
    assert AuditEntry.objects.filter(verb="purge_run").count() == 10
