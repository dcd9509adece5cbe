"""Experiments and runs are changed in the portal, by who may."""

from __future__ import annotations

import pytest

from accounts.choices import Role
from common.templatetags.portal import markdown
from tests.factories import Person, browser, make_person, make_project, make_run, make_version
from tracking.models import Run
from tracking.services import start_run, update_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    return make_person(make_project("alpha"), Role.CONTRIBUTOR, username="ann")


def post(person: Person, path: str, **data: object):
    return browser(person).post(f"/projects/alpha/{path}", data)


def text(person: Person, path: str) -> str:
    answer = browser(person).get(f"/projects/alpha/{path}")
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_an_experiment_is_renamed_described_and_tagged(ann: Person) -> None:
    experiment = make_run(ann).experiment
    path = f"experiments/{experiment.public_id}/"
    words = {"name": "renamed", "description": "**all** of it", "tags": "nlp, new"}
    assert post(ann, f"{path}edit/", **words).status_code == 302
    shown = text(ann, path)
    for part in ("renamed", "<strong>all</strong>", ">nlp<", ">new<"):
        assert part in shown
    make_run(ann, experiment="other")
    answer = post(ann, f"{path}edit/", **{**words, "name": "other"})
    assert (answer.status_code, "other" in answer.content.decode()) == (422, True)


def test_an_experiment_is_archived_and_comes_back(ann: Person) -> None:
    path = f"experiments/{make_run(ann).experiment.public_id}/"
    assert post(ann, f"{path}archive/").status_code == 302
    assert "Archived" in text(ann, path)
    assert post(ann, f"{path}restore/").status_code == 302
    assert ">Archive<" in text(ann, path)


def test_notes_are_markdown_and_nothing_else(ann: Person) -> None:
    run = make_run(ann)
    notes = "# Findings\n\n<script>alert(1)</script>"
    assert post(ann, f"runs/{run.public_id}/edit/", name="best", notes=notes).status_code == 302
    shown = text(ann, f"runs/{run.public_id}/")
    assert "<h1>Findings</h1>" in shown
    assert "<script>alert" not in shown


def test_a_table_of_many_columns_and_short_rows_stays_small() -> None:
    """The library adds the cells that a row lacks: from 20 kB it made 600 kB and took seconds."""
    head = "a|" * 1000
    text = f"{head}\n{'-|' * 1000}\n" + "a\n" * 7000
    assert "<table>" in markdown(text)
    assert len(markdown(text)) < 100_000


def test_a_running_run_is_killed_with_a_reason(ann: Person) -> None:
    run = start_run(actor=ann.actor, project=ann.project, experiment_id="exp")
    assert ">Kill<" in text(ann, f"runs/{run.public_id}/")
    assert post(ann, f"runs/{run.public_id}/kill/", reason="diverged").status_code == 302
    shown = text(ann, f"runs/{run.public_id}/")
    assert "Killed" in shown
    assert "diverged" in shown
    assert ">Kill<" not in shown
    assert post(ann, f"runs/{run.public_id}/kill/", reason="again").status_code in (302, 422)


def test_a_run_is_deleted_unless_a_version_comes_from_it(ann: Person) -> None:
    run = make_run(ann)
    assert post(ann, f"runs/{run.public_id}/delete/", confirm=run.public_id).status_code == 302
    assert not Run.objects.alive().filter(pk=run.pk).exists()
    source = make_version(ann, "m").source_run
    refused = post(ann, f"runs/{source.public_id}/delete/", confirm=source.public_id)
    assert refused.status_code == 422


def test_a_run_is_deleted_once_its_name_is_typed(ann: Person) -> None:
    run = make_run(ann)
    path = f"runs/{run.public_id}/delete/"
    assert f'data-confirm="{run.public_id}"' in text(ann, path)
    update_run(actor=ann.actor, project=ann.project, run_id=run.public_id, name="the  best")
    assert 'data-confirm="the best"' in text(ann, path)
    for typed in ("", "best", run.public_id):
        refused = post(ann, path, confirm=typed)
        assert refused.status_code == 422
        assert Run.objects.alive().filter(pk=run.pk).exists()
    assert "Type the best to confirm; nothing was deleted." in refused.content.decode()
    assert post(ann, path, confirm="the best").status_code == 302
    assert not Run.objects.alive().filter(pk=run.pk).exists()


def test_a_viewer_finds_no_button_and_forged_requests_are_refused(ann: Person) -> None:
    run = make_run(ann)
    viewer = make_person(ann.project, Role.VIEWER)
    paths = [f"experiments/{run.experiment.public_id}/", f"runs/{run.public_id}/"]
    for path in paths:
        shown = text(viewer, path)
        for label in (">Edit<", ">Archive<", ">Kill<", ">Delete run<"):
            assert label not in shown
    for path in ("edit/", "archive/"):
        assert post(viewer, paths[0] + path, name="x").status_code == 403
    for path in ("edit/", "kill/", "delete/"):
        assert post(viewer, paths[1] + path, name="x").status_code == 403
