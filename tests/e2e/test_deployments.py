"""An endpoint's life in a real browser: deploy, watch, try, switch the version, roll back, undeploy, delete."""

# ruff: noqa: F811  fixtures that come from another module
from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Platform
from tests.e2e.test_portal import complaints, flowers, no_barrier, page  # noqa: F401

pytestmark = pytest.mark.slow
PATIENCE = 60_000


def test_an_endpoint_is_deployed_tried_switched_rolled_back_and_taken_down(
    page: Page, platform: Platform, flowers: str, complaints: list[str]
) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    complaints.clear()
    page.goto(f"{flowers}versions/1/")
    page.get_by_role("link", name="Deploy", exact=True).click()
    page.get_by_label("Endpoint name").fill("garden-api")
    no_barrier(page)
    page.get_by_role("button", name="Deploy", exact=True).click()
    heading = page.get_by_role("heading", name="garden-api")
    expect(heading).to_contain_text("Active", timeout=PATIENCE)

    for number, value in enumerate(["5.1", "3.5", "1.4", "0.2"], 1):
        page.get_by_label(f"Value {number}", exact=True).fill(value)
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_text("Version 1 answered in")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#try")).to_contain_text('"predictions"')
    expect(page.locator("#try")).to_contain_text("[5.1, 3.5, 1.4, 0.2]")
    page.get_by_label("Value 1", exact=True).fill("many")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("alert")).to_contain_text("it must be a number")
    no_barrier(page)
    expect(page).to_have_title("garden-api · Deployments")

    platform.client().get_deployment("garden-api").predict([[5.1, 3.5, 1.4, 0.2]])
    expect(page.get_by_role("img", name="Requests a second over time")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_role("img", name="Replicas over time")).to_be_visible(timeout=PATIENCE)

    page.get_by_role("link", name="Change", exact=True).click()
    expect(page.get_by_label("Steps in percent")).to_be_hidden()
    page.get_by_label("Rollout", exact=True).select_option("steps")
    expect(page.get_by_label("Steps in percent")).to_be_visible()
    page.get_by_label("Rollout", exact=True).select_option("at-once")
    page.get_by_label("Version", exact=True).select_option("2")
    no_barrier(page)
    page.get_by_role("button", name="Change").click()
    expect(page.get_by_text("serves flowers v2")).to_be_visible(timeout=PATIENCE)
    expect(heading).to_contain_text("Active", timeout=PATIENCE)

    page.get_by_role("link", name="Rollback to revision 1", exact=True).click()
    asked = page.get_by_role("dialog", name="Roll garden-api back to revision 1, v1?")
    expect(asked.get_by_role("link", name="Cancel")).to_be_focused()
    found = Axe().run(page).response["violations"]
    assert not [each["id"] for each in found if each["impact"] in ("serious", "critical")]
    asked.get_by_role("button", name="Rollback").click()
    expect(page.get_by_text("serves flowers v1")).to_be_visible(timeout=PATIENCE)

    page.get_by_role("link", name="Logs").click()
    expect(page.get_by_role("heading", name="Logs of garden-api")).to_be_visible()
    no_barrier(page)
    page.goto(f"{platform.url}/projects/default/deployments/?search=garden&state=Active")
    page.get_by_role("link", name="garden-api").click()

    page.get_by_role("link", name="Undeploy").click()
    page.get_by_label("Type garden-api to confirm").fill("garden-api")
    page.get_by_role("button", name="Undeploy").click()
    expect(heading).to_contain_text("Inactive", timeout=PATIENCE)
    page.get_by_role("link", name="Delete").click()
    expect(page.get_by_role("button", name="Delete")).to_be_disabled()
    page.get_by_label("Type garden-api to confirm").fill("garden-api")
    no_barrier(page)
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_contain_text("deleted")
    assert not complaints
