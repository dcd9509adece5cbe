"""The histories of transitions and alias moves: the newest 20, and all where the address asks for them."""

from __future__ import annotations

import pytest
from django.test import Client

from registry import views
from registry.models import AliasMove, StageTransition
from tests.factories import Person, make_person, make_project, make_version

pytestmark = pytest.mark.django_db
MODEL = "/projects/alpha/models/iris/"


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def moved(ann: Person, count: int) -> None:
    """So many transitions and alias moves of one version."""
    version = make_version(ann, "iris")
    by = {"actor": ann.user, "door": "rest"}
    StageTransition.objects.bulk_create(
        StageTransition(version=version, from_stage="None", to_stage="Staging", note=f"note-{n}.", **by)
        for n in range(count)
    )
    AliasMove.objects.bulk_create(
        AliasMove(model=version.model, name=f"alias-{n}.", to_version=version, **by) for n in range(count)
    )


def shown(person: Person, path: str, **query: str) -> str:
    client = Client()
    client.force_login(person.user)
    answer = client.get(MODEL + path, query)
    assert answer.status_code == 200
    return str(answer.content.decode())


@pytest.mark.parametrize(
    ("path", "word", "place"),
    [
        ("", "note-", "transitions"),
        ("", "alias-", "alias-history"),
        ("versions/1/", "note-", "transitions"),
        ("aliases/", "alias-", "alias-history"),
    ],
)
def test_a_history_shows_the_newest_20_and_all_on_request(
    ann: Person, path: str, word: str, place: str
) -> None:
    moved(ann, 23)
    few = shown(ann, path)
    assert f"{word}22." in few and f"{word}3." in few and f"{word}2." not in few
    assert f'<a href="?history=all#{place}">All 23</a>' in few
    every = shown(ann, path, history="all")
    assert f"{word}0." in every
    assert "All 23" not in every


def test_a_short_history_offers_no_more(ann: Person) -> None:
    moved(ann, 20)
    assert "history=all" not in shown(ann, "")


def test_of_a_very_long_history_the_newest_are_shown_and_the_number_is_said(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "MOST_HISTORY", 30)
    moved(ann, 35)
    every = shown(ann, "versions/1/", history="all")
    assert "The newest 30 of 35 are shown" in every
    assert "note-5." in every and "note-4." not in every


def test_the_link_to_all_of_a_history_keeps_what_the_address_asks_for(ann: Person) -> None:
    moved(ann, 21)
    assert 'href="?metric=loss&amp;history=all#transitions"' in shown(ann, "", metric="loss")
