"""ann asks, ray reviews in the browser; the version moves only with ray's word."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from podstack import MLOpsClient, PermissionDeniedError
from tests.e2e.browser import fits_a_phone, open_chromium
from tests.e2e.conftest import Platform
from tests.e2e.test_portal import no_barrier

pytestmark = pytest.mark.slow

MODEL = "guarded"
DAYS_LATER = """
import time_machine
from datetime import datetime, timedelta, timezone
from approvals.tasks import look_after_requests
with time_machine.travel(datetime.now(timezone.utc) + timedelta(days={days})):
    look_after_requests()
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with open_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def people(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> dict[str, MLOpsClient]:
    """Clients of ann (contributor) and ray (maintainer), and a model whose Production ray guards."""
    clients = {
        name: platform.member(name, role) for name, role in (("ann", "contributor"), ("ray", "maintainer"))
    }
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "w.txt").write_text("1 2 3")
    ann = clients["ann"]
    for accuracy in (0.9, 0.95):
        with ann.start_run("guarded") as run:
            run.log_metrics({"accuracy": accuracy})
            run.log_params({"depth": int(accuracy * 100)})
            run.log_artifact(folder / "w.txt")
        ann.create_model_version(MODEL, run.id, "w.txt")
    ann.transition_model_version_stage(MODEL, 1, "Production")
    return clients


def patient(chromium: Browser) -> BrowserContext:
    """A window of 1280 × 800 whose acts wait for a minute: other tests may need the machine."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    context.set_default_timeout(60_000)
    return context


def signed_in(chromium: Browser, platform: Platform, name: str) -> Page:
    page = patient(chromium).new_page()
    page.goto(platform.url)
    page.fill("#id_login", name)
    page.fill("#id_password", f"{name}-password-1")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Model Registry")).to_be_visible()
    return page


def ask(page: Page, platform: Platform, number: int) -> str:
    """**Change Stage** to Production; the address of the request that it leads to."""
    page.goto(f"{platform.url}/projects/default/models/{MODEL}/versions/{number}/")
    page.get_by_role("link", name="Change Stage").click()
    page.get_by_label("Production", exact=True).check()
    page.get_by_label("Transition note").fill("Better than the first")
    page.get_by_label("Archive what stands in Production now").check()
    no_barrier(page)
    page.get_by_role("button", name="Change Stage").click()
    expect(page.get_by_text("waits for approval").first).to_be_visible()
    return page.url


def test_a_guarded_move_from_the_request_to_the_roll_back(
    platform: Platform, chromium: Browser, people: dict[str, MLOpsClient]
) -> None:
    ray = signed_in(chromium, platform, "ray")
    ray.get_by_role("link", name="Approvals").click()
    no_barrier(ray)
    ray.get_by_role("link", name="Policies").click()
    ray.get_by_role("link", name="Set a policy").first.click()
    ray.get_by_label("Model", exact=True).fill(MODEL)
    no_barrier(ray)
    ray.get_by_role("button", name="Set policy").click()
    expect(ray.get_by_role("link", name=MODEL)).to_be_visible()
    no_barrier(ray)

    ann = signed_in(chromium, platform, "ann")
    address = ask(ann, platform, 2)
    expect(ann.get_by_text("others review it")).to_be_visible()
    expect(ann.get_by_role("button", name="Approve")).to_have_count(0)
    assert people["ann"].get_model_version(MODEL, 2).stage == "None"
    with pytest.raises(PermissionDeniedError):
        people["ann"].approve(address.rstrip("/").rpartition("/")[2])

    ray.goto(f"{platform.url}/projects/default/approvals/")
    expect(ray.get_by_role("link", name=re.compile("Waiting for you"))).to_be_visible()
    ray.get_by_role("link", name=f"{MODEL} v2").click()
    expect(ray.get_by_text("Beside Production")).to_be_visible()
    no_barrier(ray)
    ray.get_by_role("button", name="Reject").click()
    expect(ray.get_by_text("comment must not be empty")).to_be_visible()
    ray.get_by_label("Comment").first.fill("Too early")
    ray.get_by_role("button", name="Reject").click()
    expect(ray.get_by_text("Rejected by ray")).to_be_visible()
    assert people["ann"].get_model_version(MODEL, 2).stage == "None"

    assert ask(ann, platform, 2) != address
    ray.goto(ann.url)
    ray.get_by_label("Comment").last.fill("Which data?")
    ray.get_by_role("button", name="Comment").click()
    expect(ray.get_by_text("Which data?")).to_be_visible()
    ray.get_by_label("Comment").first.fill("Good now")
    ray.get_by_role("button", name="Approve").click()
    expect(ray.get_by_text("Approved: the version is in Production.")).to_be_visible()
    client = people["ann"]
    assert [client.get_model_version(MODEL, number).stage for number in (1, 2)] == ["Archived", "Production"]
    ann.goto(f"{platform.url}/projects/default/notifications/")
    expect(ann.get_by_text("Approved by ray").first).to_be_visible()
    ann.goto(f"{platform.url}/projects/default/models/{MODEL}/standing/")
    expect(
        ann.get_by_role("row", name=re.compile("v2 Production")).get_by_role("link", name="ray")
    ).to_be_visible()
    no_barrier(ann)

    ann.goto(f"{platform.url}/projects/default/models/{MODEL}/")
    ann.get_by_role("link", name="Roll back").click()
    ann.get_by_role("button", name="Roll back to v1").click()
    expect(ann.get_by_text("waits for approval").first).to_be_visible()
    (waiting,) = people["ray"].list_approvals(waiting_for_me=True)
    people["ray"].approve(waiting.id)
    assert [client.get_model_version(MODEL, number).stage for number in (1, 2)] == ["Production", "Archived"]


def test_what_nobody_decides_is_reminded_of_and_expires(
    platform: Platform, chromium: Browser, people: dict[str, MLOpsClient]
) -> None:
    people["ray"].set_approval_policy(stage="Staging", model_name=MODEL)
    asked = people["ann"].transition_model_version_stage(MODEL, 2, "Staging")
    assert asked.approval is not None
    page = signed_in(chromium, platform, "ann")
    page.goto(f"{platform.url}/projects/default/approvals/{asked.approval.id}/")
    expect(page.get_by_text("asked for by ann").first).to_contain_text("expires")
    platform.shell(DAYS_LATER.format(days=13.5))
    ray = signed_in(chromium, platform, "ray")
    ray.goto(f"{platform.url}/projects/default/notifications/")
    expect(ray.get_by_text(re.compile("expires soon", re.IGNORECASE)).first).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Pending")
    platform.shell(DAYS_LATER.format(days=14.01))
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Expired")
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    page.goto(f"{platform.url}/projects/default/notifications/")
    expect(page.get_by_text(re.compile("expired", re.IGNORECASE)).first).to_be_visible()
    assert people["ann"].get_model_version(MODEL, 2).stage != "Staging"


def test_the_pages_fit_a_phone(platform: Platform, chromium: Browser, people: dict[str, MLOpsClient]) -> None:
    page = signed_in(chromium, platform, "ray")
    (last, *_) = people["ray"].list_approvals()
    for path in (
        "approvals/?show=decided",
        f"approvals/{last.id}/",
        "approval-policies/",
        "approval-policies/new/",
    ):
        page.goto(f"{platform.url}/projects/default/{path}")
        fits_a_phone(page)
        no_barrier(page)
