"""Deploying, changing, taking down: the verbs through REST, with models that really run."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.choices import Role, Scope
from accounts.models import AuditEntry
from common.models import Job
from deployments.models import Deployment
from registry.choices import VersionStatus
from registry.models import ModelVersion
from tests.deployments.conftest import (
    ROWS,
    EngineProcess,
    a_quick_version,
    a_version,
    ask,
    deploy,
    deployed,
    endpoint,
    events,
    state,
    work_until,
    work_until_idle,
)
from tests.factories import Person, make_person, make_version

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("gateway")]


def test_a_version_that_a_worker_has_looked_at_is_deployed_and_answers(
    ada: Person, iris_file: bytes, iris_model: Any
) -> None:
    version = make_version(ada, files={"model.joblib": iris_file}, ready=False)
    refused = deploy(ada, version)
    assert (refused.status_code, refused.json()["code"]) == (409, "version_not_ready")
    assert "still being looked at" in refused.json()["detail"]
    work_until_idle()

    answer = deploy(ada, version, description="Flowers")
    assert answer.status_code == 201
    made = answer.json()
    assert (made["state"], made["revision"], made["version"], made["warnings"]) == ("Pending", 1, 1, [])
    assert made["endpoint_url"].endswith(f"/serve/{ada.project.slug}/iris-api")
    work_until(lambda: state(ada) == "Active")

    assert ask(ada).json() == {
        "predictions": iris_model.predict(ROWS).tolist(),
        "model_name": "iris",
        "model_version": 1,
    }
    *begun, last = events(ada)
    assert begun[:2] == [
        f"{ada.user.username} asked for version 1 (revision 1).",
        "Version 1 is being started (revision 1).",
    ]
    assert last == "Version 1 answers requests now (revision 1)."
    verbs = AuditEntry.objects.filter(object_type="deployment").order_by("id").values_list("verb", flat=True)
    assert list(verbs) == ["deploy", "activate_revision"]
    logs = ada.api.get(f"{ada.base}/deployments/iris-api/logs?tail=50").json()
    assert isinstance(logs["lines"], list) and logs["lines"]


def test_a_version_that_cannot_be_served_fails_at_once_and_says_why(ada: Person) -> None:
    reason = "This is a bare state_dict: put a predictor.py beside it."
    version = a_version(ada, b"weights", servable=False, servable_reason=reason)
    answer = deploy(ada, version)
    assert answer.status_code == 201
    assert (answer.json()["state"], answer.json()["reason"]) == ("Failed", reason)
    assert not Job.objects.exists()
    asked = ask(ada)
    assert (asked.status_code, asked.json()["detail"]) == (503, reason)
    assert "Retry-After" not in asked.headers

    better = a_quick_version(ada)
    assert deploy(ada, better).status_code == 200
    work_until(lambda: state(ada) == "Active")


def test_a_quarantined_version_is_not_deployed(ada: Person) -> None:
    version = a_version(ada, b"x", status=VersionStatus.QUARANTINED, status_reason="It imports os.system.")
    answer = deploy(ada, version)
    assert answer.status_code == 409
    assert "It imports os.system." in answer.json()["detail"]


def test_a_gpu_that_is_not_there_is_said_aloud_and_the_cpu_serves(ada: Person) -> None:
    answer = deploy(ada, a_quick_version(ada), gpu_type="t4", max_replicas=3)
    sentence = "No T4 is attached to this server: the endpoint runs on the CPU."
    assert answer.json()["gpu_type"] == "T4"
    assert answer.json()["warnings"][0] == sentence
    assert len(answer.json()["warnings"]) == 1
    assert sentence in events(ada)
    work_until(lambda: state(ada) == "Active")


def test_a_gpu_that_is_not_there_is_waited_for_where_the_setting_says_so(
    ada: Person, settings: Any, engine: EngineProcess
) -> None:
    settings.NO_GPU = "wait"
    answer = deploy(ada, a_quick_version(ada), gpu_type="A100")
    work_until_idle()
    waiting = endpoint(ada)
    assert answer.json()["state"] == waiting["state"] == "Pending"
    assert waiting["reason"] == "No A100 is attached to this server: the endpoint waits until there is one."
    assert not engine.living()
    ada.api.patch(f"{ada.base}/deployments/iris-api", {"gpu_type": ""}, format="json")
    work_until(lambda: state(ada) == "Active")


def test_an_unknown_gpu_type_is_refused_with_the_list_of_known_ones(ada: Person) -> None:
    answer = deploy(ada, a_quick_version(ada), gpu_type="T5")
    assert answer.status_code == 400
    assert "A100" in answer.json()["errors"]["gpu_type"][0]


@pytest.mark.parametrize("name", ["", "Iris", "-iris", "iris-", "i" * 64, "iris api", "../etc", "iris\n"])
def test_a_wrong_endpoint_name_is_refused(ada: Person, name: str) -> None:
    answer = deploy(ada, a_version(ada, b"x"), name)
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == ["endpoint_name"]


@pytest.mark.parametrize("low,high", [(-1, 1), (0, 0), (2, 1), (1, 33)])
def test_wrong_numbers_of_replicas_are_refused(ada: Person, low: int, high: int) -> None:
    answer = deploy(ada, a_version(ada, b"x"), min_replicas=low, max_replicas=high)
    assert answer.status_code == 400


def test_an_endpoint_name_belongs_to_one_model(ada: Person) -> None:
    deploy(ada, a_quick_version(ada))
    answer = deploy(ada, a_quick_version(ada, model_name="roses"))
    assert (answer.status_code, answer.json()["code"]) == (409, "endpoint_name_taken")
    assert "serves the model iris" in answer.json()["detail"]


def test_who_may_not_change_things_may_not_deploy(ada: Person) -> None:
    version = a_quick_version(ada)
    viewer = make_person(ada.project, Role.VIEWER)
    reader = make_person(ada.project, Role.ADMIN, scopes=(Scope.READ,))
    stranger = make_person(ada.project, None)
    assert [deploy(who, version).status_code for who in (viewer, reader, stranger)] == [403, 403, 404]
    deploy(ada, version)
    address = f"{ada.base}/deployments/iris-api"
    for who, status in ((viewer, 403), (stranger, 404)):
        assert who.api.post(f"{address}/undeploy").status_code == status
        assert who.api.patch(address, {"min_replicas": 1}, format="json").status_code == status
        assert who.api.delete(address).status_code == status
    assert viewer.api.get(address).status_code == 200
    assert stranger.api.get(address).status_code == 404


def test_a_change_makes_the_next_revision_and_no_change_makes_none(
    ada: Person, engine: EngineProcess
) -> None:
    deployed(ada, a_quick_version(ada, "return [1 for row in rows]"))
    address = f"{ada.base}/deployments/iris-api"
    same = ada.api.patch(address, {"min_replicas": 1, "version": "latest"}, format="json")
    assert (same.status_code, same.json()["revision"]) == (200, 1)
    second = a_quick_version(ada)
    ada.api.put(f"{ada.base}/models/iris/aliases/best", {"version": second.number}, format="json")
    changed = ada.api.patch(address, {"version": "best"}, format="json").json()
    assert (changed["state"], changed["revision"], changed["version"]) == ("Updating", 2, 2)
    assert changed["serving_version"] == 1
    assert ask(ada).json()["model_version"] == 1
    work_until(lambda: state(ada) == "Active")
    assert ask(ada).json()["predictions"] == [7] * len(ROWS)
    work_until_idle()
    assert len(engine.living()) == 1


def test_a_change_to_a_version_that_cannot_load_leaves_the_old_one_serving(
    ada: Person, engine: EngineProcess
) -> None:
    deployed(ada, a_quick_version(ada))
    deploy(ada, a_version(ada, b"no joblib file at all"))
    work_until(lambda: state(ada) == "Degraded")
    found = endpoint(ada)
    assert found["reason"].startswith("Version 2 could not take over: ")
    assert found["reason"].endswith("Version 1 goes on serving.")
    assert ask(ada).json()["model_version"] == 1
    work_until_idle()
    assert len(engine.living()) == 1


def test_undeploy_deploy_again_and_delete(ada: Person, engine: EngineProcess) -> None:
    deployed(ada, a_quick_version(ada))
    address = f"{ada.base}/deployments/iris-api"
    assert ada.api.delete(address).json()["code"] == "endpoint_in_use"
    assert ada.api.post(f"{address}/deploy").json()["code"] == "already_deployed"
    assert ada.api.delete(f"{ada.base}/models/iris").json()["code"] == "live_endpoint"

    assert ada.api.post(f"{address}/undeploy").json()["state"] == "Undeploying"
    refused = ada.api.delete(address).json()["detail"]
    assert refused == "iris-api is Undeploying; only one that is Inactive or Failed can be deleted."
    down = ask(ada)
    assert (down.status_code, down.json()["code"]) == (503, "endpoint_not_live")
    work_until(lambda: state(ada) == "Inactive")
    assert not engine.client.services()
    assert ada.api.post(f"{address}/undeploy").json()["state"] == "Inactive"
    assert ada.api.patch(address, {"max_replicas": 2}, format="json").json()["code"] == "endpoint_down"

    again = ada.api.post(f"{address}/deploy").json()
    assert (again["state"], again["revision"], again["version"]) == ("Pending", 2, 1)
    work_until(lambda: state(ada) == "Active")
    assert ask(ada).status_code == 200

    ada.api.post(f"{address}/undeploy")
    work_until(lambda: state(ada) == "Inactive")
    assert ada.api.delete(address).status_code == 204
    assert ada.api.get(address).status_code == 404
    assert deploy(ada, ModelVersion.objects.get()).status_code == 201


def test_a_change_of_the_rollout_or_the_engine_alone_stands_in_the_trail_and_the_history(ada: Person) -> None:
    deploy(ada, a_version(ada, b"x", servable=False, servable_reason="No."), idle_seconds=60)
    whole = AuditEntry.objects.get(verb="deploy").after
    assert (whole["engine"], whole["idle_seconds"], whole["max_batch_size"]) == ("", 60, 1)
    address, who = f"{ada.base}/deployments/iris-api", ada.user.username
    entries = AuditEntry.objects.filter(verb="update_deployment").order_by("id")
    for _ in range(2):
        ada.api.patch(address, {"rollout": {"steps": [10, 50]}}, format="json")
        ada.api.patch(address, {"engine": "ray"}, format="json")
    steps, engine = entries
    assert (steps.before, steps.after["rollout"]["steps"]) == ({"rollout": {}}, [10, 50])
    assert (engine.before, engine.after) == ({"engine": ""}, {"engine": "ray"})
    assert events(ada)[-2:] == [
        f"{who} asked that the next change moves the requests by steps of 10 %, 50 %.",
        f"{who} asked for the engine ray.",
    ]


def test_the_list_is_filtered_and_costs_the_same_for_any_number(ada: Person) -> None:
    iris, roses = a_quick_version(ada), a_version(ada, b"x", "roses", servable=False)
    for number in range(5):
        deploy(ada, iris, f"iris-{number}")
    deploy(ada, roses, "roses-api")

    def names(query: str) -> list[str]:
        answer = ada.api.get(f"{ada.base}/deployments?ordering=endpoint_name&{query}")
        return [row["endpoint_name"] for row in answer.json()["results"]]

    assert names("model=roses") == names("state=Failed") == names("search=ROSE") == ["roses-api"]
    assert len(names("search=iris")) == 5
    Deployment.objects.filter(endpoint_name="iris-1").update(follows="latest-prod", engine="ray")
    assert names("follows=latest-prod") == names("engine=ray") == ["iris-1"]
    assert "iris-0" in names("engine=local"), "what names no engine runs on the default one"
    assert ada.api.get(f"{ada.base}/deployments?colour=red").status_code == 400
    with CaptureQueriesContext(connection) as few:
        names("model=roses")
    with CaptureQueriesContext(connection) as many:
        names("model=iris")
    assert len(few) == len(many)
