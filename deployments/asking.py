"""What the portal asks of a running endpoint on a person's behalf: its inputs, one prediction, its replicas."""

from __future__ import annotations

import json
import math
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
from deployments.models import Deployment, DeploymentRevision
from deployments.queries import find_deployment
from deployments.wanting import look_soon
from registry.models import Inspection

POOL = urllib3.PoolManager(num_pools=16, maxsize=8, retries=False)
LONGEST_ANSWER = 4 * 1024 * 1024
LONGEST_REQUEST = 1024 * 1024
ABOUT_SECONDS = 3.0
MOST_FIELDS = 40
WHOLE = ("INT", "UINT")
TEXTS = ("BYTES", "STRING", "OBJECT", "DATETIME")


@dataclass(frozen=True)
class Field:
    """One value of a row: `kind` is number, whole, text or truth."""

    name: str
    kind: str
    example: Any


@dataclass(frozen=True)
class Inputs:
    """What one row looks like: `fields` where it is a list (or, `named`, an object) of single values."""

    fields: Sequence[Field]
    named: bool
    example: Any

    @property
    def shape(self) -> str:
        """The fields as a form keeps them, for `inputs_as_shown`."""
        fields = [[field.name, field.kind] for field in self.fields]
        return json.dumps({"named": self.named, "fields": fields})


# Rows whose fields nobody knows are typed as JSON.
FREE = Inputs((), False, [1.0, 2.0])


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
    tensors = _told(deployment, revision) if revision and revision.address else []
    if not tensors and revision:
        tensors = _inspected(revision)
    return inputs_from(tensors)


def inputs_from(tensors: Sequence[Mapping[str, Any]]) -> Inputs:
    """From the entries of a signature: columns by name, one row of numbers, or one nested list."""
    known = [(str(each.get("name")), _kind(each), _shape(each)) for each in tensors]
    if len(known) > 1 and len(known) <= MOST_FIELDS and all(_is_column(shape) for _, _, shape in known):
        return _by_fields([(name, kind) for name, kind, _ in known], named=True)
    if len(known) == 1:
        _, kind, shape = known[0]
        width = shape[-1] if len(shape) == 2 else None
        if width and 0 < width <= MOST_FIELDS:
            return _by_fields([(f"Value {number}", kind) for number in range(1, width + 1)], named=False)
        if len(shape) > 2 and all(each and each > 0 for each in shape[1:]) and math.prod(shape[1:]) <= 256:
            return Inputs((), False, _nested(shape[1:], _example(kind)))
    return FREE


def inputs_as_shown(shape: str) -> Inputs | None:
    """The inputs whose `shape` a form sent back; None when it is none."""
    try:
        found = json.loads(shape)
        known = [(str(name), str(kind)) for name, kind in found["fields"][:MOST_FIELDS]]
        return _by_fields(known, named=found["named"] is True) if known else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


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


def _told(deployment: Deployment, revision: DeploymentRevision) -> list[Mapping[str, Any]]:
    path = f"/v2/models/{deployment.endpoint_name}"
    try:
        status, body = _send(revision, "GET", path, b"", ABOUT_SECONDS)
        found = _parsed(body) if status == 200 else {}
    except (NotLive, TooSlow, BadAnswer):
        return []
    inputs = found.get("inputs") if isinstance(found, Mapping) else None
    return [each for each in inputs if isinstance(each, Mapping)] if isinstance(inputs, list) else []


def _inspected(revision: DeploymentRevision) -> list[Mapping[str, Any]]:
    rows = Inspection.objects.filter(manifest=revision.version.manifest_id)
    details = rows.values_list("details", flat=True).first() or {}
    inputs = (details.get("signature") or {}).get("inputs") or []
    return [each for each in inputs if isinstance(each, Mapping)]


def _kind(entry: Mapping[str, Any]) -> str:
    name = str(entry.get("datatype") or entry.get("dtype") or "").upper()
    if name.startswith(("BOOL", "BOOLEAN")):
        return "truth"
    if name.startswith(WHOLE) or name == "LONG":
        return "whole"
    return "text" if name.startswith(TEXTS) else "number"


def _by_fields(known: Sequence[tuple[str, str]], *, named: bool) -> Inputs:
    fields = [Field(name, kind, _example(kind)) for name, kind in known]
    if named:
        return Inputs(fields, True, {field.name: field.example for field in fields})
    return Inputs(fields, False, [field.example for field in fields])


def _shape(entry: Mapping[str, Any]) -> list[int]:
    shape = entry.get("shape")
    return [each if isinstance(each, int) else -1 for each in shape] if isinstance(shape, list) else []


def _is_column(shape: Sequence[int]) -> bool:
    return len(shape) <= 1 or (len(shape) == 2 and shape[1] == 1)


def _example(kind: str) -> Any:
    return {"truth": True, "whole": 1, "text": "some text"}.get(kind, 0.5)


def _nested(shape: Sequence[int], value: Any) -> Any:
    return [_nested(shape[1:], value) for _ in range(shape[0])] if shape else value


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise BadAnswer("The model's process answered with something that is no prediction.") from error


def _sentence(found: Any, otherwise: str) -> str:
    said = found.get("detail") or found.get("error") if isinstance(found, Mapping) else None
    return str(said)[:5000] if said else otherwise
