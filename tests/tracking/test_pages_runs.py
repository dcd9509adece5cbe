"""The portal's pages of runs: filtered, sorted, compared."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.factories import Person, make_person, make_project, make_run
from tracking import services
from tracking.models import Experiment, Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def show(person: Person, path: str, code: int = 200, **query: Any) -> str:
    client = Client()
    client.force_login(person.user)
    answer = client.get(f"/projects/alpha/{path}", query)
    assert answer.status_code == code
    return str(answer.content.decode())


def named(person: Person, name: str, **metrics: float) -> str:
    run = make_run(person, **metrics)
    services.update_run(actor=person.actor, project=person.project, run_id=run.public_id, name=name)
    return run.public_id


def page_of(person: Person) -> str:
    return f"experiments/{Experiment.objects.get().public_id}/"


def test_runs_are_filtered_and_sorted_by_what_they_logged(ann: Person) -> None:
    named(ann, "low-run", accuracy=0.5)
    named(ann, "high-run", accuracy=0.9)
    path = page_of(ann)
    kept = show(ann, path, filter="metrics.accuracy > 0.8")
    assert "high-run" in kept and "low-run" not in kept
    assert "metrics.accuracy &gt; 0.8" in kept
    down = show(ann, path, ordering="-metrics.accuracy")
    assert down.index("high-run") < down.index("low-run")
    assert 'aria-sort="descending"' in down
    up = show(ann, path, ordering="metrics.accuracy")
    assert up.index("low-run") < up.index("high-run")
    assert "No run matches." in show(ann, path, filter="metrics.accuracy > 2")


def test_a_wrong_filter_keeps_what_was_typed_and_names_the_character(ann: Person) -> None:
    named(ann, "one", accuracy=0.5)
    shown = show(ann, page_of(ann), 422, filter="metrics.accuracy >> 0.8")
    assert "metrics.accuracy &gt;&gt; 0.8" in shown
    assert "character" in shown
    assert show(ann, page_of(ann), 422, ordering="nothing")


def test_runs_are_compared_side_by_side(ann: Person) -> None:
    first, second = named(ann, "one", accuracy=0.5, loss=1.0), named(ann, "two", accuracy=0.9, loss=2.0)
    shown = show(ann, "compare-runs/", run=[first, second])
    assert "Compare 2 runs" in shown
    assert "0.9 ★" in shown and "1 ★" in shown
    for asked, sentence, list_of in (
        ([first], "1 run is chosen; 2 to 10 are compared.", f"{page_of(ann)}?run={first}"),
        ([first] * 2, "1 run is chosen", f"{page_of(ann)}?run={first}&amp;run={first}"),
        ([], "0 runs are chosen", "experiments/"),
        (["run-nowhere"], "1 run is chosen", "experiments/"),
    ):
        refused = show(ann, "compare-runs/", 400, run=asked)
        assert sentence in refused and f'href="/projects/alpha/{list_of}">Choose runs' in refused
    stranger = make_person(make_project("beta"))
    assert "Compare 2 runs" not in show(stranger, "compare-runs/", 404, run=[first, second])


def test_hostile_names_stay_text(ann: Person) -> None:
    ids = [named(ann, "<script>alert(1)</script>", accuracy=0.5), named(ann, "b")]
    for shown in (show(ann, page_of(ann)), show(ann, "compare-runs/", run=ids)):
        assert "<script>alert" not in shown
        assert "&lt;script&gt;alert" in shown


def test_a_page_of_runs_costs_the_same_at_10_and_60(ann: Person) -> None:
    counts = []
    client = Client()
    client.force_login(ann.user)
    for number in (10, 60):
        while ann.project.runs.count() < number:
            make_run(ann, accuracy=0.5)
        path = f"/projects/alpha/{page_of(ann)}"
        with CaptureQueriesContext(connection) as queries:
            assert client.get(path, {"ordering": "-metrics.accuracy"}).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 12


def lasted(person: Person, name: str, seconds: float | None) -> None:
    run = Run.objects.get(public_id=named(person, name))
    ended = None if seconds is None else run.started_at + timedelta(seconds=seconds)
    Run.objects.filter(pk=run.pk).update(ended_at=ended, status="Running" if ended is None else "Completed")


def order_of(shown: str, *names: str) -> list[str]:
    return sorted(names, key=lambda name: shown.index(f">{name}<"))


def test_runs_are_sorted_by_how_long_they_took_and_those_that_go_on_come_last(ann: Person) -> None:
    for name, seconds in (("long", 7200), ("going", None), ("short", 5.5)):
        lasted(ann, name, seconds)
    path = page_of(ann)
    up = show(ann, path, ordering="duration")
    assert order_of(up, "long", "going", "short") == ["short", "long", "going"]
    assert "ordering=-duration" in up
    down = show(ann, path, ordering="-duration")
    assert order_of(down, "long", "going", "short") == ["long", "short", "going"]
    assert show(ann, path, 422, ordering="--duration")


def test_runs_are_sorted_by_who_started_them(ann: Person) -> None:
    named(make_person(ann.project, username="zoe"), "of-zoe")
    named(ann, "of-ann")
    path = page_of(ann)
    assert order_of(show(ann, path, ordering="created_by"), "of-zoe", "of-ann") == ["of-ann", "of-zoe"]
    assert order_of(show(ann, path, ordering="-created_by"), "of-zoe", "of-ann") == ["of-zoe", "of-ann"]


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("duration > 60", ["long"]),
        ("duration <= 5.5", ["short", "going"]),
        ("duration = 5.5", ["short"]),
        ("duration != 5.5", ["long", "going"]),
        ("duration in (5.5, 7200)", ["long", "short"]),
    ],
)
def test_runs_are_found_by_how_many_seconds_they_took(ann: Person, condition: str, kept: list[str]) -> None:
    for name, seconds in (("long", 7200), ("going", None), ("short", 5.5)):
        lasted(ann, name, seconds)
    shown = show(ann, page_of(ann), filter=condition)
    assert [name for name in ("long", "short", "going") if f">{name}<" in shown] == sorted(
        kept, key=["long", "short", "going"].index
    )


def test_a_duration_is_compared_with_numbers_alone(ann: Person) -> None:
    named(ann, "one")
    for condition in ("duration > 'long'", "duration like '5%'", "duration is null", "duration.x > 1"):
        assert "character 1" in show(ann, page_of(ann), 422, filter=condition)


def test_a_list_of_archived_experiments_without_any_says_so(ann: Person) -> None:
    make_run(ann)
    shown = show(ann, "experiments/", archived=1)
    assert "Nothing is archived" in shown
    assert "No experiments yet" not in shown and "A run creates its experiment" not in shown
    assert "No archived experiment matches" in show(ann, "experiments/", archived=1, search="x")


def test_columns_are_not_said_to_be_missing_where_no_run_matches(ann: Person) -> None:
    named(ann, "one", accuracy=0.5)
    none = show(ann, page_of(ann), filter="metrics.accuracy > 2")
    assert "These runs logged nothing yet." not in none
    assert "No run is shown, so there is nothing to choose." in none
    named(ann, "silent")
    assert "These runs logged nothing yet." in show(ann, page_of(ann), filter="name = 'silent'")


def test_a_copy_button_says_what_it_copies(ann: Person) -> None:
    run = make_run(ann, {"model.pt": b"1"})
    shown = show(ann, f"runs/{run.public_id}/")
    digest = run.files.get().blob.sha256
    assert f'aria-label="Copy {run.public_id}"' in shown
    assert f'data-copy="{digest}" aria-label="Copy {digest[:12]}…"' in shown
