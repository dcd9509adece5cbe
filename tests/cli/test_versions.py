"""`podstack versions` and `podstack aliases`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from registry.choices import VersionStatus
from registry.models import ModelVersion
from tests.cli.conftest import CommandLine
from tests.factories import make_run, make_version

FILES = {"model/weights.txt": b"1 2 3", "model/config.json": b"{}", "model/deep/notes.json": b"[]"}


@pytest.fixture
def iris(podstack: CommandLine) -> ModelVersion:
    """Versions 1 and 2 of a model."""
    make_version(podstack.person, "iris", FILES, accuracy=0.5)
    return make_version(podstack.person, "iris", {"model/weights.txt": b"4 5 6"}, accuracy=0.75)


def test_a_version_is_made_from_a_run(podstack: CommandLine) -> None:
    run = make_run(podstack.person, FILES, accuracy=0.5)
    made = podstack.json(
        *("versions", "create", "iris", "--run", run.public_id, "--path", "model", "--no-wait"),
        *("--description", "First", "--tag", "dataset=v2=b"),
    )
    assert (made["version"], made["status"], made["tags"]) == (1, "Pending", {"dataset": "v2=b"})
    assert made == podstack.rest("/models/iris/versions/1")
    assert podstack.doors() == {"cli"}


def test_a_version_that_is_not_looked_at_in_time_is_told(podstack: CommandLine) -> None:
    run = make_run(podstack.person, FILES)
    words = ("versions", "create", "iris", "--run", run.public_id, "--path", "model", "--timeout", "0.1")
    assert "Warning: iris version 1 is still being looked at" in podstack(*words).stderr


@pytest.mark.parametrize("words", [["iris/1"], ["iris", "1"], ["iris@champion"], ["iris", "v1"]])
def test_a_version_is_written_in_several_ways(
    podstack: CommandLine, iris: ModelVersion, words: list[str]
) -> None:
    podstack("aliases", "set", "iris/1", "champion")
    assert podstack.json("versions", "show", *words) == podstack.rest("/models/iris/versions/1")
    podstack("versions", "transition", *words, "staging", "--note", "Good")
    assert ModelVersion.objects.get(number=1).stage == "Staging"


def test_a_name_with_an_at_sign_can_be_meant(podstack: CommandLine) -> None:
    make_version(podstack.person, "iris@home")
    for words in (["iris@home/1"], ["iris@home", "1"], ["iris@home@latest"]):
        assert podstack.json("versions", "show", *words)["model_name"] == "iris@home"


def test_versions_written_wrongly_are_wrong_usage(podstack: CommandLine) -> None:
    for words in (["iris"], ["/1"], ["iris/"], ["iris@"], ["iris", "1", "2"], ["iris/1", "2"], []):
        assert podstack("versions", "show", *words, code=2).stdout == ""
    assert "Missing argument 'STAGE'" in podstack("versions", "transition", "iris/1", code=2).stderr
    assert "NAME/3" in podstack("versions", "transition", "iris", "Staging", code=2).stderr
    assert "'Best' is not one of" in podstack("versions", "transition", "iris/1", "Best", code=2).stderr
    assert (
        "key=value"
        in podstack(*("versions", "create", "iris", "--run", "r", "--path", "p", "--tag", "x"), code=2).stderr
    )


def test_versions_are_listed(podstack: CommandLine, iris: ModelVersion) -> None:
    rows = podstack.table("versions", "list", "iris")
    assert rows[0] == ["VERSION", "STAGE", "STATUS", "ALIASES", "METRICS", "SIZE", "CREATED BY", "CREATED"]
    assert rows[1][:7] == ["2", "None", "Ready", "-", "accuracy=0.75", "5 B", "ada"]
    listed = podstack.json("versions", "list", "iris", "--limit", "1")
    assert listed == podstack.rest("/models/iris/versions")["results"][:1]
    podstack("versions", "transition", "iris/1", "Staging")
    assert [row["version"] for row in podstack.json("versions", "list", "iris", "--stage", "staging")] == [1]


def test_moves_between_stages_are_listed(podstack: CommandLine, iris: ModelVersion) -> None:
    moved = podstack.json("versions", "transition", "iris/1", "Staging", "--note", "Looks\ngood")
    assert (moved["status"], moved["to_stage"], moved["note"]) == ("applied", "Staging", "Looks\ngood")
    podstack("versions", "transition", "iris/2", "Archived")
    assert [row[1:4] for row in podstack.table("versions", "history", "iris")[1:]] == [
        ["2", "None", "Archived"],
        ["1", "None", "Staging"],
    ]
    rest = podstack.rest("/models/iris/versions/1/transitions")["results"]
    assert podstack.json("versions", "history", "iris/1") == rest
    assert podstack("versions", "history", "iris/1").stdout.endswith("Looks good\n")


def test_annotations_are_set_and_removed(podstack: CommandLine, iris: ModelVersion) -> None:
    assert podstack.json("versions", "tag", "set", "iris/1", "f1", "0.9") == {"key": "f1", "value": "0.9"}
    podstack("versions", "tag", "set", "iris", "1", "owner", "ada")
    assert podstack.rest("/models/iris/versions/1")["tags"] == {"f1": "0.9", "owner": "ada"}
    assert podstack("versions", "tag", "rm", "iris/1", "f1").stderr == "Removed f1 of iris/1.\n"
    assert podstack.rest("/models/iris/versions/1")["tags"] == {"owner": "ada"}


def test_the_description_is_changed(podstack: CommandLine, iris: ModelVersion) -> None:
    podstack("versions", "update", "iris@latest", "--description", "Second\nline\u202e")
    assert "Second line\\u202e" in podstack("versions", "show", "iris/2").stdout


def test_files_are_listed_and_downloaded(podstack: CommandLine, iris: ModelVersion, tmp_path: Path) -> None:
    assert [row[0] for row in podstack.table("versions", "files", "iris/1")[1:]] == [
        "config.json",
        "deep/notes.json",
        "weights.txt",
    ]
    result = podstack("versions", "download", "iris/1", "--to", str(tmp_path / "all"))
    assert result.stderr == f"{tmp_path / 'all'} holds 3 files of iris/1.\n"
    assert (tmp_path / "all" / "weights.txt").read_bytes() == b"1 2 3"
    chosen = podstack.json("versions", "download", "iris", "1", "*.json", "--to", str(tmp_path / "some"))
    assert chosen["files"] == ["config.json", "deep/notes.json"]
    assert podstack.json("versions", "download", "iris/1", "deep/", "--to", str(tmp_path / "deep"))[
        "files"
    ] == ["deep/notes.json"]
    assert not (tmp_path / "deep" / "weights.txt").exists()


def test_a_download_of_what_is_not_there_writes_nothing(
    podstack: CommandLine, iris: ModelVersion, tmp_path: Path
) -> None:
    folder = tmp_path / "none"
    assert (
        "no file x.bin"
        in podstack("versions", "download", "iris/1", "x.bin", "--to", str(folder), code=4).stderr
    )
    podstack("versions", "download", "iris/9", "--to", str(folder), code=4)
    assert not folder.exists()
    (tmp_path / "file").write_text("")
    podstack("versions", "download", "iris/1", "--to", str(tmp_path / "file"), code=2)


def test_versions_are_compared(podstack: CommandLine, iris: ModelVersion) -> None:
    rows = podstack.table("versions", "compare", "iris", "1", "2")
    assert rows[0] == ["KEY", "VERSION 1", "VERSION 2"]
    assert ["metric", "accuracy", "0.5", "0.75"] in rows
    weights = [hashlib.sha256(content).hexdigest()[:12] for content in (FILES["model/weights.txt"], b"4 5 6")]
    assert ["file", "weights.txt", *weights] in rows
    rest = podstack.rest("/models/iris/compare?versions=1,2")
    assert podstack.json("versions", "compare", "iris/1", "iris/2") == rest
    assert podstack.json("versions", "compare", "iris/1", "2") == rest
    assert "another model" in podstack("versions", "compare", "iris/1", "rose/2", code=2).stderr
    podstack("versions", "compare", "iris/1", "iris/9", code=4)


def test_deleting_a_version_asks(podstack: CommandLine, iris: ModelVersion) -> None:
    asked = podstack("versions", "delete", "iris@latest", typed="n\n", code=1).stderr
    assert "Delete iris/2 (1 files, 5 B, stage None)? [y/N]" in asked
    assert asked.endswith("Nothing was changed.\n")
    assert "give --yes" in podstack("versions", "delete", "iris/2", code=2).stderr
    assert podstack("versions", "delete", "iris/2", typed="y\n").stderr.endswith("Deleted iris/2.\n")
    podstack("versions", "delete", "iris/1", "--yes")
    assert podstack.json("versions", "list", "iris") == []


def test_what_holds_a_version_is_told(podstack: CommandLine, iris: ModelVersion) -> None:
    podstack("versions", "transition", "iris/1", "Staging")
    podstack("versions", "transition", "iris/1", "Production")
    refused = podstack("versions", "delete", "iris/1", "--yes", code=1).stderr
    assert refused == (
        "Error: Version 1 is in Production. Move it to Archived before deleting it.\n"
        "Held by: stage Production\n"
    )


def test_a_quarantined_version_is_released_with_a_note(podstack: CommandLine, viewer: CommandLine) -> None:
    version = make_version(podstack.person, "iris")
    ModelVersion.objects.filter(pk=version.pk).update(status=VersionStatus.QUARANTINED, status_reason="Odd.")
    assert "Missing option '--note'" in podstack("versions", "release", "iris/1", code=2).stderr
    viewer("versions", "release", "iris/1", "--note", "x", code=3)
    assert podstack.json("versions", "release", "iris/1", "--note", "Ours.")["status"] == "Ready"
    assert "Error: " in podstack("versions", "release", "iris/1", "--note", "Ours.", code=1).stderr


def test_a_version_is_quarantined_for_a_reason(
    podstack: CommandLine, viewer: CommandLine, iris: ModelVersion
) -> None:
    assert "Missing option '--reason'" in podstack("versions", "quarantine", "iris/1", code=2).stderr
    viewer("versions", "quarantine", "iris/1", "--reason", "x", code=3)
    found = podstack.json("versions", "quarantine", "iris/1", "--reason", "It answers nonsense.")
    assert found["status"] == "Quarantined"
    assert found["status_reason"].endswith(": It answers nonsense.")


def test_aliases_are_set_listed_shown_and_removed(podstack: CommandLine, iris: ModelVersion) -> None:
    assert podstack.json("aliases", "set", "iris", "1", "champion")["version"] == 1
    podstack("aliases", "set", "iris@champion", "old")
    podstack("aliases", "set", "iris/2", "champion")
    assert podstack.json("aliases", "list", "iris") == podstack.rest("/models/iris/aliases")["results"]
    assert [row[:2] for row in podstack.table("aliases", "list", "iris")[1:]] == [
        ["champion", "2"],
        ["old", "1"],
    ]
    assert podstack.json("aliases", "show", "iris", "old")["version"] == 1
    podstack("aliases", "rm", "iris", "old")
    assert "old" in podstack("aliases", "show", "iris", "old", code=4).stderr
    assert "latest" in podstack("aliases", "set", "iris/1", "latest", code=1).stderr


def test_a_viewer_may_look_but_not_touch(podstack: CommandLine, viewer: CommandLine) -> None:
    make_version(podstack.person, "iris")
    assert viewer.json("versions", "show", "iris/1")["version"] == 1
    for words in (
        ("versions", "transition", "iris/1", "Staging"),
        ("versions", "tag", "set", "iris/1", "a", "b"),
        ("versions", "delete", "iris/1", "--yes"),
        ("aliases", "set", "iris/1", "champion"),
    ):
        assert viewer(*words, code=3).stderr.startswith("Error: ")
