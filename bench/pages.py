"""What the portal's pages cost: server time, bytes of the first view, and when its largest part is there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import sync_playwright

from bench.report import Row
from bench.seed import SMALL_TAGS
from bench.servers import Server

ASKED = 200  # times for each page
ASKED_OF_LONG = 190  # its versions, of which it has 200 in the small project
WARM = 20  # before: each worker has answered some
MOST_MS = 60.0
MOST_GROWTH = 1.3  # times what the page takes at 1,000 models
MOST_KB = 250.0
MOST_LCP = 1000.0  # milliseconds
PAGES: dict[str, Callable[[int], str]] = {
    "model list": lambda n: "models/",
    "model list, searched": lambda n: f"models/?search=topic{n % SMALL_TAGS:04}",
    "model list, by stage": lambda n: "models/?stage=Production",
    "model list, by tag": lambda n: f"models/?tag=tag{n % SMALL_TAGS}",
    "model list, page 500": lambda n: "models/?page=500",
    "all versions by metric": lambda n: "versions/?filter=metrics.accuracy+%3E+0.99",
}
# The same in the small project, which has 20 full pages.
DEEP_OF_FEW: dict[str, Callable[[int], str]] = {"model list, page 500": lambda n: "models/?page=20"}
LONG: dict[str, Callable[[int], str]] = {
    "model of 20,000 versions": lambda n: "models/long/",
    "its version": lambda n: f"models/long/versions/{n % ASKED_OF_LONG + 1}/",
    "two of them compared": lambda n: (
        f"models/long/compare/?v={n % ASKED_OF_LONG + 1}&v={n % ASKED_OF_LONG + 2}"
    ),
}
STEPS = 300_000  # of the loop that tells how fast the machine is meanwhile
LARGEST_PAINT = """() => new Promise(done => new PerformanceObserver(
    list => done(list.getEntries().at(-1).startTime)).observe({type: "largest-contentful-paint", buffered: true}))"""


def page_rows(server: Server) -> list[Row]:
    """p95 of each page in a project of many models, beside the same in one of 1,000; weight and largest paint."""
    session = _signed_in(server)
    rows, paces = [], []
    for name, make in {**PAGES, **LONG}.items():
        rows.append(_timed(server, session, name, make))
        paces += [_pace() for _ in range(10)]
    return [*rows, _pace_row(paces), *_first_view(server, session)]


def _pace() -> float:
    """Milliseconds of a loop that is the same each time."""
    begun = time.perf_counter()
    for _ in range(STEPS):
        pass
    return (time.perf_counter() - begun) * 1000


def _pace_row(paces: list[float]) -> Row:
    found = sorted(paces)
    note = f"a loop of {STEPS:,} steps between the pages: {found[0]:.1f} to {found[-1]:.1f} ms"
    return Row("pace of the machine", "ms", found[len(found) // 2], None, None, None, note)


def _signed_in(server: Server) -> requests.Session:
    session = requests.Session()
    form = session.get(server.base)
    token = form.text.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    fields = {"csrfmiddlewaretoken": token, "login": "admin", "password": server.password}
    answer = session.post(form.url, fields, headers={"Referer": form.url})
    if not answer.ok or "sessionid" not in session.cookies:
        raise RuntimeError(f"signing in answered {answer.status_code}")
    return session


def _timed(server: Server, session: requests.Session, name: str, make: Callable[[int], str]) -> Row:
    """The page in both projects in turn, so that both meet the same pace of the machine."""
    small, many, few = DEEP_OF_FEW.get(name, make), [], []
    for number in range(-WARM, ASKED):
        took = [
            _took(server, session, f"default/{make(number)}"),
            _took(server, session, f"small/{small(number)}"),
        ]
        if number >= 0:
            many.append(took[0])
            few.append(took[1])
    most, least = _p95(many), _p95(few)
    growth = f"{most / least:.2f}x its {least:.1f} ms at 1,000 models (aim {MOST_GROWTH}x)"
    return Row(f"page: {name}, p95", "ms", most, None, MOST_MS / most, 1, growth)


def _p95(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.95)]


def _took(server: Server, session: requests.Session, page: str) -> float:
    """Milliseconds until the whole page was there."""
    begun = time.perf_counter()
    answer = session.get(f"{server.base}/projects/{page}")
    took = (time.perf_counter() - begun) * 1000
    if answer.status_code != 200:
        raise RuntimeError(f"{answer.url} answered {answer.status_code}")
    return took


def _first_view(server: Server, session: requests.Session) -> list[Row]:
    address, received = f"{server.base}/projects/default/models/", 0

    def count(event: dict[str, Any]) -> None:
        nonlocal received
        received += event["encodedDataLength"]

    with sync_playwright() as playwright:
        program = next(filter(Path.exists, map(Path, _browsers())), None)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        cookie = {"name": "sessionid", "value": str(session.cookies["sessionid"]), "url": server.base}
        context.add_cookies([cookie])  # type: ignore[list-item]
        page = context.new_page()
        link = context.new_cdp_session(page)
        link.send("Network.enable")
        link.on("Network.loadingFinished", count)
        page.goto(address, wait_until="networkidle")
        paint = float(page.evaluate(LARGEST_PAINT))
        browser.close()
    weight = received / 1000
    return [
        Row("first view of the model list", "kB", weight, None, MOST_KB / weight, 1, "compressed, all told"),
        Row("its largest contentful paint", "ms", paint, None, MOST_LCP / paint, 1, "headless Chromium"),
    ]


def _browsers() -> list[str]:
    known = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
    return [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else known
