"""The portal's pages that change stages and review the changes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from django.contrib import messages
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from accounts.choices import Right
from accounts.permissions import require
from accounts.portal import FormPage, ProjectPage, SurePage, add_refusal
from approvals import policies, services
from approvals.bulk import MOST_ITEMS, Outcome, bulk
from approvals.choices import RequestState
from approvals.forms import (
    BypassForm,
    ChangeStageForm,
    CommentForm,
    ManyDeletedForm,
    ManyStagesForm,
    ManyTagsForm,
    PolicyForm,
    ReviewForm,
    RollbackForm,
    RulesForm,
)
from approvals.models import ApprovalPolicy, ApprovalRequest
from approvals.queries import find_request, side_by_side
from approvals.reviewers import own_people, reviewers_for, waiting_for
from common.errors import DomainError, Invalid, Missing
from common.heads import Sorting
from registry.choices import Stage
from registry.models import ModelVersion, RegisteredModel
from registry.portal import OfModel, OfVersion

MOST_MODELS = 500
APPROVAL_COLUMNS = {
    "model": ("Version", "version__model__name"),
    "requester": ("Requester", "requested_by__username"),
    "expires_at": ("Expires", "expires_at"),
    "created_at": ("Asked", "created_at"),
}


class ChangeStage(OfVersion, FormPage):
    """**Change Stage**."""

    template = "approvals/change_stage.html"

    def make_form(self, data: Any = None) -> Form:
        return (BypassForm if self.may_bypass else ChangeStageForm)(data, initial=self.initial())

    def initial(self) -> dict[str, Any]:
        """No stage is chosen: the one where the version stands would be refused."""
        return {"archive_previous": policies.promotion_rules(self.project).archive_previous}

    def extra(self) -> dict[str, Any]:
        return {"model": self.model, "version": self.version, "covering": self.covering}

    @cached_property
    def covering(self) -> list[ApprovalPolicy]:
        """The policies under which moves of this version stand."""
        found = (policies.policy_for(self.model, stage) for stage in Stage)
        return [policy for policy in found if policy is not None]

    @property
    def may_bypass(self) -> bool:
        return self.may(Right.MAINTAIN) and any(policy.bypass for policy in self.covering)

    def perform(self, data: dict[str, Any]) -> str:
        began = timezone.now()
        outcome = services.transition_stage(**self.where, **data)
        if isinstance(outcome, ApprovalRequest):
            move = f"The move to {outcome.to_stage} waits for approval"
            if outcome.created_at < began:
                move += f" already: {outcome.requested_by.username} asked for it. A note of yours can be a comment"
            messages.success(self.request, f"{move}.")
            return request_url(outcome)
        sentence = f"Version {self.version.number} moved from {outcome.from_stage} to {outcome.to_stage}."
        messages.success(self.request, sentence)
        return self.version_url()


class ManyVersions(OfModel, ProjectPage):
    """One act on the versions that `?v=` names, with what became of each."""

    right = Right.WRITE
    acts: ClassVar[dict[str, tuple[str, type[Form], Right]]] = {
        "transition_stage": ("Change Stage", ManyStagesForm, Right.WRITE),
        "set_version_tag": ("Set annotation", ManyTagsForm, Right.WRITE),
        "delete_version": ("Delete versions", ManyDeletedForm, Right.MAINTAIN),
    }

    def get(self, request: HttpRequest, project: str, name: str) -> HttpResponse:
        return self._show({})

    def post(self, request: HttpRequest, project: str, name: str) -> HttpResponse:
        act = request.POST.get("act", "")
        if act not in self.acts:
            raise Invalid.field("act", f"act must be one of {', '.join(self.acts)}.")
        form = self.acts[act][1](request.POST)
        if not form.is_valid():
            return self._show({act: form}, code=422)
        words = {key: value for key, value in form.cleaned_data.items() if key != "confirm"}
        items = [{"model_name": self.model.name, "version": version.number} for version in self.versions]
        outcomes = bulk(actor=self.actor, project=self.project, action=act, items=items, **words)
        del self.versions  # they may stand in another stage now
        return self._show({}, outcomes=outcomes)

    @cached_property
    def versions(self) -> list[ModelVersion]:
        asked = {int(text[:9]) for text in self.request.GET.getlist("v") if text.isdecimal()}
        rows = ModelVersion.objects.alive().filter(model=self.model, number__in=asked)
        return list(rows.order_by("-number")[:MOST_ITEMS])

    def _show(
        self, filled: dict[str, Form], outcomes: Sequence[Outcome] = (), code: int = 200
    ) -> HttpResponse:
        if not self.versions and not outcomes:
            raise Missing("No version was chosen.", "Check versions on the model's page first.")
        acts = [(act, *rest) for act, rest in self.acts.items() if self.may(rest[2])] if self.versions else []
        forms = [(act, label, filled.get(act) or form()) for act, label, form, _ in acts]
        return self.show(
            "approvals/many.html",
            code=code,
            model=self.model,
            versions=self.versions,
            forms=forms,
            outcomes=outcomes,
        )


class RollBack(OfModel, FormPage):
    """**Roll back** to the version that stood in Production before."""

    form_class = RollbackForm
    template = "approvals/roll_back.html"

    def extra(self) -> dict[str, Any]:
        return {"model": self.model, "previous": services.previous_production(self.model)}

    def perform(self, data: dict[str, Any]) -> str:
        outcome = services.rollback_model(
            actor=self.actor, project=self.project, model_name=self.model.name, **data
        )
        if isinstance(outcome, ApprovalRequest):
            messages.success(self.request, "The roll back waits for approval.")
            return request_url(outcome)
        messages.success(self.request, f"Version {outcome.version.number} is in Production again.")
        return self.model_url()


class ApprovalList(ProjectPage):
    """**MLOps > Approvals**: those that wait for me, all pending ones, decided ones."""

    tabs = (("mine", "Waiting for you"), ("pending", "Pending"), ("decided", "Decided"))

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        mine = waiting_for(self.project, self.person)
        tab = request.GET.get("show", "mine" if mine else "pending")
        rows = ApprovalRequest.objects.with_details().filter(project=self.project)
        sorting = Sorting.of(request, APPROVAL_COLUMNS, "-created_at")
        if tab == "mine":
            rows = rows.filter(pk__in=mine)
        elif tab == "decided":
            rows = rows.exclude(state=RequestState.PENDING)
        else:
            tab, rows = "pending", rows.filter(state=RequestState.PENDING)
        return self.show(
            "approvals/approval_list.html",
            page=self.page_of(rows.order_by(*sorting.order)),
            sorting=sorting,
            tab=tab,
            tabs=self.tabs,
            mine=set(mine),
            guarded=ApprovalPolicy.objects.filter(project=self.project).exists(),
        )


class OfRequest:
    """A page of one request."""

    project: Any
    actor: Any
    kwargs: dict[str, Any]

    @cached_property
    def approval(self) -> ApprovalRequest:
        return find_request(self.project, self.kwargs["approval"])

    @property
    def where(self) -> dict[str, Any]:
        return {"actor": self.actor, "project": self.project, "request_id": self.kwargs["approval"]}


class ApprovalDetail(OfRequest, ProjectPage):
    """One request: what is asked, on what evidence, and what people said."""

    def get(self, request: HttpRequest, project: str, approval: str) -> HttpResponse:
        return self.shown()

    def shown(self, code: int = 200, **forms: Form) -> HttpResponse:
        found = self.approval
        champion, comparison = side_by_side(found)
        fresh = [r for r in found.reviews.all() if r.evidence == found.evidence]
        rights = self._rights(found)
        refused = forms.get("review_form")
        if refused and not rights["may_review"]:  # others decided meanwhile: what was typed can still be said
            forms["comment_form"] = CommentForm(initial={"text": refused["comment"].value()})
        return self.show(
            "approvals/approval_detail.html",
            code=code,
            approval=found,
            champion=champion,
            comparison=comparison,
            fresh={review.pk for review in fresh},
            gone={r.pk for r in fresh if found.is_open and r.reviewer not in rights["reviewers"]},
            talk=sorted([*found.reviews.all(), *found.events.all()], key=lambda each: each.created_at),
            **{"review_form": ReviewForm(), "comment_form": CommentForm(), **forms},
            **rights,
        )

    def _rights(self, found: ApprovalRequest) -> dict[str, Any]:
        """Which buttons there are, and why there is none."""
        policy = found.policy if found.is_open else None
        people = list(reviewers_for(found, policy)) if policy is not None else []
        asked_by_me = found.requested_by_id == self.person.pk
        return {
            "reviewers": people,
            "may_review": self.person in people,
            "own": own_people(found).get(self.person.pk)
            if found.is_open and self.person not in people
            else None,
            "may_withdraw": found.is_open and (asked_by_me or self.may(Right.MAINTAIN)),
        }


class Said(ApprovalDetail):
    """What one button does: POST only; a refusal keeps what was typed."""

    http_method_names = ["post"]
    form_class: type[Form] = ReviewForm
    form_name = "review_form"

    def post(self, request: HttpRequest, project: str, approval: str) -> HttpResponseBase:
        form = self.form_class(request.POST)
        if form.is_valid():
            try:
                self.act(form.cleaned_data)
            except Missing:
                raise
            except DomainError as error:
                if error.status == 403:
                    raise
                add_refusal(form, error)
            else:
                return redirect(request_url(self.approval))
        return self.shown(422, **{self.form_name: form})

    def act(self, data: dict[str, Any]) -> None:
        raise NotImplementedError


class Approve(Said):
    def act(self, data: dict[str, Any]) -> None:
        found = services.approve(**self.where, **data)
        if found.state == RequestState.SUPERSEDED:
            messages.error(self.request, f"It is Superseded: {found.reason}")
        elif found.is_open:
            messages.success(self.request, "Your approval is kept; it waits for others.")
        else:
            messages.success(self.request, f"Approved: the version is in {found.to_stage}.")


class Reject(Said):
    def act(self, data: dict[str, Any]) -> None:
        services.reject(**self.where, **data)
        messages.success(self.request, "Rejected.")


class Withdraw(OfRequest, SurePage):
    """**Withdraw**: who asks for the move asks no more."""

    template = "approvals/withdraw.html"
    success_message = "The request is withdrawn."

    def enter(self) -> None:
        mine = self.approval.requested_by_id == self.person.pk
        require(self.actor, self.project, Right.READ if mine else Right.MAINTAIN)

    def extra(self) -> dict[str, Any]:
        return {"approval": self.approval}

    def perform(self, data: dict[str, Any]) -> str:
        services.cancel_approval(**self.where)
        return request_url(self.approval)


class Comment(Said):
    form_class = CommentForm
    form_name = "comment_form"

    def act(self, data: dict[str, Any]) -> None:
        services.comment_approval(**self.where, **data)


class Policies(FormPage):
    """Who must approve which moves, and what holds for Production."""

    form_class = RulesForm
    template = "approvals/policies.html"
    success_message = "The rules are saved."

    def enter(self) -> None:
        right = Right.MAINTAIN if self.request.method == "POST" else Right.READ
        require(self.actor, self.project, right)

    def initial(self) -> dict[str, Any]:
        return policies.rule_facts(policies.promotion_rules(self.project))

    def extra(self) -> dict[str, Any]:
        return {"page": self.page_of(policies.policies_of(self.project).order_by("stage", "id"))}

    def perform(self, data: dict[str, Any]) -> str:
        policies.set_promotion_rules(actor=self.actor, project=self.project, **data)
        return policies_url(self.project.slug)


class SetPolicy(FormPage):
    """A new policy, or another one in its place."""

    form_class = PolicyForm
    template = "approvals/policy_form.html"
    right = Right.MAINTAIN
    success_message = "The policy is set."

    def initial(self) -> dict[str, Any]:
        return {"checks": [], "model_name": self.request.GET.get("model", "")}

    def extra(self) -> dict[str, Any]:
        names = RegisteredModel.objects.alive().filter(project=self.project).order_by("name")
        return {"models": names.values_list("name", flat=True)[:MOST_MODELS]}

    def perform(self, data: dict[str, Any]) -> str:
        model_name = data.pop("model_name") or None
        policies.set_approval_policy(actor=self.actor, project=self.project, model_name=model_name, **data)
        return policies_url(self.project.slug)


class OfPolicy:
    """A page of one policy."""

    project: Any
    kwargs: dict[str, Any]

    @cached_property
    def policy(self) -> ApprovalPolicy:
        found = policies.policies_of(self.project).filter(pk=self.kwargs["policy_id"]).first()
        if found is None:
            raise Missing(f"There is no approval policy {self.kwargs['policy_id']} in {self.project.slug}.")
        return found


class EditPolicy(OfPolicy, SetPolicy):
    def initial(self) -> dict[str, Any]:
        model = self.policy.model
        known = {"stage": self.policy.stage, "model_name": model.name if model else ""}
        return {**known, **policies.facts(self.policy)}

    def extra(self) -> dict[str, Any]:
        return {**super().extra(), "policy": self.policy}


class DeletePolicy(OfPolicy, FormPage):
    form_class = Form
    template = "approvals/policy_delete.html"
    right = Right.MAINTAIN
    success_message = "The policy is removed; moves that it covered apply at once."

    def extra(self) -> dict[str, Any]:
        waiting = self.policy.requests.filter(state=RequestState.PENDING)
        return {"policy": self.policy, "waiting": waiting.count()}

    def perform(self, data: dict[str, Any]) -> str:
        policies.delete_approval_policy(actor=self.actor, project=self.project, policy_id=self.policy.pk)
        return policies_url(self.project.slug)


def request_url(request: ApprovalRequest) -> str:
    return reverse("approvals:detail", args=[request.project.slug, request.public_id])


def policies_url(slug: str) -> str:
    return reverse("approvals:policies", args=[slug])
