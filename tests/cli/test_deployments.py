"""`podstack deployments`, while nothing serves yet; predictions of a live endpoint: tests/e2e/test_cli.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.choices import EndpointState
from deployments.models import Deployment
from registry.models import ModelVersion
from tests.cli.conftest import CommandLine
from tests.deployments.conftest import GatewayProcess, gateway, gateway_process
from tests.factories import make_version

__all__ = ["gateway", "gateway_process"]  # fixtures


def make_servable(podstack: CommandLine) -> None:
    """The next version of iris, of which the server says that it can be served."""
    version = make_version(podstack.person, "iris")
    ModelVersion.objects.filter(pk=version.pk).update(servable=True)


@pytest.fixture
def deployed(podstack: CommandLine) -> CommandLine:
    """A version of iris that was just asked to be deployed to `live`."""
    make_servable(podstack)
    podstack("deployments", "deploy", "iris/1", "live", "--description", "Flowers", "--max-replicas", "2")
    return podstack


def test_a_version_is_deployed_listed_and_shown(deployed: CommandLine) -> None:
    rows = deployed.table("deployments", "list")
    assert rows[0] == ["ENDPOINT", "MODEL", "VERSION", "SERVING", "STATE", "GPU", "UPDATED"]
    assert rows[1][:5] == ["live", "iris", "1", "-", "Pending"]
    assert deployed.json("deployments", "show", "live") == deployed.rest("/deployments/live")
    assert deployed.json("deployments", "list") == deployed.rest("/deployments")["results"]
    assert "no model 'rose'" in deployed("deployments", "list", "--model", "rose", code=4).stderr
    assert len(deployed.json("deployments", "list", "--state", "Pending", "--search", "flow")) == 1
    assert len(deployed.json("deployments", "list", "--engine", "local")) == 1
    assert deployed.json("deployments", "list", "--engine", "ray") == []
    assert deployed.json("deployments", "list", "--follows", "latest") == []
    assert deployed.doors() == {"cli"}


def test_an_endpoint_is_changed_taken_down_and_deleted(deployed: CommandLine) -> None:
    make_servable(deployed)
    changed = deployed.json("deployments", "update", "live", "--version", "latest", "--max-replicas", "3")
    assert (changed["version"], changed["max_replicas"], changed["description"]) == (2, 3, "Flowers")
    assert "Error: " in deployed("deployments", "delete", "live", "--yes", code=1).stderr
    assert deployed.json("deployments", "undeploy", "live")["state"] in ("Undeploying", "Inactive")
    Deployment.objects.update(state=EndpointState.INACTIVE)
    assert "of iris (Inactive)?" in deployed("deployments", "delete", "live", typed="n\n", code=1).stderr
    deployed("deployments", "delete", "live", "--yes")
    deployed("deployments", "show", "live", code=4)


def test_an_endpoint_that_is_down_is_deployed_again_as_it_was(deployed: CommandLine) -> None:
    assert "nothing to start again" in deployed("deployments", "deploy-again", "live", code=1).stderr
    deployed("deployments", "undeploy", "live")
    again = deployed.json("deployments", "deploy-again", "live")
    assert (again["state"], again["revision"], again["version"]) == ("Pending", 2, 1)
    assert (again["max_replicas"], again["description"]) == (2, "Flowers")
    deployed("deployments", "undeploy", "live")
    late = deployed("deployments", "deploy-again", "live", "--wait", "--timeout", "0.1", code=1)
    assert "still Pending after 0.1 s" in late.stderr
    deployed("deployments", "deploy-again", "nothing", code=4)


def test_waiting_ends_with_the_reason(deployed: CommandLine) -> None:
    assert (
        "still Pending after 0.1 s"
        in deployed("deployments", "wait", "live", "--timeout", "0.1", code=1).stderr
    )
    Deployment.objects.update(state=EndpointState.FAILED, reason="The model does not load.")
    again = ("deployments", "update", "live", "--description", "x", "--wait")
    assert "The model does not load." in deployed(*again, code=1).stderr


def test_an_endpoint_that_does_not_serve_predicts_nothing(
    gateway: GatewayProcess, deployed: CommandLine, tmp_path: Path
) -> None:
    deployed("deployments", "undeploy", "live")  # one that is on its way is waited for
    (tmp_path / "rows.json").write_text("[[1, 2]]")
    refused = deployed("deployments", "predict", "live", str(tmp_path / "rows.json"), code=1)
    assert refused.stderr.startswith("Error: ")
    (tmp_path / "rows.json").write_bytes(b"\xff[[1, 2]]")
    refused = deployed("deployments", "predict", "live", str(tmp_path / "rows.json"), code=2)
    assert "is not JSON" in refused.stderr
    deployed("deployments", "predict", "live", typed="{[", code=2)
    deployed("deployments", "predict", "live", str(tmp_path / "none.json"), code=2)
    deployed("deployments", "predict", "nothing", typed="[[1]]", code=4)


def test_what_cannot_be_deployed_is_told(podstack: CommandLine, viewer: CommandLine) -> None:
    make_version(podstack.person, "iris", ready=False)
    assert podstack("deployments", "deploy", "iris/1", "live", code=1).stderr.startswith("Error: ")
    assert "gpu" in podstack("deployments", "deploy", "iris/1", "live", "--gpu-type", "X9", code=1).stderr
    podstack("deployments", "deploy", "iris/7", "live", code=4)
    podstack("deployments", "deploy", "iris/1", "live", "--min-replicas", "many", code=2)
    viewer("deployments", "deploy", "iris/1", "live", code=3)
    assert not Deployment.objects.exists()


def test_a_change_ends_what_serves_first_where_that_is_asked_for(deployed: CommandLine) -> None:
    assert deployed.json("deployments", "update", "live", "--replace")["rollout"] == {"replace": True}
    assert deployed.json("deployments", "update", "live", "--at-once")["rollout"] == {}
    refused = deployed("deployments", "update", "live", "--replace", "--canary", "10", code=2)
    assert "--canary, --at-once and --replace are three ways; name one." in refused.stderr
