"""The base of every REST view: who acts, in which project, and answers that repeat for a repeated key."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property, wraps
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpResponseBase
from django_filters import FilterSet
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer, ChoiceField, ListField, ListSerializer, Serializer
from rest_framework.views import APIView

from accounts.api.permissions import SignedIn
from accounts.audit import record_refusal
from accounts.choices import Door, Right
from accounts.models import ApiToken, Project, User
from accounts.permissions import Actor, find_project, require
from accounts.rights import only_its_run
from common import answers
from common.api.fields import no_field
from common.api.filters import filtered, only
from common.api.kept import PAGES
from common.api.negotiation import OneForm
from common.api.pagination import CursorPages
from common.api.problems import request_id_of
from common.api.text import JsonText, page_text
from common.checks import shorten
from common.errors import Conflict, Denied, Invalid
from common.limits import LIMITS
from common.models import IdempotentAnswer

KEY = re.compile(r"[\x21-\x7e]{1,200}")
Handler = Callable[..., Response | JsonText]


def actor_of(request: Request) -> Actor:
    """Who acts: the token's user, or the session's; the SDK and the command line say so in User-Agent."""
    assert isinstance(request.user, User)
    token = request.auth if isinstance(request.auth, ApiToken) else None
    agent = request.headers.get("User-Agent", "")
    door = (
        Door.CLI
        if agent.startswith("podstack-cli/")
        else Door.SDK
        if agent.startswith("podstack/")
        else Door.REST
    )
    return Actor(user=request.user, door=door, token=token, request_id=request_id_of(request))


class ApiView(APIView):
    """Signed in, with an actor; each POST honours Idempotency-Key."""

    permission_classes = [SignedIn]
    content_negotiation_class = OneForm
    answers_kept = True  # False where a POST only reads, or does no more when it comes twice
    shown_once = ""  # the field of a POST's answer that is a secret
    counted: int | None = None  # whose request this is, in LIMITS until it is answered

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "post" in cls.__dict__ and cls.answers_kept:
            cls.post = idempotent(cls.post)  # type: ignore[attr-defined]

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return super().dispatch(request, *args, **kwargs)
        finally:
            if self.counted is not None:
                LIMITS.end(self.counted)

    def check_throttles(self, request: Request) -> None:
        """Called before the verb, and after it is known who asks."""
        LIMITS.begin(request.user.pk)
        self.counted = request.user.pk

    @cached_property
    def actor(self) -> Actor:
        return actor_of(self.request)

    def data(self, serializer: type[BaseSerializer[Any]], *, partial: bool = False) -> dict[str, Any]:
        """The request's body as `serializer` understands it; with partial, only what was sent."""
        sent = self.request.data
        if not isinstance(sent, Mapping):
            raise Invalid("The body is no JSON object.", "Send fields by their names, in braces.")
        checked = serializer(data=sent, partial=partial)
        check_known(checked, sent)
        checked.is_valid(raise_exception=True)
        return dict(checked.validated_data)


class ProjectView(ApiView):
    """A view below /projects/{project}/. `right` is what even reading here asks for; verbs ask for their own."""

    right = Right.READ
    keeps_pages = False  # True where `get` is `kept`
    # By method, the query parameters of what changes something. A GET's are checked where they are read.
    takes: Mapping[str, Collection[str]] = {}
    bodiless: Collection[str] = ("DELETE",)  # the methods that take no body
    pagination_class = CursorPages  # says in the API's description what `page` answers

    @cached_property
    def project(self) -> Project:
        return find_project(self.actor, self.kwargs["project"])

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        require(self.actor, self.project, self.right)
        if request.method not in SAFE_METHODS:
            only(request, self.takes.get(request.method or "", ()))
        if request.method in self.bodiless:
            self.data(Serializer)
        if self.actor.token is not None and self.actor.token.only_run:
            check_only_run(request, self.actor.token.only_run)

    def page(
        self,
        rows: QuerySet[Any],
        serializer: type[BaseSerializer[Any]],
        ordering: Sequence[str] = ("-id",),
        *,
        filters: type[FilterSet] | None = None,
        also: Collection[str] = (),
    ) -> Response:
        """One cursor page of the `rows` that the filters let through; `also`: what the view itself understands."""
        rows = self._asked(rows, filters, also)
        pages = CursorPages(ordering)
        found = pages.paginate_queryset(rows, self.request, view=self) or []
        return pages.get_paginated_response(serializer(found, many=True).data)

    def text_page(
        self,
        rows: QuerySet[Any],
        shown: Callable[[list[int]], list[str]],
        ordering: Sequence[str] = ("-id",),
        *,
        filters: type[FilterSet] | None = None,
        also: Collection[str] = (),
    ) -> JsonText:
        """The same, each row as the JSON that `shown` gives for its id; the rows are not loaded."""
        rows = self._asked(rows, filters, also)
        pages = CursorPages(ordering)
        needed = dict.fromkeys(["id", *(field.lstrip("-") for field in ordering)])
        found = pages.paginate_queryset(rows.values(*needed), self.request, view=self) or []
        texts = shown([row["id"] for row in found]) if found else []
        return page_text(texts, pages.get_next_link(), pages.get_previous_link())

    def _asked(
        self, rows: QuerySet[Any], filters: type[FilterSet] | None, also: Collection[str]
    ) -> QuerySet[Any]:
        """The rows that the query string asks for; a parameter that would change nothing is refused."""
        known = (*also, "cursor", "page_size")
        if filters is not None:
            return filtered(filters, rows, self.request, self.project, known)
        only(self.request, known)
        return rows

    def handle_exception(self, error: Exception) -> Response:
        if isinstance(error, Denied) and isinstance(self.request.user, User):
            record_refusal(self.actor, self.project, f"{self.request.method} {self.request.path}", error)
        return super().handle_exception(error)


def check_only_run(request: Request, run_id: str) -> None:
    """Refuses what a token of a run's own process may not write: all but that run and the bytes of its files.

    `again` lies below the run and starts another one.
    """
    if request.method in SAFE_METHODS:
        return
    _, _, rest = request.path.partition("/projects/")
    room, _, below = rest.partition("/")[2].partition("/")
    own, _, part = below.partition("/")
    if room == "blobs" or (room == "runs" and own == run_id and part.strip("/") != "again"):
        return
    body = request.data
    if room == "runs" and not below and isinstance(body, dict) and body.get("id") == run_id:
        return
    raise only_its_run(run_id)


def check_known(serializer: Any, sent: Any, above: str = "") -> None:
    """Refuses a field that `serializer` does not have, in parts of the body too: a typo would change nothing."""
    if isinstance(serializer, ListSerializer) and isinstance(sent, list):
        for index, each in enumerate(sent):
            check_known(serializer.child, each, f"{above}{index}.")
    if not isinstance(serializer, Serializer) or not isinstance(sent, Mapping):
        return
    for name, value in sent.items():
        field = serializer.fields.get(name)
        if field is None:
            raise no_field(above + name, serializer.fields)
        _name_choices(field.child if isinstance(field, ListField) else field)
        if isinstance(field, BaseSerializer):
            check_known(field, value, f"{above}{name}.")


def _name_choices(field: Any) -> None:
    """Where few values are right, the refusal of another one names them."""
    if isinstance(field, ChoiceField):
        known = ", ".join(str(each) for each in field.choices if each != "")
        field.error_messages["invalid_choice"] = f"{{input!r:.80}} is none of {known}."


def kept(handler: Callable[..., JsonText]) -> Callable[..., JsonText]:
    """Gives the page that this process made before, if nothing has changed in the project since.

    Only for answers that every reader of the project gets alike, of a view with `keeps_pages`. The token's own check
    reads the project's state before the handler reads anything, so what is kept is never older than its state.
    """

    @wraps(handler)
    def wrapped(view: ProjectView, request: Request, *args: Any, **kwargs: Any) -> JsonText:
        state = view.project.state if view.actor.token else ""
        question = (view.project.pk, request.build_absolute_uri())
        return JsonText(
            PAGES.answer(question, state, lambda: handler(view, request, *args, **kwargs).content)
        )

    return wrapped


def idempotent(handler: Handler) -> Handler:
    """One transaction around the verb and its stored answer: a key that comes again gets that answer again.

    Of two that come at once, the second waits until the first has ended. Refusals are not stored: the verb did
    nothing, so asking again is safe.
    """

    @wraps(handler)
    def wrapped(view: ApiView, request: Request, *args: Any, **kwargs: Any) -> Response | JsonText:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return handler(view, request, *args, **kwargs)
        question = _question(view, request, key)
        with transaction.atomic():
            answers.wait_for_turn(question)
            found = answers.earlier(question)
            if found is not None:
                return _again(view, found)
            response = handler(view, request, *args, **kwargs)
            answers.remember(question, response.status_code, _storable(view, response.data))
        return response

    return wrapped


def _storable(view: ApiView, data: Any) -> Any:
    """The answer without what must never be stored."""
    return {key: value for key, value in data.items() if key != view.shown_once} if view.shown_once else data


def _again(view: ApiView, found: IdempotentAnswer) -> Response:
    if view.shown_once:
        raise Conflict(
            f"This was done by an earlier request with the same Idempotency-Key; its {view.shown_once} is shown "
            "once and cannot be shown again.",
            "Revoke what that request made and ask again with a new key.",
            code="shown_once",
        )
    return Response(found.body, status=found.status, headers={"Idempotent-Replay": "true"})


def _question(view: ApiView, request: Request, key: str) -> answers.Question:
    if not KEY.fullmatch(key):
        raise Invalid(f"Idempotency-Key is {shorten(key)}; it must be 1 to 200 visible ASCII characters.")
    actor = view.actor
    owner = f"token:{actor.token.pk}" if actor.token else f"user:{actor.user.pk}"
    # Sorted: whoever sends an object again may write its fields in another order.
    body = json.dumps(request.data, sort_keys=True, default=repr)
    return answers.ask(owner, key, request.path, body.encode())
