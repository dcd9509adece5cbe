"""`podstack runs` and `podstack experiments`."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine
from tests.factories import make_run, make_version
from tracking import services as tracking_verbs
from tracking.models import Run


@pytest.fixture
def run(podstack: CommandLine) -> Run:
    """A run that is going on, with two metrics."""
    person = podstack.person
    where = {"actor": person.actor, "project": person.project}
    started = tracking_verbs.start_run(**where, experiment_id="sentiment")
    series = [{"key": "loss", "values": [2.0, math.nan, 0.5]}, {"key": "f1", "values": [0.25]}]
    tracking_verbs.log_metrics(**where, run_id=started.public_id, series=series)
    tracking_verbs.log_params(**where, run_id=started.public_id, params={"lr": 0.01})
    return started


def test_runs_are_compared_with_their_datasets_and_files(podstack: CommandLine, run: Run) -> None:
    person = podstack.person
    tracking_verbs.log_dataset(
        actor=person.actor, project=person.project, run_id=run.public_id, name="imdb", digest="abc"
    )
    other = make_run(person, {"model/w.txt": b"1"})
    rows = podstack.table("runs", "compare", run.public_id, other.public_id)
    assert ["dataset", "imdb", "abc", "-"] in rows
    assert ["file", "model/w.txt", "-", hashlib.sha256(b"1").hexdigest()[:12]] in rows
    assert ["param", "lr", "0.01", "-"] in rows


def test_experiments_are_made_listed_changed_and_archived(podstack: CommandLine) -> None:
    made = podstack.json("experiments", "create", "sentiment", "--description", "Moods", "--tag", "nlp")
    assert made == podstack.rest("/experiments/sentiment")
    assert podstack.json("experiments", "list") == podstack.rest("/experiments")["results"]
    assert podstack.table("experiments", "list")[1][:5] == [made["id"], "sentiment", "0", "nlp", "ada"]
    podstack("experiments", "update", made["id"], "--name", "moods")
    podstack("experiments", "archive", "moods")
    assert podstack.json("experiments", "list", "--not-archived") == []
    assert len(podstack.json("experiments", "list", "--archived")) == 1
    podstack("experiments", "restore", "moods")
    assert "Archived at  -" in podstack("experiments", "show", "moods").stdout
    assert "moods" in podstack("experiments", "create", "moods", code=1).stderr
    podstack("experiments", "show", "nothing", code=4)


def test_runs_are_listed_with_columns_of_choice(podstack: CommandLine, run: Run) -> None:
    ended = make_run(podstack.person, experiment="other")
    rows = podstack.table(
        "runs", "list", "--experiment", "sentiment", "--metric", "f1", "--param", "lr", "--metric", "none"
    )
    assert rows[0][-3:] == ["f1", "none", "lr"]
    assert rows[1][:2] == [run.public_id, "sentiment"]
    assert rows[1][-3:] == ["0.25", "-", "0.01"]
    assert len(rows) == 2
    rest = podstack.rest("/runs?experiment=other")["results"]
    assert podstack.json("runs", "list", "--experiment", "other") == rest
    assert podstack.json("runs", "show", ended.public_id) == rest[0]
    assert len(podstack.json("runs", "list", "--status", "running")) == 1
    assert len(podstack.json("runs", "list", "--search", run.public_id)) == 1


def test_a_run_is_shown(podstack: CommandLine, run: Run) -> None:
    text = podstack("runs", "show", run.public_id).stdout
    assert "Status            Running" in text
    assert "  lr  0.01\n" in text
    podstack("runs", "show", "run-nothing", code=4)


def test_metrics_and_their_history(podstack: CommandLine, run: Run) -> None:
    assert ["loss", "0.5", "2", "0.5", "2", "3"] in podstack.table("runs", "metrics", run.public_id)
    rest = podstack.rest(f"/runs/{run.public_id}")["metric_summary"]
    assert podstack.json("runs", "metrics", run.public_id) == rest
    rows = podstack.table("runs", "history", run.public_id, "loss", "--from-step", "1")
    assert [row[:2] for row in rows] == [["STEP", "VALUE"], ["1", "nan"], ["2", "0.5"]]
    rest = podstack.rest(f"/runs/{run.public_id}/metrics/loss")
    assert podstack.json("runs", "history", run.public_id, "loss") == rest
    podstack("runs", "history", run.public_id, "nothing", code=4)
    podstack("runs", "history", run.public_id, "loss", "--to-step", "many", code=2)


def test_tags_are_set_and_removed_one_by_one(podstack: CommandLine, run: Run) -> None:
    podstack("runs", "update", run.public_id, "--tag", "a=1", "--tag", "b=2", "--name", "First")
    changed = podstack.json("runs", "update", run.public_id, "--tag", "c=3", "--remove-tag", "a")
    assert (changed["tags"], changed["name"]) == ({"b": "2", "c": "3"}, "First")
    podstack("runs", "update", run.public_id, "--tag", "=3", code=2)


def test_files_go_up_and_come_back(podstack: CommandLine, run: Run, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.txt").write_text("1 2 3")
    (tmp_path / "notes.txt").write_text("")
    stored = podstack("runs", "log-artifact", run.public_id, str(tmp_path / "model"))
    assert stored.stderr == f"Stored 1 file in {run.public_id}.\n"
    podstack("runs", "log-artifact", run.public_id, str(tmp_path / "notes.txt"), "--to", "docs")
    rows = podstack.table("runs", "files", run.public_id)
    assert [row[:2] for row in rows[1:]] == [["docs/notes.txt", "0 B"], ["model/weights.txt", "5 B"]]
    podstack("runs", "download", run.public_id, "model", "--to", str(tmp_path / "back"))
    assert (tmp_path / "back" / "model" / "weights.txt").read_text() == "1 2 3"
    assert not (tmp_path / "back" / "docs").exists()
    podstack("runs", "download", run.public_id, "none", "--to", str(tmp_path / "none"), code=4)
    podstack("runs", "log-artifact", run.public_id, str(tmp_path / "missing"), code=2)


def test_a_run_is_ended_once(podstack: CommandLine, run: Run, tmp_path: Path) -> None:
    ended = podstack.json("runs", "end", run.public_id, "--status", "failed", "--error", "No memory")
    assert (ended["status"], ended["error"]) == ("Failed", "No memory")
    assert podstack.doors() == {"cli"}
    assert "ended" in podstack("runs", "end", run.public_id, code=1).stderr
    (tmp_path / "late.txt").write_text("x")
    podstack("runs", "log-artifact", run.public_id, str(tmp_path / "late.txt"), code=1)


def test_deleting_a_run_asks_and_says_what_holds_it(podstack: CommandLine, run: Run) -> None:
    podstack("runs", "delete", run.public_id, typed="n\n", code=1)
    podstack("runs", "delete", run.public_id, code=2)
    assert "with 0 files?" in podstack("runs", "delete", run.public_id, typed="y\n").stderr
    podstack("runs", "show", run.public_id, code=4)
    version = make_version(podstack.person, "iris")
    refused = podstack("runs", "delete", version.source_run.public_id, "--yes", code=1).stderr
    assert "iris version 1" in refused
    assert "Hint: Delete these versions first." in refused


def test_a_viewer_may_not_end_a_run(viewer: CommandLine, podstack: CommandLine, run: Run) -> None:
    viewer("runs", "end", run.public_id, code=3)
    assert podstack.json("runs", "show", run.public_id)["status"] == "Running"


def test_a_running_run_is_watched_killed_deleted_and_restored(podstack: CommandLine) -> None:
    run = podstack.person.api.post(
        f"{podstack.person.base}/runs", {"experiment_id": "exp"}, format="json"
    ).json()["id"]
    made = podstack.json("runs", "alerts", "create", run, "loss > 2", "--message", "It diverges.")
    assert made["condition"] == "loss > 2"
    assert "It diverges." in podstack("runs", "alerts", "list", run).stdout
    podstack("runs", "alerts", "rm", run, made["id"])
    assert podstack.json("runs", "alerts", "list", run) == []
    assert podstack.json("runs", "kill", run, "--reason", "wrong data")["status"] == "Killed"
    podstack("runs", "delete", run, "--yes")
    podstack("runs", "show", run, code=4)
    assert podstack.json("runs", "restore", run)["id"] == run
