"""The portal's pages of schedules."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.choices import Role
from scheduling.models import Schedule, ScheduleExecution
from scheduling.moments import new_execution
from tests.factories import Person, browser, make_person, make_project
from tests.scheduling.factories import drive, make_experiment, make_schedule, trigger

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>\u202e=1+1"


@pytest.fixture(autouse=True)
def _training_dir(settings: Any, tmp_path: Path) -> None:
    settings.TRAINING_DIR = tmp_path / "training"


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), Role.CONTRIBUTOR, username="ann")


def text(client: Client, path: str, code: int = 200) -> str:
    answer = client.get(f"/projects/alpha/{path}")
    assert answer.status_code == code
    return str(answer.content.decode())


def test_the_empty_list_teaches_how_to_begin(ann: Person) -> None:
    shown = text(browser(ann), "schedules/")
    assert "Nothing trains by itself yet" in shown
    assert "upload_training_code" in shown
    assert "Create Schedule" in shown


def test_a_schedule_is_created_by_the_labels_of_the_specification(ann: Person) -> None:
    make_experiment(ann)
    shown = text(browser(ann), "create-schedule/")
    for label in ("Name", "Experiment", "Cron Expression", "Configuration", ">Create<"):
        assert label in shown
    answer = browser(ann).post(
        "/projects/alpha/create-schedule/",
        {
            "name": "nightly",
            "experiment_id": "nightly",
            "cron": "0 2 * * *",
            "timezone": "Europe/Berlin",
            "configuration": '{"epochs": 3}',
            "overlap": "skip",
            "catch_up": "none",
            "timeout": "3600",
            "max_attempts": "1",
        },
        follow=True,
    )
    shown = answer.content.decode()
    assert answer.status_code == 200
    assert "The schedule is created." in shown
    assert "At 02:00 every day" in shown
    assert Schedule.objects.get().configuration == {"epochs": 3}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("cron", "61 * * * *", "its minute"),
        ("timezone", "Europe/Nowhere", "IANA name"),
        ("configuration", "{nope", "This is not JSON"),
        ("configuration", '{"a": 1, "a": 2}', "stands there twice"),
        ("configuration", '{"a": NaN}', "no number in JSON"),
        ("configuration", "[1]", "must be a JSON object"),
        ("configuration", "[" * 100_000, "nested too deeply"),
        ("experiment_id", "nowhere", "nowhere"),
        ("artifact_path", "../x", "artifact_path"),
    ],
)
def test_a_wrong_field_keeps_what_was_typed(ann: Person, field: str, value: str, said: str) -> None:
    make_experiment(ann)
    typed = {
        "name": "kept-name",
        "experiment_id": "nightly",
        "cron": "0 2 * * *",
        "timezone": "UTC",
        "configuration": "{}",
        "overlap": "skip",
        "catch_up": "none",
        "timeout": "3600",
        "max_attempts": "1",
        "model_name": "m" if field == "artifact_path" else "",
    }
    answer = browser(ann).post("/projects/alpha/create-schedule/", {**typed, field: value})
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert "kept-name" in answer.content.decode()
    assert not Schedule.objects.exists()


def test_the_next_times_are_shown_while_one_types(ann: Person) -> None:
    shown = text(browser(ann), "schedule-times/?cron=0+2+*+*+*&timezone=Europe/Berlin")
    assert "At 02:00 every day" in shown and shown.count("data-viewers>") == 5 and "02:00 CE" in shown
    assert "its minute" in text(browser(ann), "schedule-times/?cron=61+*+*+*+*")


def test_a_schedule_is_run_paused_resumed_edited_and_deleted_by_its_buttons(ann: Person) -> None:
    schedule = make_schedule(ann)
    client = browser(ann)
    base = "/projects/alpha/schedules/nightly/"
    assert "It runs as soon as" in client.post(base + "run/", follow=True).content.decode()
    execution = drive(schedule.executions.get())
    assert "Resume" in client.post(base + "pause/", follow=True).content.decode()
    assert "Pause" in client.post(base + "resume/", follow=True).content.decode()
    shown = text(client, "schedules/nightly/")
    assert execution.public_id in shown and "Succeeded" in shown
    assert "trained" in text(client, f"executions/{execution.public_id}/")
    assert "0 2 * * *" in text(client, "schedules/nightly/edit/")
    refused = client.post(base + "delete/", {"confirm": "nigthly"})
    assert refused.status_code == 422 and "nothing was deleted" in refused.content.decode()
    assert client.post(base + "delete/", {"confirm": "nightly"}, follow=True).status_code == 200
    assert "(deleted)" in text(client, f"executions/{execution.public_id}/")


def test_a_viewer_sees_no_button_and_a_forged_request_is_refused(ann: Person) -> None:
    schedule = make_schedule(ann)
    execution = trigger(ann, schedule)
    viewer = browser(make_person(ann.project, Role.VIEWER))
    for path in ("schedules/", "schedules/nightly/", f"executions/{execution.public_id}/"):
        shown = text(viewer, path)
        for word in ("Create Schedule", "Run now<", ">Pause<", ">Edit<", ">Delete<", ">Stop<"):
            assert word not in shown, (path, word)
    for path in ("run", "pause", "resume", "delete"):
        answer = viewer.post(f"/projects/alpha/schedules/nightly/{path}/", {"confirm": "nightly"})
        assert answer.status_code in (403, 422), path
    assert viewer.post(f"/projects/alpha/executions/{execution.public_id}/stop/").status_code == 403
    execution.refresh_from_db()
    assert execution.stop_asked_at is None and Schedule.objects.alive().exists()


def test_a_stranger_finds_nothing(ann: Person) -> None:
    execution = trigger(ann, make_schedule(ann))
    stranger = browser(make_person(make_project("beta")))
    for path in (
        "schedules/",
        "schedules/nightly/",
        "create-schedule/",
        f"executions/{execution.public_id}/",
    ):
        assert "nightly" not in text(stranger, path, 404)


def test_hostile_text_stays_text(ann: Person) -> None:
    make_schedule(ann, HOSTILE.replace("/", "|"), configuration={"k": HOSTILE}, program=f"print({HOSTILE!r})")
    schedule = Schedule.objects.get()
    execution = drive(trigger(ann, schedule))
    client = browser(ann)
    for path in ("schedules/", f"schedules/{schedule.name}/", f"executions/{execution.public_id}/"):
        shown = text(client, path)
        assert "<script>alert" not in shown
        assert "&lt;script&gt;alert" in shown


@pytest.mark.parametrize("path", ["schedules/", "schedules/s0/"])
def test_a_list_costs_the_same_queries_at_10_and_200_rows(ann: Person, path: str) -> None:
    client = browser(ann)
    counts = []
    for number in (10, 200):
        for each in range(Schedule.objects.count(), number):
            make_schedule(ann, f"s{each}")
        first = Schedule.objects.get(name="s0")
        rows = [new_execution(first, "manual") for _ in range(number)]  # type: ignore[arg-type]
        ScheduleExecution.objects.bulk_create(rows)
        with CaptureQueriesContext(connection) as queries:
            text(client, path)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 14


def test_what_is_polled_has_ids_by_which_the_focus_comes_back(ann: Person) -> None:
    schedule = make_schedule(ann)
    execution = trigger(ann, schedule)
    assert '<a id="act-stop"' in text(browser(ann), f"executions/{execution.public_id}/")
    assert f'<a id="execution-{execution.pk}"' in text(browser(ann), f"schedules/{schedule.name}/")


def test_the_name_of_a_schedule_cannot_be_typed_over_and_says_why(ann: Person) -> None:
    schedule = make_schedule(ann)
    edit = text(browser(ann), f"schedules/{schedule.name}/edit/")
    name = re.search(r'<input [^>]*name="name"[^>]*>', edit)
    assert name is not None and " readonly" in name[0]
    assert "It stays: links, records and programs go by it." in edit
    assert " readonly" not in text(browser(ann), "create-schedule/")
