"""The portal's page of one run: what it lists, what it draws, and what it asks for again while the run goes on."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.factories import Person, add_files, make_person, make_project, make_run
from tracking import services
from tracking.models import Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), username="ann")


def living(person: Person) -> Run:
    return services.start_run(actor=person.actor, project=person.project, experiment_id="exp")


def get(person: Person, run: Run, headers: dict[str, str] | None = None, **query: Any) -> str:
    client = Client()
    client.force_login(person.user)
    answer = client.get(f"/projects/alpha/runs/{run.public_id}/", query, headers=headers)
    assert answer.status_code == 200
    return str(answer.content.decode())


def poll(person: Person, run: Run, **query: Any) -> str:
    return get(person, run, {"HX-Request": "true"}, **query)


def test_a_run_with_many_files_lists_the_first_and_says_how_many_are_left_out(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(ann, {f"part-{number}.bin": bytes([number]) for number in range(5)})
    assert "more are not shown" not in get(ann, run)
    monkeypatch.setattr("tracking.views.MOST_FILES", 3)
    shown = get(ann, run)
    assert "3 more are not shown" not in shown
    assert "2 more are not shown; the SDK and the REST API list them all." in shown
    assert "part-2.bin" in shown
    assert "part-3.bin" not in shown


def test_a_running_run_is_asked_for_once_in_a_while_and_its_files_only_when_they_changed(
    ann: Person,
) -> None:
    run = living(ann)
    add_files(ann, run, {"model.pt": b"1"})
    whole = get(ann, run)
    assert whole.count("every 3s") == whole.count("?files=1") == 1
    for part in ("run-head", "run-metrics", "run-facts", "run-files"):
        assert whole.count(f'id="{part}"') == 1
    same = poll(ann, run, files=1)
    assert 'id="run-metrics"' in same
    assert "model.pt" not in same and "<html" not in same
    assert "model.pt" in poll(ann, run, files=0)
    services.end_run(actor=ann.actor, project=ann.project, run_id=run.public_id, status="Completed")
    last = poll(ann, run, files=1)
    assert "model.pt" in last
    assert "every 3s" not in last


def test_asking_for_a_running_run_again_reads_no_curves(ann: Person) -> None:
    run = living(ann)
    where = {"actor": ann.actor, "project": ann.project, "run_id": run.public_id}
    services.log_metrics(
        **where, series=[{"key": f"m{n}", "values": [1.0, 2.0], "steps": [0, 1]} for n in range(5)]
    )
    client = Client()
    client.force_login(ann.user)
    with CaptureQueriesContext(connection) as queries:
        client.get(f"/projects/alpha/runs/{run.public_id}/", {"files": 0}, headers={"HX-Request": "true"})
    assert not [each for each in queries if "metricchunk" in each["sql"]]


def log(person: Person, run: Run, **counts: int) -> None:
    """Metrics with this many points each."""
    series = [{"key": key, "values": [0.5] * n, "steps": list(range(n))} for key, n in counts.items()]
    services.log_metrics(actor=person.actor, project=person.project, run_id=run.public_id, series=series)


def drawn(shown: str) -> list[str]:
    return re.findall(r"<figcaption>(.*?)</figcaption>", shown)


def test_metrics_with_one_value_take_no_curves_place(ann: Person) -> None:
    run = living(ann)
    log(ann, run, **{f"a{n:02}": 1 for n in range(30)}, loss=2)
    shown = get(ann, run)
    assert drawn(shown) == ["loss"]
    assert "are drawn" not in shown


def test_curves_that_are_not_drawn_are_counted_and_stand_on_the_next_page(ann: Person) -> None:
    run = living(ann)
    log(ann, run, **{f"m{n:02}": 2 for n in range(30)})
    first = get(ann, run)
    assert drawn(first) == [f"m{n:02}" for n in range(24)]
    assert "1 to 24 of 30 are drawn" in first
    assert 'href="?curves=2#curves"' in first
    second = get(ann, run, curves=2)
    assert drawn(second) == [f"m{n:02}" for n in range(24, 30)]
    assert "25 to 30 of 30 are drawn" in second
    again = poll(ann, run, curves=2, files=0)
    assert re.findall(r'data-metric="([^"]*)" data-drawn', again) == drawn(second)
    assert 'href="?curves=1#curves"' in again


def test_what_is_polled_on_a_runs_page_has_ids_by_which_the_focus_comes_back(ann: Person) -> None:
    run = living(ann)
    shown = poll(ann, run, files=0)
    head = shown[shown.index('id="run-head"') : shown.index('id="run-metrics"')]
    links = re.findall("<a [^>]*>", head)
    assert len(links) == 3
    assert all(' id="' in link for link in links)


def test_a_run_shows_the_environment_that_its_recorder_saw(ann: Person) -> None:
    run = living(ann)
    assert "<h2>Environment</h2>" not in get(ann, run)
    seen = {"system": {"python": "3.11.2", "gpus": ["H200"]}, "note": "<b>", "git": {"dirty": True}}
    Run.objects.filter(pk=run.pk).update(environment=seen)
    shown = get(ann, run).split("<h2>Environment</h2>")[1].split("</details>")[0]
    for name, value in (
        ("python", "3.11.2"),
        ("gpus", "[&quot;H200&quot;]"),
        ("dirty", "true"),
        ("", "&lt;b&gt;"),
    ):
        assert f'<dt>{name}</dt><dd class="id">{value}</dd>' in shown
    assert "<h2>Environment</h2>" not in poll(ann, run)
