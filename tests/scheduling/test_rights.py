"""Whose rights a schedule has: of who changed it last, of who uploaded the code, and none of them reviews the outcome."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.choices import Role
from approvals.models import ApprovalRequest
from approvals.policies import set_approval_policy
from common.jobs import enqueue
from registry.models import ModelVersion
from registry.protections import protect
from scheduling.models import ScheduleExecution
from scheduling.moments import new_execution
from scheduling.queries import find_schedule
from scheduling.services import update_schedule
from tests.factories import Person, browser, make_person, make_project, make_run, run_jobs
from tests.scheduling.factories import make_code, make_schedule

pytestmark = pytest.mark.django_db
PROMOTES = {
    "model_name": "wine",
    "artifact_path": "model",
    "promote_metric": "accuracy",
    "promote_stage": "Production",
}


@pytest.fixture
def ray() -> Person:
    return make_person(make_project("alpha"), Role.MAINTAINER, username="ray")


@pytest.fixture
def eve(ray: Person) -> Person:
    return make_person(ray.project, Role.CONTRIBUTOR, username="eve")


def edit(person: Person, **values: Any) -> None:
    update_schedule(actor=person.actor, project=person.project, name="nightly", **values)


def fired(ray: Person, code: object = None, **values: Any) -> str:
    """The outcome of an execution that trained with `code`, as the schedule is now."""
    schedule = find_schedule(ray.project, "nightly")
    execution = new_execution(schedule, "cron", state="Succeeded", engine="local", code=code, **values)  # type: ignore[arg-type]
    execution.run = make_run(ray, {"model/weights.txt": b"1 2 3"}, accuracy=0.99)
    execution.save(force_insert=True)
    enqueue("scheduling.register_result", key=f"register:{execution.pk}", execution_id=execution.pk)
    run_jobs()
    return str(ScheduleExecution.objects.get(pk=execution.pk).outcome)


def stage() -> str:
    return ModelVersion.objects.order_by("-number").values_list("stage", flat=True)[0]


def protect_production(ray: Person) -> None:
    protect(actor=ray.actor, project=ray.project, kind="stage", name="Production")


def test_who_edits_anothers_schedule_reaches_no_stage_that_is_protected_against_them(
    ray: Person, eve: Person
) -> None:
    protect_production(ray)
    make_schedule(ray)
    edit(eve, **PROMOTES)
    assert "only the roles admin, maintainer may move it" in fired(ray)
    assert stage() == "None"
    pressed = fired(ray, created_by=ray.user)
    assert "eve set the schedule" in pressed and stage() == "None"
    edit(ray, timeout=60)
    assert fired(ray).endswith("nothing is in Production.") and stage() == "Production"


def test_newer_code_of_another_reaches_a_protected_stage_only_when_somebody_chose_it(
    ray: Person, eve: Person
) -> None:
    protect_production(ray)
    make_schedule(ray, **PROMOTES)
    code = make_code(
        eve, "print('of eve')", experiment=find_schedule(ray.project, "nightly").experiment.public_id
    )
    assert "eve set the schedule or uploaded its newest code." in fired(ray, code)
    assert stage() == "None"
    edit(ray, code=code.number)
    fired(ray, code)
    assert stage() == "Production"


def test_neither_who_edited_the_schedule_nor_who_wrote_its_code_reviews_what_it_asks_for(
    ray: Person, eve: Person
) -> None:
    ann, bob = (make_person(ray.project, Role.CONTRIBUTOR, username=name) for name in ("ann", "bob"))
    set_approval_policy(actor=ray.actor, project=ray.project, reviewers=["ann", "bob", "eve"])
    schedule = make_schedule(ray)
    code = make_code(eve, "print('of eve')", experiment=schedule.experiment.public_id)
    edit(ann, **PROMOTES)
    fired(ray, code)
    request = ApprovalRequest.objects.get()
    assert request.requested_by == ann.user
    for person, why in ((ann, "asked for this move"), (eve, "had a part in training this version")):
        answer = person.api.post(f"{person.base}/approvals/{request.public_id}/approve", {}, format="json")
        page = browser(person).get(f"/projects/alpha/approvals/{request.public_id}/").content.decode()
        assert f"You {why}, so others review it." in page
        assert (answer.status_code, answer.json()["detail"]) == (
            403,
            f"You {why}, so others must review it.",
        )
        assert person.api.get(f"{person.base}/approvals?waiting_for_me=true").json()["results"] == []
    assert len(bob.api.get(f"{bob.base}/approvals?waiting_for_me=true").json()["results"]) == 1
    assert (
        bob.api.post(f"{bob.base}/approvals/{request.public_id}/approve", {}, format="json").status_code
        == 200
    )
    assert stage() == "Production"
