"""Scheduled training by the labels of the specification in a real browser, with the example's real training."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from podstack import MLOpsClient
from tests.e2e.browser import fits_a_phone, open_chromium
from tests.e2e.conftest import ROOT, Platform
from tests.e2e.test_portal import no_barrier
from tests.e2e.test_schedules import settled

pytestmark = pytest.mark.slow

SLOW = 120_000
MODEL = "wine-portal"
# Each line waits until the test has seen the one before it.
LINES = """
import os, time
from pathlib import Path
for number in range(4):
    while not Path(os.environ["CONFIG_GATE"], str(number)).exists():
        time.sleep(0.05)
    print("line", number, flush=True)
"""


@pytest.fixture(scope="module")
def client(platform: Platform) -> MLOpsClient:
    """With the example's code, and a model whose Production a policy guards."""
    found = platform.client()
    found.create_experiment(MODEL)
    found.upload_training_code(MODEL, ROOT / "examples" / "nightly_training", ["python", "train.py"])
    found.register_model(MODEL)
    found.set_approval_policy(stage="Production", model_name=MODEL, approvals_needed=1, own_review=True)
    return found


@pytest.fixture(scope="module")
def page(platform: Platform) -> Iterator[Page]:
    """A signed-in page of somebody in New York."""
    with open_chromium() as browser:
        context = browser.new_context(
            viewport={"width": 1280, "height": 800}, reduced_motion="reduce", timezone_id="America/New_York"
        )
        opened = context.new_page()
        opened.set_default_timeout(SLOW)
        opened.goto(platform.url)
        opened.fill("#id_login", platform.env["PODSTACK_ADMIN_USER"])
        opened.fill("#id_password", platform.env["PODSTACK_ADMIN_PASSWORD"])
        opened.get_by_role("button", name="Sign in").click()
        expect(opened.get_by_role("heading", name="Model Registry")).to_be_visible(timeout=SLOW)
        yield opened


def look_at(page: Page) -> None:
    """Looks at the page as a phone shows it: nothing sticks out, and there is no barrier."""
    fits_a_phone(page)
    no_barrier(page)
    page.set_viewport_size({"width": 1280, "height": 800})


def run_now(page: Page, client: MLOpsClient) -> str:
    """Presses Run now and waits for the history to say that it succeeded; the execution's id."""
    before = len(list(client.list_schedule_executions(MODEL)))
    page.get_by_role("button", name="Run now").click()
    rows = page.locator("#executions tbody tr")
    expect(rows).to_have_count(before + 1, timeout=SLOW)
    expect(rows.first.get_by_text("Succeeded")).to_be_visible(timeout=SLOW)
    (newest, *_) = client.list_schedule_executions(MODEL)
    settled(client, newest.id)
    return newest.id


def test_a_schedule_is_created_run_paused_resumed_edited_and_deleted_by_its_labels(
    page: Page, platform: Platform, client: MLOpsClient
) -> None:
    page.goto(f"{platform.url}/projects/default/schedules/")
    page.get_by_role("link", name="Create Schedule").first.click()
    page.get_by_label("Name", exact=True).fill(MODEL)
    page.get_by_label("Experiment").fill(MODEL)
    page.get_by_label("Cron Expression").fill("0 2 31 2 *")
    expect(page.locator("#times [role=alert]")).to_contain_text("day of month", timeout=SLOW)
    page.get_by_label("Time zone").fill("America/New_York")
    page.get_by_label("Cron Expression").fill("0 2 * * *")
    expect(page.locator("#times")).to_contain_text("At 02:00 every day", timeout=SLOW)
    expect(page.locator("#times .yours").first).to_be_hidden()  # it would say the same again
    page.get_by_label("Time zone").fill("Europe/Berlin")
    expect(page.locator("#times .yours").first).to_be_visible(timeout=SLOW)
    expect(page.locator("#times")).to_contain_text("At 02:00 every day", timeout=SLOW)
    expect(page.locator("#times")).to_contain_text("America/New_York")
    expect(page.locator("#times time[data-viewers]").first).to_contain_text(re.compile(r"\b(19|20|21):00\b"))
    expect(page.locator("#times tbody tr")).to_have_count(5)
    page.get_by_label("Configuration").fill('{"trees": 20}')
    page.get_by_text("More settings").click()
    page.get_by_label("Register as model").fill(MODEL)
    page.get_by_label("Artifact path").fill("model")
    page.get_by_label("Promote by this metric").fill("accuracy")
    page.get_by_label("Promote to").select_option("Production")
    look_at(page)
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_role("heading", name=MODEL)).to_be_visible()

    first = run_now(page, client)
    execution = client.get_schedule_execution(first)
    assert execution.version == f"{MODEL}/1" and "waits for approval" in execution.outcome
    assert execution.run_id is not None
    run = client.get_run(execution.run_id)
    assert run.status == "Completed" and run.metrics["accuracy"] > 0.8
    assert [dataset.name for dataset in run.datasets] == ["wine"]
    (asked,) = client.list_approvals(status="Pending", model_name=MODEL)
    client.approve(asked.id, comment="Better than nothing")
    assert client.get_model_version(MODEL, 1).stage == "Production"
    look_at(page)
    page.locator("#executions").get_by_role("link", name=first).click()
    expect(page.get_by_label("Log")).to_contain_text("20 trees: accuracy")
    look_at(page)
    page.get_by_role("link", name=MODEL).first.click()

    page.get_by_role("button", name="Pause").click()
    expect(page.locator("h1")).to_contain_text("Paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("h1")).not_to_contain_text("Paused")
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Cron Expression").fill("30 3 * * 1")
    page.get_by_label("Configuration").fill('{"trees": 1}')
    page.get_by_role("button", name="Save").click()
    expect(
        page.get_by_text("At 03:30 on Monday").or_(page.get_by_text("At 03:30 every Monday"))
    ).to_be_visible()
    assert len(list(client.list_schedule_executions(MODEL))) == 1
    second = client.get_schedule_execution(run_now(page, client))
    assert second.version == f"{MODEL}/2" and "It was not promoted: accuracy is" in second.outcome
    assert not list(client.list_approvals(status="Pending", model_name=MODEL))

    page.get_by_role("link", name="Delete").click()
    page.get_by_label(f"Type {MODEL} to confirm").fill(MODEL)
    look_at(page)
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("its executions stay readable")).to_be_visible()
    page.goto(f"{platform.url}/projects/default/executions/{first}/")
    expect(page.get_by_text("(deleted)")).to_be_visible()


def test_what_a_program_writes_appears_on_the_open_page_while_it_runs(
    page: Page, platform: Platform, client: MLOpsClient, tmp_path: Path
) -> None:
    gate = platform.var.parent / "gate"
    gate.mkdir()
    (tmp_path / "train.py").write_text(LINES)
    client.create_experiment("lines")
    client.upload_training_code("lines", tmp_path, ["python", "train.py"])
    client.create_schedule("lines", "lines", "0 0 1 1 *", configuration={"gate": str(gate)}, timeout=300)
    execution = client.trigger_schedule("lines")
    page.goto(f"{platform.url}/projects/default/executions/{execution.id}/")
    page.evaluate("window.isTheOneThatWasOpened = true")
    for number in range(3):
        (gate / str(number)).touch()
        expect(page.get_by_label("Log")).to_contain_text(f"line {number}", timeout=SLOW)
        expect(page.get_by_label("Log")).not_to_contain_text(f"line {number + 1}")
    expect(page.locator("h1")).to_contain_text("Running")
    (gate / "3").touch()
    expect(page.locator("h1")).to_contain_text("Succeeded", timeout=SLOW)
    expect(page.get_by_label("Log")).to_have_text("line 0\nline 1\nline 2\nline 3\n")
    assert page.evaluate("window.isTheOneThatWasOpened")
