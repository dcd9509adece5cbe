"""The portal's script on pages as small as what it does there, served without a platform and without TLS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.e2e.browser import open_chromium

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).resolve().parents[2] / "static" / "app.js"
ADDRESS = "http://portal.test/"  # no secure context: a browser gives it no clipboard
Answer = Callable[[dict[str, list[str]]], str]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with open_chromium() as browser:
        yield browser


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    with chromium.new_context() as context:
        yield context


def opened(context: BrowserContext, answer: Answer, path: str = "") -> Page:
    """A page whose every request `answer` answers, from what the address asks for."""

    def fulfil(route: Route) -> None:
        if route.request.url.endswith("/app.js"):
            route.fulfill(body=SCRIPT.read_text(), content_type="text/javascript")
            return
        body = answer(parse_qs(urlsplit(route.request.url).query))
        frame = f'<body><div id="toasts"></div>{body}<script src="/app.js"></script></body>'
        route.fulfill(body=f"<!doctype html>{frame}", content_type="text/html")

    context.route(f"{ADDRESS}**", fulfil)
    page = context.new_page()
    page.goto(ADDRESS + path)
    return page


def test_a_polled_log_keeps_its_place_follows_its_end_and_the_focus_stays(context: BrowserContext) -> None:
    polls = 0

    def answer(asked: dict[str, list[str]]) -> str:
        nonlocal polls
        polls += 1
        lines = "\n".join(f"line {n}" for n in range(50 + polls))
        return f"""<div id="live" data-polls="{polls}" hx-get="/" hx-trigger="every 300ms" hx-select="#live"
          hx-swap="outerHTML"><button id="act-stop">Stop</button><a href="/run/">Run</a>
          <pre id="log" tabindex="0" data-follows style="height: 100px; overflow: auto">{lines}</pre></div>"""

    page = opened(context, answer)

    def of_the_log(expression: str) -> float:
        """In one step in the page: a locator finds the pane first, and a poll may replace it before it is asked."""
        return page.evaluate(f"() => {{ const pane = document.getElementById('log'); return {expression}; }}")

    def after_two_polls() -> None:
        seen = int(page.locator("#live").get_attribute("data-polls") or 0)
        page.wait_for_function(f"Number(document.getElementById('live').dataset.polls) >= {seen + 2}")

    past_the_end = "pane.scrollHeight - pane.clientHeight - pane.scrollTop"
    assert of_the_log("pane.scrollTop") > 0 and of_the_log(past_the_end) < 2
    of_the_log("pane.scrollTo(0, 120)")
    page.get_by_role("link", name="Run").focus()
    after_two_polls()
    assert of_the_log("pane.scrollTop") == 120
    expect(page.get_by_role("link", name="Run")).to_be_focused()
    of_the_log("pane.scrollTo(0, pane.scrollHeight)")
    page.get_by_role("button", name="Stop").focus()
    after_two_polls()
    assert of_the_log(past_the_end) < 2
    expect(page.get_by_role("button", name="Stop")).to_be_focused()


def a_list(asked: dict[str, list[str]]) -> str:
    """The second or the first page of runs, as the portal writes it."""
    number = int(asked.get("page", ["1"])[0])
    rows = "".join(
        f'<label><input type="checkbox" name="run" value="run-{number}{each}" data-compare-box>{number}{each}</label>'
        for each in "ab"
    )
    return f"""<form class="bar" method="get" data-selects="run"><input type="hidden" name="page" value="{number}">
        <input name="filter" aria-label="Filter"><button>Search</button><a href="?">Clear filters</a></form>
      <form method="get" action="/compare-runs/"><button disabled data-compare-button>Compare <span data-count></span>
        </button>{rows}</form>
      <nav class="pages"><a href="?page={3 - number}">Other page</a></nav>
      <p id="asked">{" ".join(asked.get("run", []))}</p>"""


def test_rows_of_several_pages_are_compared(context: BrowserContext) -> None:
    page = opened(context, a_list)
    page.get_by_label("1a").check()
    page.get_by_label("1b").check()
    page.get_by_role("link", name="Other page").click()
    expect(page.get_by_label("2a")).to_be_visible()
    expect(page.get_by_role("button", name="Compare (2)")).to_be_enabled()
    page.get_by_label("2b").check()
    page.get_by_label("Filter").fill("x")
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**filter=x**")
    expect(page.get_by_label("2b")).to_be_checked()
    expect(page.get_by_label("2a")).not_to_be_checked()
    page.get_by_label("2b").uncheck()
    page.get_by_label("2a").check()
    page.get_by_role("link", name="Clear filters").click()
    expect(page.get_by_label("1a")).to_be_checked()
    page.get_by_label("1a").uncheck()
    expect(page.get_by_role("button", name="Compare (2)")).to_be_enabled()
    page.get_by_role("button", name="Compare (2)").click()
    page.wait_for_url("**/compare-runs/**")
    expect(page.locator("#asked")).to_have_text("run-2a run-1b")


def test_a_page_without_tls_copies_and_says_nothing_in_the_console(context: BrowserContext) -> None:
    button = '<button class="copy" data-copy="run-1" aria-label="Copy run-1">C</button>'
    page = opened(context, lambda asked: f"{button}<textarea aria-label='Here'></textarea>")
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    assert page.evaluate("navigator.clipboard === undefined")
    page.get_by_role("button", name="Copy run-1").click()
    copied = page.get_by_role("button", name="Copied")
    expect(copied).to_be_focused()
    expect(page.get_by_role("button", name="Copy run-1")).to_be_visible()
    page.get_by_label("Here").focus()
    page.keyboard.press("Control+V")
    expect(page.get_by_label("Here")).to_have_value("run-1")
    assert complaints == []


def test_what_a_link_asks_stands_in_a_dialog_that_gives_the_focus_back(context: BrowserContext) -> None:
    asks = """<h1>Elsewhere</h1><div data-asks><h1 id="asks">Stop it?</h1><form method="post">
      <button>Stop it now</button><a href="/" data-cancel>Cancel</a></form></div>"""
    page = opened(
        context,
        lambda asked: (
            asks
            if "asks" in asked
            else """<a id="stop" href="/?asks=1" data-sure>Stop</a> <a href="/?nothing=1" data-sure>Gone</a>"""
        ),
    )
    dialog = page.get_by_role("dialog", name="Stop it?")
    link = page.get_by_role("link", name="Stop", exact=True)
    for close in (
        lambda: dialog.get_by_role("link", name="Cancel").click(),
        lambda: page.keyboard.press("Escape"),
        lambda: page.mouse.click(5, 5),
    ):
        link.focus()
        page.keyboard.press("Enter")
        expect(dialog.get_by_role("link", name="Cancel")).to_be_focused()
        assert "Elsewhere" not in page.content()
        close()
        expect(dialog).to_have_count(0)
        expect(link).to_be_focused()
    link.click()
    expect(dialog.get_by_role("link", name="Cancel")).to_be_focused()
    page.evaluate("document.querySelector('#stop').outerHTML = document.querySelector('#stop').outerHTML")
    page.keyboard.press("Escape")
    expect(link).to_be_focused()
    page.get_by_role("link", name="Gone").click()
    page.wait_for_url("**/?nothing=1")


def test_a_form_is_sent_once_and_one_with_errors_has_the_focus_at_the_first(context: BrowserContext) -> None:
    form = """<main><form method="post"><input name="a"><input name="b" aria-label="Wrong" aria-invalid="true">
      <input aria-invalid="true"><button>Save</button></form></main>"""
    page = opened(context, lambda asked: form)
    expect(page.get_by_label("Wrong")).to_be_focused()
    whole = opened(
        context, lambda asked: form.replace("<input", '<p class="note-bad" role="alert">No</p><input', 1)
    )
    expect(whole.get_by_role("alert")).to_be_focused()
    send = """form => form.dispatchEvent(new SubmitEvent("submit",
      {bubbles: true, cancelable: true, submitter: form.querySelector("button")}))"""
    assert [page.locator("form").evaluate(send) for _ in range(2)] == [True, False]
    button = page.get_by_role("button", name="Save")
    expect(button).to_have_attribute("aria-busy", "true")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    expect(button).not_to_have_attribute("aria-busy", "true")
    assert page.locator("form").evaluate(send) is True


def test_what_is_quiet_better_or_worse_looks_so_in_a_table_too(context: BrowserContext) -> None:
    words = ("quiet", "up", "down")
    cells = "".join(f'<td class="{word}">{word}</td>' for word in words)
    outside = "".join(f'<p class="{word}">{word}</p>' for word in words)
    page = opened(
        context, lambda asked: f'{outside}<table class="table"><tbody><tr>{cells}</tr></tbody></table>'
    )
    page.add_style_tag(content=SCRIPT.with_name("app.css").read_text())
    look = "found => found.map(each => getComputedStyle(each).color)"
    assert page.locator("td").evaluate_all(look) == page.locator("p").evaluate_all(look)


def test_a_version_s_number_is_never_cut(context: BrowserContext) -> None:
    name = f'<span class="numbered"><span>{"long-" * 50}</span> v31</span>'
    page = opened(
        context,
        lambda asked: f'<table class="table"><tbody><tr><td class="cut">{name}</td></tr></tbody></table>',
    )
    page.add_style_tag(content=SCRIPT.with_name("app.css").read_text())
    inside = """cell => {
      const number = document.createRange();
      number.selectNode(cell.querySelector(".numbered").lastChild);
      return number.getBoundingClientRect().right <= cell.getBoundingClientRect().right; }"""
    assert page.locator("td").evaluate(inside) is True
