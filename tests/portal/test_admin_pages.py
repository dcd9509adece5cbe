"""The admin: every noun is listed, searched and opened; nothing is edited past the verbs."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.test import Client

from accounts.models import ApiToken, AuditEntry, User
from common.models import Job, JobState
from registry.models import ModelVersion
from tests.factories import Person, make_person, make_project, make_version

pytestmark = pytest.mark.django_db

OURS = ("accounts", "artifacts", "tracking", "registry", "deployments", "common")
NOUNS = sorted(
    f"{model._meta.app_label}/{model._meta.model_name}"
    for model in admin.site._registry
    if model._meta.app_label in OURS
)
EDITED_HERE = {"accounts/user", "accounts/project"}


@pytest.fixture
def ann() -> Person:
    person = make_person(make_project("alpha"), username="ann")
    make_version(person, "iris")
    return person


@pytest.fixture
def operator() -> Client:
    user = User.objects.create(username="root", password="!", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(user)
    return client


def test_the_nouns_are_all_there() -> None:
    assert len(NOUNS) >= 17, NOUNS


@pytest.mark.parametrize("noun", NOUNS)
def test_a_noun_is_listed_searched_and_opened(ann: Person, operator: Client, noun: str) -> None:
    assert operator.get(f"/admin/{noun}/").status_code == 200
    assert operator.get(f"/admin/{noun}/?q=iris").status_code in (200, 302)
    model = next(m for m in admin.site._registry if f"{m._meta.app_label}/{m._meta.model_name}" == noun)
    row = model._default_manager.first()
    if row is not None:
        assert operator.get(f"/admin/{noun}/{row.pk}/change/").status_code == 200


@pytest.mark.parametrize("noun", [n for n in NOUNS if n not in EDITED_HERE])
def test_what_verbs_write_is_not_added_edited_or_deleted(ann: Person, operator: Client, noun: str) -> None:
    assert operator.post(f"/admin/{noun}/add/").status_code == 403
    model = next(m for m in admin.site._registry if f"{m._meta.app_label}/{m._meta.model_name}" == noun)
    row = model._default_manager.first()
    if row is not None:
        assert operator.post(f"/admin/{noun}/{row.pk}/change/", {"name": "x"}).status_code == 403
        assert operator.post(f"/admin/{noun}/{row.pk}/delete/", {"post": "yes"}).status_code == 403


def test_a_member_without_the_staff_flag_is_sent_to_sign_in(ann: Person) -> None:
    client = Client()
    client.force_login(ann.user)
    assert client.get("/admin/registry/modelversion/").status_code == 302


def act(operator: Client, noun: str, action: str, pk: int) -> None:
    answer = operator.post(f"/admin/{noun}/", {"action": action, "_selected_action": [pk]}, follow=True)
    assert answer.status_code == 200


def test_actions_call_the_verbs(ann: Person, operator: Client) -> None:
    token = ApiToken.objects.get(user=ann.user)
    act(operator, "accounts/apitoken", "revoke", token.pk)
    token.refresh_from_db()
    assert token.revoked_at is not None
    ModelVersion.objects.update(status="Quarantined")
    version = ModelVersion.objects.get()
    act(operator, "registry/modelversion", "release", version.pk)
    version.refresh_from_db()
    assert version.status == "Ready"
    verbs = AuditEntry.objects.filter(door="admin").values_list("verb", "actor__username")
    assert {("revoke_token", "root"), ("release_version", "root")} <= set(verbs)
    job = Job.objects.create(name="registry.inspect_version", state=JobState.FAILED)
    act(operator, "common/job", "requeue", job.pk)
    job.refresh_from_db()
    assert job.state == JobState.QUEUED


def says(operator: Client, noun: str, action: str, row: int) -> str:
    answer = operator.post(
        f"/admin/registry/{noun}/", {"action": action, "_selected_action": [row]}, follow=True
    )
    return answer.content.decode()


def test_an_operator_deletes_and_restores_versions_and_models(ann: Person, operator: Client) -> None:
    version = ModelVersion.objects.get()
    assert "iris v1 is in the trash." in says(operator, "modelversion", "delete_versions", version.pk)
    assert "iris v1 is back." in says(operator, "modelversion", "restore_versions", version.pk)
    assert "is in the trash." in says(operator, "registeredmodel", "delete_models", version.model_id)
    assert "is back." in says(operator, "registeredmodel", "restore_models", version.model_id)
    assert ModelVersion.objects.alive().count() == 1


def test_an_operator_is_told_why_a_version_is_not_deleted(ann: Person, operator: Client) -> None:
    version = ModelVersion.objects.get()
    ModelVersion.objects.update(stage="Production")
    found = says(operator, "modelversion", "delete_versions", version.pk)
    assert "Move it to Archived before deleting it." in found


def test_an_operator_makes_a_group(operator: Client) -> None:
    assert operator.post("/admin/auth/group/add/", {"name": "release-managers"}).status_code == 302
    assert AuditEntry.objects.filter(verb="create_group", object_id="release-managers").exists()
