"""Inviting people, and the page behind an invitation's link."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.views import View

from accounts import invitations
from accounts.choices import Right
from accounts.forms import InvitationForm, JoinForm
from accounts.models import Invitation, User
from accounts.portal import FormPage, SurePage, add_refusal
from common.errors import DomainError, Missing
from common.templatetags.portal import copyable


class Invite(FormPage):
    """**Invite**: an address and a role; below it who has not joined yet."""

    form_class = InvitationForm
    template = "accounts/invitations.html"
    right = Right.ADMIN

    def extra(self) -> dict[str, Any]:
        return {"page": self.page_of(invitations.invitations_of(self.project))}

    def perform(self, data: dict[str, Any]) -> str:
        made = invitations.invite(actor=self.actor, project=self.project, **data)
        link = copyable(invitations.link_of(made), 200)
        messages.success(self.request, format_html("{} is invited: {}", made.email, link))
        return self.request.path


class RevokeInvitation(SurePage):
    """**Withdraw**: the link that was sent lets nobody in any more."""

    template = "accounts/invitation_revoke.html"
    right = Right.ADMIN

    @cached_property
    def invitation(self) -> Invitation:
        number = self.kwargs["invitation_id"]
        found = invitations.invitations_of(self.project).filter(pk=number).first()
        if found is None:
            raise Missing(f"No invitation {number} waits in {self.project.slug}.")
        return found

    def extra(self) -> dict[str, Any]:
        return {"invitation": self.invitation}

    def perform(self, data: dict[str, Any]) -> str:
        found = self.invitation
        invitations.revoke_invitation(actor=self.actor, project=self.project, invitation_id=found.pk)
        messages.success(self.request, f"The invitation of {found.email} is withdrawn.")
        return reverse("accounts:invitations", args=[self.project.slug])


class AcceptInvitation(View):
    """Who is signed in joins by a button, others by choosing a name and a password."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            self.invitation = invitations.find_invitation(kwargs["link"])
            return super().dispatch(request, *args, **kwargs)
        except Missing as error:
            return render(request, "accounts/invitation_gone.html", {"error": error}, status=404)

    def get(self, request: HttpRequest, link: str) -> HttpResponse:
        return self._show(JoinForm())

    def post(self, request: HttpRequest, link: str) -> HttpResponseBase:
        if isinstance(request.user, User):
            invitations.accept_invitation(user=request.user, link=link)
            return self._joined(self.invitation)
        form = JoinForm(request.POST)
        if form.is_valid():
            try:
                user = invitations.join(link=link, **form.cleaned_data)
            except Missing:
                raise
            except DomainError as error:
                add_refusal(form, error)
            else:
                login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
                return self._joined(self.invitation)
        return self._show(form, 422)

    def _joined(self, invitation: Invitation) -> HttpResponseBase:
        messages.success(self.request, f"You are in {invitation.project.name} now.")
        return redirect("registry:model_list", project=invitation.project.slug)

    def _show(self, form: JoinForm, code: int = 200) -> HttpResponse:
        there = reverse("account_login") + f"?next={self.request.path}"
        context = {"invitation": self.invitation, "form": form, "sign_in": there}
        return render(self.request, "accounts/invitation.html", context, status=code)
