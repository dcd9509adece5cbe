"""**Settings** of a person: profile and API tokens. The password is changed by allauth's own page."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from secrets import token_urlsafe
from typing import Any

from django.contrib import messages
from django.db.models import Value
from django.db.models.functions import Coalesce
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect
from django.urls import reverse

from accounts import services
from accounts.choices import Scope
from accounts.forms import ProfileForm, TokenForm
from accounts.models import ApiToken, Project
from accounts.portal import PersonForm, PersonPage, SureForm, add_refusal
from common.errors import DomainError, Missing
from common.heads import Sorting

TOKEN_COLUMNS = {
    "name": ("Name", "name"),
    "project": ("Project", "project__name"),
    "last_used_at": ("Last used", "used_at"),
    "expires_at": ("Expires", "expires_at"),
    "created_at": ("Created", "created_at"),
}
# A token that was never used sorts as one that was used before all others.
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
MADE_BY = (
    "token_made_by"  # the form whose token was shown: sent again, as by reloading the page, it makes no other
)
MOST_PROJECTS = 500  # so many a token can be bound to by the form's list


class Profile(PersonForm):
    form_class = ProfileForm
    template = "accounts/profile.html"
    success_message = "Your profile is saved."

    def initial(self) -> dict[str, Any]:
        return {name: getattr(self.person, name) for name in ("first_name", "last_name", "email")}

    def extra(self) -> dict[str, Any]:
        return {"groups": self.person.groups.order_by("name")}

    def perform(self, data: dict[str, Any]) -> str:
        services.update_profile(actor=self.actor, **data)
        return self.request.path


class Tokens(PersonPage):
    """**API tokens**: one's own, of all projects, those that ended last."""

    def get(self, request: HttpRequest) -> HttpResponse:
        rows = ApiToken.objects.filter(user=self.person).select_related("project")
        usable, ended = rows.usable(), "ended" in request.GET
        shown = rows.exclude(pk__in=usable.values("pk")) if ended else usable
        sorting = Sorting.of(request, TOKEN_COLUMNS, "-created_at")
        shown = shown.annotate(used_at=Coalesce("last_used_at", Value(NEVER)))
        page = self.page_of(shown.order_by(*sorting.order))
        return self.show("accounts/tokens.html", page=page, ended=ended, sorting=sorting)


class NewToken(PersonPage):
    """**New token**: the answer to the form shows the token, this once."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._show(self._form())

    def post(self, request: HttpRequest) -> HttpResponseBase:
        once = request.POST.get("once", "")
        if once and once == request.session.get(MADE_BY):
            messages.warning(
                request,
                "That token was made already and is not shown again. Revoke it if you did not copy it.",
            )
            return redirect("accounts:tokens")
        form = self._form(request.POST)
        if form.is_valid():
            try:
                token, text = services.create_token(actor=self.actor, **self._chosen(form))
            except DomainError as error:
                add_refusal(form, error)
            else:
                request.session[MADE_BY] = once[:64]
                answer = self.show("accounts/token_made.html", token=token, text=text)
                answer["Cache-Control"] = "no-store"
                return answer
        return self._show(form, code=422)

    def _form(self, data: QueryDict | None = None) -> TokenForm:
        first = {"scopes": [Scope.WRITE.value], "expires_in_days": "90"}
        mine = Project.objects.visible_to(self.person).order_by("name")[:MOST_PROJECTS]
        return TokenForm(data, projects=list(mine), initial=first)

    def _chosen(self, form: Form) -> dict[str, Any]:
        slug = form.cleaned_data["project"]
        project = Project.objects.visible_to(self.person).get(slug=slug) if slug else None
        return {**form.cleaned_data, "project": project}

    def _show(self, form: Form, code: int = 200) -> HttpResponse:
        return self.show("accounts/token_new.html", code=code, form=form, once=token_urlsafe(12))


class RevokeToken(PersonForm):
    """**Revoke**: says what the token is and where it was used last, and asks."""

    form_class = SureForm
    template = "accounts/token_revoke.html"

    @cached_property
    def token(self) -> ApiToken:
        rows = ApiToken.objects.filter(user=self.person, prefix=self.kwargs["prefix"])
        token = rows.select_related("project").first()
        if token is None:
            raise Missing("You have no such token.")
        return token

    def enter(self) -> None:
        assert self.token

    def extra(self) -> dict[str, Any]:
        return {"token": self.token}

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        services.revoke_token(actor=self.actor, prefix=self.token.prefix)
        messages.success(request, f"The token {self.token.name} is revoked.")
        return redirect(reverse("accounts:tokens"))
