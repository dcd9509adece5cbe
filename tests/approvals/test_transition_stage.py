"""Stages move by one verb, with their history, whatever comes at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import DatabaseError, connections, transaction

from accounts.choices import Role, Scope
from accounts.models import AuditEntry
from registry.models import StageTransition
from tests.factories import Person, make_person, make_project, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    person = make_person(make_project("alpha"), username="ann")
    make_version(person, "m")
    return person


def move(person: Person, stage: object, note: str = "", ref: str = "1"):
    path = f"{person.base}/models/m/versions/{ref}/transition"
    return person.api.post(path, {"stage": stage, "note": note}, format="json")


def test_a_move_is_applied_and_answered_with_both_stages(ann: Person) -> None:
    answer = move(ann, "Staging", "for tests")
    assert answer.status_code == 200, answer.json()
    moved = answer.json()
    assert (moved["status"], moved["from_stage"], moved["to_stage"]) == ("applied", "None", "Staging")
    assert (moved["note"], moved["actor"], moved["approval"]) == ("for tests", "ann", None)
    assert ann.api.get(f"{ann.base}/models/m/versions/1").json()["stage"] == "Staging"


def test_each_move_is_one_history_row_and_one_audit_entry(ann: Person) -> None:
    for stage in ("Staging", "production", "Archived", "None"):
        assert move(ann, stage).status_code == 200
    for path in ("models/m/transitions", "models/m/versions/1/transitions"):
        rows = ann.api.get(f"{ann.base}/{path}").json()["results"]
        assert [r["to_stage"] for r in rows] == ["None", "Archived", "Production", "Staging"]
    assert AuditEntry.objects.filter(verb="transition_stage").count() == 4


def test_the_history_is_never_changed(ann: Person) -> None:
    move(ann, "Staging")
    with pytest.raises(DatabaseError), transaction.atomic():
        StageTransition.objects.update(note="never")


@pytest.mark.parametrize("stage", ["Prod", "", None, 3, ["Staging"]])
def test_an_unknown_stage_is_refused_with_the_known_ones(ann: Person, stage: object) -> None:
    answer = move(ann, stage)
    assert answer.status_code == 400
    assert "stage" in answer.json()["errors"]


def test_moving_to_where_it_stands_is_a_conflict_and_writes_nothing(ann: Person) -> None:
    assert move(ann, "None").json()["code"] == "stage_unchanged"
    assert not StageTransition.objects.exists()


def test_a_version_that_was_not_looked_at_is_not_promoted(ann: Person) -> None:
    make_version(ann, "m", ready=False)
    assert move(ann, "Production", ref="2").json()["code"] == "version_not_ready"


def test_viewers_read_tokens_and_strangers_move_nothing(ann: Person) -> None:
    assert move(make_person(ann.project, Role.VIEWER), "Staging").status_code == 403
    assert move(make_person(ann.project, scopes=[Scope.READ]), "Staging").status_code == 403
    stranger = make_person(make_project("beta"))
    answer = stranger.api.post(
        f"{ann.base}/models/m/versions/1/transition", {"stage": "Staging"}, format="json"
    )
    assert answer.status_code == 404


@pytest.mark.django_db(transaction=True)
def test_of_many_equal_moves_at_once_one_is_applied() -> None:
    ann = make_person(make_project())
    make_version(ann, "m")

    def one(_: int) -> int:
        try:
            return move(ann, "Production").status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(one, range(12)))
    assert statuses == [200] + [409] * 11
    assert StageTransition.objects.count() == 1
