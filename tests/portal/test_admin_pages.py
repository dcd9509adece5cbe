"""The admin: every noun is listed, searched and opened; nothing is edited past the verbs."""

from __future__ import annotations

import html
import re

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.http import HttpResponse
from django.test import Client
from unfold.admin import ModelAdmin

from accounts.models import ApiToken, AuditEntry, Membership, User
from common.models import Job, JobState
from registry.models import ModelVersion
from tests.factories import Person, make_person, make_project, make_version

pytestmark = pytest.mark.django_db

OURS = (
    *("accounts", "artifacts", "tracking", "registry", "deployments", "common", "approvals", "scheduling"),
    "cluster",
)
# Halves of nouns: points of a series, parts of an upload, answers kept for a retry, a counter, whose work a run did.
NO_NOUNS = {"tracking/metricchunk", "artifacts/uploadpart", "common/idempotentanswer", "accounts/change"}
NO_NOUNS |= {"approvals/runauthor"}
# A membership stands in its project's page.
NO_NOUNS |= {"accounts/membership"}
# What the portal has no page for.
NOT_IN_PORTAL = {
    *("accounts/apitoken", "accounts/auditseal", "accounts/notification", "accounts/notificationchoice"),
    *("accounts/user", "common/job", "cluster/wantedapplication", "cluster/submittedjob"),
    *("artifacts/blob", "artifacts/projectblob", "artifacts/manifest", "artifacts/manifestfile"),
    *("artifacts/upload", "registry/inspection"),
}
NOUNS = sorted(
    f"{model._meta.app_label}/{model._meta.model_name}"
    for model in admin.site._registry
    if model._meta.app_label in OURS
)
EDITED_HERE = {"accounts/user", "accounts/project"}


@pytest.fixture
def ann() -> Person:
    person = make_person(make_project("alpha"), username="ann")
    make_version(person, "iris", accuracy=0.9)
    return person


@pytest.fixture
def operator() -> Client:
    user = User.objects.create(username="root", password="!", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(user)
    return client


def test_every_noun_is_listed_searchable_and_filterable() -> None:
    all_nouns = {
        f"{model._meta.app_label}/{model._meta.model_name}"
        for model in apps.get_models()
        if model._meta.app_label in OURS
    }
    assert all_nouns - set(NOUNS) == NO_NOUNS
    for model, page in admin.site._registry.items():
        assert page.search_fields, model
        assert page.list_filter or model._meta.model_name in ("group", "submittedjob"), model
        assert isinstance(page, ModelAdmin), f"{model} does not wear the product's look"


def test_times_are_written_so_that_they_sort(ann: Person, operator: Client) -> None:
    made = ModelVersion.objects.get().created_at
    listed = operator.get("/admin/registry/modelversion/").content.decode()
    assert f"{made:%Y-%m-%d %H:%M}" in listed


def test_rows_lead_to_their_page_in_the_portal(ann: Person, operator: Client) -> None:
    assert {noun for noun in NOUNS if "page" not in page_of(noun).list_display} == NOT_IN_PORTAL
    browser = Client()
    browser.force_login(ann.user)
    followed = set()
    for noun in set(NOUNS) - NOT_IN_PORTAL:
        row = page_of(noun).model._default_manager.first()
        if row is None:
            continue
        address = page_of(noun).get_view_on_site_url(row)
        if address:
            assert browser.get(address).status_code == 200, (noun, address)
            assert address in html.unescape(operator.get(f"/admin/{noun}/").content.decode())
            assert address in html.unescape(operator.get(f"/admin/{noun}/{row.pk}/change/").content.decode())
            followed.add(noun)
    assert {"registry/modelversion", "tracking/run", "registry/versionmetric"} <= followed


def test_an_operator_who_is_no_member_is_told_so_and_where_members_are_added(
    ann: Person, operator: Client
) -> None:
    told = "The portal&#x27;s pages of alpha are for its members, and you are none."
    for path in ("models/", "models/iris/versions/1/", "models/none/", "settings/"):
        refused = operator.get(f"/projects/alpha/{path}")
        assert refused.status_code == 404, path
        assert told in refused.content.decode(), path
    link = f"/admin/accounts/project/{ann.project.pk}/change/"
    assert f'href="{link}"' in refused.content.decode()
    assert operator.get(link).status_code == 200
    Membership.objects.create(project=ann.project, user=User.objects.get(username="root"), role="viewer")
    assert operator.get("/projects/alpha/models/iris/").status_code == 200
    missing = operator.get("/projects/alpha/models/none/")
    assert missing.status_code == 404
    assert "are for its members" not in missing.content.decode()


def test_strangers_and_operators_who_see_no_projects_learn_nothing_from_a_404(ann: Person) -> None:
    blind = User.objects.create(username="blind", password="!", is_staff=True)
    for user in (make_person(make_project("beta")).user, blind):
        client = Client()
        client.force_login(user)
        there, nowhere = (
            words_of(
                client.get(f"/projects/{slug}/models/iris/", headers={"X-Request-ID": "the-same-one"}), slug
            )
            for slug in ("alpha", "omega")
        )
        assert there[0] == 404
        assert there == nowhere


def test_an_operator_is_told_of_no_project_that_is_not_there(operator: Client) -> None:
    assert "are for its members" not in operator.get("/projects/omega/models/").content.decode()


def words_of(answer: HttpResponse, slug: str) -> tuple[int, str]:
    """What an answer says, but for the project that was asked for and each page's own secret."""
    text = answer.content.decode().replace(slug, "this")
    return answer.status_code, re.sub(r'("X-CSRFToken": |name="csrfmiddlewaretoken" value=)"[^"]*"', "", text)


def page_of(noun: str) -> admin.ModelAdmin:
    return next(
        page
        for model, page in admin.site._registry.items()
        if f"{model._meta.app_label}/{model._meta.model_name}" == noun
    )


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
    act(operator, "registry/modelversion", "quarantine", version.pk)
    version.refresh_from_db()
    assert version.status == "Quarantined"
    verbs = AuditEntry.objects.filter(door="admin").values_list("verb", "actor__username")
    assert {(verb, "root") for verb in ("revoke_token", "release_version", "quarantine_version")} <= set(
        verbs
    )


def test_an_operator_has_a_failed_job_tried_again_and_the_trail_tells(operator: Client) -> None:
    failed = Job.objects.create(name="registry.inspect_version", key="v1", state=JobState.FAILED, attempts=5)
    act(operator, "common/job", "retry", failed.pk)
    failed.refresh_from_db()
    assert (failed.state, failed.attempts) == (JobState.QUEUED, 0)
    entry = AuditEntry.objects.get(verb="retry_job")
    assert (entry.object_id, entry.actor.username, entry.before["state"]) == (
        str(failed.pk),
        "root",
        "failed",
    )


def test_a_job_that_runs_or_whose_twin_waits_stays_as_it_is(operator: Client) -> None:
    running = Job.objects.create(name="registry.inspect_version", key="v1", state=JobState.RUNNING)
    failed = Job.objects.create(name="registry.inspect_version", key="v2", state=JobState.FAILED)
    Job.objects.create(name="registry.inspect_version", key="v2")
    for job, why in ((running, "only a failed or waiting one"), (failed, "Another job waits for")):
        assert why in html.unescape(says(operator, "common/job", "retry", job.pk))
    assert set(Job.objects.values_list("state", flat=True)) == {"running", "failed", "queued"}
    assert not AuditEntry.objects.filter(verb="retry_job").exists()


def test_staff_who_are_no_superusers_act_by_their_own_role(ann: Person) -> None:
    staff = User.objects.create(username="watch", password="!", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(staff)
    job = Job.objects.create(name="registry.inspect_version", state=JobState.FAILED)
    assert "Only an operator may have job" in html.unescape(says(client, "common/job", "retry", job.pk))
    version = ModelVersion.objects.get()
    assert "There is no project" in html.unescape(
        says(client, "registry/modelversion", "delete_versions", version.pk)
    )
    job.refresh_from_db()
    assert job.state == JobState.FAILED


def says(operator: Client, noun: str, action: str, row: int) -> str:
    answer = operator.post(f"/admin/{noun}/", {"action": action, "_selected_action": [row]}, follow=True)
    return answer.content.decode()


def test_an_operator_deletes_and_restores_versions_and_models(ann: Person, operator: Client) -> None:
    version = ModelVersion.objects.get()
    assert "iris v1 is in the trash." in says(
        operator, "registry/modelversion", "delete_versions", version.pk
    )
    assert "iris v1 is back." in says(operator, "registry/modelversion", "restore_versions", version.pk)
    assert "is in the trash." in says(operator, "registry/registeredmodel", "delete_models", version.model_id)
    assert "is back." in says(operator, "registry/registeredmodel", "restore_models", version.model_id)
    assert ModelVersion.objects.alive().count() == 1


def test_an_operator_is_told_why_a_version_is_not_deleted(ann: Person, operator: Client) -> None:
    version = ModelVersion.objects.get()
    ModelVersion.objects.update(stage="Production")
    found = says(operator, "registry/modelversion", "delete_versions", version.pk)
    assert "Move it to Archived before deleting it." in found


def test_an_operator_makes_a_group(operator: Client) -> None:
    assert operator.post("/admin/auth/group/add/", {"name": "release-managers"}).status_code == 302
    assert AuditEntry.objects.filter(verb="create_group", object_id="release-managers").exists()


def test_the_members_in_a_project_s_page_have_labels_of_their_own(ann: Person, operator: Client) -> None:
    shown = operator.get(f"/admin/accounts/project/{ann.project.pk}/change/").content.decode()
    for field, label in (("user", "User"), ("role", "Role")):
        (tag,) = re.findall(rf'<select name="memberships-0-{field}"[^>]*>', shown)
        assert f'aria-label="{label}"' in tag
