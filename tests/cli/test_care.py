"""Searching, the trash, protections, how things stood, and many at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry.models import ModelVersion
from tests.cli.conftest import CommandLine
from tests.factories import make_run, make_version


@pytest.fixture
def iris(podstack: CommandLine) -> ModelVersion:
    """Versions 1 and 2 of a model."""
    make_version(podstack.person, "iris", accuracy=0.5)
    return make_version(podstack.person, "iris", accuracy=0.75)


def test_versions_are_searched(podstack: CommandLine, iris: ModelVersion) -> None:
    assert podstack.table("versions", "search", "metrics.accuracy > 0.6")[1][:2] == ["iris", "2"]
    found = podstack.json("versions", "search", "metrics.accuracy > 0", "--order-by", "metrics.accuracy")
    assert [row["version"] for row in found] == [1, 2]
    assert podstack.json("versions", "search", "stage = 'Staging'", "--model", "iris") == []
    refused = podstack("versions", "search", "metrics.accuracy >", code=1).stderr
    assert refused.startswith("Error: ")


def test_runs_and_models_are_searched(podstack: CommandLine, iris: ModelVersion) -> None:
    run = make_run(podstack.person, loss=0.1)
    rows = podstack.table(
        "runs", "search", "metrics.loss < 0.4", "--metric", "loss", "--order-by", "-max.loss"
    )
    assert (rows[1][0], rows[1][-1]) == (run.public_id, "0.1")
    podstack("models", "update", "iris", "--tag", "nlp")
    for words in (
        ["--filter", "tag = 'nlp'"],
        ["--any-tag", "nlp", "--any-tag", "cv"],
        ["--author", "ada", "--no-live-endpoint"],
        ["--created-after", "2020-01-01", "--created-before", "2999-01-01T00:00Z"],
    ):
        assert [row["name"] for row in podstack.json("models", "list", *words)] == ["iris"], words
    assert podstack.json("models", "list", "--alias", "champion") == []
    assert podstack.json("models", "list", "--live-endpoint") == []
    podstack("models", "list", "--created-after", "soon", code=1)


def test_what_validating_found_is_kept(podstack: CommandLine, iris: ModelVersion) -> None:
    kept = podstack.json("versions", "log-metrics", "iris/1", "auc=0.9", "worst=nan")
    assert kept["validation_metrics"] == {"auc": 0.9, "worst": "NaN"}
    podstack("versions", "log-metrics", "iris", "1", "auc=high", code=2)
    podstack("versions", "log-metrics", "iris/1", code=2)
    podstack("versions", "log-metrics", "iris", "auc=1", code=2)


def test_a_version_names_its_parent(podstack: CommandLine, iris: ModelVersion) -> None:
    run = make_run(podstack.person, {"model/x": b"1"})
    words = ("--run", run.public_id, "--path", "model", "--no-wait", "--parent", "iris/1")
    made = podstack.json("versions", "create", "small", *words, "--relation", "quantized")
    assert made["parent"] == {"model_name": "iris", "version": 1, "relation": "quantized"}
    podstack("versions", "create", "small", *words, "--relation", "uncle", code=2)


def test_what_was_deleted_comes_back(podstack: CommandLine, viewer: CommandLine, iris: ModelVersion) -> None:
    podstack("versions", "delete", "iris/1", "--yes")
    assert podstack.table("trash", "list")[1][:2] == ["iris", "1"]
    assert podstack.json("trash", "list") == podstack.rest("/trash")["results"]
    viewer("trash", "list", code=3)
    podstack("versions", "restore", "iris@champion", code=2)
    assert podstack.json("versions", "restore", "iris/1")["version"] == 1
    podstack("models", "delete", "iris", "--yes")
    podstack("models", "register", "iris")
    podstack("models", "restore", "iris", code=1)
    assert podstack.json("models", "restore", "iris", "--as", "iris-old")["version_count"] == 2
    assert podstack.json("trash", "list") == []
    assert podstack.doors() == {"cli"}


def test_how_a_model_stood_is_shown(podstack: CommandLine, iris: ModelVersion) -> None:
    podstack("aliases", "set", "iris/1", "champion")
    podstack("versions", "transition", "iris/2", "Staging")
    rows = podstack.table("models", "standing", "iris")
    assert [row[:2] for row in rows[1:]] == [["Staging", "2"], ["None", "1"], ["@champion", "1"]]
    assert (rows[1][-1], rows[3][-1]) == ("cli", "cli")
    assert podstack.json("models", "standing", "iris", "--as-of", "2020-01-01")["stages"] == []
    podstack("models", "standing", "iris", "--as-of", "soon", code=1)


def test_aliases_and_stages_are_protected(podstack: CommandLine, iris: ModelVersion) -> None:
    made = podstack.json("protections", "alias", "champion", "--model", "iris")
    assert (made["roles"], made["model_name"]) == (["admin", "maintainer"], "iris")
    podstack("protections", "stage", "production", "--role", "admin")
    assert podstack.json("protections", "list") == podstack.rest("/protections")["results"]
    assert [row[1:5] for row in podstack.table("protections", "list")[1:]] == [
        ["alias", "champion", "iris", "admin, maintainer"],
        ["stage", "Production", "all", "admin"],
    ]
    podstack("protections", "rm", str(made["id"]))
    podstack("protections", "rm", str(made["id"]), code=4)
    podstack("protections", "rm", "champion", code=2)


def test_one_act_to_many(podstack: CommandLine, iris: ModelVersion, tmp_path: Path) -> None:
    done = podstack("bulk", "transition-stage", "iris/1", "iris/2", "--set", "stage=Archived").stdout
    assert [line.split()[:3] for line in done.splitlines()[1:]] == [
        ["iris", "1", "yes"],
        ["iris", "2", "yes"],
    ]
    mixed = podstack("bulk", "set_alias", "iris/1", "iris/9", "--set", "alias=champion", code=1)
    assert "1 of 2 were refused." in mixed.stderr
    (tmp_path / "items.json").write_text(json.dumps([{"model_name": "iris", "tags": ["a"]}]))
    podstack("bulk", "update_model", "--file", str(tmp_path / "items.json"))
    assert podstack.json("models", "show", "iris")["tags"] == ["a"]
    (tmp_path / "items.json").write_text("{}")
    podstack("bulk", "update_model", "--file", str(tmp_path / "items.json"), code=2)


def test_many_are_deleted_only_when_that_is_meant(podstack: CommandLine, iris: ModelVersion) -> None:
    podstack("bulk", "delete_version", "iris/1", "iris/2", code=2)
    asked = podstack("bulk", "delete_version", "iris/1", "iris/2", typed="n\n", code=1).stderr
    assert "to 2 items?" in asked
    assert len(podstack.json("versions", "list", "iris")) == 2
    podstack("bulk", "delete_version", "iris/1", "iris/2", "--yes")
    assert podstack.json("versions", "list", "iris") == []
    podstack("bulk", "delete_model", code=2)
    podstack("bulk", "delete_model", "iris", "--set", "items=x", "--yes", code=2)
    podstack("bulk", "explode", "iris", code=1)
