"""Where things came from, and what depends on them: one graph over all apps."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.choices import Role
from deployments.services import delete_deployment, deploy
from registry import trash
from registry.aliases import set_alias
from registry.models import ModelVersion
from tests.factories import Person, add_files, make_person, make_project
from tests.lineage.chains import a_chain
from tracking import services as tracking_verbs
from tracking.models import Run, RunDataset

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> Person:
    person = make_person(make_project("alpha"), username="ann")
    a_chain(person)
    return person


def graph(person: Person, node: str, status: int = 200, **query: Any) -> Any:
    answer = person.api.get(f"{person.base}/lineage", {"node": node, **query})
    assert answer.status_code == status, answer.content
    return answer.json()


def kinds(found: Any) -> list[str]:
    return sorted(node["kind"] for node in found["nodes"])


CHAIN = ["alias", "dataset", "endpoint", "experiment", "revision", "run", "run", "version", "version"]


def test_the_whole_chain_is_seen_from_both_ends(ann: Person) -> None:
    (link,) = RunDataset.objects.all()
    from_data = graph(ann, f"dataset:{link.dataset_id}", direction="downstream")
    assert kinds(from_data) == [kind for kind in CHAIN if kind != "experiment"]
    from_endpoint = graph(ann, "endpoint:iris-api", direction="upstream")
    assert kinds(from_endpoint) == [kind for kind in CHAIN if kind != "alias"]
    edges = {
        (edge["from"].split(":")[0], edge["relation"], edge["to"].split(":")[0])
        for edge in from_data["edges"]
    }
    assert edges == {
        ("dataset", "training", "run"),
        ("run", "produced", "version"),
        ("version", "used by", "run"),
        ("version", "fine_tuned", "version"),
        ("version", "known as", "alias"),
        ("version", "deployed as", "revision"),
        ("revision", "of", "endpoint"),
    }
    assert from_data["truncated"] is False


def test_every_kind_of_name_finds_its_node(ann: Person) -> None:
    names = {node["id"] for node in graph(ann, "model:iris")["nodes"]}
    for name in names | {"version:iris@champion", "version:iris/latest"}:
        found = graph(ann, name, depth=1)
        assert len(found["center"]) == 1
        if "@champion" not in name and "latest" not in name:
            assert found["center"] == [name]
    for node in graph(ann, "model:iris")["nodes"]:
        assert node["url"].startswith("http"), node


@pytest.mark.parametrize(
    ("node", "status"),
    [
        ("", 400), ("iris", 400), ("ghost:1", 400), ("version:iris", 400), ("version:", 400),
        ("version:iris/99", 404), ("version:none/1", 404), ("run:run-none", 404), ("dataset:0", 404),
        ("dataset:x", 404), ("dataset:²", 404), ("endpoint:none", 404), ("alias:iris@none", 404),
        ("revision:iris-api/9", 404), ("execution:exec-x", 404), ("code:exp/1", 404), ("model:none", 404),
        ("version:iris/\0", 400), ("experiment:none", 404), ("x" * 500, 400),
    ],
)  # fmt: skip
def test_what_is_no_node_is_refused_in_a_sentence(ann: Person, node: str, status: int) -> None:
    assert graph(ann, node, status)["title"]


@pytest.mark.parametrize(
    "query", [{"direction": "sideways"}, {"depth": "0"}, {"depth": "x"}, {"nodes": "9999"}, {"x": "1"}]
)
def test_wrong_limits_are_refused_by_name(ann: Person, query: dict[str, str]) -> None:
    answer = ann.api.get(f"{ann.base}/lineage", {"node": "model:iris", **query})
    assert answer.status_code == 400
    assert next(iter(query)) in answer.json()["detail"]


def test_limits_say_what_was_left_out(ann: Person) -> None:
    near = graph(ann, "version:iris/1", depth=1)
    assert near["truncated"] is True
    run = next(node for node in near["nodes"] if node["kind"] == "run" and node["left_out"])
    assert {"direction": "upstream", "kind": "dataset", "count": 1} in run["left_out"]
    few = graph(ann, "version:iris/1", nodes=2)
    assert len(few["nodes"]) == 2
    assert few["truncated"] is True


def test_what_was_deleted_leaves_a_tombstone_and_no_hole(ann: Person) -> None:
    where = {"actor": ann.actor, "project": ann.project}
    delete_deployment_at_once(ann)
    trash.delete_version(**where, model_name="iris", ref=2)
    first = Run.objects.order_by("pk").first()
    assert first is not None
    trash.delete_version(**where, model_name="iris", ref=1)
    tracking_verbs.delete_run(**where, run_id=first.public_id)
    (link,) = RunDataset.objects.all()
    found = graph(ann, f"dataset:{link.dataset_id}", direction="downstream")
    assert kinds(found) == ["dataset", "endpoint", "revision", "run", "run", "version", "version"]
    gone = {node["id"] for node in found["nodes"] if node["deleted"]}
    assert {f"run:{first.public_id}", "version:iris/1", "version:iris/2"} <= gone
    assert any(name.startswith("endpoint:iris-api~") for name in gone)
    assert all(
        node["url"] == "" and node["status"] == "Deleted" for node in found["nodes"] if node["deleted"]
    )
    for name in gone:
        assert graph(ann, name)["center"] == [name]


def delete_deployment_at_once(ann: Person) -> None:
    from deployments.choices import Wanted
    from deployments.models import Deployment, DeploymentRevision

    DeploymentRevision.objects.update(state="Retired")
    Deployment.objects.update(wanted=Wanted.DELETED, state="Inactive")
    assert delete_deployment  # the verb itself waits for the engine


def test_data_stay_connected_when_a_runs_records_are_purged(ann: Person, settings: Any) -> None:
    from accounts.permissions import system_actor
    from tracking.trash import purge_runs

    where = {"actor": ann.actor, "project": ann.project}
    run = tracking_verbs.start_run(**where, experiment_id="exp")
    tracking_verbs.log_dataset(**where, run_id=run.public_id, name="only here")
    tracking_verbs.end_run(**where, run_id=run.public_id, status="Completed")
    tracking_verbs.delete_run(**where, run_id=run.public_id)
    settings.TRASH_DAYS = 0
    assert purge_runs(actor=system_actor()) == 1
    found = graph(ann, f"run:{run.public_id}", direction="upstream")
    assert kinds(found) == ["dataset", "experiment", "run"]


def test_nothing_of_another_project_shows_not_even_as_a_count(ann: Person) -> None:
    bob = make_person(make_project("beta"), username="bob")
    a_chain(bob)
    own = graph(ann, "model:iris")
    other = {
        node["id"]
        for node in graph(bob, "model:iris")["nodes"]
        if node["kind"] in ("run", "dataset", "experiment")
    }
    assert not other & {node["id"] for node in own["nodes"]}
    for name in other:
        graph(ann, name, 404)
    assert bob.api.get(f"{ann.base}/lineage", {"node": "model:iris"}).status_code == 404
    assert bob.api.get(f"{ann.base}/impact", {"node": "model:iris"}).status_code == 404


def test_a_viewer_reads_the_graph() -> None:
    project = make_project()
    a_chain(make_person(project))
    vic = make_person(project, Role.VIEWER)
    assert vic.api.get(f"{vic.base}/models/iris/versions/1/lineage").status_code == 200


def test_a_large_graph_costs_as_many_statements_as_a_small_one(ann: Person) -> None:
    where = {"actor": ann.actor, "project": ann.project}
    costs: list[int] = []
    graph(ann, "experiment:exp")
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            graph(ann, "experiment:exp")
        costs.append(len(queries))
        for _ in range(30):
            run = tracking_verbs.start_run(**where, experiment_id="exp")
            add_files(ann, run, {"model/w.txt": b"1"})
    assert costs[0] == costs[1] <= 10


def test_a_circle_is_refused_with_a_sentence(ann: Person) -> None:
    where = {"actor": ann.actor, "project": ann.project}
    run = tracking_verbs.start_run(**where, experiment_id="exp")
    add_files(ann, run, {"model/w.txt": b"7"})
    path = f"{ann.base}/runs/{run.public_id}/inputs"
    assert ann.api.post(path, {"model_name": "iris", "version": "champion"}, format="json").status_code == 201
    made = {"source_run_id": run.public_id, "artifact_path": "model"}
    third = ann.api.post(f"{ann.base}/models/iris/versions", made, format="json").json()["version"]
    answer = ann.api.post(path, {"model_name": "iris", "version": str(third)}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "lineage_circle")
    child = tracking_verbs.start_run(**where, experiment_id="exp", parent_run_id=run.public_id)
    add_files(ann, child, {"model/w.txt": b"8"})
    made = {
        "source_run_id": child.public_id,
        "artifact_path": "model",
        "parent": f"iris/{third}",
        "relation": "merged",
    }
    fourth = ann.api.post(f"{ann.base}/models/iris/versions", made, format="json").json()["version"]
    answer = ann.api.post(path, {"model_name": "iris", "version": fourth}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "lineage_circle")
    used = ann.api.get(path).json()["results"]
    assert [(each["model_name"], each["ref"]) for each in used] == [("iris", "champion")]


def test_the_versions_of_a_folded_model_are_all_there(ann: Person) -> None:
    set_alias(actor=ann.actor, project=ann.project, model_name="iris", alias="old", version=1)
    deploy(actor=ann.actor, project=ann.project, model_name="iris", version=1, endpoint_name="second")
    assert ModelVersion.objects.count() == 2
    assert "endpoint:second" in {node["id"] for node in graph(ann, "model:iris")["nodes"]}
