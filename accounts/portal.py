"""The base of every portal page: a signed-in person in a project, and refusals shown as sentences."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from typing import Any, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import redirect_to_login
from django.core.paginator import Page, Paginator
from django.db import DataError
from django.db.models import QuerySet
from django.forms import BaseForm, CharField, Form, TextInput, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect, render
from django.urls import Resolver404, resolve
from django.utils.encoding import escape_uri_path
from django.utils.functional import SimpleLazyObject
from django.utils.html import format_html
from django.views import View

from accounts.audit import record_refusal
from accounts.choices import Door, Right
from accounts.context_processors import LAST_PROJECT
from accounts.models import Project, User
from accounts.permissions import Actor, find_project, may, require
from accounts.sections import sections_of
from common.api.kept import PAGES
from common.api.problems import request_id_of
from common.errors import Denied, DomainError, Invalid, Missing, TooMany
from common.limits import LIMITS

PER_PAGE = 50
Read = Callable[[list[Any]], list[Any]]


class Pages(Paginator):
    """Pages of rows. With `read` only their keys are found among the rows, and then read with what a page shows.

    What is passed over, or looked at by a filter and left out, is then not joined with all that.
    """

    def __init__(self, rows: QuerySet[Any], per_page: int, read: Read | None) -> None:
        super().__init__(rows, per_page)
        self.read = read

    def page(self, number: Any) -> Page[Any]:
        if self.read is None:
            return super().page(number)
        number = self.validate_number(number)
        first = (number - 1) * self.per_page
        rows = cast("QuerySet[Any]", self.object_list)
        keys = list(rows.values_list("pk", flat=True)[first : first + self.per_page])
        found = {row.pk: row for row in self.read(keys)}
        return Page([found[key] for key in keys if key in found], number, self)


def opens(path: str) -> bool:
    """Whether a browser can stay at this address: those of buttons take what is sent, those of files are saved."""
    try:
        view = resolve(path).func.view_class  # type: ignore[attr-defined]
    except (Resolver404, AttributeError):
        return False
    return "get" in view.http_method_names and hasattr(view, "get") and getattr(view, "shows", True)


def page_of_button(request: HttpRequest) -> str:
    """The nearest page above the address of a button or a file."""
    path = request.path_info
    while path != "/" and not opens(path):
        path = path.rstrip("/").rpartition("/")[0] + "/"
    return escape_uri_path(path)


class PersonPage(LoginRequiredMixin, View):
    """A page of the signed-in person's own, in no project: the frame shows where they were last."""

    request: HttpRequest
    shows = True  # False where the browser saves what it gets and stays where it is
    way_on = ("", "")  # address and label of what a refusal leads to

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return self.sign_in()
        if "\0" in request.path:
            raise Http404
        try:
            with LIMITS.turn(self.person.pk):
                self.enter()
                return super().dispatch(request, *args, **kwargs)
        except DomainError as error:
            return self.refuse(error)
        except DataError:
            return self.refuse(Invalid("The address or the form holds a value that nothing here can have."))

    def sign_in(self) -> HttpResponse:
        """To the sign-in page and back; htmx is told to go there, or it would swap that page into this one."""
        if not self.request.htmx:  # type: ignore[attr-defined]
            if self.request.method == "POST":
                messages.warning(self.request, "You were signed out, so nothing was done: send it again.")
            if not opens(self.request.path_info):
                return redirect_to_login(page_of_button(self.request))
            return self.handle_no_permission()
        there = self.request.htmx.current_url_abs_path or "/"  # type: ignore[attr-defined]
        return HttpResponse(status=204, headers={"HX-Redirect": redirect_to_login(there).url})

    def enter(self) -> None:
        """Refuses who may not see the page."""

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Who opens a button's address, as by reloading a refused form, gets a page instead of the browser's blank one."""
        refusal = super().http_method_not_allowed(request, *args, **kwargs)
        if request.method == "GET":
            error = DomainError("This address only takes what a button sends.", "Nothing was done.")
            error.status, error.title = 405, "Not a page"
            context = self.frame(
                {"error": error, "back": page_of_button(request), "back_label": "Go to its page"}
            )
            refusal.content = render(request, "400.html", context).content
        return refusal

    def refuse(self, error: DomainError) -> HttpResponse:
        """The error as a page of its own, or as a toast where htmx asked."""
        if self.request.htmx:  # type: ignore[attr-defined]
            text = " ".join(filter(None, [error.message, error.hint]))
            shown = toast(HttpResponse(text, status=error.status, content_type="text/plain"), text, "bad")
        elif isinstance(error, TooMany):  # without the frame, which asks the database
            shown = render(self.request, "429.html", {"error": error}, status=error.status)
        else:
            template = f"{error.status}.html" if error.status in (403, 404) else "400.html"
            back, back_label = self.way_on
            context = self.frame({"error": error, "back": back, "back_label": back_label})
            shown = render(self.request, template, context, status=error.status)
        if error.retry_after is not None:
            shown["Retry-After"] = str(error.retry_after)
        return shown

    @cached_property
    def person(self) -> User:
        assert isinstance(self.request.user, User)
        return self.request.user

    @cached_property
    def actor(self) -> Actor:
        return Actor(user=self.person, door=Door.PORTAL, request_id=request_id_of(self.request))

    def frame(self, context: dict[str, Any]) -> dict[str, Any]:
        """What every page's template finds beside its own context."""
        return context

    def show(self, template: str, *, code: int = 200, **context: Any) -> HttpResponse:
        return render(self.request, template, self.frame(context), status=code)

    def page_of(
        self,
        rows: QuerySet[Any],
        per_page: int = PER_PAGE,
        *,
        count: int | None = None,
        read: Read | None = None,
    ) -> Page[Any]:
        """One page of rows by `?page=`; a number past the end gives the last page. `count`: where it is known.

        `read` gives the rows of these keys, in any order, with what the page shows of them.
        """
        pages = Pages(rows, per_page, read)
        if count is not None:
            pages.count = count
        return pages.get_page(self.request.GET.get("page"))


class ProjectPage(PersonPage):
    """A page below /projects/{project}/. `right` is what seeing it asks for; verbs ask for their own.

    `post_right` is what sending its form asks for before the form is looked at, where that is more.
    """

    right = Right.READ
    post_right: Right | None = None

    def enter(self) -> None:
        sends = self.request.method == "POST" and self.post_right
        require(self.actor, self.project, sends or self.right)

    @cached_property
    def project(self) -> Project:
        return find_project(self.actor, self.kwargs["project"])

    @cached_property
    def unseen(self) -> Project | None:
        """The project, to an operator who sees it in the admin and is no member of it; else None."""
        if not (self.person.is_staff and self.person.has_perm("accounts.view_project")):
            return None
        others = Project.objects.exclude(memberships__user=self.person)
        return others.filter(slug=self.kwargs["project"]).first()

    def kept_count(self, rows: QuerySet[Any]) -> int:
        """How many rows the address asks for, as this process counted them before if nothing has changed since.

        Only for lists that every reader of the project gets alike, and once a page.
        """
        asked = sorted((name, v) for name, v in self.request.GET.lists() if name not in ("page", "ordering"))
        question = (self.project.pk, self.request.path, repr(asked))
        return int(PAGES.answer(question, self.project.state, lambda: str(rows.count()).encode()))

    def refuse(self, error: DomainError) -> HttpResponse:
        if isinstance(error, Denied):
            record_refusal(self.actor, self.project, f"{self.request.method} {self.request.path}", error)
        if isinstance(error, Missing) and self.unseen:
            error = Missing(
                f"The portal's pages of {self.unseen.slug} are for its members, and you are none.",
                "Superusers add members on the project's page in the admin.",
            )
        return super().refuse(error)

    def may(self, right: Right) -> bool:
        return may(self.actor, self.project, right)

    def frame(self, context: dict[str, Any]) -> dict[str, Any]:
        """`project` and what one may do in it, only for who may see it; `unseen` to operators who may not."""
        try:
            known = {
                "project": self.project,
                "may_write": self.may(Right.WRITE),
                "may_maintain": self.may(Right.MAINTAIN),
                "may_administer": self.may(Right.ADMIN),
                "role": self.actor.role_in(self.project),
                "sections": SimpleLazyObject(lambda: sections_of(self.project, self.person)),
            }
        except DomainError:
            known = {"unseen": self.unseen}
        return {**known, **context}

    def show(self, template: str, *, code: int = 200, **context: Any) -> HttpResponse:
        shown = super().show(template, code=code, **context)
        if self.request.COOKIES.get(LAST_PROJECT) != self.project.slug:
            remember_project(shown, self.project)
        return shown


def remember_project(response: HttpResponse, project: Project) -> None:
    """So that pages of no project, and the next visit, know where the person was."""
    year, safe = 365 * 86_400, settings.SESSION_COOKIE_SECURE
    response.set_cookie(LAST_PROJECT, project.slug, max_age=year, secure=safe, httponly=True, samesite="Lax")


def toast(response: HttpResponse, message: str, kind: str = "good") -> HttpResponse:
    """Lets an answer to htmx show a line that goes away again; `kind` is good or bad."""
    response["HX-Trigger"] = json.dumps({"toast": {"message": message, "kind": kind}})
    return response


class PersonForm(PersonPage):
    """A page with one form: shows it, calls one verb, keeps what was typed when the verb refuses."""

    form_class: type[Form]
    template: str
    success_message = ""

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        return self.show(self.template, form=self.make_form(), **self.extra())

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        form = self.make_form(request.POST)
        if form.is_valid():
            try:
                target = self.perform(form.cleaned_data)
            except DomainError as error:
                self.refused(form, error)
            else:
                if self.success_message:
                    messages.success(request, self.success_message)
                return redirect(target)
        return self.show(self.template, code=422, form=form, **self.extra())

    def refused(self, form: Form, error: DomainError) -> None:
        """What the verb refused stands in the form, which comes back."""
        add_refusal(form, error)

    def make_form(self, data: QueryDict | None = None) -> Form:
        return self.form_class(data, initial=self.initial())

    def initial(self) -> dict[str, Any]:
        """What the form starts with."""
        return {}

    def extra(self) -> dict[str, Any]:
        """What the template needs beside the form."""
        return {}

    def perform(self, data: dict[str, Any]) -> str:
        """Calls the verb and returns where to go next."""
        raise NotImplementedError


class FormPage(PersonForm, ProjectPage):
    """The same in a project."""

    right = Right.WRITE


class SureForm(Form):
    """Nothing to fill in: the button is the answer."""


class ConfirmForm(Form):
    """The name of what is destroyed, typed; one blank counts for several, as a browser shows them.

    `otherwise` says what became of it when something else was typed.
    """

    confirm = CharField(
        max_length=1000, widget=TextInput(attrs={"autocomplete": "off", "spellcheck": "false"})
    )

    def __init__(self, *args: Any, wanted: str, otherwise: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.wanted, self.otherwise = " ".join(wanted.split()), otherwise
        field = self.fields["confirm"]
        field.label = format_html('Type <strong class="wrap">{}</strong> to confirm', self.wanted)
        field.widget.attrs["data-confirm"] = self.wanted

    def clean_confirm(self) -> str:
        if " ".join(self.cleaned_data["confirm"].split()) != self.wanted:
            raise ValidationError(f"Type {self.wanted} to confirm; {self.otherwise}.")
        return self.wanted


class SurePage(FormPage):
    """Asks before one button's act. Links with `data-sure` show what it asks in a dialog; without a script it is a page."""

    form_class = SureForm

    def refused(self, form: Form, error: DomainError) -> None:
        if isinstance(error, (Denied, Missing)):
            raise error  # nothing was typed that the form would keep
        super().refused(form, error)


class TypedPage(FormPage):
    """Asks for the name of what is destroyed, too."""

    form_class = ConfirmForm
    otherwise = "nothing was deleted"

    @property
    def confirm_text(self) -> str:
        """What is to be typed."""
        raise NotImplementedError

    def make_form(self, data: QueryDict | None = None) -> Form:
        return ConfirmForm(data, wanted=self.confirm_text, otherwise=self.otherwise)


def add_refusal(form: BaseForm, error: DomainError) -> None:
    """Puts a verb's refusal beside the field that it names, or on top of the form, with all that stands in the way."""
    placed = False
    for name, sentences in error.fields.items():
        if name in form.fields:
            for sentence in sentences:
                form.add_error(name, sentence)
            placed = True
    if not placed:
        sentence = " ".join(filter(None, [error.message, error.hint]))
        form.add_error(None, "\n".join([sentence, *error.items]))
