"""The portal's pages of lineage: the graph, what depends on a thing, datasets, and making a version again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse

from accounts.choices import Right
from accounts.portal import FormPage, ProjectPage, add_refusal
from common.errors import DomainError, Invalid
from common.heads import Sorting
from deployments.forms import QuarantineForm
from lineage import services
from lineage.forms import AgainForm, NotifyForm, ReasonForm
from lineage.graph import DIRECTIONS, USUAL_DEPTH, Lineage, Node, lineage_of
from lineage.impact import impact_of
from lineage.layout import drawing_of
from lineage.pages import page_of
from lineage.recipes import recipe_of
from lineage.things import find_things
from registry.portal import OfVersion
from scheduling.services import run_again
from tracking import datasets
from tracking.models import Dataset, Run

DATASET_COLUMNS = {
    "name": ("Dataset", "name"),
    "path": ("Path", "path"),
    "runs": ("Runs", "run_count"),
    "created_at": ("First used", "created_at"),
}
SHOWN_NODES = 500
DEPTHS = (1, 2, 3, 5, 10)


class OfNode(ProjectPage):
    """A page about what `?node=` names."""

    @cached_property
    def node(self) -> str:
        return self.request.GET.get("node", "")

    def link(self, node: Node) -> str:
        page = page_of(node)
        return reverse(page[0], args=[self.project.slug, *page[1]]) if page else ""


class LineagePage(OfNode):
    """**Lineage**: the graph around a thing, as a drawing and as a table."""

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        graph = self.graph()
        name = self.node.replace("/", "-").replace(":", "-")[:80]
        drawing = drawing_of(graph, request.GET.getlist("open"))
        links = {node.id: self.link(node) for node in graph.nodes}
        if request.GET.get("format") == "svg":
            text = render_to_string("lineage/drawing.svg", {"drawing": drawing})
            return _attached(HttpResponse(text, content_type="image/svg+xml"), f"lineage-{name}.svg")
        query = request.GET.copy()
        query.pop("format", None)
        center = [each for each in graph.nodes if each.id in graph.center]
        return self.show(
            "lineage/graph.html",
            node=self.node,
            graph=graph,
            center=center,
            here=links[center[0].id] if center else "",
            boxes=[(box, links[box.node.id], self._unfold(box.node.id)) for box in drawing.boxes],
            rows=self._rows(graph, links),
            drawing=drawing,
            direction=request.GET.get("direction", "both"),
            depth=self._depth(),
            directions=DIRECTIONS,
            depths=DEPTHS,
            query=query.urlencode(),
            opened=request.GET.getlist("open"),
        )

    def graph(self) -> Lineage:
        things = find_things(self.project, self.node)
        direction = self.request.GET.get("direction", "both")
        return lineage_of(self.project, things, direction, self._depth(), SHOWN_NODES)

    def _depth(self) -> int:
        text = self.request.GET.get("depth", "")
        if text and not (text.isascii() and text.isdecimal() and len(text) < 4):
            raise Invalid.field("depth", "depth must be a whole number of 1 to 50.")
        return int(text) if text else USUAL_DEPTH

    def _unfold(self, node_id: str) -> str:
        query = self.request.GET.copy()
        query.appendlist("open", node_id)
        return f"?{query.urlencode()}"

    def _rows(self, graph: Lineage, links: dict[str, str]) -> list[dict[str, Any]]:
        """The table's rows: each node with what led to it and what it led to."""
        names = {node.id: node.name for node in graph.nodes}
        rows = {
            node.id: {"node": node, "link": links[node.id], "into": [], "out": []} for node in graph.nodes
        }
        for edge in graph.edges:
            rows[edge.target]["into"].append((names[edge.origin], edge.relation))  # type: ignore[attr-defined]
            rows[edge.origin]["out"].append((names[edge.target], edge.relation))  # type: ignore[attr-defined]
        return list(rows.values())


def _attached(response: HttpResponse, name: str) -> HttpResponse:
    response["Content-Disposition"] = (
        f'attachment; filename="{"".join(c for c in name if c.isalnum() or c in "-._@")}"'
    )
    response["X-Content-Type-Options"] = "nosniff"
    return response


class ImpactPage(OfNode):
    """**Impact**: what depends on a thing, and acts on all of it at once."""

    post_right = Right.MAINTAIN

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        return self._show({})

    def post(self, request: HttpRequest, project: str) -> HttpResponseBase:
        act = request.POST.get("act", "")
        about: dict[str, Any] = {"actor": self.actor, "project": self.project, "node": self.node}
        if act == "release":
            found = services.release_impact(**about)
            messages.success(request, f"{counted(found.versions)} released.")
            return redirect(request.get_full_path())
        form = {"notify": NotifyForm, "quarantine": QuarantineForm}.get(act, ReasonForm)(request.POST)
        if form.is_valid():
            try:
                messages.success(request, self._done(act, about, form.cleaned_data))
            except DomainError as error:
                add_refusal(form, error)
            else:
                return redirect(request.get_full_path())
        return self._show({act: form}, code=422)

    def _done(self, act: str, about: dict[str, Any], data: dict[str, Any]) -> str:
        if act == "notify":
            return (
                f"Told: {', '.join(services.notify_owners(**about, **data)) or 'nobody owns anything here'}."
            )
        if act == "quarantine":
            found = services.quarantine_impact(**about, **data)
            return f"{counted(found.versions)} quarantined, {found.untouched} stayed as they were."
        raise Invalid.field("act", "act must be notify, quarantine or release.")

    def _show(self, filled: dict[str, Any], code: int = 200) -> HttpResponse:
        impact = impact_of(self.project, find_things(self.project, self.node))
        kinds = (
            ("Versions", impact.versions),
            ("Aliases", impact.aliases),
            ("Live endpoints", impact.endpoints),
        )
        return self.show(
            "lineage/impact.html",
            code=code,
            node=self.node,
            impact=impact,
            lists=[(title, [(node, self.link(node)) for node in nodes]) for title, nodes in kinds],
            notify_form=filled.get("notify") or NotifyForm(),
            quarantine_form=filled.get("quarantine") or QuarantineForm(),
        )


def counted(versions: Sequence[Any]) -> str:
    return f"{len(versions)} version{' is' if len(versions) == 1 else 's are'}"


class DatasetList(ProjectPage):
    """**Datasets**: what runs used."""

    def get(self, request: HttpRequest, project: str) -> HttpResponse:
        search = request.GET.get("search", "").replace("\0", "")[:200]
        sorting = Sorting.of(request, DATASET_COLUMNS, "name")
        rows: QuerySet[Dataset] = datasets.datasets_in(self.project).order_by(*sorting.order)
        if search:
            rows = rows.filter(name__icontains=search)
        return self.show("lineage/dataset_list.html", page=self.page_of(rows), search=search, sorting=sorting)


class DatasetDetail(ProjectPage):
    """One dataset: where it lies, which runs used it, and whether it is bad."""

    post_right = Right.MAINTAIN

    def get(self, request: HttpRequest, project: str, dataset_id: int) -> HttpResponse:
        return self._show(ReasonForm())

    def post(self, request: HttpRequest, project: str, dataset_id: int) -> HttpResponseBase:
        about: dict[str, Any] = {"actor": self.actor, "project": self.project, "dataset_id": dataset_id}
        if "clear" in request.POST:
            datasets.clear_dataset(**about)
            messages.success(request, "The mark is taken away.")
            return redirect(request.path)
        form = ReasonForm(request.POST)
        if not form.is_valid():
            return self._show(form, code=422)
        datasets.mark_dataset(**about, **form.cleaned_data)
        messages.success(request, "The dataset is marked bad. Look at what depends on it.")
        return redirect(services.impact_path(self.project, f"dataset:{dataset_id}"))

    def _show(self, form: ReasonForm, code: int = 200) -> HttpResponse:
        dataset = datasets.find_dataset(self.project, self.kwargs["dataset_id"])
        runs = Run.objects.alive().filter(dataset_links__dataset=dataset).distinct()
        return self.show(
            "lineage/dataset.html",
            code=code,
            dataset=dataset,
            node=f"dataset:{dataset.pk}",
            page=self.page_of(runs.select_related("experiment", "created_by").order_by("-started_at", "-id")),
            form=form,
        )


class Reproduce(OfVersion, FormPage):
    """**Reproduce**: what a version was made of; **Run again** makes it once more."""

    form_class = AgainForm
    template = "lineage/reproduce.html"
    success_message = "The training is queued."
    right = Right.READ
    post_right = Right.WRITE

    def initial(self) -> dict[str, Any]:
        return {"configuration": self.recipe.configuration}

    @cached_property
    def recipe(self) -> Any:
        return recipe_of(self.project, self.version)

    def extra(self) -> dict[str, Any]:
        recipe = self.recipe
        environment = json.dumps(recipe.environment, indent=1, sort_keys=True, ensure_ascii=False)
        return {"model": self.model, "version": self.version, "recipe": recipe, "environment": environment}

    def perform(self, data: dict[str, Any]) -> str:
        run = self.recipe.run
        if run is None:
            raise Invalid(self.recipe.why_not)
        execution = run_again(
            actor=self.actor,
            project=self.project,
            run_id=run.public_id,
            configuration=data["configuration"] if data["configuration"] is not None else {},
        )
        return reverse("scheduling:execution", args=[self.project.slug, execution.public_id])
