"""The operators' door to schedules: seen, edited by the verb, deleted with what they ran kept."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.models import AuditEntry
from scheduling.models import Schedule, ScheduleExecution
from tests.factories import Person, make_person, make_project
from tests.scheduling.factories import make_schedule, trigger

pytestmark = pytest.mark.django_db
PAGES = "/admin/scheduling/schedule"


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


@pytest.fixture
def operator(ann: Person) -> Client:
    ann.user.is_staff = ann.user.is_superuser = True
    ann.user.save()
    client = Client()
    client.force_login(ann.user)
    return client


def shown(operator: Client, schedule: Schedule) -> dict[str, object]:
    """What the form of this schedule holds."""
    form = operator.get(f"{PAGES}/{schedule.pk}/change/").context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    return {name: "" if value is None else value for name, value in values.items()}


def test_an_operator_edits_by_the_verb_and_nothing_fires(ann: Person, operator: Client) -> None:
    schedule = make_schedule(ann)
    edited = shown(operator, schedule) | {"cron": "30 4 * * 1", "configuration": '{"depth": 3}'}
    assert operator.post(f"{PAGES}/{schedule.pk}/change/", edited).status_code == 302
    schedule.refresh_from_db()
    assert (schedule.cron, schedule.configuration) == ("30 4 * * 1", {"depth": 3})
    assert schedule.next_at is not None and schedule.next_at.minute == 30
    entry = AuditEntry.objects.filter(verb="update_schedule").get()
    assert (entry.door, entry.before["cron"], entry.after["cron"]) == ("admin", "0 2 * * *", "30 4 * * 1")
    assert not schedule.executions.exists()


def test_what_the_verb_refuses_stands_beside_its_field_and_changes_nothing(
    ann: Person, operator: Client
) -> None:
    schedule = make_schedule(ann)
    wrong = shown(operator, schedule) | {"cron": "61 * * * *", "timeout": "60"}
    page = operator.post(f"{PAGES}/{schedule.pk}/change/", wrong)
    assert page.status_code == 200
    errors = page.context["adminform"].form.errors
    assert list(errors) == ["cron"] and "61" in str(errors["cron"])
    schedule.refresh_from_db()
    assert (schedule.cron, schedule.timeout) == ("0 2 * * *", 86_400)


def test_an_operator_deletes_and_a_deleted_one_is_only_shown(ann: Person, operator: Client) -> None:
    schedule = make_schedule(ann)
    operator.post(f"{PAGES}/", {"action": "remove", "_selected_action": [schedule.pk]})
    schedule.refresh_from_db()
    assert schedule.deleted_at is not None
    assert AuditEntry.objects.get(verb="delete_schedule").door == "admin"
    assert operator.get(f"{PAGES}/{schedule.pk}/change/").status_code == 200
    assert operator.post(f"{PAGES}/{schedule.pk}/change/", {"cron": "1 1 * * *"}).status_code == 403


def test_an_operator_pauses_resumes_runs_and_stops_by_actions(ann: Person, operator: Client) -> None:
    schedules = [make_schedule(ann, "first"), make_schedule(ann, "second")]
    chosen = {"_selected_action": [schedule.pk for schedule in schedules]}
    page = operator.post(f"{PAGES}/", {"action": "pause", **chosen}, follow=True).content.decode()
    assert "first is paused." in page and "second is paused." in page
    assert not Schedule.objects.filter(paused_at=None).exists()
    page = operator.post(f"{PAGES}/", {"action": "resume", **chosen}, follow=True).content.decode()
    assert "second goes on." in page
    assert not Schedule.objects.exclude(paused_at=None).exists()
    operator.post(f"{PAGES}/", {"action": "run_now", **chosen})
    executions = list(ScheduleExecution.objects.all())
    assert {each.schedule.name for each in executions} == {"first", "second"}
    assert {each.trigger for each in executions} == {"manual"}
    stopped = {"action": "stop", "_selected_action": [executions[0].pk]}
    page = operator.post("/admin/scheduling/scheduleexecution/", stopped, follow=True).content.decode()
    assert f"{executions[0].public_id} is being stopped." in page
    for each, asked in zip(executions, (True, False), strict=True):
        each.refresh_from_db()
        assert (each.stop_asked_at is not None) == asked
    verbs = AuditEntry.objects.filter(door="admin").values_list("verb", flat=True)
    assert {"pause_schedule", "resume_schedule", "trigger_schedule", "stop_execution"} <= set(verbs)


def test_what_an_action_cannot_do_is_said_and_the_others_are_done(ann: Person, operator: Client) -> None:
    schedule = make_schedule(ann)
    ended, waiting = trigger(ann, schedule), trigger(ann, schedule)
    ScheduleExecution.objects.filter(pk=ended.pk).update(state="Succeeded")
    chosen = {"action": "stop", "_selected_action": [ended.pk, waiting.pk]}
    page = operator.post("/admin/scheduling/scheduleexecution/", chosen, follow=True).content.decode()
    assert f"{ended.public_id} is Succeeded already." in page
    waiting.refresh_from_db()
    assert waiting.stop_asked_at is not None
