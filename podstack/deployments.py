"""Calls on endpoints."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from podstack.calls import given, version_ref
from podstack.errors import PodstackWarning, ServerError
from podstack.http import Body
from podstack.models import Deployment, DeploymentEvent, DeploymentMetrics, DeploymentRevision, GpuType
from podstack.predicting import PredictingCalls
from podstack.values import dump


class DeploymentCalls(PredictingCalls):
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
        *,
        follow: bool | None = None,
        idle_seconds: int | None = None,
        max_batch_size: int | None = None,
        max_delay_ms: int | None = None,
        rollout: Mapping[str, Any] | None = None,
        engine: str | None = None,
        rate_limit: int | None = None,
        timeout_seconds: int | None = None,
        max_body_bytes: int | None = None,
    ) -> Deployment:
        """Deploys a version, by number or alias, to an endpoint; one of the same model is updated.

        An alias is followed from then on, unless `follow=False`. `min_replicas=0` lets the endpoint sleep after
        `idle_seconds` without requests. `rollout={"steps": [10, 50], "bake_seconds": 60, "max_error_rate": 0.05,
        "max_p95_ms": 500}` moves the traffic step by step and back by itself when a limit is broken;
        `rollout={"replace": True}` ends what serves before the new version starts, where there is room for one only.

        Returns at once: `deployment.wait()` waits until it answers. Warns with what the server found
        remarkable, and with the reason when it cannot work.
        """
        body = {
            "model_name": model_name,
            "version": version_ref(version),
            "endpoint_name": endpoint_name,
            "min_replicas": min_replicas,
            "max_replicas": max_replicas,
            "description": description,
            **given(
                gpu_type=gpu_type,
                follow=follow,
                idle_seconds=idle_seconds,
                max_batch_size=max_batch_size,
                max_delay_ms=max_delay_ms,
                rollout=rollout,
                engine=engine,
                rate_limit=rate_limit,
                timeout_seconds=timeout_seconds,
                max_body_bytes=max_body_bytes,
            ),
        }
        return self._with_warnings(self.http.call("POST", self.path("deployments"), json=body))

    def get_deployment(self, endpoint_name: str) -> Deployment:
        """One endpoint as it is now."""
        return self._deployment(self.http.call("GET", self.path("deployments", endpoint_name)))

    def list_deployments(
        self,
        search: str | None = None,
        model_name: str | None = None,
        state: str | None = None,
        *,
        follows: str | None = None,
        engine: str | None = None,
    ) -> Iterator[Deployment]:
        """The project's endpoints, or those of one model, in one state, on one engine, or that follow an alias."""
        asked = {"search": search, "model": model_name, "state": state, "follows": follows, "engine": engine}
        return self.listed(self._deployment, ("deployments",), **asked)

    def update_deployment(
        self,
        endpoint_name: str,
        version: int | str | None = None,
        gpu_type: str | None = None,
        min_replicas: int | None = None,
        max_replicas: int | None = None,
        description: str | None = None,
        *,
        follow: bool | None = None,
        idle_seconds: int | None = None,
        max_batch_size: int | None = None,
        max_delay_ms: int | None = None,
        rollout: Mapping[str, Any] | None = None,
        engine: str | None = None,
        rate_limit: int | None = None,
        timeout_seconds: int | None = None,
        max_body_bytes: int | None = None,
    ) -> Deployment:
        """Changes what is given and leaves the rest.

        `gpu_type=""` goes back to the CPU, `rollout={}` to changes at once, `rate_limit=0` to no limit.
        """
        body = given(
            version=None if version is None else version_ref(version),
            gpu_type=gpu_type,
            min_replicas=min_replicas,
            max_replicas=max_replicas,
            description=description,
            follow=follow,
            idle_seconds=idle_seconds,
            max_batch_size=max_batch_size,
            max_delay_ms=max_delay_ms,
            rollout=rollout,
            engine=engine,
            rate_limit=rate_limit,
            timeout_seconds=timeout_seconds,
            max_body_bytes=max_body_bytes,
        )
        return self._with_warnings(
            self.http.call("PATCH", self.path("deployments", endpoint_name), json=body)
        )

    def undeploy(self, endpoint_name: str) -> Deployment:
        """Takes an endpoint down and keeps its name and history."""
        return self._of_endpoint(endpoint_name, "undeploy")

    def redeploy(self, endpoint_name: str) -> Deployment:
        """Starts an endpoint that is down or whose last change failed, with the version and settings it had.

        ConflictError for one that runs. Returns at once and warns as `deploy_model` does.
        """
        return self._with_warnings(self.http.call("POST", self.path("deployments", endpoint_name, "deploy")))

    def delete_deployment(self, endpoint_name: str) -> None:
        """Deletes an endpoint that is Inactive or Failed; ConflictError for any other."""
        self.http.call("DELETE", self.path("deployments", endpoint_name))

    def rollback_deployment(self, endpoint_name: str, revision: int | None = None) -> Deployment:
        """Goes back at once to an earlier revision: the one given, or the last that served before."""
        return self._of_endpoint(endpoint_name, "rollback", given(revision=revision))

    def promote_rollout(self, endpoint_name: str) -> Deployment:
        """Moves all traffic to the canary now; ConflictError when there is none."""
        return self._of_endpoint(endpoint_name, "promote")

    def abort_rollout(self, endpoint_name: str) -> Deployment:
        """Gives up the change that is on its way; what serves goes on."""
        return self._of_endpoint(endpoint_name, "abort")

    def set_shadow(self, endpoint_name: str, version: int | str) -> Deployment:
        """Sends copies of all requests to a version; its answers are compared and never given."""
        path = self.path("deployments", endpoint_name, "shadow")
        return self._deployment(self.http.call("PUT", path, json={"version": version_ref(version)}))

    def unset_shadow(self, endpoint_name: str) -> Deployment:
        """Ends the copies; what was counted stays."""
        return self._deployment(self.http.call("DELETE", self.path("deployments", endpoint_name, "shadow")))

    def list_deployment_revisions(self, endpoint_name: str) -> Iterator[DeploymentRevision]:
        """All that was asked of an endpoint, newest first."""
        return self.listed(DeploymentRevision.from_json, ("deployments", endpoint_name, "revisions"))

    def list_deployment_events(self, endpoint_name: str) -> Iterator[DeploymentEvent]:
        """What happened to an endpoint, newest first."""
        return self.listed(DeploymentEvent.from_json, ("deployments", endpoint_name, "events"))

    def get_deployment_metrics(self, endpoint_name: str, hours: int = 1) -> DeploymentMetrics:
        """Requests, errors, latencies and replicas over the last hours, 168 at most."""
        path = self.path("deployments", endpoint_name, "metrics")
        return DeploymentMetrics.from_json(self.http.call("GET", path, params=[("hours", str(hours))]))

    def get_deployment_logs(
        self,
        endpoint_name: str,
        tail: int = 200,
        *,
        replica: str | None = None,
        search: str | None = None,
        revision: int | None = None,
    ) -> list[str]:
        """The last lines that the endpoint's processes wrote; of one replica or with a text, if given."""
        asked = given(tail=tail, replica=replica, search=search, revision=revision)
        params = [(name, str(value)) for name, value in asked.items()]
        answer = self.http.call("GET", self.path("deployments", endpoint_name, "logs"), params=params)
        return list(answer["lines"])

    def list_gpu_types(self, engine: str | None = None) -> list[GpuType]:
        """The GPU types that a deployment may ask for, those that are there first."""
        answer = self.http.call("GET", self.path("gpu-types"), params=[("engine", engine or "")])
        return [GpuType.from_json(each) for each in answer["results"]]

    def predict(
        self, endpoint_name: str, rows: Any, *, parameters: Mapping[str, Any] | None = None
    ) -> list[Any]:
        """One prediction per row from a live endpoint.

        Rows are lists of numbers, or dictionaries by column; numpy arrays and pandas tables work too. `parameters`:
        {"method": "predict_proba"} for scikit-learn, {"output": NAME} for ONNX, {"datatype": "INT64"} for torch.
        ServerError with the reason when the endpoint is not live.
        """
        content = dump({"instances": rows, **given(parameters=parameters)})
        response = self._ask_endpoint(endpoint_name, Body(lambda: content))
        answer = self.http.parse(response)
        if not isinstance(answer, dict) or "predictions" not in answer:
            raise ServerError(f"{endpoint_name} answered without predictions.", status=response.status_code)
        return list(answer["predictions"])

    def _of_endpoint(
        self, endpoint_name: str, verb: str, body: Mapping[str, Any] | None = None
    ) -> Deployment:
        path = self.path("deployments", endpoint_name, verb)
        answer = self.http.call("POST", path, json=body)
        return self._deployment(answer) if answer else self.get_deployment(endpoint_name)

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
