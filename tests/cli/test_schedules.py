"""`podstack schedules`: each command does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduling.models import Schedule, ScheduleExecution
from tests.cli.conftest import CommandLine
from tests.scheduling.factories import drive


@pytest.fixture
def nightly(podstack: CommandLine, tmp_path: Path, settings: object) -> str:
    """A schedule of code that prints one line, made by commands alone."""
    settings.TRAINING_DIR = tmp_path / "training"  # type: ignore[attr-defined]
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / "train.py").write_text("print('trained \\x1b[31mwell')")
    (tmp_path / "schema.json").write_text('{"properties": {"epochs": {"type": "integer"}}}')
    (tmp_path / "config.json").write_text('{"epochs": 3}')
    podstack("experiments", "create", "wine")
    words = ("schedules", "upload-code", "wine", str(folder), "python", "train.py")
    made = podstack.json(*words, "--schema", str(tmp_path / "schema.json"))
    assert (made["number"], made["command"]) == (1, ["python", "train.py"])
    created = podstack.json(
        *("schedules", "create", "nightly", "wine", "0 2 * * *", "--timezone", "Europe/Berlin"),
        *("--config", str(tmp_path / "config.json"), "--set", "timeout=60", "--set", "overlap=queue"),
    )
    assert (created["timeout"], created["overlap"], created["configuration"]) == (60, "queue", {"epochs": 3})
    assert created["timezone"] == "Europe/Berlin"
    return "nightly"


def test_schedules_are_listed_shown_and_said_in_words(podstack: CommandLine, nightly: str) -> None:
    podstack("schedules", "create", "weekly", "wine", "0 3 * * 1")
    assert podstack.json("schedules", "list") == podstack.rest("/schedules")["results"]
    rows = podstack.table("schedules", "list", "--search", "night")
    assert [row[:4] for row in rows[1:]] == [["nightly", "wine", "0 2 * * *", "Europe/Berlin"]]
    podstack("schedules", "pause", "weekly")
    assert [each["name"] for each in podstack.json("schedules", "list", "--paused")] == ["weekly"]
    assert [each["name"] for each in podstack.json("schedules", "list", "--active")] == ["nightly"]
    podstack("experiments", "create", "empty")
    assert podstack.json("schedules", "list", "--experiment", "empty") == []
    assert "no experiment 'other'" in podstack("schedules", "list", "--experiment", "other", code=4).stderr
    assert "At 02:00 every day" in podstack("schedules", "show", nightly).stdout
    assert len(podstack.json("schedules", "times", "0 2 * * *")["next_times"]) == 5
    assert "its minute" in podstack("schedules", "times", "61 * * * *", code=1).stderr
    assert [row["number"] for row in podstack.json("schedules", "code", "wine")] == [1]
    podstack("schedules", "show", "nothing", code=4)


def test_a_schedule_is_paused_resumed_and_deleted_with_its_executions_kept(
    podstack: CommandLine, nightly: str
) -> None:
    assert podstack("schedules", "pause", nightly).stderr == "nightly is paused.\n"
    assert Schedule.objects.get().next_at is None
    assert "runs next at" in podstack("schedules", "resume", nightly).stderr
    assert Schedule.objects.get().next_at is not None
    execution = podstack.json("schedules", "trigger", nightly)["id"]
    podstack("schedules", "delete", nightly, "--yes")
    podstack("schedules", "show", nightly, code=4)
    assert [row["id"] for row in podstack.json("schedules", "executions", nightly)] == [execution]
    (_, (number, name, *_)) = podstack.table("schedules", "list", "--deleted")
    assert name == nightly
    assert podstack.table("schedules", "deleted-executions", number)[1][0] == execution
    assert podstack.doors() == {"cli"}


def test_run_now_shows_executions_and_their_log(podstack: CommandLine, nightly: str, tmp_path: Path) -> None:
    (tmp_path / "once.json").write_text('{"epochs": 1}')
    made = podstack.json("schedules", "trigger", nightly, "--config", str(tmp_path / "once.json"))
    assert (made["state"], made["configuration"]) == ("Queued", {"epochs": 1})
    drive(ScheduleExecution.objects.get())
    assert podstack("schedules", "log", made["id"]).stdout == "trained \ufffd[31mwell\n"
    assert "trained" in podstack("schedules", "log", made["id"], "--follow").stdout
    assert "Succeeded" in podstack("schedules", "wait", made["id"]).stderr
    assert podstack.json("schedules", "execution", made["id"])["exit_code"] == 0
    rows = podstack.table("schedules", "executions", nightly, "--state", "Succeeded")
    assert rows[1][0] == made["id"]
    assert podstack.json("schedules", "executions", nightly, "--state", "Failed") == []
    podstack("schedules", "stop", made["id"], code=1)
    waiting = podstack.json("schedules", "trigger", nightly)["id"]
    podstack("schedules", "stop", waiting)
    drive(ScheduleExecution.objects.get(public_id=waiting))
    assert "Killed" in podstack("schedules", "wait", waiting, code=1).stderr


def test_an_update_takes_texts_as_they_are_and_null_empties_them(podstack: CommandLine, nightly: str) -> None:
    words = ("--set", "model_name=7", "--set", "artifact_path=007", "--set", "promote_metric=-1")
    changed = podstack.json("schedules", "update", nightly, *words, "--set", "promote_stage=Production")
    assert (changed["model_name"], changed["artifact_path"]) == ("7", "007")
    assert changed["promote_metric"] == "-1"
    podstack("schedules", "update", nightly, "--cron", "0 4 * * *", "--set", "memory_limit=64")
    podstack("schedules", "update", nightly, "--set", "code=1", "--set", "engine=local")
    names = (
        "model_name",
        "artifact_path",
        "promote_metric",
        "promote_stage",
        "engine",
        "memory_limit",
        "code",
    )
    empties = [word for name in names for word in ("--set", f"{name}=null")]
    emptied = podstack.json("schedules", "update", nightly, *empties)
    assert [emptied[name] for name in names] == ["", "", "", "", "", None, None]
    assert emptied["cron"] == "0 4 * * *"


NO_SETTINGS = (
    ("timeout=soon", "timeout is 'soon', which is no whole number."),
    ("timeout=٣", "no whole number"),
    ("code=--7", "no whole number"),
    ("max_attempts=" + "9" * 5000, "no whole number"),
    ("timeuot=3", "'timeuot' is no setting of a schedule"),
)


def test_a_setting_that_is_none_is_one_sentence(podstack: CommandLine, nightly: str) -> None:
    for word, said in NO_SETTINGS:
        assert said in podstack("schedules", "update", nightly, "--set", word, code=2).stderr, word


def test_a_configuration_with_a_key_twice_is_refused(
    podstack: CommandLine, nightly: str, tmp_path: Path
) -> None:
    file = tmp_path / "twice.json"
    for written in ('{"a": 1, "a": 2}', '{"b": {"a": 1, "a": 2}}'):
        file.write_text(written)
        for words in (("update", nightly), ("trigger", nightly), ("create", "n", "wine", "0 1 * * *")):
            refused = podstack("schedules", *words, "--config", str(file), code=2)
            assert "the key 'a' stands there twice" in refused.stderr
    assert Schedule.objects.get().configuration == {"epochs": 3}
    assert not ScheduleExecution.objects.exists()
