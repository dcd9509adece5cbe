"""Schedules by the SDK, against the real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podstack import MLOpsClient, NotFoundError, ValidationError
from tests.factories import Person, make_person, make_project

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


@pytest.fixture
def client(ann: Person, live_server: Any, tmp_path: Path) -> Iterator[MLOpsClient]:
    """A client of an experiment with training code."""
    client = MLOpsClient(api_token=ann.token, api_endpoint=live_server.url, project="alpha")
    (tmp_path / "train.py").write_text("print('trained')")
    client.create_experiment("wine")
    rules = {"properties": {"epochs": {"type": "integer"}}}
    client.upload_training_code("wine", tmp_path, ["python", "train.py"], rules)
    yield client


def test_schedules_are_listed_changed_paused_and_resumed(client: MLOpsClient) -> None:
    made = client.create_schedule("nightly", "wine", "0 2 * * *", configuration={"epochs": 3})
    client.create_schedule("weekly", "wine", "0 3 * * 1", "Europe/Berlin", overlap="queue")
    assert client.get_schedule("nightly") == made
    assert [each.name for each in client.list_schedules()] == ["nightly", "weekly"]
    assert [each.name for each in client.list_schedules(search="week")] == ["weekly"]
    client.create_experiment("empty")
    assert list(client.list_schedules(experiment_id="empty")) == []
    for lists in (client.list_schedules, client.list_runs):
        with pytest.raises(NotFoundError, match="There is no experiment 'other' in alpha"):
            list(lists(experiment_id="other"))
    paused = client.pause_schedule("weekly")
    assert paused.paused and paused.next_at is None
    assert [each.name for each in client.list_schedules(paused=True)] == ["weekly"]
    assert [each.name for each in client.list_schedules(paused=False)] == ["nightly"]
    resumed = client.resume_schedule("weekly")
    assert not resumed.paused and resumed.next_at is not None
    changed = client.update_schedule(
        "nightly", cron="30 4 * * *", configuration={"epochs": 4}, model_name="m", artifact_path="model"
    )
    assert (changed.cron, changed.configuration, changed.model_name) == ("30 4 * * *", {"epochs": 4}, "m")
    emptied = client.update_schedule("nightly", model_name=None, artifact_path=None, memory_limit=None)
    assert (emptied.model_name, emptied.artifact_path, emptied.memory_limit) == ("", "", None)
    with pytest.raises(ValidationError, match="epochs"):
        client.update_schedule("nightly", configuration={"epochs": "many"})
    assert client.get_schedule("nightly").configuration == {"epochs": 4}


def test_times_and_training_code_are_told(client: MLOpsClient, tmp_path: Path) -> None:
    said = client.get_schedule_times("0 2 * * *", "Europe/Berlin")
    assert said.words == "At 02:00 every day" and len(said.next_times) == 5
    with pytest.raises(ValidationError, match="its minute"):
        client.get_schedule_times("61 * * * *")
    (tmp_path / "train.py").write_text("print('trained better')")
    client.upload_training_code("wine", tmp_path, ["python", "train.py"])
    codes = list(client.list_training_code("wine"))
    assert [(code.number, code.state) for code in codes] == [(2, "Ready"), (1, "Ready")]
    with pytest.raises(ValidationError, match="refers to itself without end"):
        client.upload_training_code("wine", tmp_path, ["python", "train.py"], {"$ref": "#"})


def test_the_executions_of_a_deleted_schedule_are_listed(client: MLOpsClient) -> None:
    client.create_schedule("nightly", "wine", "0 2 * * *")
    execution = client.trigger_schedule("nightly")
    client.delete_schedule("nightly")
    assert [each.id for each in client.list_schedule_executions("nightly")] == [execution.id]
    with pytest.raises(NotFoundError):
        client.get_schedule("nightly")
    assert not list(client.list_schedules())
    client.create_schedule("nightly", "wine", "0 2 * * *")
    (gone,) = client.list_schedules(deleted=True)
    assert gone.name == "nightly" and gone.deleted_at is not None
    assert [each.id for each in client.list_deleted_schedule_executions(gone.id)] == [execution.id]
    assert not list(client.list_deleted_schedule_executions(gone.id, state="Failed"))
