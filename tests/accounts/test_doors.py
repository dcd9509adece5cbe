"""What callers try at the door: odd headers, other methods, other formats, tokens that lost their right."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.utils import timezone

from accounts.choices import Door, Role, Scope
from accounts.models import ApiToken, AuditEntry, Membership, User
from accounts.permissions import Actor
from accounts.services import create_token
from registry.models import RegisteredModel
from registry.services import register_model
from tests.factories import Person, make_person, make_project, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def plain(**headers: str) -> Client:
    return Client(headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_a_token_counts_in_the_authorization_header_only(ann: Person) -> None:
    address = f"{ann.base}/models"
    for header in ("X-Authorization", "X-Api-Key", "Token", "Proxy-Authorization", "X-Auth-Token", "Cookie"):
        value = (
            f"Bearer {ann.token}" if header != "Cookie" else f"token={ann.token}; Authorization={ann.token}"
        )
        assert Client(headers={header: value}).get(address).status_code == 401, header
    for query in ("token", "access_token", "api_key", "Authorization"):
        assert Client().get(f"{address}?{query}={ann.token}").status_code == 401
    for value in (
        *(
            ann.token,
            f"Token {ann.token}",
            f"Basic {ann.token}",
            f"Bearer {ann.token} x",
            "Bearer",
            "Bearer ",
        ),
        *(
            f"Bearer: {ann.token}",
            f"Bearer {ann.token[:-1]}",
            f"Bearer {ann.token}\x00",
            f"Bearer {ann.token}=",
        ),
        *(f"Bearer {ann.token.upper()}", f"Bearer {ann.token},Bearer {ann.token}", "Bearer " + "x" * 100_000),
        *("Bearer podstack_%_" + "a" * 43, "Bearer podstack_________" + "a" * 43),
    ):
        answer = plain(Authorization=value).get(address)
        assert answer.status_code == 401, value[:80]
        assert answer["Content-Type"] == "application/problem+json"
        assert "XXX" not in answer.content.decode()
    assert plain(Authorization=f"bearer   {ann.token}").get(address).status_code == 200


def test_no_header_changes_the_method_the_address_or_the_caller(ann: Person) -> None:
    register_model(actor=ann.actor, project=ann.project, name="m")
    api = plain(
        Authorization=f"Bearer {ann.token}",
        X_HTTP_Method_Override="DELETE",
        X_Method_Override="DELETE",
        X_HTTP_Method="DELETE",
        X_Original_URL="/api/v1/projects/other/models",
        X_Rewrite_URL="/admin/",
        X_Forwarded_User="root",
        Remote_User="root",
        X_Forwarded_Host="evil.example",
        Forwarded="host=evil.example",
        X_Forwarded_For="127.0.0.1",
    )
    answer = api.get(f"{ann.base}/models/m?_method=DELETE&format=xml")
    assert answer.status_code == 200 and answer.json()["name"] == "m"
    api.post(f"{ann.base}/models/m", '{"_method": "DELETE"}', content_type="application/json")
    assert RegisteredModel.objects.alive().count() == 1
    for index in range(3):
        register_model(actor=ann.actor, project=ann.project, name=f"m{index}")
    link = api.get(f"{ann.base}/models?page_size=1").json()["next"]
    assert link.startswith("http://testserver/")


@pytest.mark.parametrize("host", ["evil.example", "localhost@evil.example", "a b", "[::1"])
def test_another_host_is_400_with_a_problem(ann: Person, host: str) -> None:
    for address in ("/api/v1/me", f"{ann.base}/models"):
        answer = Client(headers={"Authorization": f"Bearer {ann.token}"}).get(address, headers={"Host": host})
        assert answer.status_code == 400, host
        assert answer["Content-Type"] == "application/problem+json"


def test_methods_that_nobody_wrote(ann: Person) -> None:
    for address in (f"{ann.base}/models", "/api/v1/me"):
        for method in ("TRACE", "CONNECT", "PROPFIND", "FOO"):
            for api, expected in ((ann.api, (404, 405)), (Client(), (401, 405))):
                answer = api.generic(method, address)
                assert answer.status_code in expected, (method, address, answer.status_code)
                assert answer["Content-Type"] == "application/problem+json"
                assert ann.token not in answer.content.decode()
    wrong = ann.api.delete(f"{ann.base}/models")
    assert wrong.status_code == 405 and set(wrong["Allow"].split(", ")) >= {"GET", "POST"}


def test_head_and_options_need_the_same_right_as_reading(ann: Person) -> None:
    stranger = make_person(make_project("beta"))
    for method in ("HEAD", "OPTIONS"):
        assert Client().generic(method, f"{ann.base}/models").status_code == 401
        assert stranger.api.generic(method, f"{ann.base}/models").status_code == 404
        answer = ann.api.generic(method, f"{ann.base}/models")
        assert answer.status_code == 200
        assert "Access-Control-Allow-Origin" not in answer
    assert ann.api.generic("HEAD", f"{ann.base}/models").content == b""


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain", "text/json"],
)
def test_only_json_is_read(ann: Person, content_type: str) -> None:
    form = "--b\r\nContent-Disposition: form-data; name=name\r\n\r\nm\r\n--b--\r\n"
    body = form if "multipart" in content_type else "name=m"
    answer = ann.api.generic("POST", f"{ann.base}/models", body, content_type=content_type)
    assert answer.status_code == 415, answer.content
    said = content_type.partition(";")[0]
    assert answer.json()["detail"].startswith(f"Content-Type is '{said}")
    assert answer.json()["detail"].endswith("it must be application/json.")
    assert not RegisteredModel.objects.exists()


def test_a_body_that_is_compressed_is_refused_as_such(ann: Person) -> None:
    body = gzip.compress(b'{"name": "m"}')
    answer = ann.api.generic(
        "POST", f"{ann.base}/models", body, "application/json", headers={"Content-Encoding": "gzip"}
    )
    assert answer.status_code == 415
    assert answer.json()["detail"] == "Content-Encoding is 'gzip'; a body must come as it is, without one."


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("runs-export?format=csv", "text/csv"),
        ("audit/export?format=jsonl", "application/x-ndjson"),
        ("models/m/versions/1/bundle", "application/zip"),
        ("models/m/versions/1/artifacts/weights.txt", "application/octet-stream"),
        ("models", "application/problem+json"),
        ("models/m", "text/html"),
    ],
)
def test_whoever_asks_for_a_form_gets_what_the_address_has(ann: Person, address: str, kind: str) -> None:
    """A client made from the API's description asks for the form that stands there, or for that of problems."""
    make_version(ann, "m", files={"model/weights.txt": b"1"})
    answer = ann.api.get(f"{ann.base}/{address}", headers={"Accept": kind})
    assert answer.status_code == 200, answer.content
    known = "application/json" if address.startswith("models") and "/v" not in address else kind
    assert answer.headers["Content-Type"].partition(";")[0] == known


def test_a_page_elsewhere_cannot_use_a_session(ann: Person) -> None:
    """What a form or a simple fetch of another site can send: no JSON, no token of ours."""
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(ann.user)
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/json"):
        answer = browser.generic("POST", f"{ann.base}/models", '{"name": "m"}', content_type=content_type)
        assert answer.status_code == 403, content_type
    assert not RegisteredModel.objects.exists()


def test_odd_headers_break_nothing(ann: Person) -> None:
    odd = ["", "x" * 50_000, "\x00", "é", "\x7f", "*/*;q=x", "NaN", "-1", "99999999999999999999", "%00", "'"]
    names = (
        *("Accept", "Accept-Encoding", "Accept-Language", "Content-Encoding", "Cookie", "Expect", "If-Match"),
        *("If-None-Match", "If-Modified-Since", "If-Range", "Origin", "Range", "Referer", "TE", "User-Agent"),
        *("X-Request-ID", "X-Forwarded-Proto", "HX-Request", "HX-Current-URL", "HX-Target"),
    )
    for name in names:
        for value in odd:
            answer = ann.api.get(f"{ann.base}/models", headers={name: value})
            assert answer.status_code == 200, (name, value[:20], answer.status_code)
            assert len(answer["X-Request-ID"]) <= 64


@pytest.mark.parametrize("length", ["", "x", "-1", "1e3", "99999999999999999999"])
def test_a_length_that_is_none(ann: Person, length: str) -> None:
    answer = ann.api.generic("POST", f"{ann.base}/models", b'{"name": "m"}', CONTENT_LENGTH=length)
    assert 400 <= answer.status_code < 500 or answer.status_code == 201
    assert answer.headers["Content-Type"].endswith("json")


def test_a_slash_too_many_is_404_and_no_redirect(ann: Person) -> None:
    for address in (
        "/api/v1/me/",
        f"{ann.base}/models/",
        f"/{ann.base}/models",
        "/api/v1//me",
        "//evil.example/..",
    ):
        for method in ("GET", "POST"):
            assert ann.api.generic(method, address).status_code == 404, address


def test_a_bound_token_works_in_its_project_only(ann: Person) -> None:
    beta = make_project("beta")
    Membership.objects.create(project=beta, user=ann.user, role=Role.ADMIN)
    bound, text = create_token(actor=ann.actor, name="ci", scopes=[Scope.ADMIN], project=ann.project)
    other, _ = create_token(actor=ann.actor, name="other", scopes=[Scope.ADMIN], project=beta)
    wide = ApiToken.objects.get(user=ann.user, name="test")
    api = plain(Authorization=f"Bearer {text}")
    assert api.get(f"{ann.base}/models").status_code == 200
    assert api.get("/api/v1/projects/beta/models").status_code == 404
    assert [row["slug"] for row in api.get("/api/v1/me").json()["projects"]] == ["alpha"]
    for prefix in (other.prefix, wide.prefix):
        assert api.delete(f"{ann.base}/tokens/{prefix}").status_code == 404
    assert not ApiToken.objects.exclude(revoked_at=None).exists()
    assert api.delete(f"{ann.base}/tokens/{bound.prefix}").status_code == 204


def test_rights_end_at_once(ann: Person) -> None:
    bob = make_person(ann.project, Role.MAINTAINER)

    def write(name: str) -> int:
        return int(bob.api.post(f"{ann.base}/models", {"name": name}, format="json").status_code)

    assert write("a") == 201
    Membership.objects.filter(user=bob.user).update(role=Role.VIEWER)
    assert write("b") == 403
    assert bob.api.get(f"{ann.base}/models").status_code == 200
    Membership.objects.filter(user=bob.user).delete()
    assert write("c") == 404


def test_deactivation_ends_sessions_and_tokens_at_once(ann: Person) -> None:
    """By the switch in the admin, as an operator finds it."""
    bob = make_person(ann.project, Role.MAINTAINER)
    root = User.objects.create(username="root", is_superuser=True, is_staff=True)
    session, operator = Client(), Client()
    session.force_login(bob.user)
    operator.force_login(root)
    page = "/projects/alpha/models/"
    assert session.get(page).status_code == 200
    assert bob.api.get(f"{ann.base}/models").status_code == 200
    address = f"/admin/accounts/user/{bob.user.pk}/change/"
    form = operator.get(address).context["adminform"].form
    words = {name: value for name, value in form.initial.items() if value not in (None, False)}
    joined = timezone.localtime(bob.user.date_joined)
    words |= {"date_joined_0": joined.date(), "date_joined_1": f"{joined:%H:%M:%S}"}
    del words["is_active"]
    assert operator.post(address, words).status_code == 302
    assert not User.objects.get(pk=bob.user.pk).is_active
    assert (session.get(page).status_code, session.post(page).status_code) == (302, 302)
    assert bob.api.get(f"{ann.base}/models").status_code == 401
    entry = AuditEntry.objects.get(verb="update_user", object_id=bob.user.username)
    assert (entry.after["is_active"], entry.actor) == (False, root)


def test_a_superuser_acts_everywhere_in_the_admin_only_and_leaves_a_trace(ann: Person) -> None:
    root = User.objects.create(username="root", is_superuser=True, is_staff=True)
    _, text = create_token(actor=Actor(user=root, door=Door.COMMAND), name="t", scopes=[Scope.ADMIN])
    assert plain(Authorization=f"Bearer {text}").get(f"{ann.base}/models").status_code == 404
    register_model(actor=Actor(user=root, door=Door.ADMIN), project=ann.project, name="by-root")
    entry = AuditEntry.objects.get(object_id="by-root")
    assert (entry.actor, entry.door, entry.project) == (root, Door.ADMIN, ann.project)


def admin_form(**changes: Any) -> dict[str, Any]:
    management = {"TOTAL_FORMS": 0, "INITIAL_FORMS": 0, "MIN_NUM_FORMS": 0, "MAX_NUM_FORMS": 1000}
    return {**{f"memberships-{name}": value for name, value in management.items()}, **changes}


def test_what_an_operator_does_to_projects_and_members_is_on_record(ann: Person) -> None:
    root = User.objects.create(username="root", is_superuser=True, is_staff=True)
    bob = User.objects.create(username="bob")
    browser = Client()
    browser.force_login(root)
    made = browser.post("/admin/accounts/project/add/", admin_form(slug="beta", name="Beta", description=""))
    assert made.status_code == 302, made.content
    assert AuditEntry.objects.filter(
        verb="create_project", object_id="beta", actor=root, door="admin"
    ).exists()
    base = {"slug": "alpha", "name": "Alpha", "description": ""}
    member = Membership.objects.get(project=ann.project)
    known = {
        "memberships-TOTAL_FORMS": 2,
        "memberships-INITIAL_FORMS": 1,
        "memberships-0-id": member.pk,
        "memberships-0-project": ann.project.pk,
        "memberships-0-user": ann.user.pk,
        "memberships-0-role": "admin",
        "memberships-1-project": ann.project.pk,
        "memberships-1-user": bob.pk,
        "memberships-1-role": "viewer",
    }
    address = f"/admin/accounts/project/{ann.project.pk}/change/"
    assert browser.post(address, admin_form(**base, **known)).status_code == 302
    assert Membership.objects.get(user=bob).role == "viewer"
    entry = AuditEntry.objects.get(verb="set_member", object_id="bob")
    assert (entry.actor, entry.door, entry.after) == (root, "admin", {"role": "viewer"})
    del known["memberships-1-user"], known["memberships-1-role"], known["memberships-1-project"]
    known |= {"memberships-TOTAL_FORMS": 1, "memberships-0-DELETE": "on"}
    browser.post(address, admin_form(**base, **known))
    assert Membership.objects.filter(project=ann.project, role="admin").exists(), "the last admin stays"


def test_which_groups_an_operator_puts_somebody_into_is_on_record(ann: Person) -> None:
    root = User.objects.create(username="root", is_superuser=True, is_staff=True)
    team = Group.objects.create(name="risk")
    browser = Client()
    browser.force_login(root)
    address = f"/admin/accounts/user/{ann.user.pk}/change/"
    form = browser.get(address).context["adminform"].form
    words = {name: value for name, value in form.initial.items() if value not in (None, False, [])}
    joined = timezone.localtime(ann.user.date_joined)
    words |= {"date_joined_0": joined.date(), "date_joined_1": f"{joined:%H:%M:%S}", "groups": [team.pk]}
    assert browser.post(address, words).status_code == 302
    assert AuditEntry.objects.get(verb="update_user").after["groups"] == ["risk"]


def test_only_superusers_change_people_in_the_admin_and_it_is_on_record(ann: Person) -> None:
    root = User.objects.create(username="root", is_superuser=True, is_staff=True)
    staff = User.objects.create(username="staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.all())
    browser = Client()
    browser.force_login(staff)
    for address in (f"/admin/accounts/user/{staff.pk}/", f"/admin/accounts/project/{ann.project.pk}/"):
        assert browser.get(f"{address}change/").status_code == 200
        assert browser.post(f"{address}change/", {"is_superuser": "on"}).status_code == 403
    assert browser.post("/admin/accounts/user/add/", {}).status_code == 403
    browser.force_login(root)
    new = {
        "username": "eve",
        "password1": "correct-horse-9",
        "password2": "correct-horse-9",
        "usable_password": "true",
    }
    assert browser.post("/admin/accounts/user/add/", new).status_code == 302
    eve = User.objects.get(username="eve")
    password = {"password1": "battery-staple-8", "password2": "battery-staple-8", "usable_password": "true"}
    assert browser.post(f"/admin/accounts/user/{eve.pk}/password/", password).status_code == 302
    rows = AuditEntry.objects.filter(object_type="user", object_id="eve", actor=root, door="admin")
    assert sorted(rows.values_list("verb", flat=True)) == ["create_user", "update_user"]
    assert "battery" not in str([row.after for row in rows]) and "horse" not in str(
        [row.after for row in rows]
    )


@pytest.mark.parametrize(
    "address",
    [
        *("members", "tokens", "groups", "invitations", "webhooks", "protections", "approval-policies"),
        *("models/m/aliases", "models/m/transitions", "models/m/versions/1/artifacts"),
        "experiments/exp/training-code",
    ],
)
def test_a_list_refuses_a_parameter_that_it_does_not_know(ann: Person, address: str) -> None:
    make_version(ann, "m")
    listed = ann.api.get(f"{ann.base}/{address}?page_size=2")
    assert listed.status_code == 200, listed.content
    refused = ann.api.get(f"{ann.base}/{address}?role=admin").json()
    assert refused["detail"] == "'role' is no parameter of this address."
    assert refused["hint"] == "There are: cursor, page_size."
