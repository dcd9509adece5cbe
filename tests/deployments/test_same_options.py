"""An endpoint is asked for alike at each door: by the portal's form, REST, the SDK and the command line."""

from __future__ import annotations

import inspect

import pytest

from deployments.api.serializers import DeploymentChange, DeploymentInput
from deployments.forms import ChangeForm, DeployForm, RunsWith
from podstack import MLOpsClient
from podstack.cli.deployments import deploy, update_deployment

# Elsewhere they are `rollout`; the form's choice of versions says by itself whether an alias is followed, and its page
# says which model.
OF_A_ROLLOUT = {"steps", "bake_seconds", "max_error_percent", "max_p95_ms"}
SAID_OTHERWISE = {"follow", "model_name"}
CLI_ROLLOUT = {"canary", "at_once", "replace", "bake_seconds", "max_error_rate", "max_p95_ms"}
# Of each command, and of all that may wait.
ARGUMENTS = {"model_name", "version", "endpoint_name", "words"}
ONLY_CLI = {"output", "quiet", "project", "profile", "token", "endpoint", "wait", "timeout"}


def of_form(form: type[RunsWith]) -> set[str]:
    return set(form.base_fields) - OF_A_ROLLOUT


def of_sdk(verb: str) -> set[str]:
    return set(inspect.signature(getattr(MLOpsClient, verb)).parameters) - {"self"}


@pytest.mark.parametrize(
    ("form", "rest", "verb", "command"),
    [
        (DeployForm, DeploymentInput, "deploy_model", deploy),
        (ChangeForm, DeploymentChange, "update_deployment", update_deployment),
    ],
)
def test_each_door_takes_the_same(form: type[RunsWith], rest: type, verb: str, command: object) -> None:
    named = set(rest().fields)
    in_address = {"endpoint_name"} if verb == "update_deployment" else set()
    assert of_form(form) == named - SAID_OTHERWISE
    assert of_sdk(verb) == named | in_address
    options = {each.name for each in command.params if each.name != "help"} - ONLY_CLI  # type: ignore[attr-defined]
    assert {"rollout"} | (options - CLI_ROLLOUT) - ARGUMENTS == named - ARGUMENTS
    assert options >= CLI_ROLLOUT
