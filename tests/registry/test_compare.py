"""Versions side by side: metrics with direction, parameters, datasets, and files by digest."""

from __future__ import annotations

from typing import Any

import pytest

from common.directions import best_of, direction_of
from registry.services import create_version
from tests.factories import Person, add_files, make_person, make_project
from tracking import services as tracking_verbs

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    ann = make_person(make_project("alpha"), username="ann")
    for number, files in enumerate(
        [{"m/a": b"1", "m/b": b"2"}, {"m/a": b"1", "m/b": b"3", "m/c": b"4"}, {"m/b": b"2"}], start=1
    ):
        run = tracking_verbs.start_run(actor=ann.actor, project=ann.project, experiment_id="exp")
        where = {"actor": ann.actor, "project": ann.project, "run_id": run.public_id}
        tracking_verbs.log_params(**where, params={"lr": number, "opt": "adamw"})
        tracking_verbs.log_metrics(
            **where,
            series=[
                {"key": "val_loss", "values": [1 / number]},
                {"key": "accuracy", "values": [number / 10]},
            ],
        )
        tracking_verbs.log_dataset(**where, name="train", path="", digest="same" if number < 3 else "new")
        add_files(ann, run, files)
        create_version(
            actor=ann.actor,
            project=ann.project,
            model_name="iris",
            source_run_id=run.public_id,
            artifact_path="m",
        )
    return ann


def compared(ann: Person, refs: str = "1,2,3") -> Any:
    answer = ann.api.get(f"{ann.base}/models/iris/compare", {"versions": refs})
    assert answer.status_code == 200
    return answer.json()


def test_metrics_say_which_way_is_better_and_which_is_best(ann: Person) -> None:
    rows = {row["key"]: row for row in compared(ann)["metrics"]}
    assert (rows["val_loss"]["direction"], rows["val_loss"]["best"]) == ("lower", 2)
    assert (rows["accuracy"]["direction"], rows["accuracy"]["best"]) == ("higher", 2)
    assert rows["accuracy"]["differences"] == pytest.approx([0, 0.1, 0.2])


def test_files_are_compared_by_digest_those_that_differ_first(ann: Person) -> None:
    found = compared(ann)
    assert {row["path"]: row["changes"] for row in found["files"]} == {
        "a": ["same", "same", "removed"],
        "b": ["same", "changed", "same"],
        "c": ["same", "added", "same"],
    }
    assert found["files_left_out"] == 0
    assert compared(ann, "1,2")["files"][-1]["differs"] is False


def test_parameters_and_datasets_that_differ_come_first(ann: Person) -> None:
    found = compared(ann)
    assert [(row["key"], row["differs"]) for row in found["params"]] == [("lr", True), ("opt", False)]
    assert found["datasets"] == [{"key": "train", "values": ["same", "same", "new"], "differs": True}]


@pytest.mark.parametrize(
    ("key", "direction"),
    [
        ("val/loss", "lower"),
        ("testRMSE", "lower"),
        ("f1_loss", "lower"),
        ("macro f1", "higher"),
        ("AUC", "higher"),
        ("r2", "higher"),
        ("lossless", "unknown"),
        ("epoch", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_metric_s_name_tells_which_way_is_better(key: str, direction: str) -> None:
    assert direction_of(key) == direction


def test_the_best_is_none_where_nothing_can_be_said() -> None:
    assert best_of("epoch", [1.0, 2.0]) is None
    assert best_of("loss", [1.0, None]) is None
    assert best_of("loss", [1.0, 1.0]) is None
    assert best_of("loss", [float("nan"), 2.0, 1.0]) == 2
