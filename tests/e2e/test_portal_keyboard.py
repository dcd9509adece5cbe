"""The portal's main flow by the keyboard alone, with the focus in sight at every stop."""

# ruff: noqa: F811  fixtures that come from another module
from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import Platform
from tests.e2e.test_portal import complaints, flowers, page  # noqa: F401

pytestmark = pytest.mark.slow

MOST_STOPS = 120
# Where the focus is, and what a person sees of it: an outline, in the window.
STOP = """() => {
  const at = document.activeElement;
  if (!at || at === document.body) return null;
  const style = getComputedStyle(at), box = at.getBoundingClientRect();
  return {
    html: at.outerHTML.slice(0, 160),
    outlined: at.matches(":focus-visible") && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1,
    inside: box.width > 0 && box.height > 0 && box.bottom > 0 && box.right > 0
      && box.top < innerHeight && box.left < innerWidth,
  };
}"""


@pytest.fixture(autouse=True)
def wide(page: Page, complaints: list[str]) -> None:
    """Each test begins on a wide page, whatever the last one left."""
    page.set_viewport_size({"width": 1280, "height": 800})
    complaints.clear()


def stops(page: Page) -> list[dict[str, Any]]:
    """Every stop of the page, from the first Tab until the focus leaves it."""
    found: list[dict[str, Any]] = []
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        stop = page.evaluate(STOP)
        if stop is None:
            return found
        found.append(stop)
    raise AssertionError(f"More than {MOST_STOPS} stops, the last is {found[-1]['html']}.")


def go_to(page: Page, target: Locator, key: str = "Tab") -> None:
    """Presses Tab until `target` has the focus."""
    element = target.element_handle()
    for _ in range(MOST_STOPS):
        page.keyboard.press(key)
        if page.evaluate("wanted => document.activeElement === wanted", element):
            stop = page.evaluate(STOP)
            assert stop["outlined"] and stop["inside"], stop
            return
    raise AssertionError(f"{key} does not reach {target}.")


def test_the_first_stop_leads_past_the_frame(page: Page, flowers: str, complaints: list[str]) -> None:
    page.goto(flowers)
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    assert page.evaluate(STOP)["inside"]
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#main') !== null")
    assert not complaints


@pytest.mark.parametrize(
    "path",
    [
        "models/",
        "models/flowers/",
        "models/flowers/versions/1/",
        "models/flowers/versions/1/stage/",
        "models/flowers/compare/?v=1&v=2",
        "experiments/",
        "members/",
    ],
)
def test_the_focus_is_in_sight_at_every_stop(
    page: Page, platform: Platform, flowers: str, complaints: list[str], path: str
) -> None:
    page.goto(f"{platform.url}/projects/default/{path}")
    found = stops(page)
    assert len(found) > 15, [each["html"] for each in found]
    lost = [each for each in found if not (each["outlined"] and each["inside"])]
    assert not lost, "\n".join(str(each) for each in lost)
    assert not complaints


@pytest.mark.parametrize(
    ("menu", "first"),
    [("Project: Default", "Default admin (here)"), ("Account: admin", "Light")],
)
def test_a_menu_is_opened_walked_through_and_closed(
    page: Page, flowers: str, complaints: list[str], menu: str, first: str
) -> None:
    page.goto(flowers)
    summary = page.get_by_label(menu)
    box = page.locator("details[data-menu]", has=summary)
    entry = box.get_by_role("link", name=first).or_(box.get_by_role("button", name=first, exact=True))
    go_to(page, summary)
    page.keyboard.press("Enter")
    expect(entry).to_be_visible()
    go_to(page, entry)
    page.keyboard.press("ArrowDown")
    assert page.evaluate(STOP)["outlined"]
    page.keyboard.press("Escape")
    expect(entry).to_be_hidden()
    expect(summary).to_be_focused()
    page.keyboard.press("Enter")
    expect(entry).to_be_visible()
    page.keyboard.press("Shift+Tab")
    expect(entry).to_be_hidden()
    assert not complaints


def test_the_search_gives_the_focus_back_to_where_it_was(
    page: Page, flowers: str, complaints: list[str]
) -> None:
    page.goto(flowers)
    box = page.get_by_role("combobox", name="Search models, versions, experiments and runs")
    seek = page.get_by_role("link", name="Find anything")
    row = page.get_by_role("link", name="v1", exact=True).first
    for place, keys in ((seek, ("Enter", "Control+k")), (row, ("Control+k", "/"))):
        go_to(page, place)
        for key in keys:
            page.keyboard.press(key)
            expect(box).to_be_focused()
            page.keyboard.press("Escape")
            expect(box).to_be_hidden()
            expect(place).to_be_focused()
    assert not complaints


def test_the_stage_is_changed_without_a_mouse(page: Page, flowers: str, complaints: list[str]) -> None:
    page.goto(f"{flowers}versions/1/")
    go_to(page, page.get_by_role("link", name="Change Stage"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Change Stage")).to_be_visible()
    stages = page.get_by_role("radio")
    go_to(page, stages.first)
    for _ in range(stages.count()):
        page.keyboard.press("ArrowDown")
        if page.get_by_label("Staging", exact=True).is_checked():
            break
    go_to(page, page.get_by_label("Transition note"))
    page.keyboard.type("By the keyboard")
    go_to(page, page.get_by_role("button", name="Change Stage"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("By the keyboard")).to_be_visible()
    assert not complaints


def test_the_sections_of_a_version_are_reached_and_the_focus_goes_on_from_there(
    page: Page, flowers: str, complaints: list[str]
) -> None:
    sections = page.get_by_role("navigation", name="Sections")
    for name in ("Artifacts", "Lineage", "Annotations", "Use it"):
        page.goto(f"{flowers}versions/2/")
        go_to(page, sections.get_by_role("link", name=name))
        page.keyboard.press("Enter")
        page.wait_for_url("**/versions/2/#*")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest(location.hash) !== null"), name
    assert not complaints


def test_rows_are_opened_sorted_checked_and_compared(
    page: Page, platform: Platform, flowers: str, complaints: list[str]
) -> None:
    page.goto(f"{platform.url}/projects/default/models/")
    go_to(page, page.get_by_title("Sort by Model", exact=True))
    page.keyboard.press("Enter")
    page.wait_for_url("**ordering=*")
    go_to(page, page.get_by_role("row").get_by_role("link", name="flowers", exact=True))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="flowers", exact=True)).to_be_visible()
    for number in (2, 1):
        box = page.get_by_label(f"Select version {number}")
        go_to(page, box)
        page.keyboard.press("Space")
        expect(box).to_be_checked()
    go_to(page, page.get_by_role("button", name="Compare"), "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Compare 2 versions")).to_be_visible()
    assert not complaints
