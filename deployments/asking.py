"""What the portal asks of a running endpoint on a person's behalf: its inputs, one prediction, its replicas."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from django.utils import timezone

from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from artifacts.services import release_connection
from common.deadlines import cut_at
from common.errors import Busy
from deployments.choices import EndpointState, RevisionState, Wanted
from deployments.engines import engine_for
from deployments.engines.base import EngineError
from deployments.errors import BadAnswer, NotLive, Refused, TooSlow
from deployments.inputs import FREE, Inputs, inputs_from, inputs_told, mappings
from deployments.models import Deployment, DeploymentRevision
from deployments.queries import find_deployment, gives_way
from deployments.wanting import look_soon
from registry.models import Inspection

LONGEST_ANSWER = 4 * 1024 * 1024
LONGEST_REQUEST = 1024 * 1024
ABOUT_SECONDS = 3.0
CONNECT_SECONDS = 2.0
TRY_SECONDS = 30.0  # of a thread of the web process, however long the endpoint's own callers may wait
MOST_AT_ONCE = 8  # of a process's threads (WEB_THREADS), so that slow models leave the others their pages
_PLACES = threading.BoundedSemaphore(MOST_AT_ONCE)


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
    seconds = min(float(deployment.timeout_seconds), TRY_SECONDS)
    status, body = _send(revision, "POST", "/predict", content, seconds)
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
        asleep = revision.state == RevisionState.ASLEEP or deployment.state == EndpointState.ASLEEP
        if asleep and not gives_way(deployment):
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
    """Status and body of the answer, which has so many seconds in all. No database connection is held meanwhile."""
    if not _PLACES.acquire(blocking=False):
        raise Busy(f"{MOST_AT_ONCE} endpoints are being asked here at once.", "Try again in some seconds.")
    until = time.monotonic() + seconds
    try:
        release_connection()
        status, body = _exchange(revision, method, path, content, until)
    except (OSError, HTTPException) as error:
        _check_time(until, seconds)
        raise NotLive("The process behind the endpoint does not answer.", "Try again shortly.") from error
    finally:
        _PLACES.release()
    if len(body) > LONGEST_ANSWER:
        raise BadAnswer("The model's answer is too large for this page.", "Send fewer rows.")
    _check_time(until, seconds)
    return status, body


def _exchange(
    revision: DeploymentRevision, method: str, path: str, content: bytes, until: float
) -> tuple[int, bytes]:
    address = urlsplit(revision.address)
    host, port = address.hostname or "127.0.0.1", address.port or 80
    headers = {"X-Serving-Key": revision.serving_key, "Content-Type": "application/json"}
    with closing(HTTPConnection(host, port, timeout=CONNECT_SECONDS)) as connection:
        connection.connect()
        with cut_at(until, connection.sock):
            connection.sock.settimeout(None)
            connection.request(method, address.path.rstrip("/") + path, content or None, headers)
            with closing(connection.getresponse()) as answer:
                return answer.status, answer.read(LONGEST_ANSWER + 1)


def _check_time(until: float, seconds: float) -> None:
    """What came later is cut off."""
    if time.monotonic() >= until:
        raise TooSlow(
            f"The model did not answer within {seconds:g} s.",
            "Send fewer rows, or ask at the endpoint's own address.",
        )


def _told(deployment: Deployment, revision: DeploymentRevision) -> Mapping[str, Any]:
    path = f"/v2/models/{deployment.endpoint_name}"
    try:
        status, body = _send(revision, "GET", path, b"", ABOUT_SECONDS)
        found = _parsed(body) if status == 200 else {}
    except (Busy, TooSlow, BadAnswer):
        return {}
    return found if isinstance(found, Mapping) else {}


def _inspected(revision: DeploymentRevision) -> list[Mapping[str, Any]]:
    rows = Inspection.objects.filter(manifest=revision.version.manifest_id)
    details = rows.values_list("details", flat=True).first() or {}
    return mappings((details.get("signature") or {}).get("inputs"))


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadAnswer("The model's process answered with something that is no prediction.") from error


def _sentence(found: Any, otherwise: str) -> str:
    said = found.get("detail") or found.get("error") if isinstance(found, Mapping) else None
    return str(said)[:5000] if said else otherwise
