"""Creating, reading, annotating, aliasing, comparing and deleting versions, through REST."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from accounts.choices import Role
from registry.choices import VersionStatus
from registry.models import AliasMove, ModelVersion
from tests.factories import Person, add_files, make_person, make_project, make_run, make_version, run_jobs
from tracking.models import Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def create(person: Person, run: Run, artifact_path: str, name: str = "m", **fields: object):
    body = {"source_run_id": run.public_id, "artifact_path": artifact_path, **fields}
    return person.api.post(f"{person.base}/models/{name}/versions", body, format="json")


def test_a_version_pins_files_metrics_and_parameters_and_registers_its_model(ann: Person) -> None:
    run = make_run(ann, {"model.pt": b"weights", "log.txt": b"log"}, accuracy=0.94, loss=float("nan"))
    made = create(ann, run, "model.pt", description="first", tags={"by": "ann"})
    assert made.status_code == 201, made.json()
    version = made.json()
    assert (version["version"], version["stage"], version["status"]) == (1, "None", "Pending")
    assert version["metrics"] == {"accuracy": 0.94, "loss": "NaN"}
    assert (version["source_run_id"], version["experiment_name"]) == (run.public_id, "exp")
    assert (version["file_count"], version["size"], version["tags"]) == (1, 7, {"by": "ann"})
    files = ann.api.get(f"{ann.base}/models/m/versions/1/artifacts").json()["results"]
    assert [f["path"] for f in files] == ["model.pt"]
    assert ann.api.get(f"{ann.base}/models/m").json()["latest_version"] == {"version": 1, "stage": "None"}


def test_files_of_a_version_stay_when_the_run_changes(ann: Person) -> None:
    run = make_run(ann, {"model.pt": b"one"})
    Run.objects.filter(pk=run.pk).update(status="Running")
    create(ann, run, "model.pt")
    add_files(ann, run, {"model.pt": b"two"})
    create(ann, run, "model.pt")
    got = [b"".join(ann.api.get(f"{ann.base}/models/m/versions/{n}/artifacts/model.pt")) for n in (1, 2)]
    assert got == [b"one", b"two"]


def test_an_artifact_path_with_nothing_under_it_is_refused_and_counts_nothing(ann: Person) -> None:
    run = make_run(ann, {"model.pt": b"one"})
    for path in ("other.pt", "../model.pt", "", "/model.pt"):
        answer = create(ann, run, path)
        assert answer.status_code == 400, path
        assert "artifact_path" in answer.json()["errors"]
    assert create(ann, run, "model.pt").json()["version"] == 1


def test_a_run_of_another_project_is_not_found(ann: Person) -> None:
    foreign = make_run(make_person(make_project("beta")), {"model.pt": b"one"})
    assert create(ann, foreign, "model.pt").status_code == 404


def test_numbers_of_deleted_versions_are_never_used_again(ann: Person) -> None:
    make_version(ann, "m")
    make_version(ann, "m")
    assert ann.api.delete(f"{ann.base}/models/m/versions/2").status_code == 204
    assert ann.api.get(f"{ann.base}/models/m/versions/2").status_code == 404
    assert ann.api.get(f"{ann.base}/models/m/versions/latest").json()["version"] == 1
    assert make_version(ann, "m").number == 3


def test_a_version_is_found_by_number_v_number_latest_and_alias(ann: Person) -> None:
    make_version(ann, "m")
    make_version(ann, "m")
    ann.api.put(f"{ann.base}/models/m/aliases/best", {"version": 1}, format="json")
    found = {ref: ann.api.get(f"{ann.base}/models/m/versions/{ref}") for ref in ("1", "v2", "latest", "best")}
    assert {ref: a.json()["version"] for ref, a in found.items()} == {"1": 1, "v2": 2, "latest": 2, "best": 1}
    for ref in ("3", "0", "worst", "99999999999999999999", "1.0"):
        answer = ann.api.get(f"{ann.base}/models/m/versions/{ref}")
        assert answer.status_code == 404
        assert "version" in answer.json()["detail"]


def test_a_production_version_is_not_deleted(ann: Person) -> None:
    make_version(ann, "m")
    ann.api.post(f"{ann.base}/models/m/versions/1/transition", {"stage": "Production"}, format="json")
    refused = ann.api.delete(f"{ann.base}/models/m/versions/1")
    assert refused.status_code == 409
    assert "Move it to Archived before deleting it." in refused.json()["detail"]
    ann.api.post(f"{ann.base}/models/m/versions/1/transition", {"stage": "Archived"}, format="json")
    assert ann.api.delete(f"{ann.base}/models/m/versions/1").status_code == 204


def test_an_alias_moves_with_its_history_and_goes_with_its_version(ann: Person) -> None:
    for _ in range(2):
        make_version(ann, "m")
    path = f"{ann.base}/models/m/aliases/latest-prod"
    for number in (1, 2, 2):
        assert ann.api.put(path, {"version": number}, format="json").json()["version"] == number
    assert ann.api.get(path).json()["version"] == 2
    assert ann.api.get(f"{ann.base}/models/m").json()["aliases"] == {"latest-prod": 2}
    assert ann.api.delete(f"{ann.base}/models/m/versions/2").status_code == 204
    assert ann.api.get(path).status_code == 404
    moves = ann.api.get(f"{ann.base}/models/m/alias-moves").json()["results"]
    assert [(m["from_version"], m["to_version"]) for m in moves] == [(2, None), (1, 2), (None, 1)]
    assert ann.api.delete(path).status_code == 404


@pytest.mark.parametrize("alias", ["latest", "v3", "17", "a b", "a.b", "ä", "x" * 65])
def test_a_reserved_or_odd_alias_is_refused(ann: Person, alias: str) -> None:
    make_version(ann, "m")
    answer = ann.api.put(f"{ann.base}/models/m/aliases/{alias}", {"version": 1}, format="json")
    assert answer.status_code == 400
    assert "alias" in answer.json()["errors"]
    assert not AliasMove.objects.exists()


def test_annotations_are_set_replaced_and_removed(ann: Person) -> None:
    make_version(ann, "m")
    path = f"{ann.base}/models/m/versions/1/tags/validated_by"
    for value in ("ml-team", "qa"):
        assert ann.api.put(path, {"value": value}, format="json").json() == {
            "key": "validated_by",
            "value": value,
        }
    assert ann.api.get(f"{ann.base}/models/m/versions/1").json()["tags"] == {"validated_by": "qa"}
    assert ann.api.delete(path).status_code == 204
    assert ann.api.delete(path).status_code == 404
    assert ann.api.put(path, {"value": 7}, format="json").status_code in (200, 400)
    assert ann.api.put(path, {"value": "a\x00b"}, format="json").status_code == 400


def test_versions_are_compared_with_differences_first(ann: Person) -> None:
    make_version(ann, "m", accuracy=0.9, loss=1.0)
    make_version(ann, "m", accuracy=0.95, loss=1.0)
    compared = ann.api.get(f"{ann.base}/models/m/compare?versions=1,latest").json()
    assert [v["version"] for v in compared["versions"]] == [1, 2]
    first, second = compared["metrics"]
    assert (first["key"], first["values"], first["differs"]) == ("accuracy", [0.9, 0.95], True)
    assert first["differences"][1] == pytest.approx(0.05)
    assert (second["key"], second["differs"]) == ("loss", False)
    assert ann.api.get(f"{ann.base}/models/m/compare?versions=1").status_code == 400
    assert ann.api.get(f"{ann.base}/models/m/compare?versions=1,9").status_code == 404


def test_a_viewer_reads_and_annotates_nothing(ann: Person) -> None:
    make_version(ann, "m")
    viewer = make_person(ann.project, Role.VIEWER)
    base = f"{ann.base}/models/m/versions/1"
    assert viewer.api.get(base).status_code == 200
    assert viewer.api.put(f"{base}/tags/k", {"value": "v"}, format="json").status_code == 403
    assert viewer.api.patch(base, {"description": "x"}, format="json").status_code == 403
    assert viewer.api.delete(base).status_code == 403


def test_a_version_list_costs_the_same_at_3_and_at_20_rows(ann: Person, django_assert_num_queries) -> None:
    for _ in range(20):
        make_version(ann, "m", accuracy=0.9)
    ann.api.get(f"{ann.base}/models/m/versions")
    for size in (3, 20):
        with django_assert_num_queries(4):
            page = ann.api.get(f"{ann.base}/models/m/versions?page_size={size}").json()
        assert len(page["results"]) == size


def test_a_worker_says_what_the_files_are_and_whether_they_are_safe(ann: Person) -> None:
    make_version(ann, "plain", ready=False)
    evil = b"cos\nsystem\n(S'true'\ntR."
    make_version(ann, "evil", files={"model.pkl": evil}, ready=False)
    run_jobs()
    plain = ann.api.get(f"{ann.base}/models/plain/versions/1").json()
    assert (plain["status"], plain["servable"]) == ("Ready", False)
    assert plain["servable_reason"]
    version = ann.api.get(f"{ann.base}/models/evil/versions/1").json()
    assert version["status"] == "Quarantined"
    assert "system" in version["status_reason"]
    path = f"{ann.base}/models/evil/versions/1"
    move = ann.api.post(f"{path}/transition", {"stage": "Staging"}, format="json")
    assert (move.status_code, move.json()["code"]) == (409, "version_not_ready")
    contributor = make_person(ann.project, Role.CONTRIBUTOR)
    assert contributor.api.post(f"{path}/release", {"note": "ok"}, format="json").status_code == 403
    released = ann.api.post(f"{path}/release", {"note": "I wrote it myself"}, format="json").json()
    assert released["status"] == "Ready"
    assert "I wrote it myself" in released["status_reason"]


def test_files_that_were_looked_at_before_settle_the_next_version_at_once(ann: Person) -> None:
    evil = {"model.pkl": b"cos\nsystem\n(S'true'\ntR."}
    for name in ("first", "second"):
        make_version(ann, name, files=evil, ready=False)
        if name == "first":
            run_jobs()
    assert run_jobs() == 0
    version = ann.api.get(f"{ann.base}/models/second/versions/1").json()
    assert (version["status"], version["servable"]) == ("Quarantined", False)
    assert "system" in version["status_reason"]


def test_a_release_is_for_one_version_and_not_for_its_files(ann: Person) -> None:
    evil = {"model.pkl": b"cos\nsystem\n(S'true'\ntR."}
    make_version(ann, "m", files=evil, ready=False)
    run_jobs()
    ann.api.post(f"{ann.base}/models/m/versions/1/release", {"note": "mine"}, format="json")
    make_version(ann, "m", files=evil, ready=False)
    assert ann.api.get(f"{ann.base}/models/m/versions/2").json()["status"] == "Quarantined"


def test_a_version_whose_files_cannot_be_looked_at_is_quarantined_not_lost(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_version(ann, "m", ready=False)
    ModelVersion.objects.get().manifest.files.all().delete()
    run_jobs()
    assert ModelVersion.objects.get().status in (VersionStatus.QUARANTINED, VersionStatus.READY)


@pytest.mark.django_db(transaction=True)
def test_versions_made_at_once_get_different_numbers(ann: Person) -> None:
    run = make_run(ann, {"model.pt": b"one"})

    def one(_: int) -> int:
        try:
            return create(ann, run, "model.pt").json()["version"]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(one, range(24)))
    assert sorted(numbers) == list(range(1, 25))
