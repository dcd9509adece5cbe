"""Jobs are neither lost nor done twice, whatever the broker or a worker does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from celery import current_app
from django.db import transaction
from django.utils import timezone

from common import jobs
from common.models import Job, JobState

pytestmark = pytest.mark.django_db(transaction=True)

DONE: list[str] = []
BROKEN: list[str] = []


def gave_up(*, error: str, word: str) -> None:
    BROKEN.append(f"{word}: {error}")


@jobs.job("tests.note")
def note(*, word: str) -> None:
    DONE.append(word)


@jobs.job("tests.copy", long=True)
def copy(*, word: str) -> None:
    DONE.append(word)


@jobs.job("tests.again")
def again(*, word: str) -> jobs.Again | None:
    DONE.append(word)
    return jobs.Again(5) if len(DONE) == 1 else None


@jobs.job("tests.fail", max_attempts=2, on_exhausted=gave_up)
def fail(*, word: str) -> None:
    raise ValueError(f"no {word}")


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    DONE.clear()
    BROKEN.clear()
    yield


def test_a_job_of_a_transaction_that_fails_is_never_done() -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        jobs.enqueue("tests.note", word="x")
        raise RuntimeError
    assert not Job.objects.exists()


def test_a_job_is_done_once_however_often_it_is_told() -> None:
    jobs.enqueue("tests.note", word="x")
    row = Job.objects.get()
    note(row.pk)
    note(row.pk)
    assert DONE == ["x"]
    row.refresh_from_db()
    assert row.state == JobState.DONE


def test_one_queued_row_stands_for_all_of_its_key() -> None:
    for _ in range(3):
        jobs.enqueue("tests.note", key="k", word="x")
    assert Job.objects.count() == 1


def test_a_running_job_does_not_swallow_the_next_request_of_its_key() -> None:
    jobs.enqueue("tests.note", key="k", word="x")
    assert jobs.claim(Job.objects.get().pk) is not None
    jobs.enqueue("tests.note", key="k", word="x")
    assert Job.objects.filter(state=JobState.QUEUED).count() == 1


def test_a_job_that_asks_to_be_called_again_waits_for_its_time() -> None:
    jobs.enqueue("tests.again", word="x")
    row = Job.objects.get()
    jobs.run(row.pk)
    jobs.run(row.pk)
    assert DONE == ["x"]
    Job.objects.update(run_after=timezone.now())
    jobs.run(row.pk)
    assert DONE == ["x", "x"]
    row.refresh_from_db()
    assert row.state == JobState.DONE


def test_again_with_a_twin_in_the_queue_ends_without_an_error() -> None:
    jobs.enqueue("tests.again", key="k", word="x")
    row = jobs.claim(Job.objects.get().pk)
    assert row is not None
    jobs.enqueue("tests.again", key="k", word="x")
    jobs._finished(row, jobs.Again(1))
    assert sorted(Job.objects.values_list("state", flat=True)) == ["done", "queued"]


def test_a_failing_job_is_tried_again_and_then_given_up_with_its_error() -> None:
    jobs.enqueue("tests.fail", word="milk")
    for _ in range(2):
        Job.objects.update(run_after=timezone.now())
        jobs.run(Job.objects.get().pk)
    row = Job.objects.get()
    assert (row.state, row.attempts, row.error) == (JobState.FAILED, 2, "no milk")
    assert BROKEN == ["milk: no milk"]
    jobs.retry(row.pk)
    row.refresh_from_db()
    assert (row.state, row.attempts) == (JobState.QUEUED, 0)


def test_what_a_dead_worker_held_is_handed_on_and_the_dead_cannot_finish_it() -> None:
    jobs.enqueue("tests.note", word="x")
    dead = jobs.claim(Job.objects.get().pk)
    assert dead is not None
    assert jobs.reap() == 0
    Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert jobs.reap() == 1
    alive = jobs.claim(dead.pk)
    assert alive is not None
    jobs._finished(dead, None)
    alive.refresh_from_db()
    assert alive.state == JobState.RUNNING


def test_a_lease_is_renewed_while_the_job_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LEASE", timedelta(seconds=0.4))
    jobs.enqueue("tests.note", word="x")
    row = jobs.claim(Job.objects.get().pk)
    assert row is not None and row.lease_until is not None
    with jobs.renewed_lease(row):
        deadline = timezone.now() + timedelta(seconds=3)
        while Job.objects.get().lease_until <= row.lease_until:  # type: ignore[operator]
            assert timezone.now() < deadline


def test_due_jobs_are_told_to_the_broker_and_again_when_the_message_was_lost() -> None:
    current_app.control.purge()
    jobs.enqueue("tests.note", word="x")
    jobs.enqueue("tests.note", delay=60, word="later")
    assert jobs.publish_due() == 1
    assert jobs.broker_backlog("celery") == 1
    assert jobs.publish_due() == 0
    later = timezone.now() + timedelta(seconds=20)
    assert jobs.publish_due(later) == 0, "the message still waits in the broker"
    current_app.control.purge()
    assert jobs.publish_due(later) == 1
    current_app.control.purge()


def test_long_jobs_have_a_queue_of_their_own_and_what_waits_there_holds_up_no_short_one() -> None:
    current_app.control.purge()
    jobs.enqueue("tests.copy", word="x")
    jobs.enqueue("tests.note", word="y")
    assert jobs.publish_due() == 2
    assert (jobs.broker_backlog("celery"), jobs.broker_backlog("long")) == (1, 1)
    with current_app.connection_for_write() as link:
        link.default_channel.queue_purge("celery")
    later = timezone.now() + timedelta(seconds=20)
    assert jobs.publish_due(later) == 1, "only the short one's message was lost"
    assert (jobs.broker_backlog("celery"), jobs.broker_backlog("long")) == (1, 1)
    current_app.control.purge()
    assert jobs.publish_due(later + timedelta(seconds=20)) == 2


def test_many_jobs_that_wait_in_a_queue_hide_no_new_one() -> None:
    current_app.control.purge()
    jobs.enqueue_all("tests.copy", {str(number): {"word": str(number)} for number in range(jobs.BATCH + 1)})
    assert [jobs.publish_due() for _ in range(3)] == [jobs.BATCH, 1, 0]
    later = timezone.now() + timedelta(seconds=20)
    jobs.enqueue("tests.note", word="new")
    assert jobs.publish_due(later) == 1
    assert jobs.broker_backlog("celery") == 1
    current_app.control.purge()


def test_old_finished_jobs_are_removed() -> None:
    jobs.enqueue("tests.note", word="x")
    jobs.run(Job.objects.get().pk)
    assert jobs.prune() == 0
    Job.objects.update(finished_at=timezone.now() - timedelta(days=2))
    assert jobs.prune() == 1
