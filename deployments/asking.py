"""What the portal asks of a running endpoint on a person's behalf: its inputs, one prediction, its replicas."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import urllib3
from django.utils import timezone

from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from deployments.choices import EndpointState, RevisionState, Wanted
from deployments.engines import engine_for
from deployments.engines.base import EngineError
from deployments.errors import BadAnswer, NotLive, Refused, TooSlow
from deployments.inputs import FREE, Inputs, inputs_from, inputs_told, mappings
from deployments.models import Deployment, DeploymentRevision
from deployments.queries import find_deployment
from deployments.wanting import look_soon
from registry.models import Inspection

POOL = urllib3.PoolManager(num_pools=16, maxsize=8, retries=False)
LONGEST_ANSWER = 4 * 1024 * 1024
LONGEST_REQUEST = 1024 * 1024
ABOUT_SECONDS = 3.0


@dataclass(frozen=True)
class Prediction:
    """What the endpoint answered, and which version it was."""

    answer: Any
    version: int
    milliseconds: float


def inputs_of(*, actor: Actor, project: Project, endpoint_name: str) -> Inputs:
    """What a row of the endpoint looks like, by the process that serves it, else by the version's files."""
    require(actor, project, Right.READ)
    deployment = find_deployment(project, endpoint_name)
    revision = deployment.serving_revision or deployment.wanted_revision
    if revision is None:
        return FREE
    about = _told(deployment, revision) if revision.address else {}
    return inputs_told(about) if about else inputs_from(_inspected(revision))


def try_prediction(*, actor: Actor, project: Project, endpoint_name: str, rows: Sequence[Any]) -> Prediction:
    """One answer of what serves now. It is not counted in the endpoint's traffic."""
    require(actor, project, Right.PREDICT)
    deployment = find_deployment(project, endpoint_name)
    revision = _live(deployment)
    content = json.dumps({"instances": list(rows)}).encode()
    if len(content) > LONGEST_REQUEST:
        raise Refused(f"The rows have {len(content)} bytes; try at most {LONGEST_REQUEST} here.", 413)
    began = timezone.now()
    status, body = _send(revision, "POST", "/predict", content, float(deployment.timeout_seconds))
    spent = (timezone.now() - began).total_seconds() * 1000
    found = _parsed(body)
    if status >= 400:
        sentence = _sentence(found, f"The model's process answered with status {status}.")
        raise Refused(sentence, status) if status < 500 else BadAnswer(sentence, "See the endpoint's logs.")
    return Prediction(found, revision.version.number, spent)


def replica_names(
    *, actor: Actor, project: Project, endpoint_name: str, revision: DeploymentRevision | None
) -> list[str]:
    """The replicas of one of the endpoint's revisions that the engine knows now."""
    require(actor, project, Right.READ)
    deployment = find_deployment(project, endpoint_name)
    if revision is None:
        return []
    try:
        service = engine_for(deployment.engine).observe(revision.service_id)
    except EngineError:
        return []
    return [replica.id for replica in service.replicas] if service else []


def _live(deployment: Deployment) -> DeploymentRevision:
    revision = deployment.serving_revision
    if deployment.wanted == Wanted.RUNNING and revision is not None:
        if revision.address:
            return revision
        if revision.state == RevisionState.ASLEEP or deployment.state == EndpointState.ASLEEP:
            Deployment.objects.filter(pk=deployment.pk).update(wake_asked_at=timezone.now())
            look_soon(deployment)
            raise NotLive("The endpoint slept and is being woken.", "Try again in a few seconds.")
    raise NotLive(
        deployment.reason
        or f"The endpoint {deployment.endpoint_name} is {deployment.state}: it does not answer requests."
    )


def _send(
    revision: DeploymentRevision, method: str, path: str, content: bytes, seconds: float
) -> tuple[int, bytes]:
    try:
        answer = POOL.request(
            method,
            revision.address + path,
            body=content or None,
            headers={"X-Serving-Key": revision.serving_key, "Content-Type": "application/json"},
            timeout=urllib3.Timeout(connect=2, read=seconds),
            redirect=False,
            preload_content=False,
        )
        body = answer.read(LONGEST_ANSWER + 1)
    except urllib3.exceptions.ReadTimeoutError as error:
        raise TooSlow(f"The model did not answer within {seconds:g} s.", "Send fewer rows.") from error
    except urllib3.exceptions.HTTPError as error:
        raise NotLive("The process behind the endpoint does not answer.", "Try again shortly.") from error
    if len(body) > LONGEST_ANSWER:
        answer.close()
        raise BadAnswer("The model's answer is too large for this page.", "Send fewer rows.")
    answer.release_conn()
    return answer.status, body


def _told(deployment: Deployment, revision: DeploymentRevision) -> Mapping[str, Any]:
    path = f"/v2/models/{deployment.endpoint_name}"
    try:
        status, body = _send(revision, "GET", path, b"", ABOUT_SECONDS)
        found = _parsed(body) if status == 200 else {}
    except (NotLive, TooSlow, BadAnswer):
        return {}
    return found if isinstance(found, Mapping) else {}


def _inspected(revision: DeploymentRevision) -> list[Mapping[str, Any]]:
    rows = Inspection.objects.filter(manifest=revision.version.manifest_id)
    details = rows.values_list("details", flat=True).first() or {}
    return mappings((details.get("signature") or {}).get("inputs"))


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise BadAnswer("The model's process answered with something that is no prediction.") from error


def _sentence(found: Any, otherwise: str) -> str:
    said = found.get("detail") or found.get("error") if isinstance(found, Mapping) else None
    return str(said)[:5000] if said else otherwise
