"""Where a version came from, and what depends on it."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.choices import Role
from deployments.services import deploy
from registry.aliases import set_alias
from registry.choices import VersionStatus
from registry.models import ModelVersion
from registry.services import create_version
from tests.factories import Person, add_files, make_person, make_project
from tracking.services import log_dataset, start_run

pytestmark = pytest.mark.django_db


def a_used_version() -> tuple[Person, ModelVersion]:
    """A version of a run that goes on, so that more can be logged."""
    ada = make_person(make_project())
    where = {"actor": ada.actor, "project": ada.project}
    run = start_run(**where, experiment_id="exp")
    add_files(ada, run, {"model/weights.txt": b"1 2 3"})
    log_dataset(**where, run_id=run.public_id, name="flowers", context="training")
    version = create_version(**where, model_name="iris", source_run_id=run.public_id, artifact_path="model")
    ModelVersion.objects.update(status=VersionStatus.READY)
    set_alias(**where, model_name="iris", alias="best", version=1)
    deploy(**where, model_name="iris", version=1, endpoint_name="iris-api")
    return ada, version


def test_the_graph_goes_from_the_data_to_the_endpoint() -> None:
    ada, version = a_used_version()
    answer = ada.api.get(f"{ada.base}/models/iris/versions/best/lineage")
    assert answer.status_code == 200
    graph = answer.json()
    names = {node["id"]: (node["kind"], node["name"]) for node in graph["nodes"]}
    run = f"run:{version.source_run.public_id}"
    assert names["version:iris/1"] == ("version", "iris v1")
    assert names["alias:best"] == ("alias", "best")
    assert names["endpoint:iris-api"] == ("endpoint", "iris-api")
    assert sorted(kind for kind, _ in names.values()) == [
        "alias", "dataset", "endpoint", "experiment", "run", "version",
    ]  # fmt: skip
    edges = {(names[edge["from"]][0], edge["relation"], names[edge["to"]][0]) for edge in graph["edges"]}
    assert edges == {
        ("experiment", "contains", "run"),
        ("dataset", "training", "run"),
        ("run", "produced", "version"),
        ("alias", "points to", "version"),
        ("version", "deployed to", "endpoint"),
    }
    assert run in names
    for node in graph["nodes"]:
        assert node["url"].startswith("http") or node["kind"] == "dataset"


def test_the_graph_costs_the_same_for_any_number_of_users() -> None:
    ada, version = a_used_version()
    address = f"{ada.base}/models/iris/versions/1/lineage"
    ada.api.get(address)
    with CaptureQueriesContext(connection) as few:
        ada.api.get(address)
    where = {"actor": ada.actor, "project": ada.project}
    for number in range(3):
        set_alias(**where, model_name="iris", alias=f"a{number}", version=1)
        log_dataset(**where, run_id=version.source_run.public_id, name=f"d{number}")
        deploy(**where, model_name="iris", version=1, endpoint_name=f"e{number}")
    with CaptureQueriesContext(connection) as many:
        assert len(ada.api.get(address).json()["nodes"]) == 15
    assert len(few) == len(many)


def test_a_viewer_sees_it_and_a_stranger_does_not() -> None:
    ada, _ = a_used_version()
    address = f"{ada.base}/models/iris/versions/1/lineage"
    assert make_person(ada.project, Role.VIEWER).api.get(address).status_code == 200
    assert make_person(ada.project, None).api.get(address).status_code == 404
    assert ada.api.get(f"{ada.base}/models/iris/versions/9/lineage").status_code == 404
