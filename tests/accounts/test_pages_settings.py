"""The settings pages: who sees them, what their forms do and refuse, what they cost."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable

import pytest
from allauth.account.models import EmailAddress
from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext

from accounts import services, trail
from accounts.audit import record
from accounts.choices import Role, Scope
from accounts.models import ApiToken, AuditEntry, Membership, User
from tests.factories import Person, browser, make_person, make_project, make_user

pytestmark = pytest.mark.django_db

HOSTILE = '<script>alert(1)</script> ‮ "quoted" & 100% #1?'
TOKEN = re.compile(r"podstack_[a-z0-9]{8}_[A-Za-z0-9_-]{43}")


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def entries(verb: str) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(verb=verb).order_by("id"))


# Who may


@pytest.mark.parametrize(
    ("path", "lowest"),
    [
        ("members/", Role.VIEWER),
        ("search/", Role.VIEWER),
        ("audit/", Role.MAINTAINER),
        ("audit/export/?format=csv", Role.MAINTAINER),
        ("settings/", Role.ADMIN),
        ("members/ray/", Role.ADMIN),
        ("members/ray/remove/", Role.ADMIN),
    ],
)
def test_each_page_is_for_its_role_and_higher_ones(ann: Person, path: str, lowest: Role) -> None:
    make_person(ann.project, Role.VIEWER, username="ray")
    roles = list(Role.values)
    for role in roles:
        answer = browser(make_person(ann.project, role)).get(f"/projects/alpha/{path}")
        expected = 200 if roles.index(role) >= roles.index(lowest) else 403
        assert answer.status_code == expected, role
    stranger = make_person(make_project())
    assert browser(stranger).get(f"/projects/alpha/{path}").status_code == 404


@pytest.mark.parametrize("role", [Role.VIEWER, Role.CONTRIBUTOR, Role.MAINTAINER])
def test_who_is_no_admin_sees_no_button_and_a_forged_request_is_refused(ann: Person, role: Role) -> None:
    make_user("eve")
    member = browser(make_person(ann.project, role, username="ray"))
    shown = member.get("/projects/alpha/members/").content.decode()
    for label in ("Add a member", "Change role", "Remove"):
        assert label not in shown
    for path, form in {
        "members/": {"username": "eve", "role": "viewer"},
        "members/ray/": {"role": "admin"},
        "members/ann/remove/": {},
        "settings/": {"name": "Mine"},
    }.items():
        assert member.post(f"/projects/alpha/{path}", form).status_code in (403, 422), path
    assert dict(Membership.objects.filter(project=ann.project).values_list("user__username", "role")) == {
        "ann": "admin",
        "ray": role,
    }
    ann.project.refresh_from_db()
    assert ann.project.name == "Alpha"


@pytest.mark.parametrize(
    "path",
    [
        "/settings/profile/",
        "/settings/tokens/new/",
        "/projects/alpha/settings/",
        "/projects/alpha/members/",
        "/projects/alpha/members/ann/",
        "/projects/alpha/members/ann/remove/",
        "/account/password/change/",
    ],
)
def test_no_form_is_taken_from_another_site(ann: Person, path: str) -> None:
    assert browser(ann, enforce_csrf_checks=True).post(path, {"name": "x"}).status_code == 403


# Profile and password


def test_a_person_changes_the_own_name(ann: Person) -> None:
    answer = browser(ann).post("/settings/profile/", {"first_name": HOSTILE, "last_name": "Lee", "email": ""})
    assert answer.status_code == 302
    shown = browser(ann).get("/settings/profile/").content.decode()
    assert "<script>alert" not in shown and "&lt;script&gt;" in shown
    (entry,) = entries("update_profile")
    assert entry.after["last_name"] == "Lee" and entry.door == "portal"


def test_another_address_takes_the_password(ann: Person) -> None:
    ann.user.set_password("correct horse")
    ann.user.save()
    EmailAddress.objects.create(user=ann.user, email="old@example.com", primary=True)
    form = {"first_name": "", "last_name": "", "email": "ann@example.com"}
    for password in ("", "wrong"):
        refused = browser(ann).post("/settings/profile/", {**form, "password": password})
        assert refused.status_code == 422
        assert "not your password" in refused.content.decode()
        assert "ann@example.com" in refused.content.decode()
    assert browser(ann).post("/settings/profile/", {**form, "password": "correct horse"}).status_code == 302
    ann.user.refresh_from_db()
    assert ann.user.email == "ann@example.com"
    assert not EmailAddress.objects.filter(email="old@example.com").exists()


def test_an_address_belongs_to_one_person(ann: Person) -> None:
    User.objects.create(username="bob", email="Bob@example.com")
    ann.user.set_password("correct horse")
    ann.user.save()
    form = {"email": "bob@example.com", "password": "correct horse"}
    refused = browser(ann).post("/settings/profile/", form)
    assert refused.status_code == 422 and "Another person" in refused.content.decode()
    for wrong in ("nonsense", "a@b", "x" * 300 + "@example.com", "a\0@example.com"):
        assert browser(ann).post("/settings/profile/", {**form, "email": wrong}).status_code == 422


def test_a_changed_password_ends_other_sessions_and_is_recorded(ann: Person) -> None:
    ann.user.set_password("correct horse 1")
    ann.user.save()
    here, elsewhere = browser(ann), browser(ann)
    form = {
        "oldpassword": "correct horse 1",
        "password1": "battery staple 2",
        "password2": "battery staple 2",
    }
    wrong = here.post("/account/password/change/", {**form, "oldpassword": "no"})
    assert "Settings" in wrong.content.decode() and not entries("change_password")
    assert here.post("/account/password/change/", form).status_code == 302
    assert len(entries("change_password")) == 1
    assert here.get("/settings/profile/").status_code == 200
    assert elsewhere.get("/settings/profile/").status_code == 302
    assert here.get("/account/email/").url == "/settings/profile/"


# API tokens


def test_a_token_is_shown_once_and_works(ann: Person) -> None:
    form = {"name": HOSTILE, "scopes": ["read"], "project": "alpha", "expires_in_days": "30"}
    made = browser(ann).post("/settings/tokens/new/", form)
    shown = made.content.decode()
    text = TOKEN.search(shown)
    assert made.status_code == 200 and made["Cache-Control"] == "no-store" and text
    assert "<script>alert" not in shown
    token = services.authenticate_token(text[0])
    assert (token.scopes, token.project, token.name) == (["read"], ann.project, HOSTILE)
    assert token.expires_at is not None
    later = browser(ann).get("/settings/tokens/").content.decode()
    assert not TOKEN.search(later) and token.prefix in later and "<script>alert" not in later


def test_reloading_the_page_that_shows_a_token_makes_no_other(ann: Person) -> None:
    client, before = browser(ann), ApiToken.objects.count()
    (once,) = re.findall(r'name="once" value="([^"]+)"', client.get("/settings/tokens/new/").content.decode())
    form = {"name": "laptop", "scopes": ["read"], "project": "", "expires_in_days": "30", "once": once}
    assert TOKEN.search(client.post("/settings/tokens/new/", form).content.decode())
    again = client.post("/settings/tokens/new/", form, follow=True)
    shown = again.content.decode()
    assert again.redirect_chain == [("/settings/tokens/", 302)] and "made already" in shown
    assert not TOKEN.search(shown) and ApiToken.objects.count() == before + 1
    assert TOKEN.search(client.post("/settings/tokens/new/", {**form, "once": "another"}).content.decode())
    assert ApiToken.objects.count() == before + 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "x" * 121},
        {"scopes": []},
        {"scopes": ["root"]},
        {"project": "beta"},
        {"expires_in_days": "-1"},
        {"expires_in_days": "9999"},
    ],
)
def test_a_wrong_form_makes_no_token_and_keeps_what_was_typed(ann: Person, wrong: dict[str, object]) -> None:
    make_person(make_project("beta"))
    before = ApiToken.objects.count()
    form = {"name": "laptop", "scopes": ["read"], "project": "", "expires_in_days": "", **wrong}
    answer = browser(ann).post("/settings/tokens/new/", form)
    assert answer.status_code == 422 and "field-error" in answer.content.decode()
    assert str(form["name"]) in answer.content.decode()
    assert ApiToken.objects.count() == before


def test_a_token_is_revoked_after_a_question_and_only_by_its_owner(ann: Person) -> None:
    eve = make_person(make_project("beta"))
    token = ApiToken.objects.get(user=ann.user)
    path = f"/settings/tokens/{token.prefix}/revoke/"
    assert browser(eve).get(path).status_code == 404
    assert browser(eve).post(path).status_code == 404
    assert token.name in browser(ann).get(path).content.decode()
    token.refresh_from_db()
    assert token.revoked_at is None
    assert browser(ann).post(path).url == "/settings/tokens/"
    token.refresh_from_db()
    assert token.revoked_at is not None
    assert token.prefix in browser(ann).get("/settings/tokens/?ended=1").content.decode()
    assert token.prefix not in browser(ann).get("/settings/tokens/").content.decode()


# Members


def test_an_admin_adds_changes_and_removes_a_member(ann: Person) -> None:
    bob = make_user("bob.b+c@x")
    admin = browser(ann)
    assert (
        admin.post("/projects/alpha/members/", {"username": bob.username, "role": "viewer"}).status_code
        == 302
    )
    path = f"/projects/alpha/members/{bob.username}/"
    assert path in admin.get("/projects/alpha/members/").content.decode()
    assert admin.post(path, {"role": "maintainer"}).status_code == 302
    assert Membership.objects.get(user=bob).role == "maintainer"
    assert "Remove" in admin.get(f"{path}remove/").content.decode()
    assert admin.post(f"{path}remove/").url == "/projects/alpha/members/"
    assert not Membership.objects.filter(user=bob).exists()
    assert admin.get(path).status_code == 404
    assert [entry.after for entry in entries("set_member")] == [{"role": "viewer"}, {"role": "maintainer"}]
    assert len(entries("remove_member")) == 1


@pytest.mark.parametrize("username", ["nobody-here", "", "system", HOSTILE, "x" * 151, "a\0b", "ann"])
def test_who_cannot_be_added_is_named_beside_the_field(ann: Person, username: str) -> None:
    answer = browser(ann).post("/projects/alpha/members/", {"username": username, "role": "viewer"})
    assert answer.status_code == 422
    assert "field-error" in answer.content.decode() and "<script>alert" not in answer.content.decode()
    assert Membership.objects.count() == 1


def test_the_last_admin_stays(ann: Person) -> None:
    for path, form in {"members/ann/": {"role": "viewer"}, "members/ann/remove/": {}}.items():
        answer = browser(ann).post(f"/projects/alpha/{path}", form)
        assert answer.status_code == 422 and "last admin" in answer.content.decode()
    assert Membership.objects.get(user=ann.user).role == "admin"
    make_person(ann.project, username="bob")
    assert browser(ann).post("/projects/alpha/members/ann/remove/").url == "/"
    assert browser(ann).get("/projects/alpha/members/").status_code == 404


def test_a_project_gets_another_name(ann: Person) -> None:
    answer = browser(ann).post("/projects/alpha/settings/", {"name": HOSTILE, "description": HOSTILE})
    assert answer.status_code == 302
    for path in (
        "/projects/alpha/settings/",
        "/projects/",
        "/projects/alpha/members/",
        "/projects/alpha/models/",
    ):
        shown = browser(ann).get(path).content.decode()
        assert "<script>alert" not in shown and "&lt;script&gt;" in shown, path
    assert browser(ann).post("/projects/alpha/settings/", {"name": ""}).status_code == 422


# The audit trail


def test_the_trail_is_filtered_and_goes_on_page_by_page(ann: Person) -> None:
    bob = make_person(ann.project, username="bob")
    for number in range(60):
        record(bob.actor, "register_model", "model", f"m-{number}", project=ann.project, after={"n": number})
    record(ann.actor, "delete_model", "model", HOSTILE, project=ann.project, before={HOSTILE: HOSTILE})
    record(bob.actor, "secret_deed", "model", "elsewhere", project=make_project("beta"))
    client = browser(ann)
    first = client.get("/projects/alpha/audit/").content.decode()
    assert "m-59" in first and "m-5<" not in first and "secret_deed" not in first
    assert "<script>alert" not in first
    older = re.search(r'href="(\?before=\d+)">Older', first)
    assert older
    assert "m-5<" in client.get(f"/projects/alpha/audit/{older[1]}").content.decode()
    by_ann = client.get("/projects/alpha/audit/?actor=ann").content.decode()
    assert "delete_model" in by_ann and "m-59" not in by_ann
    assert "No entry matches" in client.get("/projects/alpha/audit/?until=2001-01-01").content.decode()
    assert (
        "m-59" in client.get("/projects/alpha/audit/?since=2001-01-01&verb=register_model").content.decode()
    )


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("since=yesterday", 200),
        ("door=window", 200),
        ("actor=%00", 200),
        ("since=0001-01-01&until=9999-12-31", 200),
        ("since=2000-01-01T00:00:00%2B16:00", 200),
        ("since=0001-01-01T00:00:00%2B10:00", 200),
        ("until=9999-12-31T23:59:59-10:00", 200),
        ("before=x", 400),
        ("before=-1", 400),
        ("before=99999999999999999999", 400),
        ("before=%D9%A3", 400),
        ("unknown=1", 200),
    ],
)
def test_a_wrong_filter_is_named_and_no_error_of_the_server(ann: Person, query: str, status: int) -> None:
    answer = browser(ann).get(f"/projects/alpha/audit/?{query}")
    assert answer.status_code == status, query
    if "yesterday" in query or "window" in query:
        assert 'role="alert"' in answer.content.decode()
    for exported in (
        browser(ann).get(f"/projects/alpha/audit/export/?format=csv&{query}"),
        ann.api.get(f"{ann.base}/audit/export?format=csv&{query}"),
    ):
        assert exported.status_code == 400 or streamed(exported).startswith("id,at,actor")


def streamed(answer: HttpResponse) -> str:
    assert answer.streaming
    return b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]


@pytest.fixture(params=["portal", "rest"])
def export(request: pytest.FixtureRequest, ann: Person) -> Callable[[str], HttpResponse]:
    """Asks one of the two doors for a file."""
    if request.param == "portal":
        return lambda query: browser(ann).get(f"/projects/alpha/audit/export/?{query}")
    return lambda query: ann.api.get(f"{ann.base}/audit/export?{query}")


def test_the_trail_is_exported_without_formulas(ann: Person, export: Callable[[str], HttpResponse]) -> None:
    for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\n=1", "\uff1d1", HOSTILE, "plain"):
        record(ann.actor, "do", "thing", text, project=ann.project, after={"a": text})
    answer = export("format=csv&verb=do")
    assert (
        answer["Content-Type"].startswith("text/csv") and "alpha-audit.csv" in answer["Content-Disposition"]
    )
    rows = list(csv.DictReader(io.StringIO(streamed(answer))))
    assert [row["object_id"] for row in rows] == [
        "plain",
        HOSTILE,
        "'\uff1d1",
        "'\n=1",
        "'\t=1",
        "'@SUM(A1)",
        "'-1",
        "'+1",
        "'=1+1",
    ]
    assert rows[0]["actor"] == "ann" and json.loads(rows[0]["after"]) == {"a": "plain"}
    lines = [json.loads(line) for line in streamed(export("format=jsonl&verb=do")).splitlines()]
    assert [line["object_id"] for line in lines][-1] == "=1+1" and lines[0]["before"] is None
    for wrong in ("", "format=xml", "format=csv&since=x"):
        assert export(wrong).status_code == 400


def test_a_long_trail_is_exported_whole_each_entry_once(
    ann: Person, export: Callable[[str], HttpResponse]
) -> None:
    count = 2 * trail.AT_ONCE + 1
    kept = {"project": ann.project, "actor": ann.user, "door": "rest", "verb": "do", "object_type": "thing"}
    AuditEntry.objects.bulk_create(AuditEntry(**kept, object_id=str(n)) for n in range(count))
    lines = streamed(export("format=jsonl&verb=do")).splitlines()
    assert [json.loads(line)["object_id"] for line in lines] == [str(n) for n in reversed(range(count))]


# What pages cost


def test_the_lists_cost_the_same_at_ten_and_at_two_hundred_rows(ann: Person) -> None:
    client = browser(ann)
    counts: list[dict[str, int]] = []
    for more in (10, 190):
        for _ in range(more):
            user = make_user()
            Membership.objects.create(project=ann.project, user=user, role="viewer")
            Membership.objects.create(project=make_project(), user=ann.user, role="viewer")
            services.create_token(actor=ann.actor, name="more", scopes=[Scope.READ], project=ann.project)
        counts.append({})
        paths = ("/projects/alpha/members/", "/projects/alpha/audit/", "/settings/tokens/", "/projects/")
        for path in (*paths, "/settings/profile/", "/projects/alpha/search/?q=m"):
            with CaptureQueriesContext(connection) as queries:
                assert client.get(path).status_code == 200
            counts[-1][path] = len(queries)
    assert counts[0] == counts[1]
    assert max(counts[0].values()) <= 12, counts[0]
