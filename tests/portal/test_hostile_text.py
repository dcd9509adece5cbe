"""A walk over every page, the admin's included, where every field that people and runs fill holds hostile text."""

from __future__ import annotations

import re
from collections import deque
from html.parser import HTMLParser
from urllib.parse import quote, unquote, urljoin, urlsplit

import pytest
from django.test import Client

from accounts.models import User
from tests.factories import Person, make_person, make_project
from tests.portal.hostile import BACKWARDS, EVIL, MODEL, make_hostile

pytestmark = pytest.mark.django_db

STARTS = ("models/", "versions/", "experiments/", "approvals/", "deployments/", "schedules/", "members/")
STARTS += (
    "audit/",
    "trash/",
    "protections/",
    "webhooks/",
    "notifications/",
    "approval-policies/",
    "settings/",
    f"lineage/?node=model:{quote(MODEL)}",
    f"impact/?node=model:{quote(MODEL)}",
    "datasets/",
    "groups/",
    "invitations/",
    f"search/?q={quote('<script>')}",
    f"models/?search={quote(EVIL)}&filter={quote(EVIL)}",
    f"versions/?filter={quote(EVIL)}",
    f"models/{quote(MODEL, safe='')}/compare/?v=1&v=2",
)
WRONG_FILTERS = ("filter=",)  # the page shows the filter again and answers 422
MOST_PAGES = 400
ALONE = ("title", "option", "code", "textarea", "script", "text")  # hold one text, or show it as code


def turned_around(text: str) -> bool:
    """Whether words of ours follow, in one text, a name of theirs that holds right-to-left marks."""
    return re.match(r"[ ,.:;(]+[a-z]{2}", text.rpartition(BACKWARDS)[2]) is not None and BACKWARDS in text


class Reader(HTMLParser):
    """What a browser would run or follow."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.links: set[str] = set()
        self.wrong: list[str] = []
        self.tag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tag = tag
        for name, value in attrs:
            if name.startswith("on") and "alert" in (value or ""):
                self.wrong.append(f"<{tag} {name}>")
            if name in ("href", "src", "action", "formaction"):
                if (value or "").strip().lower().startswith("javascript:"):
                    self.wrong.append(f"<{tag} {name}={value}>")
                if name == "href" and tag == "a":
                    self.links.add(value or "")

    def handle_data(self, data: str) -> None:
        if self.tag not in ALONE and turned_around(data):
            self.wrong.append(f"what stands beside a name is turned around: {data.strip()[:200]}")
        if self.tag == "script" and data.strip().startswith("alert"):
            self.wrong.append("a script of theirs")

    def handle_endtag(self, tag: str) -> None:
        self.tag = ""


@pytest.fixture
def ann() -> Person:
    """A project whose every text is hostile."""
    ann = make_person(make_project("alpha"), username="ann")
    make_hostile(ann)
    return ann


def walk(client: Client, starts: list[str], inside: re.Pattern[str]) -> dict[str, list[str]]:
    """Every page that links lead to, by its address, with what is wrong about it."""
    queue, found = deque(starts), {}
    seen_shapes: dict[str, int] = {}
    while queue and len(found) < MOST_PAGES:
        address = queue.popleft()
        shape = re.sub(
            r"\d+|run-\w+|exp-\w+|=[^&]*", "#", urlsplit(address).path + "?" + urlsplit(address).query
        )
        if address in found or seen_shapes.get(shape, 0) >= 2:
            continue
        seen_shapes[shape] = seen_shapes.get(shape, 0) + 1
        answer = client.get(address)
        asked_wrongly = any(word in address for word in WRONG_FILTERS) and answer.status_code == 422
        wrong = [] if answer.status_code < 400 or asked_wrongly else [f"answers {answer.status_code}"]
        if "text/html" in answer.headers.get("Content-Type", "") and not answer.streaming:
            reader = Reader()
            reader.feed(answer.content.decode())
            wrong += reader.wrong
            queue.extend(
                urljoin(address, link).split("#")[0]
                for link in sorted(reader.links)
                if inside.match(urljoin(address, link)) and "logout" not in link and "export" not in link
            )
        found[address] = wrong
    return found


def test_hostile_text_is_text_on_every_page_of_the_portal(ann: Person) -> None:
    client = Client()
    client.force_login(ann.user)
    found = walk(
        client,
        [f"/projects/alpha/{start}" for start in STARTS],
        re.compile(r"/(projects|settings)/"),
    )
    assert {address: wrong for address, wrong in found.items() if wrong} == {}
    assert len(found) > 60
    shown = client.get("/projects/alpha/models/").content.decode()
    assert "&lt;script&gt;alert(7)" in shown
    assert any("preview" in unquote(address) for address in found)


def test_hostile_text_is_text_in_the_admin(ann: Person) -> None:
    operator = User.objects.create(username="root", password="!", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(operator)
    found = walk(client, ["/admin/"], re.compile(r"/admin/"))
    assert {address: wrong for address, wrong in found.items() if wrong} == {}
    assert len(found) > 60


def test_cells_of_an_exported_table_are_no_formulas(ann: Person) -> None:
    client = Client()
    client.force_login(ann.user)
    content = b"".join(client.get("/projects/alpha/audit/export/?format=csv").streaming_content).decode()
    assert not re.search(r'(^|,)"?[=+@]', content, re.MULTILINE)
