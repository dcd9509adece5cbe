"""Search from anywhere: the project's models, versions, experiments and runs whose names hold some text.

churn            names that hold it, ids, aliases and annotations that are it
churn v3         that version of every model whose name holds the first words
churn@best       what the alias points to
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.db.models import Case, IntegerField, Q, QuerySet, Value, When

from accounts.models import Project
from registry.models import Alias, ModelVersion, RegisteredModel, VersionTag
from tracking.models import Experiment, Run
from tracking.queries import RUN_ID

LONGEST = 200
OF_EACH = 6
INDEXED = 3  # shorter texts are in half of all names: the trigrams do not help, nor does sorting all of them
NEWEST_RUNS = 20_000  # names of older runs are not looked at: no index knows them
NUMBERED = re.compile(r"(?P<name>.*?)(?:^|[\s:/@])v?(?P<number>\d{1,9})")
POINTED = re.compile(r"(?P<name>[^@]*)@(?P<alias>[\w-]*)")


@dataclass(frozen=True)
class Found:
    """The first OF_EACH of each kind; `text` is what was looked for."""

    text: str
    models: list[RegisteredModel]
    versions: list[ModelVersion]
    experiments: list[Experiment]
    runs: list[Run]

    @property
    def count(self) -> int:
        return len(self.models) + len(self.versions) + len(self.experiments) + len(self.runs)


def look_up(project: Project, text: str) -> Found:
    """Four queries; none for an empty text."""
    text = " ".join(text.replace("\0", " ").split())[:LONGEST]
    if not text:
        return Found("", [], [], [], [])
    return Found(
        text,
        list(_models(project, text)[:OF_EACH]),
        list(_versions(project, text)[:OF_EACH]),
        list(_experiments(project, text)[:OF_EACH]),
        list(_runs(project, text)[:OF_EACH]),
    )


def _models(project: Project, text: str) -> QuerySet[RegisteredModel]:
    rows = RegisteredModel.objects.alive().filter(project=project)
    found = rows.filter(Q(name__icontains=text) | Q(tags__contains=[text]))
    order = ("-updated_at", "-id") if len(text) < INDEXED else (_closeness(text), "-updated_at", "-id")
    return found.select_related("latest_version").order_by(*order)


def _versions(project: Project, text: str) -> QuerySet[ModelVersion]:
    rows = ModelVersion.objects.alive().filter(model__project=project).select_related("model")
    return rows.filter(_meant(project, text)).order_by("-created_at", "-id")


def _meant(project: Project, text: str) -> Q:
    """Which versions a text means: by number, by alias, or by an annotation."""
    if match := NUMBERED.fullmatch(text):
        numbered = Q(number=int(match["number"])) if int(match["number"]) < 2**31 else Q(pk=None)
        return numbered & Q(model__name__icontains=match["name"].strip())
    aliases = Alias.objects.filter(model__project=project)
    if match := POINTED.fullmatch(text):
        pointed = aliases.filter(model__name__icontains=match["name"].strip(), name__icontains=match["alias"])
        return Q(pk__in=pointed.values("version_id"))
    key, _, value = text.partition(":")
    tags = VersionTag.objects.filter(version__model__project=project, key=key.strip())
    tags = tags.filter(value=value.strip()) if value else tags
    named = aliases.filter(name__icontains=text)
    return Q(pk__in=named.order_by().values("version_id").union(tags.order_by().values("version_id")))


def _experiments(project: Project, text: str) -> QuerySet[Experiment]:
    rows = Experiment.objects.filter(project=project)
    found = rows.filter(Q(name__icontains=text) | Q(public_id=text))
    return found.order_by(_closeness(text), "-created_at", "-id")


def _runs(project: Project, text: str) -> QuerySet[Run]:
    rows = Run.objects.alive().filter(project=project).select_related("experiment")
    if RUN_ID.fullmatch(text) or text.startswith("run-"):
        return rows.filter(Q(public_id__startswith=text) | Q(name__istartswith=text))
    newest = Run.objects.filter(project=project).order_by("-started_at", "-id")[:NEWEST_RUNS]
    return rows.filter(pk__in=newest.values("pk"), name__icontains=text).order_by("-started_at", "-id")


def _closeness(text: str) -> Case:
    """The name itself first, then names that begin so, then the others."""
    return Case(
        When(name__iexact=text, then=Value(0)),
        When(name__istartswith=text, then=Value(1)),
        default=Value(2),
        output_field=IntegerField(),
    )
