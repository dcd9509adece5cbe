"""Endpoints that follow an alias."""

from __future__ import annotations

from typing import Any

import pytest

from approvals.policies import set_approval_policy
from deployments import wanting
from deployments.engines.local import LocalEngine
from deployments.following import follow_aliases
from deployments.models import DeploymentRevision
from registry.aliases import delete_alias, set_alias
from registry.choices import VersionStatus
from registry.models import ModelVersion
from tests.deployments.conftest import a_quick_version, deploy, endpoint, events
from tests.factories import Person, make_person

pytestmark = pytest.mark.django_db(transaction=True)


def point(person: Person, version: Any) -> None:
    set_alias(
        actor=person.actor,
        project=person.project,
        model_name="iris",
        alias="latest-prod",
        version=version.number,
    )


@pytest.fixture
def followed(ada: Person) -> ModelVersion:
    """A version that an endpoint serves because an alias names it."""
    version = a_quick_version(ada)
    point(ada, version)
    body = {"model_name": "iris", "version": "latest-prod", "endpoint_name": "iris-api"}
    made = ada.api.post(f"{ada.base}/deployments", body, format="json").json()
    assert (made["follows"], made["version"]) == ("latest-prod", 1)
    return version


def test_an_endpoint_moves_with_its_alias_and_says_who_moved_it(ada: Person, followed: ModelVersion) -> None:
    assert follow_aliases() == 0
    bob = make_person(ada.project)
    point(bob, a_quick_version(ada))
    assert (follow_aliases(), follow_aliases()) == (1, 0)
    assert (endpoint(ada)["version"], endpoint(ada)["revision"]) == (2, 2)
    assert events(ada)[-1] == (
        f"latest-prod moved to version 2 by {bob.user.username}: the endpoint follows (revision 2)."
    )


class Broken(LocalEngine):
    """An engine with a defect."""

    def gpu_types(self) -> tuple[str, ...]:
        raise RuntimeError("a defect")


def test_an_endpoint_whose_engine_has_a_defect_keeps_no_other_from_following(
    ada: Person, followed: ModelVersion, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a-broken", "z-broken"):
        body = {"model_name": "iris", "version": "latest-prod", "endpoint_name": name, "engine": "ray"}
        assert ada.api.post(f"{ada.base}/deployments", body, format="json").status_code == 201
    real = wanting.engine_for
    monkeypatch.setattr(wanting, "engine_for", lambda name: Broken("", "") if name == "ray" else real(name))
    DeploymentRevision.objects.update(gpu_type="T4")
    point(ada, a_quick_version(ada))
    assert follow_aliases() == 1
    assert endpoint(ada)["version"] == 2
    assert caplog.text.count("RuntimeError: a defect") == 2


def test_what_is_not_ready_or_not_approved_is_not_followed(ada: Person, followed: ModelVersion) -> None:
    second = a_quick_version(ada)
    point(ada, second)
    ModelVersion.objects.filter(pk=second.pk).update(status=VersionStatus.QUARANTINED)
    assert (follow_aliases(), follow_aliases()) == (0, 0)
    said = "latest-prod moved to version 2, which is Quarantined. Version 1 stays."
    assert events(ada).count(said) == 1
    ModelVersion.objects.filter(pk=second.pk).update(status=VersionStatus.READY)
    set_approval_policy(actor=ada.actor, project=ada.project, model_name="iris")
    assert follow_aliases() == 0
    assert "only what was approved is followed" in events(ada)[-1]
    ModelVersion.objects.filter(pk=second.pk).update(stage="Production")
    assert follow_aliases() == 1


def test_a_change_of_a_limit_deploys_nothing_that_the_policy_does_not_let_through(
    ada: Person, followed: ModelVersion
) -> None:
    set_approval_policy(actor=ada.actor, project=ada.project, model_name="iris")
    second, address = a_quick_version(ada), f"{ada.base}/deployments/iris-api"
    point(ada, second)
    change = {"version": "latest-prod", "rate_limit": 5}
    changed = ada.api.patch(address, change, format="json").json()
    assert (changed["version"], changed["revision"], changed["rate_limit"]) == (1, 1, 5)
    assert changed["follows"] == "latest-prod"
    ModelVersion.objects.filter(pk=second.pk).update(stage="Production")
    assert ada.api.patch(address, change, format="json").json()["version"] == 2
    delete_alias(actor=ada.actor, project=ada.project, model_name="iris", alias="latest-prod")
    kept = ada.api.patch(address, {**change, "max_replicas": 2}, format="json").json()
    assert (kept["version"], kept["max_replicas"], kept["follows"]) == (2, 2, "latest-prod")


def test_an_alias_of_what_nobody_approved_is_not_begun_to_be_followed(ada: Person) -> None:
    version = a_quick_version(ada)
    set_approval_policy(actor=ada.actor, project=ada.project, model_name="iris")
    point(ada, version)
    deploy(ada, version)
    body = {"model_name": "iris", "version": "latest-prod", "endpoint_name": "other"}
    for refused in (
        ada.api.patch(f"{ada.base}/deployments/iris-api", {"version": "latest-prod"}, format="json"),
        ada.api.post(f"{ada.base}/deployments", body, format="json"),
    ):
        assert (refused.status_code, refused.json()["code"]) == (409, "not_approved")
        assert refused.json()["detail"] == (
            "latest-prod names version 1, which is not in Production, and a policy guards that stage: "
            "only what was approved is followed."
        )
    read_once = ada.api.post(f"{ada.base}/deployments", {**body, "follow": False}, format="json")
    assert (read_once.status_code, read_once.json()["follows"]) == (201, "")


def test_a_number_pins_and_an_alias_that_is_gone_changes_nothing(ada: Person, followed: ModelVersion) -> None:
    delete_alias(actor=ada.actor, project=ada.project, model_name="iris", alias="latest-prod")
    assert follow_aliases() == 0
    assert events(ada)[-1] == "The alias latest-prod is gone. Version 1 stays."
    address = f"{ada.base}/deployments/iris-api"
    assert ada.api.patch(address, {"version": 1}, format="json").json()["follows"] == ""
    refused = ada.api.patch(address, {"version": 1, "follow": True}, format="json")
    assert list(refused.json()["errors"]) == ["follow"]
    assert deploy(ada, followed, "pinned").json()["follows"] == ""
