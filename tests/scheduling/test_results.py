"""What becomes of a training that went well: its version, and the challenge to the one in Production."""

from __future__ import annotations

import math
from typing import Any

import pytest

from accounts.models import Notification
from approvals.services import transition_stage
from common.jobs import enqueue
from common.models import Job, JobState
from registry.models import ModelVersion
from scheduling import results
from scheduling.models import Schedule, ScheduleExecution
from scheduling.moments import new_execution
from scheduling.services import update_schedule
from tests.factories import Person, make_person, make_project, make_run, run_jobs
from tests.scheduling.factories import make_schedule

pytestmark = pytest.mark.django_db
FILES = {"model/weights.txt": b"1 2 3"}


@pytest.fixture
def ada() -> Person:
    return make_person(make_project("alpha"), username="ada")


def challenger(person: Person, key: str = "accuracy", **values: Any) -> Schedule:
    words = {
        "model_name": "wine",
        "artifact_path": "model",
        "promote_metric": key,
        "promote_stage": "Production",
    }
    return make_schedule(person, **{**words, **values})


def trained(person: Person, schedule: Schedule, **metrics: float) -> ScheduleExecution:
    """An execution that ended well, with a run of these metrics; what follows waits in the queue."""
    execution = new_execution(schedule, "manual", state="Succeeded", engine="local", created_by=person.user)  # type: ignore[arg-type]
    execution.run = make_run(person, FILES, **metrics)
    execution.save(force_insert=True)
    enqueue("scheduling.register_result", key=f"register:{execution.pk}", execution_id=execution.pk)
    return execution


def outcome_of(person: Person, execution: ScheduleExecution) -> str:
    run_jobs()
    answer = person.api.get(f"{person.base}/executions/{execution.public_id}")
    assert answer.status_code == 200
    return str(answer.data["outcome"])


def stages(project_person: Person) -> dict[int, str]:
    rows = ModelVersion.objects.filter(model__project=project_person.project)
    return dict(rows.order_by("number").values_list("number", "stage"))


def test_the_first_version_is_promoted_and_then_only_what_is_better(ada: Person) -> None:
    schedule = challenger(ada)
    first = outcome_of(ada, trained(ada, schedule, accuracy=0.8))
    assert first == (
        "Registered as version 1 of wine. Production was asked for it: accuracy is 0.8, and nothing is in Production."
    )
    for worse in (0.7, 0.8):
        said = outcome_of(ada, trained(ada, schedule, accuracy=worse))
        assert said.endswith(f"It was not promoted: accuracy is {worse:g}, version 1 in Production has 0.8.")
    better = outcome_of(ada, trained(ada, schedule, accuracy=0.9))
    assert better.endswith("Production was asked for it: accuracy is 0.9, better than 0.8 of version 1.")
    assert stages(ada)[4] == "Production"


def test_of_a_loss_the_lower_is_better(ada: Person) -> None:
    schedule = challenger(ada, "val_loss")
    outcome_of(ada, trained(ada, schedule, val_loss=0.5))
    worse = outcome_of(ada, trained(ada, schedule, val_loss=0.6))
    assert worse.endswith("It was not promoted: val_loss is 0.6, version 1 in Production has 0.5.")
    better = outcome_of(ada, trained(ada, schedule, val_loss=0.4))
    assert better.endswith("Production was asked for it: val_loss is 0.4, better than 0.5 of version 1.")
    assert (stages(ada)[2], stages(ada)[3]) == ("None", "Production")


def test_nan_and_a_metric_that_nobody_logged_promote_nothing(ada: Person) -> None:
    schedule = challenger(ada)
    said = outcome_of(ada, trained(ada, schedule, accuracy=math.nan))
    assert said.endswith("It was not promoted: accuracy is NaN.")
    said = outcome_of(ada, trained(ada, schedule, f1=0.9))
    assert said.endswith("It was not promoted: its run logged no accuracy.")
    assert set(stages(ada).values()) == {"None"}


@pytest.mark.parametrize("metrics", [{"f1": 0.9}, {"accuracy": math.nan}])
def test_a_champion_without_the_metric_is_not_replaced(metrics: dict[str, float], ada: Person) -> None:
    schedule = challenger(ada, promote_metric="", promote_stage="")
    outcome_of(ada, trained(ada, schedule, **metrics))
    transition_stage(actor=ada.actor, project=ada.project, model_name="wine", ref=1, stage="Production")
    update_schedule(
        actor=ada.actor,
        project=ada.project,
        name="nightly",
        promote_metric="accuracy",
        promote_stage="Production",
    )
    said = outcome_of(ada, trained(ada, schedule, accuracy=0.99))
    assert said.endswith("It was not promoted: version 1 in Production has no accuracy to compare with.")
    assert stages(ada) == {1: "Production", 2: "None"}


def test_a_run_without_the_artifact_path_registers_nothing_and_says_so(ada: Person) -> None:
    execution = trained(ada, challenger(ada, artifact_path="elsewhere"), accuracy=0.9)
    said = outcome_of(ada, execution)
    assert said.startswith("No version was registered: ")
    assert "elsewhere" in said
    assert stages(ada) == {}


def test_a_worker_that_dies_after_the_promotion_does_not_contradict_it(ada: Person) -> None:
    execution = trained(ada, challenger(ada), accuracy=0.8)
    said = outcome_of(ada, execution)
    enqueue("scheduling.register_result", execution_id=execution.pk)
    assert outcome_of(ada, execution) == said
    assert stages(ada) == {1: "Production"}


def exhaust(execution: ScheduleExecution) -> None:
    """As if this were the last try, and its worker died."""
    rows = Job.objects.filter(name="scheduling.register_result", state=JobState.QUEUED)
    rows.update(attempts=9)
    run_jobs()


def test_when_no_worker_can_register_it_the_execution_says_so_and_its_maker_is_told(
    ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**words: object) -> None:
        raise OSError("the disk is full")

    execution = trained(ada, challenger(ada), accuracy=0.8)
    with monkeypatch.context() as broken:
        broken.setattr(results, "create_version", fail)
        exhaust(execution)
    why = "workers failed on it again and again: the disk is full"
    assert outcome_of(ada, execution) == f"No version was registered: {why}"
    assert Notification.objects.get().text == f"What nightly trained was not registered: {why}"
    enqueue("scheduling.register_result", execution_id=execution.pk)
    assert outcome_of(ada, execution).startswith("Registered as version 1 of wine. Production was asked")


def test_when_no_worker_can_promote_it_the_execution_says_so_and_it_may_be_tried_again(
    ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**words: object) -> None:
        raise OSError("the disk is full")

    execution = trained(ada, challenger(ada), accuracy=0.8)
    with monkeypatch.context() as broken:
        broken.setattr(results, "transition_stage", fail)
        run = results.register_result
        while True:  # the version is looked at first
            try:
                if run(execution.pk) is None:
                    break
            except OSError:
                break
            Job.objects.filter(name="scheduling.register_result").delete()
            run_jobs()
        Job.objects.filter(name="scheduling.register_result").delete()
        enqueue("scheduling.register_result", execution_id=execution.pk)
        exhaust(execution)
    why = "workers failed on it again and again: the disk is full"
    assert outcome_of(ada, execution) == f"Registered as version 1 of wine. It was not promoted: {why}"
    assert Notification.objects.get(kind="schedule_failed").text == (
        f"What nightly trained was not promoted: {why}"
    )
    enqueue("scheduling.register_result", execution_id=execution.pk)
    assert outcome_of(ada, execution).endswith("and nothing is in Production.")
