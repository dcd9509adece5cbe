"""The frame of every page, the pages of errors, and where a person lands."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from accounts.choices import Role
from accounts.models import Membership, Project, User
from common import pages
from deployments.models import Deployment
from registry.services import register_model
from tests.factories import Person, browser, make_person, make_project, make_run, make_user, make_version
from tracking.services import start_run

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def test_the_sidebar_counts_what_runs_and_what_is_in_trouble(ann: Person) -> None:
    make_run(ann)
    quiet = browser(ann).get("/projects/alpha/models/").content.decode()
    assert 'class="count' not in quiet
    start_run(actor=ann.actor, project=ann.project, experiment_id="exp")
    model = register_model(actor=ann.actor, project=ann.project, name="m")
    kept = {"project": ann.project, "model": model, "created_by": ann.user}
    Deployment.objects.create(**kept, endpoint_name="broken", state="Failed")
    Deployment.objects.create(**kept, endpoint_name="stopped", state="Failed", wanted="Stopped")
    Deployment.objects.create(
        **{**kept, "project": make_project("beta")}, endpoint_name="theirs", state="Failed"
    )
    shown = browser(ann).get("/projects/alpha/models/").content.decode()
    assert "1 running now" in shown and "1 failed or degraded" in shown
    with CaptureQueriesContext(connection) as queries:
        browser(ann).get("/projects/alpha/search/")
    assert sum("running" in query["sql"].lower() for query in queries) == 1


def test_pages_of_no_project_show_where_the_person_was_last(ann: Person) -> None:
    beta = make_project("beta")
    Membership.objects.create(project=beta, user=ann.user, role=Role.VIEWER)
    client = browser(ann)
    assert client.get("/").url == "/projects/alpha/models/"
    client.get("/projects/beta/models/")
    assert client.get("/").url == "/projects/beta/models/"
    assert "/projects/beta/models/" in client.get("/settings/profile/").content.decode()
    Membership.objects.filter(project=beta).delete()
    assert client.get("/").url == "/projects/alpha/models/"
    for cookie in ("gamma", "", "a\x01b", "x" * 3000, "../.."):
        client.cookies["project"] = cookie
        assert client.get("/").url == "/projects/alpha/models/"


def test_the_switcher_finds_one_of_many_projects(ann: Person) -> None:
    for number in range(30):
        project = make_project(f"team-{number}")
        Membership.objects.create(project=project, user=ann.user, role=Role.VIEWER)
    make_project("team-hidden")
    client, htmx = browser(ann), {"HX-Request": "true"}
    first = client.get("/projects/", headers=htmx).content.decode()
    assert first.count("/models/") == 8 and 'type="search"' in first and "<html" not in first
    found = client.get("/projects/?q=EAM-29", headers=htmx).content.decode()
    assert found.count("/models/") == 1 and "team-29" in found
    assert "hidden" not in client.get("/projects/?q=hidden", headers=htmx).content.decode()
    whole = client.get("/projects/?q=team-1").content.decode()
    assert "</html>" in whole and whole.count('class="name"') == 11
    assert client.get("/projects/?q=%00%25").status_code == 200
    Project.objects.filter(slug="alpha").update(name=HOSTILE)
    assert HOSTILE not in client.get("/projects/", headers=htmx).content.decode()


def test_who_is_in_no_project_is_told_how_to_get_into_one() -> None:
    client = Client()
    client.force_login(make_user("newcomer"))
    shown = client.get("/").content.decode()
    assert "newcomer" in shown and "Members" in shown and "Make a project" not in shown
    assert client.get("/settings/tokens/").status_code == 200
    assert client.get("/account/password/change/", follow=True).status_code == 200


@pytest.mark.parametrize("path", ["/nothing", "/projects/nothing/models/", "/projects/alpha/models/nothing/"])
def test_what_is_not_there_is_said_in_the_same_look(ann: Person, path: str) -> None:
    answer = browser(ann).get(path, follow=True)
    shown = answer.content.decode()
    assert answer.status_code == 404
    assert 'class="side"' in shown and "Back to the models" in shown and "<title>Not found" in shown
    alone = Client().get("/nothing").content.decode()
    assert "Sign in" in alone and 'class="side"' not in alone


def test_what_is_forbidden_says_which_role_is_too_low(ann: Person) -> None:
    viewer = make_person(ann.project, Role.VIEWER)
    answer = browser(viewer).get("/projects/alpha/register-model/")
    assert answer.status_code == 403 and "As a viewer of alpha" in answer.content.decode()
    fragment = browser(viewer).get("/projects/alpha/register-model/", headers={"HX-Request": "true"})
    assert fragment.status_code == 403 and "toast" in fragment["HX-Trigger"]
    assert "<html" not in fragment.content.decode()


def test_a_fragment_after_the_session_ended_leads_to_the_sign_in_page(ann: Person) -> None:
    here = "http://testserver/projects/alpha/models/?stage=Staging"
    headers = {"HX-Request": "true", "HX-Current-URL": here}
    answer = Client().get("/projects/alpha/search/?q=x", headers=headers)
    assert answer.status_code == 204 and "Location" not in answer
    assert answer["HX-Redirect"].startswith("/account/login/?next=/projects/alpha/models/")
    foreign = {**headers, "HX-Current-URL": "https://evil.example/x"}
    assert Client().get("/projects/", headers=foreign)["HX-Redirect"] == "/account/login/?next=/"


def test_a_button_or_a_file_after_the_session_ended_leads_back_to_its_page(ann: Person) -> None:
    register_model(actor=ann.actor, project=ann.project, name="a b")
    client = Client()
    answer = client.post("/projects/alpha/experiments/exp-000000000000/restore/")
    assert answer.url == "/account/login/?next=/projects/alpha/experiments/exp-000000000000/"
    for file in ("models/a%20b/versions/1/files/x/y.bin", "models/a%20b/versions/1/download/"):
        answer = client.get(f"/projects/alpha/{file}")
        assert answer.url == "/account/login/?next=/projects/alpha/models/a%2520b/versions/1/"
    assert client.get("/projects/alpha/audit/export/?format=csv").url.endswith("next=/projects/alpha/audit/")
    answer = client.post("/projects/alpha/models/a%20b/edit/", {"description": "x"})
    assert answer.url.endswith("next=/projects/alpha/models/a%2520b/edit/")
    client.force_login(ann.user)
    assert "so nothing was done" in client.get("/projects/alpha/models/a%20b/edit/").content.decode()


def test_a_buttons_address_opened_as_a_page_leads_to_its_page(ann: Person) -> None:
    run = make_run(ann)
    there = f"/projects/alpha/experiments/{run.experiment.public_id}/"
    answer = browser(ann).get(f"{there}restore/")
    shown = answer.content.decode()
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert "Nothing was done." in shown and f'href="{there}">Go to its page' in shown
    shown = browser(ann).get("/projects/alpha/webhooks/hook-1/redeliver/msg_1/").content.decode()
    assert 'href="/projects/alpha/webhooks/hook-1/">Go to its page' in shown


def test_a_forged_form_gets_a_page_that_says_what_to_do(ann: Person) -> None:
    answer = browser(ann, enforce_csrf_checks=True).post("/projects/alpha/register-model/", {"name": "x"})
    assert answer.status_code == 403 and "open too long" in answer.content.decode()


def test_the_page_of_a_server_error_needs_no_database() -> None:
    def broken() -> Any:
        raise RuntimeError("no database")

    request = RequestFactory().get("/projects/alpha/models/")
    request.user = SimpleLazyObject(broken)
    request.request_id = "abcdef1234567890"  # type: ignore[attr-defined]
    with CaptureQueriesContext(connection) as queries:
        answer = pages.server_error(request)
    assert answer.status_code == 500 and b"abcdef1234567890" in answer.content
    assert not len(queries)


def test_the_sign_in_page_refuses_and_keeps_the_name() -> None:
    answer = Client().post("/account/login/", {"login": HOSTILE, "password": "wrong"})
    assert answer.status_code == 200
    assert HOSTILE not in answer.content.decode() and "&lt;script&gt;" in answer.content.decode()


def test_the_sidebar_says_where_one_is(ann: Person) -> None:
    def here(path: str) -> list[str]:
        shown = browser(ann).get(f"/projects/alpha/{path}").content.decode()
        return re.findall(r'<a href="/projects/alpha/([a-z]+)/" aria-current="page"', shown)

    register_model(actor=ann.actor, project=ann.project, name="m")
    assert here("models/m/") == ["models"]
    assert here("datasets/") == ["datasets"]
    assert here("lineage/?node=model:m") == []


def test_a_page_lies_in_the_section_that_its_crumbs_name(ann: Person) -> None:
    version = make_version(ann, "m")
    assert version.source_run is not None
    run, experiment = version.source_run.public_id, version.source_run.experiment.public_id
    for path in (
        *("models/m/versions/1/stage/", "models/m/many/?v=1", "models/m/roll-back/"),
        *("models/m/versions/1/deploy/", "models/m/versions/1/quarantine/", "models/m/versions/1/reproduce/"),
        *(f"runs/{run}/register/", f"experiments/{experiment}/training-code/"),
        *("trash/", "protections/"),
    ):
        shown = browser(ann).get(f"/projects/alpha/{path}").content.decode()
        here = re.findall(r'<a href="/projects/alpha/([a-z]+)/" aria-current="page">\s*<svg', shown)
        first = re.search(r'<nav class="crumbs"[^>]*>(?:<a href="/projects/alpha/([a-z]+)/")?', shown)
        assert first is not None and here == [each for each in first.groups() if each], path


def test_the_address_of_a_project_leads_to_its_models(ann: Person) -> None:
    assert browser(ann).get("/projects/alpha/")["Location"] == "/projects/alpha/models/"
    assert browser(make_person(make_project("beta"))).get("/projects/alpha/").status_code == 404


def test_who_was_deactivated_is_signed_out_by_the_next_page(ann: Person) -> None:
    client = browser(ann)
    assert client.get("/projects/alpha/models/").status_code == 200
    User.objects.filter(pk=ann.user.pk).update(is_active=False)
    answer = client.get("/projects/alpha/models/")
    assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, reverse("account_login"))
