"""The embedded engine's control API, as its client sees it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import urllib3

from common.checks import shorten
from common.errors import Invalid
from deployments.engines.base import (
    START_SECONDS,
    EngineAway,
    EngineRefused,
    Replica,
    Service,
    ServiceSpec,
    ServiceState,
)

TIMEOUT = urllib3.Timeout(connect=2, read=15)
LONGEST_ANSWER = 16 * 1024 * 1024
# Beyond the engine's own limit, at which it says what is wrong.
LATER = 60


class LocalEngine:
    """Talks to the serving engine daemon at `url`; every call carries its token."""

    reads_folders = True
    longest_preparation = None

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.pool = urllib3.PoolManager(retries=False, timeout=TIMEOUT, maxsize=8)

    def apply(self, spec: ServiceSpec) -> Service:
        wanted = {
            "model_dir": str(spec.model_dir),
            "replicas": spec.replicas,
            "endpoint_name": spec.endpoint_name,
            "model_name": spec.model_name,
            "model_version": spec.model_version,
            "max_batch_size": spec.max_batch_size,
            "max_delay_ms": spec.max_delay_ms,
        }
        status, answer = self._call("PUT", _path(spec.service_id), wanted)
        if status == 409:
            raise EngineAway(_sentence(answer, "The serving engine is still busy with this service."))
        if status >= 400:
            raise EngineRefused(
                _sentence(answer, f"The serving engine refused the service with status {status}.")
            )
        return _service(answer)

    def observe(self, service_id: str) -> Service | None:
        status, answer = self._call("GET", _path(service_id))
        return None if status == 404 else _service(answer)

    def services(self) -> Sequence[Service]:
        _, answer = self._call("GET", "/services")
        return [_service(one) for one in _list(answer, "services")]

    def logs(self, service_id: str, tail: int, replica: str | None = None, search: str = "") -> Sequence[str]:
        asked = urlencode({"tail": tail, "replica": replica or "", "search": search})
        status, answer = self._call("GET", f"{_path(service_id)}/logs?{asked}")
        if status == 400:
            raise Invalid.field(
                "replica", f"replica is {shorten(replica or '')}; {_sentence(answer, 'none is so')}"
            )
        return [] if status == 404 else [str(line) for line in _list(answer, "lines")]

    def stop(self, service_id: str) -> None:
        status, answer = self._call("DELETE", _path(service_id))
        if status >= 400 and status != 404:
            raise EngineRefused(_sentence(answer, f"The serving engine did not stop {service_id}."))

    def gpu_types(self) -> Sequence[str]:
        return []

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        if not self.url:
            raise EngineAway("No serving engine is set: set SERVING_ENGINE_URL to the address of one.")
        content = None if body is None else json.dumps(body).encode()
        try:
            response = self.pool.request(method, self.url + path, body=content, headers=self.headers)
        except urllib3.exceptions.HTTPError as error:
            raise EngineAway(
                "The serving engine does not answer; it is asked again every few seconds."
            ) from error
        if response.status in (401, 403):
            raise EngineAway(
                "The serving engine refuses the platform's token: set SERVING_ENGINE_TOKEN to the engine's."
            )
        answer = _parsed(response.data)
        if response.status >= 500:
            raise EngineAway(_sentence(answer, f"The serving engine failed with status {response.status}."))
        return response.status, answer


def _path(service_id: str) -> str:
    return f"/services/{quote(service_id, safe='')}"


def _parsed(content: bytes) -> Any:
    if len(content) > LONGEST_ANSWER:
        raise EngineAway("The serving engine's answer is too long to be one.")
    try:
        return json.loads(content) if content else None
    except ValueError as error:
        raise EngineAway(
            "The serving engine's answer is no JSON: look at what listens at its address."
        ) from error


def _sentence(answer: Any, otherwise: str) -> str:
    detail = answer.get("detail") if isinstance(answer, dict) else None
    return str(detail) if detail else otherwise


def _list(answer: Any, name: str) -> list[Any]:
    found = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise EngineAway(
            f"The serving engine's answer has no list of {name}: look at what listens at its address."
        )
    return found


def _service(answer: Any) -> Service:
    try:
        return Service(
            service_id=str(answer["id"]),
            state=ServiceState(answer["state"]),
            address=str(answer.get("address") or ""),
            key=str(answer.get("key") or ""),
            reason=str(answer.get("reason") or ""),
            replicas=[Replica(str(one["id"]), ServiceState(one["state"])) for one in answer["workers"]],
            preparing=bool(answer.get("preparing")),
            start_seconds=max(START_SECONDS, int(answer.get("load_seconds") or 0) + LATER),
        )
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise EngineAway(
            "The serving engine's answer is no service: look at what listens at its address."
        ) from error
