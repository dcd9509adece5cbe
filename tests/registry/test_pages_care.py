"""The portal's pages that keep a registry in order: trash, protections, quarantine, and one act on many versions."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.choices import Role
from accounts.models import AuditEntry
from approvals.policies import set_approval_policy
from deployments import services as deployment_verbs
from registry import aliases, trash
from registry.choices import VersionStatus
from registry.models import ModelVersion, Protection
from tests.factories import Person, browser, make_person, make_project, make_run, make_version
from tracking import services as tracking_verbs

pytestmark = pytest.mark.django_db


@pytest.fixture
def max_() -> Person:
    return make_person(make_project("alpha"), Role.MAINTAINER, username="max")


@pytest.fixture
def ann(max_: Person) -> Person:
    return make_person(max_.project, Role.CONTRIBUTOR, username="ann")


def text(person: Person, path: str, code: int = 200) -> str:
    answer = browser(person).get(f"/projects/alpha/{path}")
    assert answer.status_code == code, answer.content
    return str(answer.content.decode())


def post(person: Person, path: str, /, **fields: Any) -> Any:
    return browser(person).post(f"/projects/alpha/{path}", fields)


def test_an_empty_trash_says_what_it_is_for(max_: Person) -> None:
    assert "The trash is empty" in text(max_, "trash/")


def test_what_was_deleted_comes_back_from_the_trash(max_: Person) -> None:
    make_version(max_, "gone")
    make_version(max_, "kept")
    make_version(max_, "kept")
    run = make_run(max_)
    trash.delete_model(actor=max_.actor, project=max_.project, name="gone", confirm="gone")
    trash.delete_version(actor=max_.actor, project=max_.project, model_name="kept", ref=1)
    tracking_verbs.delete_run(actor=max_.actor, project=max_.project, run_id=run.public_id)
    shown = text(max_, "trash/")
    for name in ("Restore gone", "Restore kept v1", f"Restore {run.name or run.public_id}"):
        assert name in shown
    assert post(max_, "trash/", model="gone", as_name="back").url.endswith("/models/back/")
    assert post(max_, "trash/", model="kept", number="1").url.endswith("/models/kept/versions/1/")
    assert post(max_, "trash/", run=run.public_id).url.endswith(f"/runs/{run.public_id}/")
    assert "The trash is empty" in text(max_, "trash/")


def test_what_is_not_in_the_trash_cannot_be_restored(max_: Person) -> None:
    client = browser(max_)
    answer = client.post("/projects/alpha/trash/", {"model": "never"}, follow=True)
    assert "never" in answer.content.decode()
    for fields in ({}, {"model": "a\0"}, {"model": "m", "number": "²"}, {"run": "run-x"}):
        assert client.post("/projects/alpha/trash/", fields).status_code == 302


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("models/m/versions/1/remove-annotation/", "key"),
        ("models/m/many/?v=1", "act"),
    ],
)
@pytest.mark.parametrize("value", ["a\0b", "x" * 5000, "\udcff".encode("utf-8", "surrogatepass"), "9" * 40])
def test_a_forged_button_is_refused_in_a_sentence(max_: Person, path: str, field: str, value: Any) -> None:
    make_version(max_, "m")
    answer = browser(max_).post(f"/projects/alpha/{path}", {field: value})
    assert answer.status_code in (302, 400, 404, 422)


def test_only_maintainers_see_the_trash(ann: Person) -> None:
    assert text(ann, "trash/", 403)
    assert post(ann, "trash/", model="m").status_code == 403
    assert "/trash/" not in text(ann, "members/")


def test_an_alias_is_protected_and_freed_again(max_: Person, ann: Person) -> None:
    assert "Nothing is protected" in text(ann, "protections/")
    fields = {"kind": "alias", "name": "champion", "model_name": "", "roles": ["maintainer"]}
    assert post(max_, "protections/", **fields).status_code == 302
    row = Protection.objects.get()
    assert (row.kind, row.name, row.roles, row.model) == ("alias", "champion", ["maintainer"], None)
    assert "champion" in text(ann, "protections/")
    assert "Protect an alias" not in text(ann, "protections/")
    remove = f"protections/{row.pk}/remove/"
    assert post(ann, remove, confirm="champion").status_code == 403
    assert "Everybody who may write" in text(max_, remove)
    assert post(max_, remove, confirm="Champion").status_code == 422
    assert post(max_, remove, confirm="champion").status_code == 302
    assert not Protection.objects.exists()
    assert post(max_, remove, confirm="champion").status_code == 404


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"kind": "stage", "name": "Nowhere", "roles": ["admin"]}, "it must be one of"),
        ({"kind": "alias", "name": "ok"}, "nobody could move it any more"),
        ({"kind": "alias", "name": "ok", "groups": "ghosts"}, "There is no group"),
        ({"kind": "alias", "name": "ok", "roles": ["admin"], "model_name": "none"}, "There is no model"),
    ],
)
def test_a_wrong_protection_keeps_what_was_typed(max_: Person, fields: dict[str, Any], sentence: str) -> None:
    answer = post(max_, "protections/", **fields)
    assert answer.status_code == 422
    shown = answer.content.decode()
    assert sentence in shown
    assert f'value="{fields["name"]}"' in shown


def test_a_maintainer_releases_what_was_quarantined(max_: Person, ann: Person) -> None:
    version = make_version(max_, "m")
    ModelVersion.objects.filter(pk=version.pk).update(
        status=VersionStatus.QUARANTINED, status_reason="It calls os.system."
    )
    assert "A maintainer can release it" in text(ann, "models/m/versions/1/")
    assert "It calls os.system." in text(max_, "models/m/versions/1/release/")
    assert post(ann, "models/m/versions/1/release/", note="x").status_code == 403
    assert post(max_, "models/m/versions/1/release/", note="").status_code == 422
    assert post(max_, "models/m/versions/1/release/", note="I read it.").status_code == 302
    version.refresh_from_db()
    assert version.status == VersionStatus.READY
    assert AuditEntry.objects.filter(verb="release_version").exists()


def test_a_version_is_described_afterwards(ann: Person) -> None:
    make_version(ann, "m")
    assert post(ann, "models/m/versions/1/edit/", description="**Good** on snow").status_code == 302
    assert "<strong>Good</strong> on snow" in text(ann, "models/m/versions/1/")


def test_many_versions_are_archived_at_once(max_: Person) -> None:
    for _ in range(3):
        make_version(max_, "m")
    answer = post(max_, "models/m/many/?v=1&v=2", act="transition_stage", stage="Archived", note="old")
    shown = answer.content.decode()
    assert shown.count(">Done<") == 2
    stages = dict(ModelVersion.objects.order_by("number").values_list("number", "stage"))
    assert stages == {1: "Archived", 2: "Archived", 3: "None"}
    assert post(max_, "models/m/many/?v=1", act="transition_stage", stage="").status_code == 422
    assert '<option value="" selected>Choose one</option>' in text(max_, "models/m/many/?v=1")


def test_each_of_many_says_what_became_of_it(max_: Person, ann: Person) -> None:
    set_approval_policy(actor=max_.actor, project=max_.project)
    make_version(max_, "m")
    make_version(max_, "m", ready=False)
    answer = post(ann, "models/m/many/?v=1&v=2", act="transition_stage", stage="Production")
    shown = answer.content.decode()
    assert "Waits for approval" in shown
    assert "v2" in shown
    assert "Pending" in shown


def test_many_versions_are_annotated_and_deleted(max_: Person, ann: Person) -> None:
    make_version(max_, "m")
    make_version(max_, "m")
    answer = post(ann, "models/m/many/?v=1&v=2", act="set_version_tag", key="team", value="vision")
    assert answer.content.decode().count(">Done<") == 2
    one = text(ann, "models/m/many/?v=1")
    assert "<title>Change 1 version of m</title>" in one
    assert "Delete versions" not in one
    refused = post(ann, "models/m/many/?v=1", act="delete_version", confirm="delete").content.decode()
    assert "you may not" in refused
    assert post(max_, "models/m/many/?v=1", act="delete_version", confirm="yes").status_code == 422
    gone = post(max_, "models/m/many/?v=1&v=2", act="delete_version", confirm="delete").content.decode()
    assert gone.count(">Done<") == 2
    assert "Versions of <bdi>m</bdi> deleted" in gone
    assert not ModelVersion.objects.alive().exists()


def test_an_act_without_versions_or_a_name_is_refused_in_a_sentence(max_: Person) -> None:
    make_version(max_, "m")
    assert "Check versions on the model" in text(max_, "models/m/many/", 404)
    for asked in ("?v=9", "?v=x", "?v=²", "?v=99999999999999999999"):
        assert text(max_, f"models/m/many/{asked}", 404)
    assert post(max_, "models/m/many/?v=1", act="burn").status_code == 400


def test_a_viewer_is_not_offered_what_viewers_may_not_do(max_: Person) -> None:
    vic = make_person(max_.project, Role.VIEWER)
    make_version(max_, "m")
    make_version(max_, "m")
    shown = text(vic, "models/m/")
    assert "data-many-button" not in shown
    assert "Compare" in shown
    for path in ("models/m/many/?v=1", "models/m/versions/1/edit/", "models/m/versions/1/release/"):
        assert text(vic, path, 403)


def test_the_page_of_aliases_names_the_endpoints_that_follow_one(ann: Person) -> None:
    make_version(ann, "m")
    whose: dict[str, Any] = {"actor": ann.actor, "project": ann.project, "model_name": "m"}
    aliases.set_alias(**whose, alias="best", version=1)
    assert "m-api" not in text(ann, "models/m/aliases/")
    deployment_verbs.deploy(**whose, version="best", endpoint_name="m-api")
    assert '<a href="/projects/alpha/deployments/m-api/">m-api</a>' in text(ann, "models/m/aliases/")
