"""A running run's page lives, comparisons are drawn and stand in the address, many versions change at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from podstack import MLOpsClient
from tests.e2e.browser import fits_a_phone
from tests.e2e.conftest import Platform
from tests.e2e.test_approvals import chromium, signed_in  # noqa: F401
from tests.e2e.test_portal import no_barrier

pytestmark = pytest.mark.slow
MODEL = "drawn"


@pytest.fixture(scope="module")
def dora(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> MLOpsClient:
    """A maintainer with two versions whose runs have curves."""
    client = platform.member("dora", "maintainer")
    folder = tmp_path_factory.mktemp("drawn")
    for number in (1, 2):
        _train(client, folder, number)
    return client


def _train(client: MLOpsClient, folder: Path, number: int) -> None:
    (folder / "w.txt").write_text(f"{number}")
    with client.start_run("drawn", name=f"try {number}") as run:
        run.log_params({"lr": 0.1 * number, "depth": 3 * number, "optimizer": "adamw"})
        for step in range(20):
            run.log_metrics(
                {"accuracy": step / 20 * (0.8 + number / 20), "loss": 1 / (step + number)}, step=step
            )
        run.log_artifact(folder / "w.txt")
    client.create_model_version(MODEL, run.id, "w.txt")


@pytest.fixture
def page(platform: Platform, dora: MLOpsClient, chromium) -> Iterator[Page]:  # noqa: F811
    opened = signed_in(chromium, platform, "dora")
    complaints: list[str] = []
    opened.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    opened.context.close()
    assert complaints == []


def where(platform: Platform, path: str) -> str:
    return f"{platform.url}/projects/default/{path}"


def test_a_running_runs_page_lives(platform: Platform, dora: MLOpsClient, page: Page) -> None:
    run = dora.start_run("drawn", name="living")
    try:
        page.goto(where(platform, f"runs/{run.id}/"))
        expect(page.get_by_text("Running").first).to_be_visible()
        for step in range(5):
            run.log_metrics({"loss": 1 / (step + 1)}, step=step)
        run.flush()
        expect(page.get_by_role("img", name=re.compile("^loss over steps"))).to_be_visible()
        expect(page.locator("[data-metric=loss] td").nth(1)).to_have_text("0.2")
        run.log_metrics({"loss": 0.1}, step=5)
        run.flush()
        expect(page.locator("[data-metric=loss] td").nth(1)).to_have_text("0.1")
    finally:
        run.end()
    expect(page.get_by_text("Completed").first).to_be_visible()
    expect(page.locator("[data-running]")).to_have_count(0)


def test_compared_runs_are_drawn_and_the_choice_stands_in_the_address(
    platform: Platform, dora: MLOpsClient, page: Page
) -> None:
    runs = [run.id for run in dora.search_runs() if (run.name or "").startswith("try ")]
    page.goto(where(platform, f"compare-runs/?run={runs[0]}&run={runs[1]}"))
    expect(page.locator("#charts .u-over")).to_be_visible()
    page.get_by_label("Log scale").check()
    page.get_by_label("Over").select_option("time")
    expect(page).to_have_url(re.compile("log=1"))
    expect(page).to_have_url(re.compile("x=time"))
    page.get_by_role("tab", name="Scatter").click()
    page.get_by_label("Up", exact=True).select_option(label="lr")
    expect(page.locator("#charts circle").first).to_be_visible()
    page.reload()
    expect(page.get_by_role("tab", name="Scatter")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_label("Up", exact=True).locator("option:checked")).to_have_text("lr")
    page.get_by_role("tab", name="Scatter").press("ArrowRight")
    expect(page.get_by_role("tab", name="Parallel coordinates")).to_be_focused()
    expect(page.locator("#charts path.line")).to_have_count(2)
    no_barrier(page)
    page.get_by_role("tab", name="Final values").click()
    expect(page.locator("#charts rect.bar-of")).to_have_count(4)
    page.emulate_media(color_scheme="dark")
    no_barrier(page)
    fits_a_phone(page)


def test_compared_versions_show_what_is_better_and_fold_what_is_equal(platform: Platform, page: Page) -> None:
    page.goto(where(platform, f"models/{MODEL}/"))
    page.get_by_label("Select version 1").check()
    page.get_by_label("Select version 2").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name=f"Compare 2 versions of {MODEL}")).to_be_visible()
    expect(page.get_by_title("The best of them").first).to_contain_text("★")
    expect(page.get_by_text("optimizer")).not_to_be_visible()
    page.get_by_text("1 equal").first.click()
    expect(page.get_by_text("optimizer")).to_be_visible()


def test_columns_of_runs_are_chosen(platform: Platform, dora: MLOpsClient, page: Page) -> None:
    (experiment,) = (each for each in dora.list_experiments() if each.name == "drawn")
    page.goto(where(platform, f"experiments/{experiment.id}/"))
    page.get_by_text("Columns").click()
    for box in ("metrics.accuracy", "metrics.loss"):
        page.get_by_label(box).uncheck()
    page.get_by_label("params.depth").check()
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("columnheader", name="depth")).to_be_visible()
    expect(page.get_by_role("columnheader", name="accuracy")).to_have_count(0)
    no_barrier(page)


def test_versions_are_archived_together_and_one_comes_back_from_the_trash(
    platform: Platform, dora: MLOpsClient, page: Page
) -> None:
    page.goto(where(platform, f"models/{MODEL}/"))
    page.get_by_label("All versions of this page").check()
    page.get_by_role("button", name="Change (2)").click()
    page.get_by_label("New stage").select_option("Archived")
    page.get_by_role("button", name="Change Stage").click()
    expect(page.get_by_text("Done")).to_have_count(2)
    no_barrier(page)
    assert {dora.get_model_version(MODEL, number).stage for number in (1, 2)} == {"Archived"}
    page.goto(where(platform, f"models/{MODEL}/many/?v=1"))
    page.get_by_label("Type delete to confirm").fill("delete")
    page.get_by_role("button", name="Delete versions").click()
    expect(page.get_by_text("Done")).to_be_visible()
    page.goto(where(platform, "trash/"))
    no_barrier(page)
    page.get_by_role("button", name=f"Restore {MODEL} v1").click()
    expect(page.get_by_text("It is back")).to_be_visible()
    page.goto(where(platform, "protections/"))
    no_barrier(page)
