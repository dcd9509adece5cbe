"""The portal's pages of models and versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from django.contrib import messages
from django.db.models import Q, QuerySet, prefetch_related_objects
from django.db.models.expressions import Combinable
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django_filters import FilterSet

from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor
from accounts.portal import FormPage, ProjectPage, TypedPage, add_refusal
from artifacts.api.serve import serve_blob, serve_image
from artifacts.models import ManifestFile
from artifacts.previews import preview_of
from artifacts.trees import tree_of
from artifacts.zips import serve_zip
from common.api.filters import sorted_by
from common.comparison import Heading, chart_data, check_chosen
from common.directions import best_of, direction_of
from common.errors import DomainError, Invalid, Missing
from common.heads import Head
from deployments.models import Deployment
from deployments.queries import read_endpoints
from registry import aliases, holds, queries, services, trash
from registry.choices import MetricKind, Protected, Stage
from registry.filters import ModelFilter, VersionFilter
from registry.forms import AliasForm, EditModelForm, RegisterForm, RegisterVersionForm, TagForm
from registry.models import AliasMove, Inspection, ModelVersion, RegisteredModel, StageTransition
from registry.portal import OfModel, OfVersion
from registry.protections import rules_for
from registry.search import MODEL_COLUMNS, MODELS, VERSION_COLUMNS, VERSIONS, version_sort
from registry.shown import OF_MODEL, OF_VERSION, read_alias_moves, read_models, read_rows, read_transitions
from registry.standing import moment_of, standing_at
from registry.trends import trend_of
from tracking.queries import common_metrics, datasets_of, find_run
from tracking.views import curve_data

MODEL_FILTERS = ("search", "stage", "tag", "any_tag", "filter", "alias", "author", "live_endpoint")
HISTORY_ROWS = 20
MOST_HISTORY = 1000  # that `?history=all` shows
KEY_METRICS = 3
ENDPOINTS = 20  # that a page lists
LISTED = 100  # versions that a page names before it counts the others
MOST_FILES = 1000  # that the page lists
MOST_FOLDERS = 100  # of one zip
TREND_METRICS = 30  # to choose from
MOST_OFFERED = 500  # names that a field offers


class ModelList(ProjectPage):
    """**MLOps > Model Registry**: searched, filtered and sorted by what stands in the address."""

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        rows = RegisteredModel.objects.alive().filter(project=self.project)
        shown, error = asked(request, ModelFilter, rows, dict.fromkeys(MODEL_COLUMNS), "-updated_at")
        page = self.page_of(shown, count=self.kept_count(shown), read=read_models)
        return self.show(
            "registry/model_list.html",
            code=422 if error else 200,
            fields=MODELS,
            page=page,
            error=error,
            search=request.GET.get("search", ""),
            stage=request.GET.get("stage", ""),
            condition=request.GET.get("filter", ""),
            tags=tag_chips(request, "tag"),
            any_tags=tag_chips(request, "any_tag"),
            stages=Stage.values,
            name_head=Head.of(request, "name", "Model"),
            versions_head=Head.of(request, "version_count", "Versions"),
            changed_head=Head.of(request, "updated_at", "Last change", usual="-updated_at"),
            filtered=any(request.GET.get(name) for name in MODEL_FILTERS),
        )


class VersionList(ProjectPage):
    """The versions of all models, filtered by anything that they carry: `metrics.accuracy > 0.9`."""

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        rows = ModelVersion.objects.alive().filter(model__project=self.project)
        shown, error = asked(request, VersionFilter, rows, VERSION_COLUMNS, "-created_at", version_sort)
        page = self.page_of(shown, count=self.kept_count(shown), read=read_rows)
        keys = common_metrics((row.metrics for row in page), KEY_METRICS)
        return self.show(
            "registry/version_list.html",
            code=422 if error else 200,
            fields=VERSIONS,
            page=page,
            error=error,
            condition=request.GET.get("filter", ""),
            stage=request.GET.get("stage", ""),
            stages=Stage.values,
            metric_keys=keys,
            heads=[Head.of(request, f"metrics.{key}", key) for key in keys],
            model_head=Head.of(request, "model", "Version"),
            stage_head=Head.of(request, "stage", "Stage"),
            size_head=Head.of(request, "size", "Size"),
            created_head=Head.of(request, "created_at", "Created", usual="-created_at"),
            runs_url=runs_url(self.project),
            filtered=any(request.GET.get(name) for name in ("filter", "stage")),
        )


def asked(
    request: HttpRequest,
    filter_set: type[FilterSet],
    rows: QuerySet[Any],
    columns: Mapping[str, str | None],
    usual: str,
    by_key: Callable[[str], Combinable | None] = lambda text: None,
) -> tuple[QuerySet[Any], str]:
    """The rows that the address asks for, in its order; none, and a sentence, where it is wrong."""
    paths = {name: path or name for name, path in columns.items()}
    try:
        found = filter_set(request.GET, queryset=rows)
        if not found.is_valid():
            raise Invalid("; ".join(str(each) for errors in found.errors.values() for each in errors))
        shown, ordering = sorted_by(found.qs, request.GET.get("ordering", ""), paths, usual, by_key)
        return shown.order_by(*ordering), ""
    except Invalid as refusal:
        return rows.none(), " ".join(filter(None, [refusal.message, refusal.hint]))


def tag_chips(request: HttpRequest, name: str) -> list[tuple[str, str]]:
    """Each tag that the address asks for, with the query that leaves it out."""
    chips = []
    for tag in request.GET.getlist(name):
        query = request.GET.copy()
        query.setlist(name, [each for each in request.GET.getlist(name) if each != tag])
        query.pop("page", None)
        if tag:
            chips.append((tag, query.urlencode()))
    return chips


@dataclass(frozen=True)
class History:
    """The newest rows of a history and how many it has."""

    shown: list[Any]
    count: int
    all_asked: bool

    @classmethod
    def of(cls, request: HttpRequest, rows: QuerySet[Any], read: Callable[[int], list[Any]]) -> History:
        """`read` gives so many of `rows`, which are counted only where there are more: most histories are short."""
        all_asked = request.GET.get("history") == "all"
        most = MOST_HISTORY if all_asked else HISTORY_ROWS
        found = read(most + 1)
        return cls(found[:most], rows.count() if len(found) > most else len(found), all_asked)

    @property
    def cut(self) -> bool:
        return self.count > len(self.shown)


class RegisterModel(FormPage):
    """**Register Model**."""

    form_class = RegisterForm
    template = "registry/model_register.html"
    success_message = "The model is registered."

    def perform(self, data: dict[str, Any]) -> str:
        model = services.register_model(actor=self.actor, project=self.project, **data)
        return reverse("registry:model", args=[self.project.slug, model.name])


class ModelDetail(OfModel, ProjectPage):
    def get(self, request: HttpRequest, project: str, name: str) -> HttpResponse:
        rows = ModelVersion.objects.filter(model=self.model, deleted_at=None).order_by("-number")
        page = self.page_of(rows, count=self.model.version_count, read=read_rows)
        histories = StageTransition.objects.filter(version__model=self.model)
        moves = AliasMove.objects.filter(model=self.model)
        keys = common_metrics((row.metrics for row in page), TREND_METRICS)
        chosen = request.GET.get("metric", "").replace("\0", "")[:250] or (keys[0] if keys else "")
        return self.show(
            "registry/model_detail.html",
            model=self.model,
            page=page,
            many=self.model.version_count > 1,
            trend=self.trend(chosen) if chosen else None,
            trend_keys=sorted({*keys, chosen} - {""}),
            aliases=self.model.aliases.all(),
            metric_keys=keys[:KEY_METRICS],
            transitions=History.of(request, histories, partial(read_transitions, OF_MODEL, self.model.pk)),
            alias_moves=History.of(request, moves, partial(read_alias_moves, self.model)),
            deployments=read_endpoints(self.model.pk, ENDPOINTS + 1),
            runs_url=runs_url(self.project),
        )

    def trend(self, key: str) -> dict[str, Any]:
        """The chart's data; a point leads to its version's page."""
        first = reverse("registry:version", args=[self.project.slug, self.model.name, 1])
        return {**trend_of(self.model, key), "link": first.removesuffix("1/")}


def runs_url(project: Project) -> str:
    """The address below which the project's runs lie: a list's hundred links are written from it."""
    return reverse("tracking:run", args=[project.slug, "run"]).removesuffix("run/")


class EditModel(OfModel, FormPage):
    form_class = EditModelForm
    template = "registry/model_edit.html"
    success_message = "The change is saved."

    def initial(self) -> dict[str, Any]:
        return {"description": self.model.description, "tags": self.model.tags}

    def extra(self) -> dict[str, Any]:
        return {"model": self.model}

    def perform(self, data: dict[str, Any]) -> str:
        services.update_model(actor=self.actor, project=self.project, name=self.model.name, **data)
        return self.model_url()


class DeleteModel(OfModel, TypedPage):
    """**Delete Model**: lists what goes and asks for the name."""

    template = "registry/model_delete.html"
    success_message = "The model and its versions are deleted."
    right = Right.MAINTAIN

    def extra(self) -> dict[str, Any]:
        versions = ModelVersion.objects.filter(model=self.model, deleted_at=None).order_by("-number")
        endpoints = holds.live_endpoints([self.model.pk]).get(self.model.pk, [])
        return {
            "model": self.model,
            "versions": versions[:LISTED],
            "left_out": max(0, self.model.version_count - LISTED),
            "endpoints": sorted({n for n, _ in endpoints}),
        }

    @property
    def confirm_text(self) -> str:
        return self.model.name

    def perform(self, data: dict[str, Any]) -> str:
        name = self.model.name
        trash.delete_model(actor=self.actor, project=self.project, name=name, confirm=name)
        return reverse("registry:model_list", args=[self.project.slug])


class Aliases(OfModel, ProjectPage):
    """**Manage Aliases**: set and move; deleting one has a page of its own."""

    post_right = Right.WRITE

    def get(self, request: HttpRequest, project: str, name: str) -> HttpResponse:
        latest = self.model.latest_number
        return self._show(AliasForm(initial={"version": latest}))

    def post(self, request: HttpRequest, project: str, name: str) -> HttpResponseBase:
        where: dict[str, Any] = {"actor": self.actor, "project": self.project, "model_name": self.model.name}
        form = AliasForm(request.POST)
        if form.is_valid():
            try:
                aliases.set_alias(**where, **form.cleaned_data)
            except DomainError as error:
                if error.code == "version_not_found":
                    error.fields = {"version": [" ".join(filter(None, [error.message, error.hint]))]}
                add_refusal(form, error)
            else:
                messages.success(request, f"The alias {form.cleaned_data['alias']} is set.")
                return redirect(request.path)
        return self._show(form, code=422)

    def _show(self, form: AliasForm, code: int = 200) -> HttpResponse:
        moves = AliasMove.objects.filter(model=self.model)
        versions = ModelVersion.objects.filter(model=self.model, deleted_at=None).order_by("-number")
        held, followers = held_aliases(self.actor, self.model), followers_of(self.model)
        rows: list[Any] = list(self.model.aliases.all())
        for alias in rows:
            alias.held = held.get(alias.name, "")
            alias.followers = followers.get(alias.name, [])
        return self.show(
            "registry/aliases.html",
            code=code,
            model=self.model,
            form=form,
            numbers=versions.values_list("number", flat=True)[:LISTED],
            aliases=rows,
            alias_moves=History.of(self.request, moves, partial(read_alias_moves, self.model)),
        )


def followers_of(model: RegisteredModel) -> dict[str, list[str]]:
    """The endpoints that follow an alias of the model, by the alias's name."""
    rows = Deployment.objects.alive().filter(model=model).exclude(follows="").order_by("endpoint_name")
    found: dict[str, list[str]] = {}
    for alias, endpoint in rows.values_list("follows", "endpoint_name")[:LISTED]:
        found.setdefault(alias, []).append(endpoint)
    return found


def held_aliases(actor: Actor, model: RegisteredModel) -> dict[str, str]:
    """Why the actor may not move or delete an alias of the model, by the alias's name."""
    names = [alias.name for alias in model.aliases.all()]
    if actor.is_operator or not names:
        return {}
    role = actor.role_in(model.project)
    return {
        rule.name: f"Protected: only {', '.join([*rule.roles, *rule.groups])} may move it."
        for rule in rules_for(actor, model, Protected.ALIAS, names)
        if not rule.by_group and role not in rule.roles
    }


class Compare(OfModel, ProjectPage):
    """**Compare**: `?v=1&v=2`."""

    def get(self, request: HttpRequest, project: str, name: str) -> HttpResponse:
        chosen = request.GET.getlist("v")
        self.way_on = (f"{self.model_url()}?{urlencode({'v': chosen}, doseq=True)}", "Choose versions")
        check_chosen(chosen, "version")
        comparison = queries.compare(self.model, chosen)
        headings = [self._heading(version) for version in comparison.versions]
        runs = [version.source_run for version in comparison.versions]
        prefetch_related_objects([run for run in runs if run is not None], "metrics")
        curves = curve_data(self.project, runs)
        return self.show(
            "registry/compare.html",
            model=self.model,
            comparison=comparison,
            headings=headings,
            chart_data=chart_data(headings, comparison.metrics, comparison.params, curves),
        )

    def _heading(self, version: ModelVersion) -> Heading:
        name = f"v{version.number}"
        address = reverse("registry:version", args=[self.project.slug, self.model.name, version.number])
        return Heading(name, f"{self.model.name} {name}", address)


class VersionDetail(OfVersion, ProjectPage):
    post_right = Right.WRITE

    def get(self, request: HttpRequest, project: str, name: str, number: int) -> HttpResponse:
        return self._show(TagForm())

    def post(self, request: HttpRequest, project: str, name: str, number: int) -> HttpResponseBase:
        """Sets one annotation."""
        form = TagForm(request.POST)
        if form.is_valid():
            try:
                services.set_version_tag(**self.where, **form.cleaned_data)
            except DomainError as error:
                add_refusal(form, beside_fields(error, form.cleaned_data["key"]))
            else:
                return redirect(self.version_url() + "#annotations")
        return self._show(form, code=422)

    def _show(self, form: TagForm, code: int = 200) -> HttpResponse:
        version, (other, wrong) = self.version, self.beside()
        files = list(version.manifest.files.select_related("blob").order_by("path")[:MOST_FILES])
        return self.show(
            "registry/version_detail.html",
            code=422 if wrong else code,
            model=self.model,
            version=version,
            tag_form=form,
            files=files,
            tree=tree_of(files),
            run=version.source_run,
            datasets=datasets_of(version.source_run),
            transitions=History.of(
                self.request, version.transitions.all(), partial(read_transitions, OF_VERSION, version.pk)
            ),
            deployments=read_endpoints(self.model.pk, ENDPOINTS + 1, version.pk),
            other=other,
            against=self.against or (f"v{other.number}" if other else ""),
            against_error=wrong,
            metrics=metrics_against(version, other),
            server=self.request.build_absolute_uri("/").rstrip("/"),
            ref=f"{self.model.name}/{version.number}",
            found=Inspection.objects.filter(manifest=version.manifest_id)
            .values_list("details", flat=True)
            .first(),
        )

    def beside(self) -> tuple[ModelVersion | None, str]:
        """The version that the metrics are compared with: `?against=` names it, else the one in Production.

        With it why there is none of that name, or "".
        """
        rows = ModelVersion.objects.prefetch_related("metrics")
        asked = self.against
        if not asked:
            if self.model.production_number is None:
                return None, ""
            others = rows.alive().filter(model=self.model, stage=Stage.PRODUCTION)
            return others.exclude(pk=self.version.pk).order_by("-number").first(), ""
        try:
            other = queries.version_among(rows, self.model, asked)
        except Missing as error:
            return None, " ".join(filter(None, [error.message, error.hint]))
        if other.pk == self.version.pk:
            return None, f"v{other.number} is this version itself. Name another one."
        return other, ""

    @property
    def against(self) -> str:
        """What was typed; no version's name has a NUL, and the database takes none."""
        return self.request.GET.get("against", "").replace("\0", "").strip()[:64]


def beside_fields(error: DomainError, key: str) -> DomainError:
    """The same refusal of an annotation under the names of the form's fields: the verb names them `tags`."""
    names = {"tags key": "key", f"tags.{key}"[:120]: "value"}
    error.fields = {names.get(name, name): sentences for name, sentences in error.fields.items()}
    return error


def metrics_against(version: ModelVersion, other: ModelVersion | None) -> list[dict[str, Any]]:
    """The version's metrics, each beside the other version's value and the difference to it; validation's last.

    `mark` says whether the version is better or worse, where the metric's name tells which way is better.
    """
    theirs = {(m.kind, m.key): m.value for m in other.metrics.all()} if other else {}
    rows = []
    for metric in sorted(version.metrics.all(), key=lambda each: (each.kind, each.key)):
        value = theirs.get((metric.kind, metric.key))
        best = best_of(metric.key, [metric.value, value])
        rows.append(
            {
                "key": metric.key if metric.kind == MetricKind.TRAINING else f"{metric.key} (validation)",
                "direction": direction_of(metric.key),
                "value": metric.value,
                "other": value,
                "difference": None if value is None else metric.value - value,
                "mark": "" if best is None else ("better", "worse")[best],
            }
        )
    return rows


class DeleteVersion(OfVersion, TypedPage):
    """**Delete Version**."""

    template = "registry/version_delete.html"
    success_message = "The version is deleted."
    right = Right.MAINTAIN

    def extra(self) -> dict[str, Any]:
        endpoints = holds.live_endpoints([self.model.pk]).get(self.model.pk, [])
        return {
            "model": self.model,
            "version": self.version,
            "endpoints": sorted({name for name, pk in endpoints if pk == self.version.pk}),
        }

    @property
    def confirm_text(self) -> str:
        return f"v{self.version.number}"

    def perform(self, data: dict[str, Any]) -> str:
        trash.delete_version(**self.where)
        return self.model_url()


class VersionFile(OfVersion, ProjectPage):
    """**Download**: one file of a version."""

    shows = False

    def get(self, request: HttpRequest, project: str, name: str, number: int, path: str) -> HttpResponseBase:
        rows = ManifestFile.objects.filter(manifest=self.version.manifest_id, path=path)
        file = rows.select_related("blob").first()
        if file is None:
            raise Missing(f"Version {number} has no file {path[:80]!r}.")
        return serve_blob(request, file.blob, path.rsplit("/", 1)[-1])


class VersionPreview(OfVersion, ProjectPage):
    """One file of a version as a page may show it; `?raw` are an image's bytes."""

    def get(self, request: HttpRequest, project: str, name: str, number: int, path: str) -> HttpResponseBase:
        rows = ManifestFile.objects.filter(manifest=self.version.manifest_id, path=path)
        file = rows.select_related("blob").first()
        if file is None:
            raise Missing(f"Version {number} has no file {path[:80]!r}.")
        if "raw" in request.GET:
            return serve_image(file.blob)
        return self.show(
            "registry/version_preview.html",
            model=self.model,
            version=self.version,
            file=file,
            preview=preview_of(file.blob, path),
        )


class DownloadVersion(OfVersion, ProjectPage):
    """**Download**: the files and folders/ that `?path=` names, each file once, or all, as one zip."""

    shows = False

    def get(self, request: HttpRequest, project: str, name: str, number: int) -> HttpResponseBase:
        rows = ManifestFile.objects.filter(manifest=self.version.manifest_id).select_related("blob")
        asked = [path.replace("\0", "") for path in request.GET.getlist("path")]
        named = [path for path in asked if not path.endswith("/")]
        folders = list(dict.fromkeys(path for path in asked if path.endswith("/")))
        if len(folders) > MOST_FOLDERS:
            raise Invalid.field("path", f"path names {len(folders)} folders; name at most {MOST_FOLDERS}.")
        wanted = Q(path__in=named)
        for folder in folders:
            wanted |= Q(path__startswith=folder)
        files = list((rows.filter(wanted) if asked else rows).order_by("path"))
        found = {file.path for file in files}
        missing = {path for path in named if path not in found}
        missing |= {folder for folder in folders if not any(path.startswith(folder) for path in found)}
        if missing:
            raise Missing(f"Version {number} has no file {min(missing)[:80]!r}.")
        pairs = [(file.path, file.blob) for file in files]
        return serve_zip(pairs, f"{self.model.name}-v{number}.zip")


class ModelStanding(OfModel, ProjectPage):
    """What stood in which stage at a moment, who put it there, who approved it and on what evidence."""

    def get(self, request: HttpRequest, project: str, name: str) -> HttpResponse:
        text = request.GET.get("as_of", "").strip()
        moment, wrong = timezone.now(), ""
        try:
            moment = moment_of(text or None)
        except Invalid as error:
            wrong = error.message
        return self.show(
            "registry/standing.html",
            code=422 if wrong else 200,
            model=self.model,
            standing=standing_at(self.model, moment),
            as_of=text if wrong else moment.strftime("%Y-%m-%dT%H:%M:%S"),
            wrong=wrong,
        )


class RegisterVersion(FormPage):
    """**Register to Model Registry**: a version from a run's file."""

    form_class = RegisterVersionForm
    template = "registry/register_version.html"
    success_message = "The version is registered."

    def initial(self) -> dict[str, Any]:
        return {"artifact_path": self.request.GET.get("artifact_path", "")}

    def extra(self) -> dict[str, Any]:
        run = find_run(self.project, self.kwargs["run_id"])
        names = RegisteredModel.objects.alive().filter(project=self.project).order_by("name")
        paths = run.files.order_by("path").values_list("path", flat=True)[:MOST_OFFERED]
        files = [PurePosixPath(path) for path in paths]
        folders = {folder for file in files for folder in file.parents if folder.name}
        return {
            "run": run,
            "model_names": names.values_list("name", flat=True)[:MOST_OFFERED],
            "artifacts": sorted({*files, *folders}),
        }

    def perform(self, data: dict[str, Any]) -> str:
        version = services.create_version(
            actor=self.actor, project=self.project, source_run_id=self.kwargs["run_id"], **data
        )
        return reverse("registry:version", args=[self.project.slug, version.model.name, version.number])
