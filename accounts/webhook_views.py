"""**Webhooks** of a project and what they were told."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from accounts import webhooks
from accounts.choices import Right
from accounts.forms import WebhookForm
from accounts.models import Webhook
from accounts.portal import FormPage, ProjectPage, SurePage, TypedPage, add_refusal
from common.errors import DomainError
from common.heads import Sorting

WEBHOOK_COLUMNS = {
    "name": ("Webhook", "name"),
    "url": ("Address", "url"),
    "format": ("Format", "format"),
    "state": ("State", "is_active"),
    "by": ("Made by", "created_by__username"),
}


class WebhookList(ProjectPage):
    right = Right.MAINTAIN

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        sorting = Sorting.of(request, WEBHOOK_COLUMNS, "name")
        page = self.page_of(webhooks.webhooks_of(self.project).order_by(*sorting.order))
        return self.show("accounts/webhooks.html", page=page, sorting=sorting)


class NewWebhook(FormPage):
    """**New webhook**: the answer shows the secret, this once."""

    form_class = WebhookForm
    template = "accounts/webhook_form.html"
    right = Right.MAINTAIN

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        form = self.make_form(request.POST)
        if form.is_valid():
            try:
                hook = webhooks.create_webhook(actor=self.actor, project=self.project, **form.cleaned_data)
            except DomainError as error:
                add_refusal(form, error)
            else:
                return self.show("accounts/webhook_made.html", hook=hook)
        return self.show(self.template, code=422, form=form)


class OfWebhook:
    """A page of one webhook."""

    project: Any
    actor: Any
    kwargs: dict[str, Any]
    right = Right.MAINTAIN

    @cached_property
    def hook(self) -> Webhook:
        return webhooks.find_webhook(self.project, self.kwargs["webhook"])

    @property
    def where(self) -> dict[str, Any]:
        return {"actor": self.actor, "project": self.project, "webhook_id": self.hook.public_id}

    def hook_url(self) -> str:
        return reverse("accounts:webhook", args=[self.project.slug, self.hook.public_id])


class WebhookDetail(OfWebhook, ProjectPage):
    """What it was told, with request and response."""

    def get(self, request: HttpRequest, project: str, webhook: str) -> HttpResponse:
        rows = self.hook.deliveries.order_by("-id")
        state = request.GET.get("state", "")
        if state in ("Waiting", "Delivered", "Failed"):
            rows = rows.filter(state=state)
        return self.show("accounts/webhook_detail.html", hook=self.hook, page=self.page_of(rows), state=state)


class EditWebhook(OfWebhook, FormPage):
    form_class = WebhookForm
    template = "accounts/webhook_form.html"
    success_message = "The change is saved."
    right = Right.MAINTAIN

    def initial(self) -> dict[str, Any]:
        return webhooks.facts(self.hook)

    def extra(self) -> dict[str, Any]:
        return {"hook": self.hook}

    def perform(self, data: dict[str, Any]) -> str:
        webhooks.update_webhook(**self.where, **data)
        return self.hook_url()


class DeleteWebhook(OfWebhook, TypedPage):
    template = "accounts/webhook_delete.html"
    success_message = "The webhook is removed."
    right = Right.MAINTAIN

    def extra(self) -> dict[str, Any]:
        return {"hook": self.hook}

    @property
    def confirm_text(self) -> str:
        return self.hook.name

    def perform(self, data: dict[str, Any]) -> str:
        webhooks.delete_webhook(**self.where)
        return reverse("accounts:webhooks", args=[self.project.slug])


class OnWebhook(OfWebhook, ProjectPage):
    """One button, POST only."""

    http_method_names = ["post"]
    sentence: str

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        try:
            self.act()
            messages.success(request, self.sentence)
        except DomainError as error:
            if error.status != 409:
                raise
            messages.error(request, error.message)
        return redirect(self.hook_url())

    def act(self) -> None:
        raise NotImplementedError


class Ping(OnWebhook):
    sentence = "An event is on its way."

    def act(self) -> None:
        webhooks.ping_webhook(**self.where)


class SwitchOn(OnWebhook):
    sentence = "It is told again what happens."

    def act(self) -> None:
        webhooks.update_webhook(**self.where, is_active=True)


class SwitchOff(OfWebhook, SurePage):
    template = "accounts/webhook_off.html"
    success_message = "It is told nothing until it is switched on again."
    right = Right.MAINTAIN

    def extra(self) -> dict[str, Any]:
        return {"hook": self.hook}

    def perform(self, data: dict[str, Any]) -> str:
        webhooks.update_webhook(**self.where, is_active=False)
        return self.hook_url()


class Redeliver(OnWebhook):
    sentence = "It is sent once more."

    def act(self) -> None:
        webhooks.redeliver(**self.where, message_id=self.kwargs["message"])
