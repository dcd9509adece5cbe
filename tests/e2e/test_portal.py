"""A person's way through the portal in a real browser, over the whole platform."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import joblib
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from tests.e2e.browser import CONTRAST, fits_a_phone, open_chromium
from tests.e2e.conftest import Platform

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    """What the browser's console and network complained about."""
    return []


@pytest.fixture(scope="module")
def page(platform: Platform, complaints: list[str]) -> Iterator[Page]:
    """A signed-in page of 1280 × 800."""
    with open_chromium() as browser:
        opened = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
        opened.set_default_timeout(60_000)
        opened.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        host = urlsplit(platform.url).netloc
        opened.on(
            "request", lambda r: None if urlsplit(r.url).netloc in (host, "") else complaints.append(r.url)
        )
        opened.goto(platform.url)
        opened.fill("#id_login", platform.env["PODSTACK_ADMIN_USER"])
        opened.fill("#id_password", platform.env["PODSTACK_ADMIN_PASSWORD"])
        opened.get_by_role("button", name="Sign in").click()
        expect(opened.get_by_role("heading", name="Model Registry")).to_be_visible()
        yield opened


@pytest.fixture(scope="module")
def flowers(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model with two versions made by the SDK."""
    folder = tmp_path_factory.mktemp("flowers")
    data = load_iris()
    joblib.dump(LogisticRegression(max_iter=1000).fit(data.data, data.target), folder / "model.joblib")
    client = platform.client()
    for accuracy in (0.9, 0.95):
        with client.start_run(experiment_id="flowers") as run:
            for step in range(20):
                run.log_metrics({"accuracy": accuracy * step / 20}, step=step)
            run.log_params({"C": accuracy})
            run.log_artifact(folder / "model.joblib")
        client.create_model_version("flowers", run.id, "model.joblib")
    return f"{platform.url}/projects/default/models/flowers/"


def no_barrier(page: Page) -> None:
    """axe-core finds no serious or critical violation, in light and in dark.

    The window is one of reduced motion: colours do not fade into each other.
    """
    for options in (None, CONTRAST):
        page.get_by_role("button", name="Light or dark").click()
        page.mouse.move(640, 5)
        page.evaluate(
            "() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
        )
        found = Axe().run(page, options=options).response["violations"]
        bad = [
            f"{v['id']}: {v['nodes'][0]['html'][:200]}"
            for v in found
            if v["impact"] in ("serious", "critical")
        ]
        assert not bad, (page.url, bad)


def test_a_model_is_registered_by_its_labels(page: Page, platform: Platform, complaints: list[str]) -> None:
    page.goto(f"{platform.url}/projects/default/models/")
    page.get_by_role("link", name="Register Model").first.click()
    page.get_by_label("Name").fill("by-hand")
    page.get_by_label("Description").fill("Made in the browser")
    page.get_by_label("Tags").fill("demo, browser")
    no_barrier(page)
    page.get_by_role("button", name="Register", exact=True).click()
    expect(page.get_by_role("heading", name="by-hand")).to_be_visible()
    no_barrier(page)
    assert not complaints


def test_versions_are_compared_and_the_stage_changes_with_a_note(
    page: Page, flowers: str, complaints: list[str]
) -> None:
    page.goto(flowers)
    no_barrier(page)
    page.get_by_label("Select version 1").check()
    page.get_by_label("Select version 2").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="Compare 2 versions")).to_be_visible()
    no_barrier(page)
    page.goto(f"{flowers}versions/2/")
    page.get_by_role("link", name="Change Stage").click()
    page.get_by_label("Production", exact=True).check()
    page.get_by_label("Transition note").fill("Better than the first")
    no_barrier(page)
    page.get_by_role("button", name="Change Stage").click()
    expect(page.get_by_text("Better than the first")).to_be_visible()
    no_barrier(page)
    assert not complaints


def test_a_long_annotation_fills_lines_of_its_card(
    page: Page, platform: Platform, flowers: str, complaints: list[str]
) -> None:
    platform.client().set_model_version_tag("flowers", 1, "checked " * 25, "by the team " * 30)
    page.goto(f"{flowers}versions/1/")
    row = page.locator("#annotations li")
    assert (row.bounding_box() or {})["height"] < 500
    no_barrier(page)
    row.get_by_role("link", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_text("No annotations.")).to_be_visible()
    assert not complaints


def test_an_alias_is_set_and_deleted(page: Page, flowers: str, complaints: list[str]) -> None:
    page.goto(flowers)
    page.get_by_role("link", name="Manage Aliases").click()
    page.get_by_label("Alias", exact=True).fill("best-accuracy")
    page.get_by_role("button", name="Set alias").click()
    expect(page.get_by_role("status")).to_contain_text("best-accuracy")
    no_barrier(page)
    page.get_by_role("link", name="Delete the alias best-accuracy").click()
    no_barrier(page)
    page.get_by_label("Type best-accuracy to confirm").fill("best-accuracy")
    page.get_by_role("button", name="Delete alias").click()
    expect(page.get_by_text("No aliases yet")).to_be_visible()
    assert not complaints


def test_a_version_is_deployed_and_becomes_active_without_a_reload(
    page: Page, flowers: str, complaints: list[str]
) -> None:
    page.goto(f"{flowers}versions/1/")
    page.get_by_role("link", name="Deploy", exact=True).click()
    page.get_by_label("Endpoint name").fill("flowers-api")
    page.get_by_label("GPU type").select_option("T4")
    no_barrier(page)
    page.get_by_role("button", name="Deploy").click()
    heading = page.get_by_role("heading", name="flowers-api")
    expect(heading).to_contain_text("Active")
    expect(page.get_by_text("the endpoint runs on the CPU").first).to_be_visible()
    no_barrier(page)
    page.get_by_role("link", name="Undeploy").click()
    expect(page.get_by_role("button", name="Undeploy")).to_be_disabled()
    page.get_by_label("Type flowers-api to confirm").fill("flowers-api")
    no_barrier(page)
    page.get_by_role("button", name="Undeploy").click()
    expect(heading).to_contain_text("Inactive")
    assert not complaints


def test_a_run_shows_its_curves_and_lists_show_what_there_is(
    page: Page, platform: Platform, flowers: str, complaints: list[str]
) -> None:
    page.goto(f"{platform.url}/projects/default/experiments/")
    no_barrier(page)
    page.get_by_role("link", name="flowers", exact=True).click()
    no_barrier(page)
    page.locator("tbody a.name").first.click()
    expect(page.locator("[data-chart] canvas").first).to_be_visible()
    no_barrier(page)
    page.goto(f"{platform.url}/projects/default/deployments/")
    no_barrier(page)
    assert not complaints


def test_deleting_a_model_needs_its_name(page: Page, platform: Platform, complaints: list[str]) -> None:
    platform.client().register_model("to-delete")
    page.goto(f"{platform.url}/projects/default/experiments/")
    page.get_by_role("navigation", name="MLOps").get_by_role("link", name="Model Registry").click()
    page.get_by_role("link", name="to-delete", exact=True).click()
    page.get_by_role("link", name="Delete Model").click()
    button = page.get_by_role("button", name="Delete Model")
    expect(button).to_be_disabled()
    page.get_by_label("Type to-delete to confirm").fill("to-delete")
    no_barrier(page)
    button.click()
    expect(page.get_by_role("status")).to_contain_text("deleted")
    assert not complaints


def test_no_page_is_wider_than_a_phone(page: Page, platform: Platform, flowers: str) -> None:
    for address in (f"{platform.url}/projects/default/models/", flowers, f"{flowers}versions/1/"):
        page.goto(address)
        fits_a_phone(page)
    page.set_viewport_size({"width": 1280, "height": 800})
