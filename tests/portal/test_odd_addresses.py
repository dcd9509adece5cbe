"""Addresses with what no name can hold: the portal says so, and never breaks."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from tests.factories import Person, make_person, make_project, make_version
from tests.structure import test_every_address
from tests.structure.test_every_address import addresses

pytestmark = pytest.mark.django_db
NAMES = re.compile(r'(?:(?<!<meta )name="|[?&;])(\w+)(?:"|=)')  # of fields, and in links
POSTED = {"csrfmiddlewaretoken"}  # Django looks for it in what is posted alone
ODD = ("%00", "%ED%A0%80", "99999999999999999999")


@pytest.fixture
def client() -> Client:
    ann: Person = make_person(make_project("alpha"), username="ann")
    make_version(ann, "m")
    client = Client()
    client.force_login(ann.user)
    return client


def pages() -> list[str]:
    return sorted(each for each in set(addresses()) if each.startswith("/projects/alpha/"))


def test_what_a_page_can_be_asked_for_may_be_anything(client: Client) -> None:
    broken = []
    for page in pages():
        answer = client.get(page)
        if answer.status_code != 200 or answer.streaming:
            continue
        for name in {*NAMES.findall(answer.content.decode()), "page", "ordering"} - POSTED:
            asked = [f"{page}?{name}={odd}" for odd in ODD]
            broken += [each for each in asked if client.get(each).status_code >= 500]
    assert broken == []


@pytest.mark.parametrize("odd", ["\0", "\u202e", "a" * 2000])
def test_what_a_page_is_of_may_be_anything(client: Client, odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = {name: word if word.isdecimal() else odd for name, word in test_every_address.VALUES.items()}
    monkeypatch.setattr(test_every_address, "VALUES", {**words, "project": "alpha"})
    asked = pages()
    assert len(asked) > 40
    assert [page for page in asked if client.get(page).status_code >= 500] == []
