"""Copying a version into another project, through REST."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.urls import reverse

from accounts.choices import Role
from accounts.models import ApiToken, AuditEntry, Membership, Project
from common.models import Job
from registry import services
from registry.aliases import set_alias
from registry.choices import MetricKind, VersionStatus
from registry.models import ModelVersion, RegisteredModel, VersionMetric, VersionParam
from tests.factories import (
    Person,
    make_person,
    make_project,
    make_version,
    run_jobs,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def beta() -> Project:
    return make_project("beta")


@pytest.fixture
def ann(beta: Project) -> Person:
    """A contributor of both projects."""
    person = make_person(make_project("alpha"), Role.CONTRIBUTOR, username="ann")
    Membership.objects.create(project=beta, user=person.user, role=Role.CONTRIBUTOR)
    return person


@pytest.fixture
def bob(beta: Project) -> Person:
    """Knows beta only."""
    return make_person(beta, Role.VIEWER, username="bob")


def looked_at(person: Person, name: str = "m", **more: Any) -> ModelVersion:
    version = make_version(person, name, ready=False, **more)
    run_jobs()
    version.refresh_from_db()
    return version


def copy(person: Person, name: str = "m", ref: object = 1, headers: Any = None, **body: object) -> Any:
    path = f"/api/v1/projects/alpha/models/{name}/versions/{ref}/copy"
    return person.api.post(path, {"to_project": "beta", **body}, format="json", headers=headers)


def test_a_copy_has_the_files_metrics_parameters_and_annotations(ann: Person, bob: Person) -> None:
    version = looked_at(ann, files={"model/w.txt": b"1 2 3", "model/a/b.txt": b"b"}, accuracy=0.9)
    VersionMetric.objects.create(version=version, kind=MetricKind.VALIDATION, key="auc", value=float("nan"))
    VersionParam.objects.create(version=version, key="depth", value=3)
    where = {"actor": ann.actor, "project": ann.project, "model_name": "m"}
    services.set_version_tag(**where, ref=1, key="k", value="v")
    set_alias(**where, alias="best", version=1)
    services.update_model(actor=ann.actor, project=ann.project, name="m", description="Fine.", tags=["nlp"])
    services.update_version(**where, ref=1, description="The first.")

    answer = copy(ann, ref="best")

    assert answer.status_code == 201, answer.json()
    made = answer.json()
    assert (made["model_name"], made["version"], made["stage"], made["status"]) == ("m", 1, "None", "Ready")
    assert made["manifest_digest"] == version.manifest.digest
    assert (made["metrics"], made["validation_metrics"]) == ({"accuracy": 0.9}, {"auc": "NaN"})
    assert (made["params"], made["tags"], made["aliases"]) == ({"depth": 3}, {"k": "v"}, [])
    assert (made["source_run_id"], made["description"]) == (None, "The first.")
    assert "/beta/" in made["url"]
    assert VersionMetric.objects.filter(version__model__project=bob.project, kind="validation").count() == 1
    model = bob.api.get(f"{bob.base}/models/m").json()
    assert (model["description"], model["tags"]) == ("Fine.", ["nlp"])
    assert model["latest_version"] == {"version": 1, "stage": "None"}


def test_who_sees_the_copy_reads_its_files(ann: Person, bob: Person) -> None:
    looked_at(ann, files={"model/w.txt": b"1 2 3"})
    assert bob.api.get(f"{bob.base}/models/m/versions/1/artifacts/w.txt").status_code == 404
    copy(ann)
    assert b"".join(bob.api.get(f"{bob.base}/models/m/versions/1/artifacts/w.txt")) == b"1 2 3"
    # A copy may be copied on, and its files used in runs there: the project holds them.
    eve = make_person(bob.project, Role.CONTRIBUTOR)
    digest = bob.api.get(f"{bob.base}/models/m/versions/1/artifacts").json()["results"][0]["sha256"]
    missing = eve.api.post(f"{eve.base}/blobs/missing", {"sha256": [digest]}, format="json")
    assert missing.json()["missing"] == []


def test_the_origin_names_the_version_and_nothing_more_of_the_other_project(ann: Person, bob: Person) -> None:
    version = looked_at(ann)
    copy(ann, to_model="theirs")
    origin = bob.api.get(f"{bob.base}/models/theirs/versions/1").json()["origin"]
    assert set(origin) == {"kind", "project", "model", "version", "manifest_digest", "copied_at", "copied_by"}
    assert (origin["kind"], origin["project"], origin["model"]) == ("copy", "alpha", "m")
    assert (origin["version"], origin["copied_by"]) == (1, "ann")
    assert (
        version.source_run.public_id
        not in bob.api.get(f"{bob.base}/models/theirs/versions/1").content.decode()
    )
    assert ann.api.get(f"{ann.base}/models/m/versions/1").json()["origin"] is None


def version_page(person: Person, name: str) -> str:
    browser = Client()
    browser.force_login(person.user)
    answer = browser.get(reverse("registry:version", args=[person.project.slug, name, 1]))
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_page_says_where_a_copy_is_from(ann: Person, bob: Person) -> None:
    looked_at(ann)
    copy(ann, to_model="theirs")
    page = version_page(bob, "theirs")
    assert "Copied from <bdi>alpha</bdi>, <bdi>m</bdi> v1, by ann" in page
    assert "/alpha/" not in page
    assert "Copied from" not in version_page(ann, "m")


def test_numbers_count_in_the_target(ann: Person) -> None:
    looked_at(ann)
    assert [copy(ann).json()["version"] for _ in range(2)] == [1, 2]
    target = RegisteredModel.objects.get(project__slug="beta", name="m")
    assert (target.last_number, target.version_count) == (2, 2)
    Membership.objects.filter(user=ann.user).update(role=Role.MAINTAINER)
    ann.api.delete("/api/v1/projects/beta/models/m/versions/2")
    assert copy(ann).json()["version"] == 3


def test_a_version_may_become_one_of_another_model_of_its_project(ann: Person) -> None:
    looked_at(ann)
    made = copy(ann, to_project="alpha", to_model="champion", description="Promoted.").json()
    assert (made["model_name"], made["version"], made["description"]) == ("champion", 1, "Promoted.")
    refused = copy(ann, to_project="alpha")
    assert refused.status_code == 400
    assert "to_model" in refused.json()["errors"]


def test_both_trails_tell_of_a_copy(ann: Person, beta: Project) -> None:
    looked_at(ann)
    copy(ann)
    here = AuditEntry.objects.get(project=ann.project, verb="copy_version")
    there = AuditEntry.objects.get(project=beta, verb="create_version")
    assert (here.object_id, here.after) == ("m/1", {"to": "beta/m/1"})
    assert (there.object_id, there.after["copied_from"], there.actor) == ("m/1", "alpha/m/1", ann.user)


def test_only_a_ready_version_is_copied(ann: Person) -> None:
    make_version(ann, "pending", ready=False)
    bad = make_version(ann, "bad")
    ModelVersion.objects.filter(pk=bad.pk).update(status=VersionStatus.QUARANTINED)
    for name in ("pending", "bad"):
        answer = copy(ann, name)
        assert (answer.status_code, answer.json()["code"]) == (409, "version_not_ready")
    assert not RegisteredModel.objects.filter(project__slug="beta").exists()


def test_what_was_released_here_is_quarantined_there_until_somebody_there_releases_it(ann: Person) -> None:
    evil = b"cos\nsystem\n(S'true'\ntR."
    version = looked_at(ann, files={"model/m.pkl": evil})
    assert version.status == VersionStatus.QUARANTINED
    Membership.objects.filter(user=ann.user, project=ann.project).update(role=Role.MAINTAINER)
    ann.api.post(f"{ann.base}/models/m/versions/1/release", {"note": "Secret reason."}, format="json")
    made = copy(ann).json()
    assert made["status"] == "Quarantined"
    assert "Secret reason" not in made["status_reason"]


def test_files_nobody_looked_at_under_today_s_rules_are_looked_at(ann: Person) -> None:
    make_version(ann, "m")  # Ready, but no inspection is kept
    Job.objects.all().delete()
    assert copy(ann).json()["status"] == "Pending"
    run_jobs()
    assert ModelVersion.objects.get(model__project__slug="beta").status == VersionStatus.READY


def test_who_may_not_copy(ann: Person, bob: Person, beta: Project) -> None:
    looked_at(ann)
    viewer_there = make_person(ann.project)
    Membership.objects.create(project=beta, user=viewer_there.user, role=Role.VIEWER)
    stranger_there = make_person(ann.project)
    assert copy(viewer_there).status_code == 403
    as_if_absent = copy(stranger_there)
    absent = copy(stranger_there, to_project="gamma")
    assert (as_if_absent.status_code, absent.status_code) == (404, 404)
    assert as_if_absent.json()["detail"].replace("beta", "gamma") == absent.json()["detail"]
    assert copy(bob).status_code == 404  # knows the target, not the source
    viewer_here = make_person(ann.project, Role.VIEWER)
    Membership.objects.create(project=beta, user=viewer_here.user, role=Role.CONTRIBUTOR)
    assert copy(viewer_here).status_code == 201
    bound = make_person(ann.project)
    Membership.objects.create(project=beta, user=bound.user, role=Role.ADMIN)
    ApiToken.objects.filter(user=bound.user).update(project=ann.project)
    assert copy(bound).status_code == 404  # the token is for alpha only


def test_the_same_key_copies_once_even_at_once(ann: Person) -> None:
    looked_at(ann)
    answers = [copy(ann, headers={"Idempotency-Key": "one"}) for _ in range(2)]
    assert [a.json()["version"] for a in answers] == [1, 1]
    assert ModelVersion.objects.filter(model__project__slug="beta").count() == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"to_model": "a/b"}, "to_model"),
        ({"to_model": ""}, "to_model"),
        ({"to_model": "x" * 201}, "to_model"),
        ({"to_project": ""}, "to_project"),
        ({"to_project": None}, "to_project"),
        ({"description": "\0"}, "description"),
        ({"description": "x" * 20_001}, "description"),
    ],
)
def test_a_bad_value_is_named(ann: Person, body: dict[str, object], field: str) -> None:
    looked_at(ann)
    answer = copy(ann, **body)
    assert answer.status_code == 400
    assert field in answer.json()["errors"]
    assert not RegisteredModel.objects.filter(project__slug="beta").exists()


def test_a_version_or_model_that_is_not_there(ann: Person) -> None:
    looked_at(ann)
    assert copy(ann, ref=2).status_code == 404
    assert copy(ann, name="other").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_copies_at_once_get_numbers_of_their_own(ann: Person) -> None:
    looked_at(ann)

    def one(_: int) -> Any:
        try:
            return copy(ann)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(8)))
    assert sorted(a.json()["version"] for a in answers) == list(range(1, 9))
    assert RegisteredModel.objects.get(project__slug="beta").last_number == 8
