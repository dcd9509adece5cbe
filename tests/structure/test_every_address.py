"""Every address of the platform is closed to nobody and to strangers, with no exception by forgetting."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from tests.factories import make_person, make_project

pytestmark = pytest.mark.django_db

VALUES = {
    "project": "alpha",
    "name": "m",
    "ref": "1",
    "number": "1",
    "protection_id": "1",
    "alert_id": "alert-abc",
    "alias": "best",
    "key": "k",
    "path": "a.txt",
    "prefix": "00000000",
    "username": "ann",
    "experiment_id": "exp-000000000000",
    "run_id": "run-000000000000",
    "sha256": "0" * 64,
    "endpoint": "e",
    "upload_id": "up-000000000000",
    "schedule": "nightly",
    "approval": "apr-000000000000",
    "policy_id": "1",
    "schedule_id": "1",
    "notification_id": "1",
    "webhook": "hook-000000000000",
    "invitation_id": "1",
    "link": "1:nothing",
    "message": "msg_0",
    "dataset_id": "1",
    "service_id": "svc-000000000000",
    "execution": "exec-000000000000",
    "revision": "1",
    "pk": "1",
}
OPEN = ("/livez", "/readyz", "/api/schema/", "/api/docs/", "/account/", "/invitations/", "/static/")
OPERATORS = ("/admin/",)
METHODS = ("get", "post", "put", "patch", "delete")


def addresses(resolver: URLResolver | None = None, prefix: str = "/") -> Iterator[str]:
    """Every route of the resolver with its parameters filled in."""
    for entry in (resolver or get_resolver()).url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            if not route.startswith(OPEN + OPERATORS):
                yield from addresses(entry, route)
        elif isinstance(entry, URLPattern) and not route.startswith(OPEN):
            yield fill(route)


def fill(route: str) -> str:
    filled = route
    while "<" in filled:
        start, end = filled.index("<"), filled.index(">")
        name = filled[start + 1 : end].rsplit(":", 1)[-1]
        filled = filled[:start] + VALUES[name] + filled[end + 1 :]
    return filled


def test_there_are_addresses_to_test() -> None:
    assert len(set(addresses())) > 40


@pytest.mark.parametrize("address", sorted(set(addresses())))
def test_nobody_gets_in(address: str) -> None:
    make_project("alpha")
    for method in METHODS:
        answer = getattr(APIClient(), method)(address)
        if address.startswith("/api/"):
            assert answer.status_code in (401, 405), (method, answer.status_code)
            assert answer.status_code == 401 or method != "get"
        else:
            assert answer.status_code == 302, (method, answer.status_code)
            assert answer["Location"].startswith("/account/login/")


@pytest.mark.parametrize("address", sorted(a for a in set(addresses()) if "/alpha/" in a))
def test_a_stranger_learns_nothing(address: str) -> None:
    make_project("alpha")
    stranger = make_person(make_project("beta"))
    browser = APIClient()
    browser.force_login(stranger.user)
    for method in METHODS:
        client = stranger.api if address.startswith("/api/") else browser
        answer = getattr(client, method)(address)
        assert answer.status_code in (404, 405), (method, answer.status_code)
    known = client.get(address)
    unknown = client.get(address.replace("/alpha/", "/gamma/"))
    assert known.status_code == unknown.status_code
