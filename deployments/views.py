"""The portal's pages of endpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect
from django.urls import reverse

from accounts.choices import Right
from accounts.portal import FormPage, ProjectPage, SurePage, TypedPage
from common.checks import shorten
from common.errors import DomainError, Invalid
from common.heads import Sorting
from deployments import asking, quarantine, rollouts, services
from deployments.choices import EndpointState, EngineName, RevisionState, Wanted
from deployments.filters import DeploymentFilter
from deployments.forms import MORE, ChangeForm, DeployForm, QuarantineForm, starting_with
from deployments.inputs import FREE, Field, Inputs, inputs_as_shown
from deployments.models import Deployment, DeploymentRevision
from deployments.queries import DOWN, ENDED, endpoints_holding, find_deployment, find_revision, in_canary
from deployments.traffic import metrics_of
from registry.models import ModelVersion, RegisteredModel
from registry.portal import OfVersion

ROWS = 50
TAIL = 500
MOST_LINES = 10_000
NEWEST_VERSIONS = 100
COLUMNS = {
    "endpoint_name": ("Endpoint", "endpoint_name"),
    "state": ("State", "state"),
    "model": ("Model", "model__name"),
    "updated_at": ("Last change", "updated_at"),
}
BUSY = 503  # the page goes on asking, and says so
LATELY = 24  # hours
SPANS = ((1, "Last hour"), (6, "6 hours"), (24, "24 hours"), (168, "7 days"))
COMES_BACK = (RevisionState.ASLEEP, RevisionState.PENDING, RevisionState.DEPLOYING)
MOVING = (
    EndpointState.PENDING,
    EndpointState.DEPLOYING,
    EndpointState.UPDATING,
    EndpointState.UNDEPLOYING,
)


class DeploymentList(ProjectPage):
    """**MLOps > Deployments**: searched, filtered and sorted by what stands in the address."""

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        rows = Deployment.objects.alive().filter(project=self.project).with_details()
        found = DeploymentFilter(request.GET, queryset=rows)
        error = " ".join(str(each) for errors in found.errors.values() for each in errors)
        sorting = Sorting.of(request, COLUMNS, "-updated_at")
        shown = rows.none() if error else found.qs
        return self.show(
            "deployments/deployment_list.html",
            code=422 if error else 200,
            page=self.page_of(shown.order_by(*sorting.order)),
            error=error,
            sorting=sorting,
            states=EndpointState.values,
            chosen={name: request.GET.get(name, "") for name in ("search", "state")},
        )


class OfEndpoint(ProjectPage):
    """A page of one endpoint."""

    @cached_property
    def deployment(self) -> Deployment:
        return find_deployment(self.project, self.kwargs["endpoint"])

    @cached_property
    def where(self) -> dict[str, Any]:
        """The keyword arguments that each verb on an endpoint takes."""
        name = self.deployment.endpoint_name
        return {"actor": self.actor, "project": self.project, "endpoint_name": name}

    def detail_url(self) -> str:
        return reverse("deployments:detail", args=[self.project.slug, self.deployment.endpoint_name])


class DeploymentDetail(OfEndpoint):
    def get(self, request: HttpRequest, project: str, endpoint: str) -> HttpResponse:
        deployment = self.deployment
        revisions = deployment.revisions.select_related("version", "created_by").order_by("-number")
        hours = span_of(request)
        return self.show(
            "deployments/deployment_detail.html",
            deployment=deployment,
            model=deployment.model,
            revision=deployment.wanted_revision,
            serving=deployment.serving_revision,
            every="1s" if deployment.state in MOVING else "10s",
            is_down=deployment.state in DOWN,
            canary=canary_of(deployment),
            can_be_tried=can_be_tried(deployment),
            endpoint_url=services.endpoint_url(deployment),
            engine=EngineName(deployment.engine or settings.SERVING_ENGINE).label,
            change_failed=change_failed(deployment),
            events=deployment.events.order_by("-id")[:ROWS],
            revisions=revisions[:ROWS],
            shadow_choices=lambda: version_numbers(deployment.model),
            metrics=metrics_of(deployment, hours),
            hours=hours,
            spans=SPANS,
        )


def change_failed(deployment: Deployment) -> bool:
    """Whether something serves and the newest change could not take over: it may be tried again, or given up."""
    coming, serving = deployment.wanted_revision, deployment.serving_revision
    if coming is None or serving is None or deployment.wanted != Wanted.RUNNING:
        return False
    return coming.pk != serving.pk and coming.state == RevisionState.FAILED


def can_be_tried(deployment: Deployment) -> bool:
    """Whether something answers, or will again: a form that went away meanwhile would take along what was typed."""
    serving = deployment.serving_revision
    return serving is not None and bool(serving.address or serving.state in COMES_BACK)


def span_of(request: HttpRequest) -> int:
    """`?hours=` of the charts, 1 when it is none of those that are offered."""
    asked = request.GET.get("hours", "")
    return int(asked) if asked in {str(hours) for hours, _ in SPANS} else 1


def canary_of(deployment: Deployment) -> list[dict[str, Any]]:
    """The steps of a rollout that is on its way: its percent, and whether it is done, now or to come."""
    revision = deployment.wanted_revision
    if revision is None or not in_canary(deployment):
        return []
    steps = [*revision.rollout.get("steps", []), 100]
    now = revision.rollout_step
    words = {True: "done", False: "to come"}
    return [
        {"percent": percent, "is": "now" if number == now else words[number < now]}
        for number, percent in enumerate(steps)
    ]


class Act(OfEndpoint):
    """One button, one verb, POST only: **Deploy** again, **End the copies** …"""

    http_method_names = ["post"]
    post_right = Right.WRITE
    verb = ""
    verbs: dict[str, tuple[Callable[..., Any], str]] = {
        "deploy": (services.deploy_again, "The endpoint is being deployed again."),
        "promote": (rollouts.promote_rollout, "All requests go to the new revision now."),
        "abort": (rollouts.abort_rollout, "The change is given up; what served goes on serving."),
        "unshadow": (rollouts.unset_shadow, "No version gets copies of the requests any more."),
    }

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        act, sentence = self.verbs[self.verb]
        return self.done(act, sentence)

    def done(self, act: Callable[..., Any], sentence: str, **more: Any) -> HttpResponseBase:
        """Back to the endpoint's page with a sentence, that of a refusal too."""
        try:
            act(**self.where, **more)
        except DomainError as error:
            if error.status != 409:
                raise
            messages.error(self.request, " ".join(filter(None, [error.message, error.hint])))
        else:
            messages.success(self.request, sentence)
        return redirect(self.detail_url())


class SureAct(Act, SurePage):
    """An act that moves requests to another version: **Promote now**, **Abort**, **Rollback**."""

    http_method_names = ["get", "head", "post"]
    template = ""

    def extra(self) -> dict[str, Any]:
        deployment = self.deployment
        return {
            "deployment": deployment,
            "coming": deployment.wanted_revision,
            "serving": deployment.serving_revision,
        }


class RollBack(SureAct):
    """**Rollback** to one of the earlier revisions."""

    template = "deployments/rollback.html"

    def extra(self) -> dict[str, Any]:
        earlier = find_revision(self.deployment, self.kwargs["revision"])
        return {**super().extra(), "earlier": earlier}

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        revision = kwargs["revision"]
        sentence = f"The endpoint goes back to revision {revision}."
        return self.done(rollouts.rollback_deployment, sentence, revision=revision)


class Shadow(Act):
    """Copies of the requests to another version."""

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        version = request.POST.get("version", "")
        if not version:
            raise Invalid.field("version", "No version was chosen; choose the one that is to get copies.")
        return self.done(rollouts.set_shadow, "The version is started and then gets copies.", version=version)


class Undeploy(OfEndpoint, TypedPage):
    """**Undeploy**: says what goes away, and who asked it of late."""

    template = "deployments/undeploy.html"
    success_message = "The endpoint is being undeployed."
    otherwise = "the endpoint stays as it is"

    def extra(self) -> dict[str, Any]:
        deployment = self.deployment
        metrics = metrics_of(deployment, LATELY)
        asked = [point.at for point in metrics.series if point.counts.requests]
        return {
            "deployment": deployment,
            "model": deployment.model,
            "serving": deployment.serving_revision,
            "endpoint_url": services.endpoint_url(deployment),
            "hours": LATELY,
            "counts": metrics.counts,
            "asked_at": asked[-1] if asked else None,
        }

    @property
    def confirm_text(self) -> str:
        return self.deployment.endpoint_name

    def perform(self, data: dict[str, Any]) -> str:
        services.undeploy(**self.where)
        return self.detail_url()


class DeleteEndpoint(OfEndpoint, TypedPage):
    """**Delete** of one that is down."""

    template = "deployments/delete.html"
    success_message = "The endpoint is deleted."
    right = Right.MAINTAIN

    def extra(self) -> dict[str, Any]:
        return {"deployment": self.deployment, "is_down": self.deployment.state in DOWN}

    @property
    def confirm_text(self) -> str:
        return self.deployment.endpoint_name

    def perform(self, data: dict[str, Any]) -> str:
        services.delete_deployment(**self.where)
        return reverse("deployments:list", args=[self.project.slug])


class RunsWithPage(FormPage):
    """A form with what a revision runs with."""

    of_model: RegisteredModel
    engine = ""

    def make_form(self, data: QueryDict | None = None) -> Any:
        return self.form_class(  # type: ignore[call-arg]
            data,
            initial=self.initial(),
            gpus=services.gpu_types(self.engine),
            versions=version_choices(self.of_model, self.chosen()),
        )

    def chosen(self) -> int | None:
        """The number of the version that must be among the choices."""
        return None


class Deploy(OfVersion, RunsWithPage):
    """**Deploy**: endpoint name, version or alias, GPU type, scaling, rollout, batching."""

    form_class = DeployForm
    template = "deployments/deploy.html"
    success_message = "The endpoint is being deployed."

    @property
    def of_model(self) -> RegisteredModel:  # type: ignore[override]
        return self.model

    def chosen(self) -> int:
        return int(self.version.number)

    def extra(self) -> dict[str, Any]:
        return {"model": self.model, "version": self.version}

    def initial(self) -> dict[str, Any]:
        return {**starting_with(DeploymentRevision(), {}), "version": str(self.version.number)}

    def perform(self, data: dict[str, Any]) -> str:
        deployment = services.deploy(
            actor=self.actor,
            project=self.project,
            model_name=self.model.name,
            version=data["version"],
            endpoint_name=data["endpoint_name"],
            description=data["description"],
            **self.sent.wishes(),
        )
        return reverse("deployments:detail", args=[self.project.slug, deployment.endpoint_name])

    def make_form(self, data: QueryDict | None = None) -> Any:
        self.sent = super().make_form(data)
        return self.sent


class Quarantine(OfVersion, FormPage):
    """**Quarantine** of a version: why, and what becomes of the endpoints that serve it."""

    form_class = QuarantineForm
    template = "deployments/quarantine.html"
    success_message = "The version is quarantined."
    right = Right.MAINTAIN

    @cached_property
    def serving(self) -> list[Deployment]:
        return endpoints_holding([self.version.pk])

    def extra(self) -> dict[str, Any]:
        return {"model": self.model, "version": self.version, "serving": self.serving}

    def make_form(self, data: QueryDict | None = None) -> Any:
        form = QuarantineForm(data)
        form.ask_of_one(serves=bool(self.serving))
        return form

    def perform(self, data: dict[str, Any]) -> str:
        quarantine.quarantine_version(**self.where, **data)
        return self.version_url()


class Change(OfEndpoint, RunsWithPage):
    """**Change** of version, scale, rollout or limits."""

    form_class = ChangeForm
    template = "deployments/change.html"
    success_message = "The change is on its way."
    right = Right.WRITE

    @property
    def of_model(self) -> RegisteredModel:  # type: ignore[override]
        return self.deployment.model

    def chosen(self) -> int | None:
        revision = self.deployment.wanted_revision
        return revision.version.number if revision else None

    def extra(self) -> dict[str, Any]:
        return {"deployment": self.deployment, "model": self.deployment.model}

    def initial(self) -> dict[str, Any]:
        deployment = self.deployment
        revision = deployment.wanted_revision or DeploymentRevision()
        return {
            **starting_with(revision, deployment.rollout),
            "version": deployment.follows or str(self.chosen() or ""),
            **{name: getattr(deployment, name) for name in MORE},
        }

    def make_form(self, data: QueryDict | None = None) -> Any:
        self.engine = self.deployment.engine
        self.sent = super().make_form(data)
        return self.sent

    def perform(self, data: dict[str, Any]) -> str:
        services.update_deployment(
            **self.where,
            version=data["version"],
            description=data["description"],
            **self.sent.wishes(),
        )
        return self.detail_url()


def version_choices(model: RegisteredModel, also: int | None = None) -> list[tuple[str, str]]:
    """The model's aliases and newest versions, as a choice names them; `also` is among them in any case."""
    named = [
        (alias.name, f"follow {alias.name} (now v{alias.version.number})")
        for alias in model.aliases.select_related("version").order_by("name")
    ]
    return [*named, *version_numbers(model, also)]


def version_numbers(model: RegisteredModel, also: int | None = None) -> list[tuple[str, str]]:
    """The same without aliases."""
    rows = ModelVersion.objects.alive().filter(model=model).order_by("-number").values_list("number", "stage")
    found = dict(rows[:NEWEST_VERSIONS])
    if also is not None and also not in found:
        found.update(rows.filter(number=also))
    return [
        (str(number), f"v{number}" + (f" ({stage})" if stage != "None" else ""))
        for number, stage in found.items()
    ]


class Logs(OfEndpoint):
    """The last lines that a revision's processes wrote, of one replica, with a text; `?download` gives them as a file.

    `?revision` chooses whose; without it the newest that failed, serves or is being started tells most.
    """

    def get(self, request: HttpRequest, project: str, endpoint: str) -> HttpResponse:
        asked = {name: request.GET.get(name, "")[:200] for name in ("search", "replica")}
        revision = self.revision()
        download = "download" in request.GET
        lines, problem, code = [], "", 200
        try:
            lines = list(
                services.read_logs(
                    **self.where,
                    tail=MOST_LINES if download else TAIL,
                    search=asked["search"],
                    replica=asked["replica"],
                    revision=revision.number if revision else None,
                )
            )
        except DomainError as error:
            problem = f"{error.message} {error.hint}".strip()
            code = 200 if error.status == BUSY else error.status
        if download and not problem:
            number = revision.number if revision else 0
            name = f"{self.deployment.endpoint_name}-{number}.log"
            return HttpResponse(
                "".join(f"{line}\n" for line in lines),
                content_type="text/plain; charset=utf-8",
                headers={"Content-Disposition": f'attachment; filename="{name}"'},
            )
        return self.show(
            "deployments/logs.html",
            code=code,
            deployment=self.deployment,
            revision=revision,
            revisions=self.revisions[:ROWS],
            has_ended=revision is not None and revision.state in ENDED,
            lines=lines,
            problem=problem,
            replicas=asking.replica_names(revision=revision, **self.where),
            asked=asked,
            is_cut=len(lines) == TAIL,
        )

    @property
    def revisions(self) -> QuerySet[DeploymentRevision]:
        return self.deployment.revisions.select_related("version").order_by("-number")

    def revision(self) -> DeploymentRevision | None:
        asked = self.request.GET.get("revision", "")
        if asked:
            if not (asked.isascii() and asked.isdigit() and len(asked) <= 9):
                raise Invalid.field("revision", f"revision is {shorten(asked)}; it must be a whole number.")
            return find_revision(self.deployment, int(asked))
        telling = self.revisions.exclude(is_shadow=True)
        begun = telling.exclude(state__in=(RevisionState.RETIRED, RevisionState.PENDING))
        return begun.first() or telling.first()


class TryIt(OfEndpoint):
    """**Try it**: a row by the signature's fields or as JSON, and what the endpoint answers."""

    post_right = Right.PREDICT

    def get(self, request: HttpRequest, project: str, endpoint: str) -> HttpResponse:
        inputs = asking.inputs_of(**self.where)
        return self.form(inputs, [inputs.example])

    def post(self, request: HttpRequest, project: str, endpoint: str) -> HttpResponse:
        inputs = self.filled_in() or asking.inputs_of(**self.where)
        rows, problem, answer = [inputs.example], "", None
        try:
            rows = self.typed(inputs)
            answer = asking.try_prediction(**self.where, rows=rows)
        except DomainError as error:
            problem = f"{error.message} {error.hint}".strip()
        return self.form(inputs, rows, problem=problem, answer=answer)

    def form(self, inputs: Inputs, rows: Any, **more: Any) -> HttpResponse:
        # htmx does not swap what is answered as an error, and the sentence belongs beside the form.
        refused = more.get("problem") and not self.request.htmx  # type: ignore[attr-defined]
        typed = self.request.POST
        values = inputs.values(rows[0] if isinstance(rows, list) and rows else None) if inputs.fields else []
        texts = [typed.get(f"field-{number}", _text(value)) for number, value in enumerate(values)]
        content = json.dumps({"instances": rows}, ensure_ascii=False)
        return self.show(
            "deployments/try.html",
            code=422 if refused else 200,
            deployment=self.deployment,
            fields=list(zip(inputs.fields, texts, strict=True)),
            shape=inputs.shape,
            bare=inputs.bare,
            rows_text=typed.get("rows", json.dumps(rows, ensure_ascii=False)),
            content=content.replace("'", "'\\''"),
            endpoint_url=services.endpoint_url(self.deployment),
            **more,
        )

    def filled_in(self) -> Inputs | None:
        """The form as it was filled in: a process that went away meanwhile tells no fields any more."""
        typed = self.request.POST
        return FREE if "rows" in typed else inputs_as_shown(typed.get("shape", ""))

    def typed(self, inputs: Inputs) -> list[Any]:
        if not inputs.fields:
            return _rows(self.request.POST.get("rows", ""))
        values = [
            _value(field, self.request.POST.get(f"field-{number}", ""))
            for number, field in enumerate(inputs.fields)
        ]
        return [inputs.row(values)]


def _rows(text: str) -> list[Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid.field("rows", f"The rows are no JSON: {str(error)[:200]}") from error
    if not isinstance(found, list) or not found:
        raise Invalid.field("rows", "The rows must be a list with at least one row, such as [[1, 2, 3]].")
    return found


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _value(field: Field, text: str) -> Any:
    if field.kind == "text":
        return text
    text = text.strip()
    if not text and not field.required:
        return None
    if field.kind == "any":
        return _guessed(text)
    try:
        if field.kind == "truth":
            return {"true": True, "false": False}[text.lower()]
        return int(text) if field.kind == "whole" else float(text)
    except (KeyError, ValueError):
        right = {"truth": "true or false", "whole": "a whole number"}.get(field.kind, "a number")
        raise Invalid.field(field.name, f"{field.name} is {text[:40]!r}; it must be {right}.") from None


def _guessed(text: str) -> Any:
    """What a column takes of which nobody tells: a number where it is one, nothing, or the text."""
    try:
        return float(text) if text else None
    except ValueError:
        return text
