"""Schedules by REST, as no test of pages or of the SDK looks at them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.choices import Role
from accounts.services import create_run_token
from scheduling.models import Schedule, ScheduleExecution
from tests.factories import Person, browser, make_person, make_project
from tests.scheduling.factories import begun_run, make_code, make_experiment, make_schedule, trigger

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), Role.CONTRIBUTOR, username="ann")


def call(ann: Person, method: str, path: str, body: object = None) -> Any:
    return getattr(ann.api, method)(f"{ann.base}/{path}", body, format="json")


def test_the_token_of_a_run_starts_no_other_one(ann: Person) -> None:
    execution = begun_run(ann, make_schedule(ann))
    assert execution.run is not None
    own = execution.run.public_id
    token = create_run_token(
        actor=ann.actor, project=ann.project, run_id=own, expires_at=timezone.now() + timedelta(hours=1)
    )
    ann.api.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    for path in (f"runs/{own}/again", f"runs/{own}/again/", "schedules/nightly/trigger"):
        assert call(ann, "post", path, {}).status_code in (403, 404), path
    assert call(ann, "post", f"runs/{own}/again", {}).status_code == 403
    assert call(ann, "post", f"runs/{own}/params", {"params": {"a": 1}}).status_code == 200
    assert ScheduleExecution.objects.count() == 1


def test_the_token_of_a_maintainers_run_reads_nothing_that_is_for_maintainers() -> None:
    max_ = make_person(make_project("alpha"), Role.ADMIN, username="max")
    till = timezone.now() + timedelta(hours=1)
    token = create_run_token(actor=max_.actor, project=max_.project, run_id="run-1", expires_at=till)
    closed = ("audit", "trash", "webhooks", "invitations")
    assert [call(max_, "get", path).status_code for path in closed] == [200] * 4
    max_.api.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert [call(max_, "get", path).status_code for path in closed] == [403] * 4
    assert (
        call(max_, "get", "audit")
        .json()["detail"]
        .startswith("This token may read the project and write to run-1")
    )
    assert call(max_, "get", "models").status_code == 200


@pytest.mark.parametrize("length", [1001, 1024])
def test_a_path_that_no_column_holds_is_refused_with_its_field(ann: Person, length: int) -> None:
    make_schedule(ann)
    path = ("a" * 99 + "/") * 12
    given = {"model_name": "m", "artifact_path": path[:length].rstrip("/").ljust(length, "b")}
    body = {"name": "n", "experiment_id": "nightly", "cron": "0 2 * * *", **given}
    for answer in (call(ann, "post", "schedules", body), call(ann, "patch", "schedules/nightly", given)):
        assert answer.status_code == 400, answer.content
        assert set(answer.json()["errors"]) == {"artifact_path"}
    typed = {"timezone": "UTC", "overlap": "skip", "catch_up": "none", "timeout": "60", "max_attempts": "1"}
    page = browser(ann).post("/projects/alpha/create-schedule/", {**body, **typed})
    assert page.status_code == 422 and "at most 1000 characters" in page.content.decode()
    assert not Schedule.objects.exclude(name="nightly").exists()


@pytest.mark.parametrize("name", [".", "..", "a/b", " a", ""])
def test_a_name_that_no_address_leads_to_is_refused(ann: Person, name: str) -> None:
    make_experiment(ann)
    body = {"name": name, "experiment_id": "nightly", "cron": "0 2 * * *"}
    answer = call(ann, "post", "schedules", body)
    assert answer.status_code == 400
    assert set(answer.json()["errors"]) == {"name"}
    for good in ("...", ".hidden", "a.", "..b"):
        assert call(ann, "post", "schedules", {**body, "name": good}).status_code == 201


def test_null_empties_each_text_that_may_be_empty(ann: Person) -> None:
    make_schedule(
        ann,
        engine="local",
        model_name="m",
        artifact_path="model",
        promote_metric="f1",
        promote_stage="Production",
    )
    names = ("engine", "promote_metric", "promote_stage", "artifact_path", "model_name")
    alone = call(ann, "patch", "schedules/nightly", {"model_name": None})
    assert alone.status_code == 400
    answer = call(ann, "patch", "schedules/nightly", dict.fromkeys(names))
    assert answer.status_code == 200, answer.content
    assert {answer.json()[name] for name in names} == {""}


def test_the_executions_of_a_deleted_schedule_stay_readable(ann: Person) -> None:
    first = trigger(ann, make_schedule(ann))
    assert call(ann, "delete", "schedules/nightly").status_code == 204
    assert call(ann, "get", "schedules/nightly").status_code == 404
    left = call(ann, "get", "schedules/nightly/executions")
    assert [row["id"] for row in left.json()["results"]] == [first.public_id]
    second = trigger(ann, make_schedule(ann))
    assert call(ann, "delete", "schedules/nightly").status_code == 204
    left = call(ann, "get", "schedules/nightly/executions")
    assert [row["id"] for row in left.json()["results"]] == [second.public_id], "the newest of that name"
    living = make_schedule(ann)
    assert call(ann, "get", "schedules/nightly/executions").json()["results"] == []
    assert call(ann, "get", "schedules/never/executions").status_code == 404
    # Each of them by its id, whatever has its name.
    gone = call(ann, "get", "schedules?deleted=true&ordering=-created_at").json()["results"]
    assert [row["name"] for row in gone] == ["nightly", "nightly"]
    assert all(row["deleted_at"] and row["next_times"] == [] for row in gone)
    for row, execution in zip(gone, (second, first), strict=True):
        left = call(ann, "get", f"deleted-schedules/{row['id']}/executions")
        assert [each["id"] for each in left.json()["results"]] == [execution.public_id]
    left = call(ann, "get", f"deleted-schedules/{gone[0]['id']}/executions?state=Failed")
    assert left.json()["results"] == []
    assert call(ann, "get", f"deleted-schedules/{living.pk}/executions").status_code == 404
    assert call(ann, "get", "schedules?deleted=yes").status_code == 400
    stranger = make_person(make_project("beta"))
    assert call(stranger, "get", f"deleted-schedules/{gone[0]['id']}/executions").status_code == 404


def test_the_portal_lists_deleted_schedules_and_what_they_did(ann: Person) -> None:
    base = "/projects/alpha/schedules/"
    assert "No schedule was deleted" in browser(ann).get(f"{base}?deleted=true").content.decode()
    schedule = make_schedule(ann, "old")
    execution = trigger(ann, schedule)
    make_schedule(ann, "living")
    assert call(ann, "delete", "schedules/old").status_code == 204
    listed = browser(ann).get(base).content.decode()
    assert "?deleted=true" in listed and f"deleted-schedules/{schedule.pk}/" not in listed
    listed = browser(ann).get(f"{base}?deleted=true").content.decode()
    assert "1 deleted schedule" in listed and ">living<" not in listed
    url = f"/projects/alpha/deleted-schedules/{schedule.pk}/"
    assert url in listed
    shown = browser(ann).get(url).content.decode()
    assert execution.public_id in shown
    for word in ("Run now<", ">Pause<", ">Edit<", ">Delete<"):
        assert word not in shown
    living = Schedule.objects.get(name="living")
    assert browser(ann).get(f"/projects/alpha/deleted-schedules/{living.pk}/").status_code == 404
    stranger = make_person(make_project("beta"))
    assert browser(stranger).get(url).status_code == 404
    assert browser(stranger).get(f"/projects/beta/deleted-schedules/{schedule.pk}/").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "unknown"),
    [
        ("post", "schedules", {"name": "n", "experiment_id": "nightly", "cron": "* * * * *", "timezon": "UTC"}, "timezon"),
        ("patch", "schedules/nightly", {"name": "other"}, "name"),
        ("post", "schedules/nightly/trigger", {"config": {}}, "config"),
        ("post", "runs", {"experiment_id": "nightly", "tag": {}}, "tag"),
        ("patch", "experiments/nightly", {"describtion": "x"}, "describtion"),
        ("post", "models", {"name": "m", "tag": ["x"]}, "tag"),
        ("post", "bulk", {"action": "tag_models", "items": [{"model_name": "m", "tag": "x"}]}, "items.0.tag"),
    ],
)  # fmt: skip
def test_a_field_that_there_is_not_is_refused_with_those_that_there_are(
    ann: Person, method: str, path: str, body: dict[str, Any], unknown: str
) -> None:
    make_schedule(ann)
    answer = call(ann, method, path, body)
    assert answer.status_code == 400, answer.content
    found = answer.json()
    assert found["errors"] == {unknown: [f"'{unknown}' is no field of this request."]}
    assert found["hint"].startswith("There are: ")


def test_an_edit_that_names_the_same_experiment_keeps_the_chosen_code(ann: Person) -> None:
    schedule = make_schedule(ann)
    make_code(ann)
    assert call(ann, "patch", "schedules/nightly", {"code": 1}).json()["code"] == 1
    same = {"experiment_id": schedule.experiment.public_id, "timeout": 60}
    assert call(ann, "patch", "schedules/nightly", same).json()["code"] == 1
    call(ann, "post", "experiments", {"name": "other"})
    assert call(ann, "patch", "schedules/nightly", {"experiment_id": "other"}).json()["code"] is None
