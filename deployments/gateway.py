"""The door at an endpoint's own address: checks the token, finds what serves now, passes the request on.

Only bearer tokens count here, never cookies, so a page in somebody's browser can do nothing with them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

import urllib3
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from accounts.choices import Door, Right
from accounts.permissions import Actor, find_project, require
from accounts.services import authenticate_token
from common.api.problems import CONTENT_TYPE, as_domain_error, body, headers, request_id_of
from common.errors import Invalid, Missing, TooLarge, Unauthenticated
from deployments.choices import Wanted
from deployments.errors import BadAnswer, NotLive, Refused, TooSlow, WrongMethod
from deployments.models import Deployment, DeploymentRevision
from deployments.queries import BEING_DEPLOYED, find_route, no_endpoint

log = logging.getLogger(__name__)

# One pool per process keeps connections to serving processes open between requests.
POOL = urllib3.PoolManager(
    num_pools=128, maxsize=64, retries=False, timeout=urllib3.Timeout(connect=2, read=60)
)
LONGEST_ANSWER = 64 * 1024 * 1024
RETRY_AFTER = 2
# What a process answers that is being drained, or that took over a port: this is no longer the right address.
WRONG_ADDRESS = (401, 503)

View = Callable[..., HttpResponse]


class Unreachable(Exception):
    """Nothing answers at the route that was read."""


@dataclass(frozen=True)
class Question:
    """One request as it is passed on."""

    method: str
    path: str
    content: bytes
    request_id: str


@dataclass(frozen=True)
class Answer:
    """What the process of one revision said."""

    content: bytes
    revision: DeploymentRevision


def answered(view: View) -> View:
    """Every refusal as problem+json; `error` is where the Open Inference Protocol looks for the sentence."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except Exception as error:
            known = as_domain_error(error)
            if known is None:
                raise
            document = {**body(known, request_id_of(request)), "error": known.message}
            return JsonResponse(
                document, status=known.status, content_type=CONTENT_TYPE, headers=headers(known, error)
            )

    return wrapped


@csrf_exempt
@answered
def predict(request: HttpRequest, project: str, endpoint: str) -> HttpResponse:
    """POST {"instances": [...]} -> {"predictions": [...], "model_name", "model_version"}."""
    deployment = _authorized(request, project, endpoint)
    if request.method != "POST":
        raise WrongMethod(f"{request.method} is not allowed here.", 'POST {"instances": [[…], …]}.')
    answer = _ask(deployment, Question("POST", "/predict", _content(request), request_id_of(request)))
    names = {"model_name": deployment.model.name, "model_version": answer.revision.version.number}
    return _json(_with_names(answer.content, names))


@csrf_exempt
@answered
def protocol(request: HttpRequest, project: str, endpoint: str, path: str = "") -> HttpResponse:
    """The Open Inference Protocol v2 of one endpoint, passed through."""
    deployment = _authorized(request, project, endpoint)
    model = f"models/{endpoint}"
    method = {
        "": "GET",
        "health/live": "GET",
        "health/ready": "GET",
        model: "GET",
        f"{model}/ready": "GET",
    }.get(path)
    method = "POST" if path == f"{model}/infer" else method
    if method is None:
        raise Missing(
            f"There is nothing at v2/{path[:200]} of this endpoint.",
            f"Its model is called {endpoint}: v2/{model}.",
        )
    if request.method != method:
        raise WrongMethod(f"{request.method} is not allowed here.", f"Use {method}.")
    content = _content(request) if method == "POST" else b""
    return _json(
        _ask(deployment, Question(method, f"/v2/{path}".rstrip("/"), content, request_id_of(request))).content
    )


def _authorized(request: HttpRequest, project_slug: str, endpoint_name: str) -> Deployment:
    """The endpoint, for a token that may ask it; to who is no member neither project nor endpoint exist."""
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated(
            "This needs an API token.", "Send it in the header Authorization: Bearer podstack_…"
        )
    token = authenticate_token(text.strip())
    actor = Actor(user=token.user, door=Door.REST, token=token, request_id=request_id_of(request))
    deployment = find_route(project_slug, endpoint_name)
    if deployment is None or actor.role_in(deployment.project) is None:
        project = find_project(actor, project_slug)
        require(actor, project, Right.PREDICT)
        raise no_endpoint(project, endpoint_name)
    require(actor, deployment.project, Right.PREDICT)
    return deployment


def _content(request: HttpRequest) -> bytes:
    limit = settings.MAX_JSON_BYTES
    if not request.META.get("CONTENT_LENGTH") and request.headers.get("Transfer-Encoding"):
        raise Invalid("The request has no Content-Length.", "Send the body in one piece, with its length.")
    content = request.read(limit + 1)
    if len(content) > limit:
        raise TooLarge(f"The body is larger than {limit} bytes.", "Send the rows in several requests.")
    return content


def _ask(deployment: Deployment, question: Question) -> Answer:
    """The serving process's answer. When its address is no longer right, the route is read once more."""
    revision = _live(deployment)
    try:
        return _checked(revision, _send(revision, question))
    except Unreachable:
        again = find_route(deployment.project.slug, deployment.endpoint_name)
    if again is None:
        raise no_endpoint(deployment.project, deployment.endpoint_name)
    revision = _live(again)
    try:
        return _checked(revision, _send(revision, question))
    except Unreachable as error:
        log.warning("Nothing answers for %s at %s: %s", again, revision.address, error)
        raise NotLive(
            again.reason
            or f"The process behind {again.endpoint_name} does not answer; it is being started again.",
            "Try again in a few seconds.",
            retry_after=RETRY_AFTER,
        ) from error


def _live(deployment: Deployment) -> DeploymentRevision:
    """What answers for the endpoint now, or NotLive with the reason."""
    revision = deployment.serving_revision
    if deployment.wanted == Wanted.RUNNING and revision is not None and revision.address:
        return revision
    name, coming = deployment.endpoint_name, deployment.state in BEING_DEPLOYED
    raise NotLive(
        deployment.reason or f"The endpoint {name} is {deployment.state}: it does not answer requests.",
        "Try again in a few seconds." if coming else "Deploy it again first.",
        retry_after=RETRY_AFTER if coming else None,
    )


def _send(revision: DeploymentRevision, question: Question) -> tuple[int, bytes]:
    """Status and body. A connection that breaks before the answer began was to the wrong address."""
    # The database's connection must not wait with us for the model.
    if not connection.in_atomic_block:
        connection.close()
    fields = {"X-Serving-Key": revision.serving_key, "X-Request-ID": question.request_id}
    try:
        response = POOL.request(
            question.method,
            revision.address + question.path,
            body=question.content or None,
            headers={**fields, "Content-Type": "application/json"},
            preload_content=False,
            redirect=False,
        )
    except urllib3.exceptions.ReadTimeoutError as error:
        raise TooSlow("The model did not answer within 60 s.", "Send fewer rows at once.") from error
    except urllib3.exceptions.HTTPError as error:
        raise Unreachable(str(error)) from error
    return response.status, _read(response)


def _read(response: urllib3.BaseHTTPResponse) -> bytes:
    try:
        content = response.read(LONGEST_ANSWER + 1)
    except urllib3.exceptions.ReadTimeoutError as error:
        raise TooSlow(
            "The model did not finish its answer within 60 s.", "Send fewer rows at once."
        ) from error
    except urllib3.exceptions.HTTPError as error:
        raise BadAnswer("The model's process ended in the middle of its answer.", "Try again.") from error
    if len(content) > LONGEST_ANSWER:
        response.close()
        raise BadAnswer(
            f"The model's answer is larger than {LONGEST_ANSWER} bytes.", "Send fewer rows at once."
        )
    response.release_conn()
    return content


def _checked(revision: DeploymentRevision, got: tuple[int, bytes]) -> Answer:
    status, content = got
    if status in WRONG_ADDRESS:
        raise Unreachable(f"status {status}")
    if 400 <= status < 500:
        raise Refused(_sentence(content, f"The model refused the request with status {status}."), status)
    if not 200 <= status < 300:
        raise BadAnswer(
            _sentence(content, f"The model's process answered with status {status}."),
            "See the endpoint's logs.",
        )
    return Answer(content, revision)


def _sentence(content: bytes, otherwise: str) -> str:
    try:
        found = json.loads(content[:100_000])
    except ValueError:
        return otherwise
    detail = found.get("detail") or found.get("error") if isinstance(found, Mapping) else None
    return str(detail)[:5000] if detail else otherwise


def _with_names(content: bytes, names: Mapping[str, Any]) -> bytes:
    """The names put at the end of a JSON object, without reading what may be many predictions."""
    text = content.rstrip()
    if not (text.startswith(b"{") and text.endswith(b"}") and len(text) > 2):
        raise BadAnswer(
            "The model's process answered with something that is no prediction.", "See the endpoint's logs."
        )
    return text[:-1] + b", " + json.dumps(dict(names)).encode()[1:]


def _json(content: bytes) -> HttpResponse:
    return HttpResponse(content, content_type="application/json")
