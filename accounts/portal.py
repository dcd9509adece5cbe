"""The base of every portal page: a signed-in person in a project, and refusals shown as sentences."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views import View

from accounts.choices import Door, Right
from accounts.models import Project, User
from accounts.permissions import Actor, find_project, may, require
from common.api.problems import request_id_of
from common.errors import DomainError

PER_PAGE = 50


class ProjectPage(LoginRequiredMixin, View):
    """A page below /projects/{project}/. `right` is what seeing it asks for; verbs ask for their own."""

    right = Right.READ

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return self.handle_no_permission()
        try:
            require(self.actor, self.project, self.right)
            return super().dispatch(request, *args, **kwargs)
        except DomainError as error:
            return self.refuse(error)

    def refuse(self, error: DomainError) -> HttpResponse:
        """The error as a page of its own; pages without a template for their status share the 400's."""
        template = f"{error.status}.html" if error.status in (403, 404) else "400.html"
        return render(self.request, template, self.frame({"error": error}), status=error.status)

    @cached_property
    def actor(self) -> Actor:
        assert isinstance(self.request.user, User)
        return Actor(user=self.request.user, door=Door.PORTAL, request_id=request_id_of(self.request))

    @cached_property
    def project(self) -> Project:
        return find_project(self.actor, self.kwargs["project"])

    def may(self, right: Right) -> bool:
        return may(self.actor, self.project, right)

    def frame(self, context: dict[str, Any]) -> dict[str, Any]:
        """What every page's template finds beside its own context; `project` only for who may see it."""
        try:
            known = {
                "project": self.project,
                "may_write": self.may(Right.WRITE),
                "may_maintain": self.may(Right.MAINTAIN),
                "role": self.actor.role_in(self.project),
            }
        except DomainError:
            known = {}
        return {**known, **context}

    def show(self, template: str, *, code: int = 200, **context: Any) -> HttpResponse:
        return render(self.request, template, self.frame(context), status=code)

    def page_of(self, rows: QuerySet[Any], per_page: int = PER_PAGE) -> Page[Any]:
        """One page of rows by `?page=`; a number past the end gives the last page."""
        return Paginator(rows, per_page).get_page(self.request.GET.get("page"))


class FormPage(ProjectPage):
    """A page with one form: shows it, calls one verb, keeps what was typed when the verb refuses."""

    form_class: type[Form]
    template: str
    success_message = ""
    right = Right.WRITE

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        return self.show(self.template, form=self.form_class(initial=self.initial()), **self.extra())

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        form = self.form_class(request.POST)
        if form.is_valid():
            try:
                target = self.perform(form.cleaned_data)
            except DomainError as error:
                add_refusal(form, error)
            else:
                if self.success_message:
                    messages.success(request, self.success_message)
                return redirect(target)
        return self.show(self.template, code=422, form=form, **self.extra())

    def initial(self) -> dict[str, Any]:
        """What the form starts with."""
        return {}

    def extra(self) -> dict[str, Any]:
        """What the template needs beside the form."""
        return {}

    def perform(self, data: dict[str, Any]) -> str:
        """Calls the verb and returns where to go next."""
        raise NotImplementedError


def add_refusal(form: Form, error: DomainError) -> None:
    """Puts a verb's refusal beside the field that it names, or on top of the form."""
    placed = False
    for name, sentences in error.fields.items():
        if name in form.fields:
            for sentence in sentences:
                form.add_error(name, sentence)
            placed = True
    if not placed:
        form.add_error(None, " ".join(filter(None, [error.message, error.hint])))
