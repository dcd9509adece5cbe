"""The frame and the settings in a real browser: keyboard, phone, colours, search, tokens."""

# ruff: noqa: F811  fixtures that come from another module
from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from podstack.errors import AuthenticationError
from tests.e2e.browser import fits_a_phone
from tests.e2e.conftest import Platform
from tests.e2e.test_portal import complaints, no_barrier, page  # noqa: F401

pytestmark = pytest.mark.slow

SETTINGS = (
    "settings/profile/",
    "settings/tokens/",
    "settings/tokens/new/",
    "account/password/change/",
    "projects/",
    "projects/default/members/",
    "projects/default/members/admin/",
    "projects/default/members/admin/remove/",
    "projects/default/settings/",
    "projects/default/audit/",
    "projects/default/search/?q=churn",
    "nothing-here/",
)


@pytest.fixture(scope="module")
def churn(platform: Platform) -> str:
    """Three models to search."""
    for name in ("churn-predictor", "churn-old", "fraud"):
        platform.client().register_model(name)
    return f"{platform.url}/projects/default/models/"


@pytest.fixture(autouse=True)
def wide(page: Page, complaints: list[str]) -> None:
    """Each test begins on a wide page, whatever the last one left."""
    page.set_viewport_size({"width": 1280, "height": 800})
    complaints.clear()


def test_search_is_opened_used_and_closed_by_the_keyboard(
    page: Page,
    churn: str,
    complaints: list[str],
) -> None:
    page.goto(churn)
    page.keyboard.press("/")
    box = page.get_by_role("combobox", name="Search models, versions, experiments and runs")
    expect(box).to_be_focused()
    expect(box).to_have_attribute("aria-expanded", "false")
    page.keyboard.insert_text("churn")  # letter by letter, what was found for "chu" might be shown first
    options = page.get_by_role("dialog").get_by_role("option")
    expect(options).to_have_count(2)
    expect(box).to_have_attribute("aria-expanded", "true")
    expect(options.first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    assert box.get_attribute("aria-activedescendant") == options.nth(1).get_attribute("id")
    bad = [v for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")]
    assert not bad, [(v["id"], v["nodes"][0]["html"][:200]) for v in bad]
    page.keyboard.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    name = options.nth(1).locator(".found-name").inner_text()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    assert not complaints


def test_search_opens_from_a_field_by_ctrl_k_and_escape_gives_the_field_back(
    page: Page,
    churn: str,
    complaints: list[str],
) -> None:
    page.goto(churn)
    field = page.get_by_label("Search by name or description")
    field.focus()
    page.keyboard.type("a/b")
    expect(field).to_have_value("a/b")
    page.keyboard.press("Control+k")
    box = page.get_by_role("combobox", name="Search models, versions, experiments and runs")
    expect(box).to_be_focused()
    page.keyboard.type("no such thing")
    expect(page.get_by_text("Nothing in")).to_be_visible()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    expect(field).to_be_focused()
    page.get_by_role("link", name="Find anything").click()
    expect(box).to_be_focused()
    page.get_by_role("button", name="Close the search").click()
    expect(box).to_be_hidden()
    assert not complaints


def test_the_menu_of_a_phone_keeps_the_focus_and_gives_it_back(
    page: Page,
    churn: str,
    complaints: list[str],
) -> None:
    page.set_viewport_size({"width": 375, "height": 740})
    page.goto(churn)
    burger = page.get_by_role("button", name="Menu")
    expect(page.get_by_role("link", name="Experiments")).to_be_hidden()
    burger.click()
    expect(page.get_by_role("link", name="Experiments")).to_be_visible()
    for _ in range(30):
        assert page.evaluate("!document.activeElement.closest('#content')")
        page.keyboard.press("Tab")
    bad = [v for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")]
    assert not bad, [(v["id"], v["nodes"][0]["html"][:200]) for v in bad]
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(burger).to_be_focused()
    expect(burger).to_have_attribute("aria-expanded", "false")
    assert not page.evaluate("document.getElementById('content').inert")
    page.set_viewport_size({"width": 1280, "height": 800})
    assert not complaints


def test_colours_are_chosen_and_kept_and_may_follow_the_system(
    page: Page,
    churn: str,
    complaints: list[str],
) -> None:
    page.goto(churn)
    theme = "document.documentElement.dataset.bsTheme"
    account = page.get_by_label("Account: admin")
    account.click()
    page.get_by_role("button", name="Dark", exact=True).click()
    page.reload()
    assert page.evaluate(theme) == "dark"
    account.click()
    expect(page.get_by_role("button", name="Dark", exact=True)).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="System").click()
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        expect(page.locator("html")).to_have_attribute("data-bs-theme", scheme)
    page.keyboard.press("Escape")
    expect(account).to_be_focused()
    expect(page.get_by_role("link", name="API tokens")).to_be_hidden()
    assert not complaints


def test_the_switcher_shows_projects_and_closes_on_a_click_outside(
    page: Page,
    churn: str,
    complaints: list[str],
) -> None:
    page.goto(churn)
    page.get_by_label("Project: Default").click()
    expect(page.get_by_role("link", name="Default admin (here)")).to_be_visible()
    page.mouse.click(900, 700)
    expect(page.get_by_role("link", name="All projects")).to_be_hidden()
    page.get_by_label("Project: Default").press("Enter")
    page.get_by_role("link", name="All projects").click()
    expect(page.get_by_role("heading", name="Projects")).to_be_visible()
    assert not complaints


def test_a_token_is_made_used_and_revoked(
    page: Page,
    platform: Platform,
    complaints: list[str],
) -> None:
    page.goto(f"{platform.url}/projects/default/models/")
    page.get_by_label("Account: admin").click()
    page.get_by_role("link", name="API tokens").click()
    page.get_by_role("link", name="New token").click()
    page.get_by_label("Name").fill("from the browser")
    page.get_by_label("Read: look at everything").check()
    page.get_by_label("Project", exact=True).select_option("Default")
    page.get_by_label("Expires").select_option("In 30 days")
    page.get_by_role("button", name="Make the token").click()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_role("button", name="Copied", exact=True)).to_be_visible()
    token = str(page.evaluate("navigator.clipboard.readText()"))
    assert token == page.locator("#token").inner_text()
    no_barrier(page)
    assert platform.client(token).me().user["username"] == "admin"
    page.get_by_role("link", name="I have copied it").click()
    page.get_by_role("link", name="Revoke from the browser").click()
    no_barrier(page)
    page.get_by_role("button", name="Revoke the token").click()
    expect(page.get_by_role("status")).to_contain_text("is revoked")
    with pytest.raises(AuthenticationError):
        platform.client(token).me()
    assert not complaints


def test_a_toast_says_what_was_done_and_goes_away(
    page: Page,
    churn: str,
    complaints: list[str],
) -> None:
    page.goto(churn)
    for kind in ("good", "bad"):
        page.evaluate(
            "kind => document.dispatchEvent(new CustomEvent('toast', {detail: {message: `<b>${kind}`, kind}}))",
            kind,
        )
        expect(page.get_by_text(f"<b>{kind}")).to_be_visible()
    no_barrier(page)
    page.get_by_role("button", name="Close this message").last.click()
    expect(page.get_by_text("<b>bad")).to_be_hidden()
    assert not complaints


@pytest.mark.parametrize("path", SETTINGS)
def test_no_page_has_a_barrier_or_is_wider_than_a_phone(
    page: Page,
    platform: Platform,
    churn: str,
    path: str,
) -> None:
    page.goto(f"{platform.url}/{path}")
    no_barrier(page)
    fits_a_phone(page)
    page.reload()
    fits_a_phone(page)
    no_barrier(page)
    page.set_viewport_size({"width": 1280, "height": 800})
