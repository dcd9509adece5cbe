"""The portal's pages that keep a registry in order: what is in the trash, who may move what, what was quarantined."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from accounts.choices import Right
from accounts.portal import PER_PAGE, FormPage, ProjectPage, SurePage, TypedPage, add_refusal
from common.checks import shorten
from common.errors import DomainError, Missing
from deployments.models import Deployment
from registry import aliases, protections, services, trash
from registry.forms import DescriptionForm, ProtectionForm, ReleaseForm, RestoreForm
from registry.models import Alias, Protection, VersionTag
from registry.portal import OfModel, OfVersion
from tracking import trash as run_trash

LISTED = 100


class Trash(ProjectPage):
    """What was deleted and can still come back; only maintainers see it."""

    right = Right.MAINTAIN

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        return self._show()

    def post(self, request: HttpRequest, project: str) -> HttpResponseBase:
        """Restores one thing and goes to its page."""
        form = RestoreForm(request.POST)
        try:
            if not form.is_valid():
                sentences = [str(each) for each in form.errors.get("as_name", ["This is not in the trash."])]
                raise Missing(" ".join(sentences))
            address = self._restore(form.cleaned_data)
        except DomainError as error:
            return self._refused(form, " ".join(filter(None, [error.message, error.hint])))
        messages.success(request, "It is back, with everything that it had.")
        return redirect(address)

    def _refused(self, form: RestoreForm, sentence: str) -> HttpResponse:
        """The sentence stands beside the name that was typed for a model; without one it is a message."""
        name = form.data.get("as_name", "")
        row = next(
            (row for row in self._rows if not row.number and row.model_name == form.data.get("model")), None
        )
        if row is None or form.data.get("run") or form.data.get("number"):
            messages.error(self.request, sentence)
            return redirect(self.request.get_full_path())
        return self._show(code=422, refused=row, as_name=name, sentence=sentence)

    def _show(self, code: int = 200, **refusal: Any) -> HttpResponse:
        runs = run_trash.listed_trash(actor=self.actor, project=self.project)
        newest = runs.select_related("experiment").order_by("-deleted_at", "-id")
        return self.show(
            "registry/trash.html",
            code=code,
            page=self._page,
            rows=self._rows,
            runs=Paginator(newest, PER_PAGE).get_page(self.request.GET.get("runs")),
            **refusal,
        )

    @cached_property
    def _page(self) -> Page[Any]:
        listed = Paginator(trash.listed_trash(actor=self.actor, project=self.project), PER_PAGE)
        return listed.get_page(self.request.GET.get("page"))

    @cached_property
    def _rows(self) -> list[trash.Trashed]:
        return trash.dressed(self._page.object_list)

    def _restore(self, asked: dict[str, Any]) -> str:
        whose: dict[str, Any] = {"actor": self.actor, "project": self.project}
        slug, name = self.project.slug, asked["model"]
        if asked["run"]:
            run = run_trash.restore_run(**whose, run_id=asked["run"])
            return reverse("tracking:run", args=[slug, run.public_id])
        if asked["number"]:
            version = trash.restore_version(**whose, model_name=name, number=asked["number"])
            return reverse("registry:version", args=[slug, name, version.number])
        model = trash.restore_model(**whose, name=name, as_name=asked["as_name"] or None)
        return reverse("registry:model", args=[slug, model.name])


class Protections(ProjectPage):
    """Who alone may move an alias, or versions to a stage."""

    post_right = Right.MAINTAIN

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        return self._show(ProtectionForm())

    def post(self, request: HttpRequest, project: str) -> HttpResponseBase:
        form = ProtectionForm(request.POST)
        if form.is_valid():
            try:
                row = protections.protect(actor=self.actor, project=self.project, **form.asked())
            except DomainError as error:
                add_refusal(form, error)
            else:
                messages.success(request, f"The {row.kind} {row.name} is protected.")
                return redirect(request.path)
        return self._show(form, code=422)

    def _show(self, form: ProtectionForm, code: int = 200) -> HttpResponse:
        rows = protections.protections_of(self.project).order_by("kind", "name", "id")
        page = self.page_of(rows)
        return self.show("registry/protections.html", code=code, page=page, form=form)


class RemoveProtection(TypedPage):
    """Says who may move it from then on and asks for its name."""

    template = "registry/protection_remove.html"
    otherwise = "the protection stays"
    success_message = "The protection is removed."
    right = Right.MAINTAIN

    @cached_property
    def protection(self) -> Protection:
        number = self.kwargs["protection_id"]
        found = protections.protections_of(self.project).filter(pk=number).first()
        if found is None:
            raise Missing(f"There is no protection {number} in {self.project.slug}.")
        return found

    def extra(self) -> dict[str, Any]:
        return {"protection": self.protection}

    @property
    def confirm_text(self) -> str:
        return self.protection.name

    def perform(self, data: dict[str, Any]) -> str:
        protections.unprotect(actor=self.actor, project=self.project, protection_id=self.protection.pk)
        return reverse("registry:protections", args=[self.project.slug])


class DeleteAlias(OfModel, TypedPage):
    """Says which version it names, and which endpoints follow it, and asks for its name."""

    template = "registry/alias_delete.html"
    success_message = "The alias is deleted."

    @cached_property
    def alias(self) -> Alias:
        name = self.kwargs["alias"]
        found = self.model.aliases.filter(name=name).first()
        if found is None:
            raise Missing(f"{self.model.name} has no alias {shorten(name)}.", code="alias_not_found")
        return found

    def extra(self) -> dict[str, Any]:
        followers = Deployment.objects.alive().filter(model=self.model, follows=self.alias.name)
        names = followers.order_by("endpoint_name").values_list("endpoint_name", flat=True)
        return {"model": self.model, "alias": self.alias, "followers": names[:LISTED]}

    @property
    def confirm_text(self) -> str:
        return self.alias.name

    def perform(self, data: dict[str, Any]) -> str:
        where: dict[str, Any] = {"actor": self.actor, "project": self.project, "model_name": self.model.name}
        aliases.delete_alias(**where, alias=self.alias.name)
        return reverse("registry:aliases", args=[self.project.slug, self.model.name])


class RemoveAnnotation(OfVersion, SurePage):
    """**Remove** on one annotation; `?key=` names it."""

    template = "registry/annotation_remove.html"

    @cached_property
    def annotation(self) -> VersionTag:
        key = self.request.GET.get("key", "").replace("\0", "")
        found = self.version.tags.filter(key=key).first()
        if found is None:
            raise Missing(f"Version {self.version.number} has no annotation {shorten(key)}.")
        return found

    def extra(self) -> dict[str, Any]:
        return {"model": self.model, "version": self.version, "annotation": self.annotation}

    def perform(self, data: dict[str, Any]) -> str:
        key = self.annotation.key
        services.delete_version_tag(**self.where, key=key)
        messages.success(self.request, f"The annotation {key} is removed.")
        return self.version_url() + "#annotations"


class ReleaseVersion(OfVersion, FormPage):
    """A maintainer answers for a Quarantined version."""

    form_class = ReleaseForm
    template = "registry/version_release.html"
    success_message = "The version is released."
    right = Right.MAINTAIN

    def extra(self) -> dict[str, Any]:
        return {"model": self.model, "version": self.version}

    def perform(self, data: dict[str, Any]) -> str:
        services.release_version(**self.where, **data)
        return self.version_url()


class EditVersion(OfVersion, FormPage):
    """A version's description."""

    form_class = DescriptionForm
    template = "registry/version_edit.html"
    success_message = "The change is saved."

    def initial(self) -> dict[str, Any]:
        return {"description": self.version.description}

    def extra(self) -> dict[str, Any]:
        return {"model": self.model, "version": self.version}

    def perform(self, data: dict[str, Any]) -> str:
        services.update_version(**self.where, **data)
        return self.version_url()
