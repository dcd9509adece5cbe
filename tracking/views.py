"""The portal's pages of experiments and runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils.http import urlencode

from accounts.models import Project
from accounts.portal import ProjectPage
from artifacts.api.serve import serve_blob, serve_image
from artifacts.previews import preview_of
from common.api.filters import sorted_by
from common.checks import plain_number
from common.comparison import Heading, chart_data, check_chosen
from common.errors import Invalid, Missing
from common.heads import Head, Sorting
from tracking import queries
from tracking.choices import RunStatus
from tracking.columns import chosen_columns, offered_columns
from tracking.compare import compare_runs
from tracking.filters import RunFilter
from tracking.histories import Wanted, metric_history
from tracking.models import Experiment, Run, RunFile, RunMetric
from tracking.search import DURATION, RUN_COLUMNS, RUNS, run_sort

EXPERIMENT_COLUMNS = {
    "name": ("Experiment", "name"),
    "runs": ("Runs", "run_count"),
    "by": ("By", "created_by__username"),
    "created_at": ("Created", "created_at"),
}
MOST_CURVES = 24
MOST_FILES = 1000  # that the page lists
MOST_DRAWN = 1000  # points of a curve; thinned so that no peak is lost


class ExperimentList(ProjectPage):
    """**MLOps > Experiments**."""

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        search, archived = request.GET.get("search", ""), "archived" in request.GET
        rows = Experiment.objects.filter(project=self.project, archived_at__isnull=not archived)
        if search:
            rows = rows.filter(name__icontains=search)
        sorting = Sorting.of(request, EXPERIMENT_COLUMNS, "-created_at")
        page = self.page_of(rows.with_run_count().select_related("created_by").order_by(*sorting.order))
        return self.show(
            "tracking/experiment_list.html", page=page, search=search, archived=archived, sorting=sorting
        )


class ExperimentDetail(ProjectPage):
    """An experiment and its runs, filtered and sorted by anything that they logged."""

    def get(self, request: HttpRequest, project: str, experiment_id: str) -> HttpResponse:
        experiment = queries.find_experiment(self.project, experiment_id)
        runs = Run.objects.alive().filter(experiment=experiment)
        error = ""
        try:
            shown = asked_runs(request, runs)
        except Invalid as refusal:
            shown, error = runs.none(), " ".join(filter(None, [refusal.message, refusal.hint]))
        page = self.page_of(shown.select_related("created_by").prefetch_related("metrics", "params"))
        columns = chosen_columns(request.GET.getlist("column"), page)
        for run in page:
            run.columns = [(column.kind, column.of(run)) for column in columns]
        return self.show(
            "tracking/experiment_detail.html",
            code=422 if error else 200,
            experiment=experiment,
            page=page,
            heads=[column.head(request) for column in columns],
            columns=columns,
            offered=offered_columns(page, columns),
            name_head=Head.of(request, "name", "Run"),
            duration_head=Head.of(request, DURATION, "Duration"),
            by_head=Head.of(request, "created_by", "By"),
            status_head=Head.of(request, "status", "Status"),
            started_head=Head.of(request, "started_at", "Started", usual="-started_at"),
            status=request.GET.get("status", ""),
            condition=request.GET.get("filter", ""),
            filter_error=error,
            fields=RUNS,
            filtered=any(request.GET.get(name) for name in ("status", "filter")),
            statuses=Run._meta.get_field("status").choices,
        )


def asked_runs(request: HttpRequest, runs: QuerySet[Run]) -> QuerySet[Run]:
    """Those that `status` and `filter` leave, in the order of `ordering`; Invalid where one of them is wrong."""
    found = RunFilter(request.GET, queryset=runs)
    if not found.is_valid():
        raise Invalid("; ".join(str(each) for errors in found.errors.values() for each in errors))
    asked = request.GET.get("ordering", "")
    rows, ordering = sorted_by(found.qs, asked, RUN_COLUMNS, "-started_at", run_sort)
    return rows.order_by(*ordering)


class CompareRuns(ProjectPage):
    """**Compare**: `?run=…&run=…`."""

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        chosen = request.GET.getlist("run")
        try:
            check_chosen(chosen, "run")
        except Invalid:
            self.way_on = (self._list_of(chosen), "Choose runs")
            raise
        found = compare_runs(self.project, chosen)
        headings = [self._heading(run) for run in found.runs]
        curves = curve_data(self.project, list(found.runs))
        return self.show(
            "tracking/compare.html",
            comparison=found,
            headings=headings,
            chart_data=chart_data(headings, found.metrics, found.params, curves),
        )

    def _list_of(self, chosen: Sequence[str]) -> str:
        """Where these are chosen: the experiment of the first one, or all experiments."""
        try:
            experiment = queries.find_run(self.project, chosen[0]).experiment
        except (IndexError, Missing):
            return reverse("tracking:experiment_list", args=[self.project.slug])
        page = reverse("tracking:experiment", args=[self.project.slug, experiment.public_id])
        return f"{page}?{urlencode({'run': chosen}, doseq=True)}"

    def _heading(self, run: Run) -> Heading:
        name = run.name or run.public_id
        return Heading(name, name, reverse("tracking:run", args=[self.project.slug, run.public_id]))


def curve_data(project: Project, runs: Sequence[Run | None]) -> dict[str, Any]:
    """Where the curves of these runs are read, run by run (None has none), and what they logged."""
    keys = {metric.key for run in runs if run is not None for metric in run.metrics.all() if metric.count > 1}
    return {
        "address": f"/api/v1/projects/{project.slug}/metric-history",
        "runs": [run and run.public_id for run in runs],
        "keys": sorted(keys),
        "points": MOST_DRAWN,
    }


class RunDetail(ProjectPage):
    """A run. While it runs the page asks for its moving parts again, and for its files once there are others."""

    def get(self, request: HttpRequest, project: str, run_id: str) -> HttpResponse:
        found = queries.find_run(self.project, run_id)
        run = Run.objects.select_related("experiment", "created_by").get(pk=found.pk)
        file_count = run.files.count()
        metrics = list(run.metrics.all())
        drawn = drawn_of(metrics, request.GET.get("curves", ""))
        shown: dict[str, Any] = {
            "run": run,
            "file_count": file_count,
            "metrics": metrics,
            "drawn": drawn,
            "drawn_keys": {metric.key for metric in drawn},
            "params": run.params.all(),
            "tags": run.tags.all(),
            "datasets": [
                (link.dataset, link.context) for link in run.dataset_links.select_related("dataset")
            ],
            "versions": run.versions.filter(deleted_at=None, model__deleted_at=None).select_related("model"),
        }
        if "HX-Request" in request.headers:
            stale = run.status != RunStatus.RUNNING or request.GET.get("files") != str(file_count)
            files = file_table(run, file_count) if stale else {}
            return self.show("tracking/run_live.html", with_files=stale, **shown, **files)
        return self.show(
            "tracking/run_detail.html",
            experiment=run.experiment,
            curves=[curve(run, metric.key) for metric in drawn],
            environment=parts_of(run.environment),
            **shown,
            **file_table(run, file_count),
        )


def parts_of(environment: dict[str, Any]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """(part, its facts) of what a recorder saw; one that sends its own may send any JSON."""
    return [
        (part, list(seen.items()) if isinstance(seen, dict) else [("", seen)])
        for part, seen in environment.items()
    ]


def file_table(run: Run, count: int) -> dict[str, Any]:
    """The first files of a run, and how many the page leaves out."""
    files = list(run.files.select_related("blob")[:MOST_FILES])
    return {"files": files, "files_left_out": max(0, count - len(files))}


def drawn_of(metrics: Sequence[RunMetric], page: str) -> Page[RunMetric]:
    """The metrics whose curves `?curves=` shows, page by page; a single value has no curve."""
    return Paginator([metric for metric in metrics if metric.count > 1], MOST_CURVES).get_page(page)


def curve(run: Run, key: str) -> dict[str, Any]:
    """One metric as the chart takes it: {"key", "steps", "values"}."""
    history = metric_history(run, key, Wanted(points=MOST_DRAWN))
    return {"key": key, "steps": history.steps, "values": [plain_number(v) for v in history.numbers]}


class OfRunFile:
    """A page of one file of a run."""

    project: Any
    kwargs: dict[str, Any]

    @cached_property
    def run(self) -> Run:
        return queries.find_run(self.project, self.kwargs["run_id"])

    @cached_property
    def file(self) -> RunFile:
        path = self.kwargs["path"]
        file = self.run.files.filter(path=path).select_related("blob").first()
        if file is None:
            raise Missing(f"Run {self.run.public_id} has no file {path[:80]!r}.")
        return file


class RunFileDownload(OfRunFile, ProjectPage):
    shows = False

    def get(self, request: HttpRequest, project: str, run_id: str, path: str) -> HttpResponseBase:
        return serve_blob(request, self.file.blob, path.rsplit("/", 1)[-1])


class RunFilePreview(OfRunFile, ProjectPage):
    """One file of a run as a page may show it; `?raw` are an image's bytes."""

    def get(self, request: HttpRequest, project: str, run_id: str, path: str) -> HttpResponseBase:
        if "raw" in request.GET:
            return serve_image(self.file.blob)
        preview = preview_of(self.file.blob, path)
        return self.show("tracking/run_preview.html", run=self.run, file=self.file, preview=preview)
