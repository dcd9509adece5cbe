"""Many hands on one model at once, through REST: every answer is a plain one, and the rows agree afterwards."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from accounts.models import AuditEntry
from accounts.permissions import system_actor
from deployments.models import Deployment, DeploymentRevision
from registry import trash
from registry.models import Alias, AliasMove, ModelVersion, RegisteredModel, StageTransition
from tests.factories import Person, make_person, make_project, make_run, make_version

pytestmark = pytest.mark.django_db(transaction=True)

Ask = Callable[[], Any]


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def at_once(asks: Sequence[Ask]) -> list[Any]:
    """All of these from threads of their own; their answers in order, none a 5xx."""

    def one(ask: Ask) -> Any:
        try:
            return ask()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(min(12, len(asks))) as pool:
        answers = list(pool.map(one, asks))
    assert all(answer.status_code < 500 for answer in answers), [
        a.content for a in answers if a.status_code >= 500
    ]
    return answers


def statuses(answers: Sequence[Any]) -> list[int]:
    return sorted(answer.status_code for answer in answers)


def test_numbers_are_never_given_twice_while_the_model_comes_and_goes(ann: Person) -> None:
    run = make_run(ann, {"a.txt": b"1"})
    body = {"source_run_id": run.public_id, "artifact_path": "a.txt"}

    def create() -> Any:
        return ann.api.post(f"{ann.base}/models/m/versions", body, format="json")

    def delete() -> Any:
        return ann.api.delete(f"{ann.base}/models/m")

    answers = at_once([create, create, delete] * 12)
    made = [answer.json()["version"] for answer in answers if answer.status_code == 201]
    assert len(made) == 24, statuses(answers)
    assert sorted(made) == list(range(1, 25))
    assert RegisteredModel.objects.alive().filter(name="m").count() <= 1
    alive = ModelVersion.objects.alive().filter(model__name="m")
    assert alive.count() == sum(1 for v in ModelVersion.objects.all() if v.deleted_at is None)


def test_of_two_who_move_a_version_to_the_same_stage_one_does(ann: Person) -> None:
    make_version(ann, "m")
    path = f"{ann.base}/models/m/versions/1/transition"
    answers = at_once([lambda: ann.api.post(path, {"stage": "Production"}, format="json")] * 8)
    assert statuses(answers) == [200] + [409] * 7
    assert StageTransition.objects.count() == 1
    assert AuditEntry.objects.filter(verb="transition_stage").count() == 1


def test_the_stage_history_is_a_chain_whoever_moves(ann: Person) -> None:
    make_version(ann, "m")
    path = f"{ann.base}/models/m/versions/1/transition"

    def move(stage: str) -> Ask:
        return lambda: ann.api.post(path, {"stage": stage}, format="json")

    at_once([move(stage) for stage in ("Staging", "Production", "Archived", "None") * 5])
    moves = list(StageTransition.objects.order_by("id"))
    assert all(one.to_stage == two.from_stage for one, two in itertools.pairwise(moves))
    assert ModelVersion.objects.get().stage == moves[-1].to_stage


def test_an_alias_never_points_to_a_version_that_is_gone(ann: Person) -> None:
    for number in (1, 2, 3, 4):
        make_version(ann, "m", accuracy=float(number))
    path = f"{ann.base}/models/m"

    def point(number: int) -> Ask:
        return lambda: ann.api.put(f"{path}/aliases/best", {"version": number}, format="json")

    def delete(number: int) -> Ask:
        return lambda: ann.api.delete(f"{path}/versions/{number}")

    asks = [point(number) for number in (1, 2, 3, 4) * 3]
    asks[4:4], asks[9:9], asks[13:13] = [delete(2)], [delete(3)], [delete(4)]
    answers = at_once(asks)
    assert set(statuses(answers)) <= {200, 204, 404}
    assert not Alias.objects.exclude(version__deleted_at=None).exists()
    moves = list(AliasMove.objects.order_by("id"))
    assert all(one.to_version_id == two.from_version_id for one, two in itertools.pairwise(moves))
    standing = Alias.objects.filter(name="best").values_list("version_id", flat=True).first()
    assert standing == (moves[-1].to_version_id if moves else None)


def test_an_alias_is_looked_up_when_its_version_is_locked(ann: Person) -> None:
    """What is said of an alias that moves holds for what it points to at that moment, not for what it left."""
    for number in (1, 2):
        make_version(ann, "m", accuracy=float(number))
    path = f"{ann.base}/models/m"
    for value in ("one", "two", "three"):
        ann.api.put(f"{path}/aliases/best", {"version": 1}, format="json")
        at_once(
            [
                lambda: ann.api.put(f"{path}/aliases/best", {"version": 2}, format="json"),
                lambda value=value: ann.api.put(
                    f"{path}/versions/best/tags/k", {"value": value}, format="json"
                ),
            ]
        )
        moved = AuditEntry.objects.filter(verb="set_alias").order_by("-id")[0]
        tagged = AuditEntry.objects.filter(verb="set_version_tag").order_by("-id")[0]
        assert tagged.object_id == ("m/2" if moved.pk < tagged.pk else "m/1")


def test_what_is_being_purged_does_not_come_back_with_its_model(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the moment when its days in the trash are over: it is there with its files, or gone."""
    make_version(ann, "m")
    assert ann.api.delete(f"{ann.base}/models/m").status_code == 204
    purging, go_on, thread = threading.Event(), threading.Event(), threading.local()
    ends, without_files = trash.trash_ends, trash.manifest_without_files
    monkeypatch.setattr(trash, "trash_ends", lambda: timezone.now() if hasattr(thread, "purges") else ends())

    def wait() -> Any:
        purging.set()
        assert go_on.wait(30)
        return without_files()

    monkeypatch.setattr(trash, "manifest_without_files", wait)

    def purge() -> None:
        thread.purges = True
        trash.purge_models(actor=system_actor())
        connections.close_all()

    def restore() -> None:
        trash.restore_model(actor=ann.actor, project=ann.project, name="m")
        connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        purged = pool.submit(purge)
        assert purging.wait(30)
        restored = pool.submit(restore)
        with suppress(TimeoutError):
            restored.result(timeout=1)
        go_on.set()
        purged.result()
        restored.result()
    version = ModelVersion.objects.get()
    assert version.purged_at is not None and version.deleted_at is not None


def test_a_version_is_deployed_or_deleted_never_both(ann: Person) -> None:
    for round_number in range(1, 5):
        make_version(ann, "m", accuracy=float(round_number))
        ModelVersion.objects.filter(deleted_at=None).update(servable=True, format="joblib")
        body = {"model_name": "m", "version": round_number, "endpoint_name": f"e{round_number}"}

        def deploy(body: dict[str, Any] = body) -> Any:
            return ann.api.post(f"{ann.base}/deployments", body, format="json")

        def delete(number: int = round_number) -> Any:
            return ann.api.delete(f"{ann.base}/models/m/versions/{number}")

        asks = [deploy, delete] if round_number % 2 else [delete, deploy]
        answers = at_once(asks)
        found = dict(zip(asks, (answer.status_code for answer in answers), strict=True))
        assert (found[deploy], found[delete]) in ((201, 409), (404, 204))
        version = ModelVersion.objects.get(number=round_number)
        assert Deployment.objects.filter(endpoint_name=f"e{round_number}").exists() == (
            version.deleted_at is None
        )


def test_deployments_to_one_name_at_once_become_revisions_of_one_endpoint(ann: Person) -> None:
    make_version(ann, "m")
    ModelVersion.objects.update(servable=True, format="joblib")
    body = {"model_name": "m", "version": 1, "endpoint_name": "e"}
    answers = at_once([lambda: ann.api.post(f"{ann.base}/deployments", body, format="json")] * 6)
    assert set(statuses(answers)) <= {200, 201} and statuses(answers).count(201) >= 1
    assert Deployment.objects.count() == 1
    numbers = DeploymentRevision.objects.order_by("number").values_list("number", flat=True)
    assert list(numbers) == list(range(1, 7))


def test_one_name_is_registered_once(ann: Person) -> None:
    answers = at_once([lambda: ann.api.post(f"{ann.base}/models", {"name": "m"}, format="json")] * 8)
    assert statuses(answers) == [201] + [409] * 7
    assert AuditEntry.objects.filter(verb="register_model").count() == 1


def test_tags_and_descriptions_at_once_lose_nothing(ann: Person) -> None:
    make_version(ann, "m")
    path = f"{ann.base}/models/m/versions/1"

    def tag(index: int) -> Ask:
        return lambda: ann.api.put(f"{path}/tags/k{index}", {"value": str(index)}, format="json")

    def describe(index: int) -> Ask:
        return lambda: ann.api.patch(path, {"description": str(index)}, format="json")

    at_once([*(tag(index) for index in range(12)), *(describe(index) for index in range(6))])
    assert len(ann.api.get(path).json()["tags"]) == 12
