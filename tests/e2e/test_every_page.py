"""Every page of the portal, and of the admin, in a real browser, light and dark, wide and on a phone, filled with
hostile text.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser, Page

from accounts.models import User
from deployments import services as deployment_verbs
from registry.models import ModelVersion
from scheduling.models import Schedule
from tests.e2e.browser import CONTRAST, open_chromium
from tests.portal.hostile import make_hostile
from tests.structure.operations import World, make_world
from tests.structure.test_page_rights import filled, pages

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("SOAK_PAGES" not in os.environ, reason="It takes minutes: make soak plays it."),
]

OF_A_PERSON = (
    *("/projects/", "/settings/profile/", "/settings/tokens/", "/settings/tokens/new/"),
    *("/account/password/change/", "/account/2fa/", "/account/logout/", "/nothing-here/"),
)
# What the hostile things are called in addresses; the pages of these are looked at for them, too.
HOSTILE = {
    *("registry:model", "registry:version", "registry:compare", "registry:standing", "registry:model_delete"),
    *("registry:aliases", "tracking:run", "tracking:experiment", "tracking:run_edit", "approvals:detail"),
    *(
        "scheduling:detail",
        "scheduling:execution",
        "lineage:dataset",
        "lineage:reproduce",
        "deployments:detail",
    ),
}
# Made by Django's own script of the admin's two boxes to choose from: a mark with a label and no role. The field beside
# it has a name of its own.
THEIRS = {"aria-prohibited-attr": "help-tooltip search-label-icon"}


@pytest.fixture
def world(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> World:
    engine = SimpleNamespace(logs=lambda *asked: ["a line"], gpu_types=lambda: [])
    monkeypatch.setattr(deployment_verbs, "engine_for", lambda name: engine)
    return make_world()


@pytest.fixture
def addresses(world: World) -> tuple[str, dict[str, str]]:
    """A session's key, and every page by the name of its address: the world's things, then the hostile ones."""
    hostile = make_hostile(world.person)
    client = Client()
    client.force_login(world.person.user)
    asked = {address: address for address in OF_A_PERSON}
    asked |= {name: filled(world, name, route) for name, route in pages()}
    world.values.update({name: quote(value, safe="") for name, value in hostile.items()})
    world.by_operation["get_run"]["run_id"] = hostile["run_id"]
    asked |= {f"{name} (hostile)": filled(world, name, route) for name, route in pages() if name in HOSTILE}
    return client.session.session_key or "", {name: at for name, at in asked.items() if _is_page(client, at)}


@pytest.fixture
def admin_addresses(world: World) -> tuple[str, dict[str, str]]:
    """The same for the admin: its index, every list, and a form to add, one to change, and one that only shows."""
    make_hostile(world.person)
    operator = User.objects.create(username="root", password="!", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(operator)
    lists = [f"admin:{each._meta.app_label}_{each._meta.model_name}" for each in admin.site._registry]
    asked = {
        "admin:index": reverse("admin:index"),
        "admin:accounts_user_add": reverse("admin:accounts_user_add"),
    }
    asked |= {name: reverse(f"{name}_changelist") for name in lists}
    for row in (
        world.person.user,
        world.person.project,
        ModelVersion.objects.latest("pk"),
        Schedule.objects.latest("pk"),
    ):
        name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
        asked[name] = reverse(name, args=[row.pk])
    return client.session.session_key or "", asked


def _is_page(client: Client, address: str) -> bool:
    """Whether GET answers a whole page: acts, downloads and parts that htmx puts into a page are none."""
    answer: Any = client.get(address)
    found = answer.status_code == 200 or address == "/nothing-here/"
    return found and not answer.streaming and answer.content.startswith(b"<!doctype html>")


@pytest.fixture
def chromium() -> Iterator[Browser]:
    with open_chromium() as browser:
        yield browser


def opened(browser: Browser, server: str, session: str, scheme: str, complaints: list[str]) -> Page:
    """A signed-in page of this colour scheme that writes down what a script of theirs, or a foreign host, would do."""
    context = browser.new_context(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    context.add_cookies([{"name": "sessionid", "value": session, "url": server}])
    page = context.new_page()
    page.set_default_timeout(60_000)
    host = urlsplit(server).netloc
    page.on("dialog", lambda dialog: (complaints.append(f"{page.url}: {dialog.message}"), dialog.dismiss()))
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    page.on(
        "console",
        lambda m: (
            complaints.append(f"{page.url}: {m.text}")
            if m.type == "error" and "status of 404" not in m.text
            else None
        ),
    )
    page.on("request", lambda r: None if urlsplit(r.url).netloc in (host, "") else complaints.append(r.url))
    return page


def barriers(page: Page, options: dict[str, Any] | None = None) -> list[str]:
    found = Axe().run(page, options=options).response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    nodes = [(each["id"], node["html"][:160]) for each in serious for node in each["nodes"]]
    return [f"{rule}: {html}" for rule, html in nodes if THEIRS.get(rule, "\0") not in html]


def wrong_with(
    browser: Browser, server: str, session: str, asked: dict[str, str], complaints: list[str]
) -> str:
    """What is wrong with these pages, a line each."""
    wrong: list[str] = []
    for scheme, options in (("light", None), ("dark", CONTRAST)):
        page = opened(browser, server, session, scheme, complaints)
        for name, address in asked.items():
            page.set_viewport_size({"width": 1280, "height": 800})
            page.goto(f"{server}{address}")
            found = barriers(page, options)
            if scheme == "light":
                page.set_viewport_size({"width": 375, "height": 740})
                width = page.evaluate("document.documentElement.scrollWidth")
                found += [f"{width} wide on a phone"] if width > 375 else []
            wrong += [f"{name} ({scheme}): {each}" for each in found]
    return "\n".join(wrong)


def test_no_page_has_a_barrier_or_runs_their_text_or_is_wider_than_a_phone(
    live_server: Any, addresses: tuple[str, dict[str, str]], chromium: Browser
) -> None:
    session, asked = addresses
    assert len(asked) > 80, sorted(asked)
    assert {name.removesuffix(" (hostile)") for name in asked if "(hostile)" in name} == HOSTILE
    complaints: list[str] = []
    wrong = wrong_with(chromium, live_server.url, session, asked, complaints)
    assert not wrong, wrong
    assert not complaints


def test_no_page_of_the_admin_has_a_barrier_or_runs_their_text_or_is_wider_than_a_phone(
    live_server: Any, admin_addresses: tuple[str, dict[str, str]], chromium: Browser
) -> None:
    session, asked = admin_addresses
    assert len(asked) > 50, sorted(asked)
    complaints: list[str] = []
    wrong = wrong_with(chromium, live_server.url, session, asked, complaints)
    assert not wrong, wrong
    assert not complaints
