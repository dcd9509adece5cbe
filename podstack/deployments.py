"""Calls on endpoints."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from podstack.calls import Calls, given
from podstack.errors import PodstackWarning, ServerError
from podstack.http import RETRIED, Body, path_of
from podstack.models import Deployment
from podstack.values import dump


class DeploymentCalls(Calls):
    """`endpoint_name` is a deployment's name."""

    def deploy_model(
        self,
        model_name: str,
        version: int | str,
        endpoint_name: str,
        gpu_type: str | None = None,
        min_replicas: int = 1,
        max_replicas: int = 1,
        description: str = "",
    ) -> Deployment:
        """Deploys a version, by number or alias, to an endpoint; one of the same model is updated.

        Returns at once: `deployment.wait()` waits until it answers. Warns with what the server found
        remarkable, and with the reason when it cannot work.
        """
        body = {
            "model_name": model_name,
            "version": version,
            "endpoint_name": endpoint_name,
            "min_replicas": min_replicas,
            "max_replicas": max_replicas,
            "description": description,
            **given(gpu_type=gpu_type),
        }
        return self._with_warnings(self.http.call("POST", self.path("deployments"), json=body))

    def get_deployment(self, endpoint_name: str) -> Deployment:
        """One endpoint as it is now."""
        return self._deployment(self.http.call("GET", self.path("deployments", endpoint_name)))

    def list_deployments(
        self, search: str | None = None, model_name: str | None = None, state: str | None = None
    ) -> Iterator[Deployment]:
        """The project's endpoints, or those of one model or in one state."""
        return self.listed(self._deployment, ("deployments",), search=search, model=model_name, state=state)

    def update_deployment(
        self,
        endpoint_name: str,
        version: int | str | None = None,
        gpu_type: str | None = None,
        min_replicas: int | None = None,
        max_replicas: int | None = None,
        description: str | None = None,
    ) -> Deployment:
        """Changes what is given and leaves the rest; `gpu_type=""` goes back to the CPU."""
        body = given(
            version=version,
            gpu_type=gpu_type,
            min_replicas=min_replicas,
            max_replicas=max_replicas,
            description=description,
        )
        return self._with_warnings(
            self.http.call("PATCH", self.path("deployments", endpoint_name), json=body)
        )

    def undeploy(self, endpoint_name: str) -> Deployment:
        """Takes an endpoint down and keeps its name and history."""
        answer = self.http.call("POST", self.path("deployments", endpoint_name, "undeploy"))
        return self._deployment(answer) if answer else self.get_deployment(endpoint_name)

    def delete_deployment(self, endpoint_name: str) -> None:
        """Deletes an endpoint that is Inactive or Failed; ConflictError for any other."""
        self.http.call("DELETE", self.path("deployments", endpoint_name))

    def predict(self, endpoint_name: str, rows: Any) -> list[Any]:
        """One prediction per row from a live endpoint.

        Rows are lists of numbers, or dictionaries by column; numpy arrays and pandas tables work too.
        ServerError with the reason when the endpoint is not live.
        """
        content = dump({"instances": rows})
        response = self.http.send(
            "POST",
            path_of("serve", self.project, endpoint_name),
            body=Body(lambda: content),
            retried=RETRIED - {503},  # an endpoint that is not live says so with 503, and says why
        )
        answer = self.http.parse(response)
        if not isinstance(answer, dict) or "predictions" not in answer:
            raise ServerError(f"{endpoint_name} answered without predictions.", status=response.status_code)
        return list(answer["predictions"])

    def _deployment(self, data: Mapping[str, Any]) -> Deployment:
        return Deployment.from_json(data, calls=self)

    def _with_warnings(self, data: Mapping[str, Any]) -> Deployment:
        deployment = self._deployment(data)
        for text in deployment.warnings:
            warnings.warn(text, PodstackWarning, stacklevel=3)
        if deployment.state in ("Failed", "Degraded"):
            reason = deployment.reason or "The server gave no reason."
            sentence = f"{deployment.endpoint_name} cannot run version {deployment.version}: {reason}"
            warnings.warn(sentence, PodstackWarning, stacklevel=3)
        return deployment
