"""How people name a thing of the graph: `version:iris/3`, `version:iris@champion`, `run:run-x`, `model:iris`, …"""

from __future__ import annotations

from accounts.models import Project
from common.checks import check_text, shorten
from common.errors import Invalid, Missing
from deployments.models import Deployment, DeploymentRevision
from lineage.graph import Thing
from registry.models import Alias, ModelVersion
from registry.queries import find_model, version_among
from scheduling.models import ScheduleExecution, TrainingCode
from tracking.datasets import find_dataset
from tracking.models import Run
from tracking.queries import find_experiment

MOST_VERSIONS = 100  # of a model, the newest
FORMS = (
    "model:NAME, version:NAME/3, version:NAME@alias, alias:NAME@alias, run:ID, experiment:ID, dataset:NUMBER, "
    "endpoint:NAME, revision:NAME/2, execution:ID or code:EXPERIMENT/1"
)


def find_things(project: Project, text: str) -> list[Thing]:
    """What `text` names, deleted runs, versions and endpoints too; a model stands for its newest versions."""
    check_text("node", text, max_length=400, required=True)
    kind, _, ref = text.partition(":")
    find = FINDERS.get(kind)
    if find is None or not ref:
        raise Invalid.field("node", f"node is {shorten(text)}; it must be {FORMS}.")
    return find(project, ref)


def _model(project: Project, ref: str) -> list[Thing]:
    rows = ModelVersion.objects.alive().filter(model=find_model(project, ref)).order_by("-number")
    return [("version", pk) for pk in rows.values_list("pk", flat=True)[:MOST_VERSIONS]]


def _version(project: Project, ref: str) -> list[Thing]:
    name, mark, number = _parted(ref)
    if mark == "/" and number.isascii() and number.isdecimal() and len(number) < 10:
        rows = ModelVersion.objects.filter(model__project=project, model__name=name, number=int(number))
        deleted = rows.exclude(deleted_at=None, model__deleted_at=None).order_by("-pk").first()
        if deleted is not None and not rows.filter(deleted_at=None, model__deleted_at=None).exists():
            return [("version", deleted.pk)]
    found = version_among(ModelVersion.objects.all(), find_model(project, name), number)
    return [("version", found.pk)]


def _alias(project: Project, ref: str) -> list[Thing]:
    name, _, alias = ref.rpartition("@")
    row = Alias.objects.filter(model=find_model(project, name), name=alias).first()
    if row is None:
        raise Missing(f"{name} has no alias {shorten(alias)}.", code="alias_not_found")
    return [("alias", row.pk)]


def _run(project: Project, ref: str) -> list[Thing]:
    return [("run", _one(Run.objects.filter(project=project, public_id=ref), "run", ref))]


def _experiment(project: Project, ref: str) -> list[Thing]:
    return [("experiment", find_experiment(project, ref).pk)]


def _dataset(project: Project, ref: str) -> list[Thing]:
    if not (ref.isascii() and ref.isdecimal() and len(ref) < 18):
        raise Missing(f"There is no dataset {shorten(ref)}.", code="dataset_not_found")
    return [("dataset", find_dataset(project, int(ref)).pk)]


def _endpoint(project: Project, ref: str) -> list[Thing]:
    name, _, pk = ref.partition("~")
    rows = Deployment.objects.filter(project=project, endpoint_name=name)
    rows = rows.filter(pk=int(pk)) if pk.isascii() and pk.isdecimal() and len(pk) < 18 else rows
    alive = rows.alive().first()
    return [("endpoint", alive.pk if alive else _one(rows.order_by("-pk"), "endpoint", ref))]


def _revision(project: Project, ref: str) -> list[Thing]:
    name, _, number = _parted(ref)
    number = number.partition("~")[0]
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise Missing(f"There is no revision {shorten(ref)}.")
    rows = DeploymentRevision.objects.filter(
        deployment__project=project, deployment__endpoint_name=name, number=int(number)
    )
    return [("revision", _one(rows.order_by("-pk"), "revision", ref))]


def _execution(project: Project, ref: str) -> list[Thing]:
    rows = ScheduleExecution.objects.filter(schedule__project=project, public_id=ref)
    return [("execution", _one(rows, "execution", ref))]


def _code(project: Project, ref: str) -> list[Thing]:
    name, _, number = _parted(ref)
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise Missing(f"There is no training code {shorten(ref)}.")
    rows = TrainingCode.objects.filter(experiment=find_experiment(project, name), number=int(number))
    return [("code", _one(rows, "training code", ref))]


def _parted(ref: str) -> tuple[str, str, str]:
    mark = "/" if "/" in ref else "@"
    name, _, rest = ref.rpartition(mark)
    if not name or not rest:
        raise Invalid.field("node", f"node names {shorten(ref)}; write NAME/3 or NAME@alias.")
    return name, mark, rest


def _one(rows: object, what: str, ref: str) -> int:
    row = rows.first()  # type: ignore[attr-defined]
    if row is None:
        raise Missing(f"There is no {what} {shorten(ref)}.", code=f"{what.replace(' ', '_')}_not_found")
    return int(row.pk)


FINDERS = {
    "model": _model,
    "version": _version,
    "alias": _alias,
    "run": _run,
    "experiment": _experiment,
    "dataset": _dataset,
    "endpoint": _endpoint,
    "revision": _revision,
    "execution": _execution,
    "code": _code,
}
