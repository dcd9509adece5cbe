"""The operators' door to schedules: seen, edited by the verb, deleted with what they ran kept."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.models import AuditEntry
from scheduling.models import Schedule
from tests.factories import Person, make_person, make_project
from tests.scheduling.factories import make_schedule

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
