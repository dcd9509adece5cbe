"""Deleting versions and models, and the trash behind it: what is deleted comes back whole, until it is permanent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Count, F, Q, QuerySet, Value
from django.utils import timezone

from accounts.audit import record
from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from artifacts.services import manifest_without_files
from common import sql
from common.checks import shorten
from common.errors import Conflict, Denied, Invalid, Missing
from common.jobs import enqueue
from registry.aliases import write_move
from registry.choices import Protected, Stage
from registry.holds import live_endpoints
from registry.locks import lock_model, lock_model_unless_missing, lock_version_of
from registry.models import (
    Alias,
    ModelVersion,
    Protection,
    RegisteredModel,
    VersionMetric,
    VersionParam,
    VersionTag,
)
from registry.names import check_model_name
from registry.protections import rules_for
from registry.refs import NUMBER
from registry.services import version_label

AT_ONCE = 200
MOST_LISTED = 500


def delete_version(*, actor: Actor, project: Project, model_name: str, ref: str | int) -> None:
    """Takes a version away, with the aliases that point to it; its number is never given again.

    Conflict with the list of what holds it: the stage Production, endpoints, protected aliases.
    """
    require(actor, project, Right.MAINTAIN)
    with transaction.atomic():
        model = lock_model(project, model_name)
        version = lock_version_of(model, ref)
        _refuse_held(actor, version)
        _remove(actor, model, [version], timezone.now())
        latest = ModelVersion.objects.filter(model=model, deleted_at=None).order_by("-number").first()
        sql.save(
            model,
            latest_version_id=latest and latest.pk,
            version_count=model.version_count - 1,
            updated_at=timezone.now(),
        )
        record(actor, "delete_version", "version", version_label(version), project=project)
    _purge_at_once()


def delete_model(*, actor: Actor, project: Project, name: str, confirm: str | None = None) -> None:
    """Takes a model and all its versions away; its name is free again, its numbers are not.

    Where a version stands in Production or a protected alias points to one, `confirm` must repeat the name, and
    another name is refused everywhere. A live endpoint must be undeployed first.
    """
    require(actor, project, Right.MAINTAIN)
    with transaction.atomic():
        model = lock_model(project, name)
        versions = list(ModelVersion.objects.filter(model=model, deleted_at=None).order_by("number"))
        _refuse_live(model, [endpoint for endpoint, _ in _endpoints(model)])
        _confirmed(actor, model, versions, confirm)
        now = timezone.now()
        _remove(actor, model, versions, now)
        sql.save(
            model,
            deleted_at=now,
            deleted_by_id=actor.user.pk,
            latest_version_id=None,
            version_count=0,
            updated_at=now,
        )
        record(
            actor,
            "delete_model",
            "model",
            model.name,
            project=project,
            before={"versions": [v.number for v in versions]},
        )
    _purge_at_once()


def restore_version(*, actor: Actor, project: Project, model_name: str, number: str | int) -> ModelVersion:
    """Brings a deleted version back with its files, annotations and those aliases that nobody has taken since."""
    require(actor, project, Right.MAINTAIN)
    match = NUMBER.fullmatch(str(number))
    if match is None:
        message = f"version is {shorten(str(number))}; what is in the trash has a number alone."
        raise Invalid.field("version", message, "Name it as 3.")
    with transaction.atomic():
        model = lock_model(project, model_name)
        rows = in_trash().filter(model=model, number=int(match[1])).select_for_update(of=("self",))
        version = rows.first()
        if version is None:
            raise Missing(
                f"There is no version {number} of {model.name} in the trash.",
                f"What was deleted stays there for {settings.TRASH_DAYS} days.",
                code="not_in_trash",
            )
        version.model = model
        _bring_back(actor, model, [version])
        record(actor, "restore_version", "version", version_label(version), project=project)
    return version


def restore_model(
    *, actor: Actor, project: Project, name: str, as_name: str | None = None
) -> RegisteredModel:
    """Brings the model of this name that was deleted last back, with the versions that went with it.

    `as_name` is another name for it, where the old one is taken meanwhile.
    """
    require(actor, project, Right.MAINTAIN)
    wanted = name if as_name is None else check_model_name(as_name)
    with transaction.atomic():
        model = _lock_deleted_model(project, name)
        if lock_model_unless_missing(project, wanted) is not None:
            raise _name_taken(project, wanted)
        went = in_trash().filter(model=model, deleted_at=model.deleted_at).order_by("number")
        versions = list(went.select_for_update(of=("self",)))  # what is being purged stays away
        last = _last_number(project, (name, wanted))
        try:
            with transaction.atomic():
                sql.save(model, name=wanted, deleted_at=None, deleted_by_id=None, last_number=last)
        except IntegrityError as error:  # somebody registered it this moment
            raise _name_taken(project, wanted) from error
        for version in versions:
            version.model = model
        try:
            with transaction.atomic():
                _bring_back(actor, model, versions)
        except IntegrityError as error:
            raise _crowded(project, name, versions) from error
        after = {"name": wanted, "versions": [version.number for version in versions]}
        record(actor, "restore_model", "model", name, project=project, after=after)
    return model


@dataclass(frozen=True)
class Trashed:
    """A model, or a single version, that can come back until `permanent_at`. `number` is None for a model."""

    model_name: str
    number: int | None
    version_count: int
    deleted_at: datetime
    deleted_by: str | None
    permanent_at: datetime


def list_trash(*, actor: Actor, project: Project) -> list[Trashed]:
    """The newest 500 of what can come back, last deleted first. Versions that went with their model stand under it."""
    return dressed(listed_trash(actor=actor, project=project)[:MOST_LISTED])


def listed_trash(*, actor: Actor, project: Project) -> QuerySet[Any]:
    """What can come back, last deleted first, as rows to be counted, cut to a page and then dressed."""
    require(actor, project, Right.MAINTAIN)
    columns = ("deleted_at", "pk", "alone")
    models = deleted_models().filter(project=project).annotate(alone=Value(False)).order_by()
    versions = in_trash().filter(model__project=project, model__deleted_at=None)
    alone = versions.annotate(alone=Value(True)).order_by()
    both = models.values(*columns).union(alone.values(*columns), all=True)
    return both.order_by("-deleted_at", "alone", "-pk")


def dressed(rows: Iterable[Mapping[str, Any]]) -> list[Trashed]:
    """The same rows with what the trash shows of each; three statements, however many they are."""
    keys = [(row["alone"], row["pk"]) for row in rows]
    of_models, of_versions = ([pk for alone, pk in keys if alone is lone] for lone in (False, True))
    models = deleted_models().select_related("deleted_by").in_bulk(of_models)
    versions = in_trash().select_related("model", "deleted_by").in_bulk(of_versions)
    went = in_trash().filter(model__in=of_models, deleted_at=F("model__deleted_at")).order_by()
    counts = dict(went.values_list("model").annotate(Count("pk")))
    return [
        _trashed(versions[pk].model, versions[pk]) if alone else _trashed(models[pk], None, counts.get(pk, 0))
        for alone, pk in keys
        if pk in (versions if alone else models)
    ]


def _trashed(model: RegisteredModel, version: ModelVersion | None, version_count: int = 1) -> Trashed:
    row = version or model
    assert row.deleted_at is not None
    return Trashed(
        model_name=model.name,
        number=version.number if version else None,
        version_count=version_count,
        deleted_at=row.deleted_at,
        deleted_by=row.deleted_by.username if row.deleted_by else None,
        permanent_at=row.deleted_at + timedelta(days=settings.TRASH_DAYS),
    )


def in_trash() -> QuerySet[ModelVersion]:
    """Deleted versions that can come back."""
    return ModelVersion.objects.filter(deleted_at__gt=trash_ends(), purged_at=None)


def deleted_models() -> QuerySet[RegisteredModel]:
    """Deleted models that can come back."""
    return RegisteredModel.objects.filter(deleted_at__gt=trash_ends(), purged_at=None)


def trash_ends() -> datetime:
    """What was deleted before this moment becomes permanent."""
    return timezone.now() - timedelta(days=settings.TRASH_DAYS)


def purge_models(*, actor: Actor) -> int:
    """Lets go of the files and details of versions and models that lay in the trash long enough; returns how many.

    The rows stay: their numbers are never used again, and histories refer to them. Only operators may.
    """
    if not actor.is_operator:
        raise Denied(
            "Only operators empty the trash.", "It empties itself; ask an operator if it cannot wait."
        )
    versions = sum(_purge_version(actor, pk) for pk in _due(ModelVersion.objects.all()))
    return versions + sum(_purge_model(actor, pk) for pk in _due(RegisteredModel.objects.all()))


def _due(rows: QuerySet[ModelVersion] | QuerySet[RegisteredModel]) -> Iterator[int]:
    last = 0
    due = rows.filter(deleted_at__lte=trash_ends(), purged_at=None).order_by("pk")
    while ids := list(due.filter(pk__gt=last).values_list("pk", flat=True)[:AT_ONCE]):
        yield from ids
        last = ids[-1]


def _purge_version(actor: Actor, version_id: int) -> bool:
    """Whether it did: not when others do it now, or have restored the version."""
    with transaction.atomic():
        rows = ModelVersion.objects.select_related("model__project").select_for_update(
            of=("self",), skip_locked=True
        )
        version = rows.filter(pk=version_id, deleted_at__lte=trash_ends(), purged_at=None).first()
        if version is None:
            return False
        digest = version.manifest.digest
        for beside in (VersionMetric, VersionParam, VersionTag):
            beside._base_manager.filter(version=version).delete()
        version.manifest = manifest_without_files()
        version.description = version.status_reason = ""
        version.origin = {}
        version.purged_at = timezone.now()
        version.save(update_fields=["manifest", "description", "status_reason", "origin", "purged_at"])
        record(
            actor,
            "purge_version",
            "version",
            version_label(version),
            project=version.model.project,
            before={"manifest": digest},
        )
    return True


def _purge_model(actor: Actor, model_id: int) -> bool:
    with transaction.atomic():
        rows = RegisteredModel.objects.select_related("project").select_for_update(
            of=("self",), skip_locked=True
        )
        model = rows.filter(pk=model_id, deleted_at__lte=trash_ends(), purged_at=None).first()
        if model is None:
            return False
        Protection.objects.filter(model=model).delete()
        sql.save(model, description="", tags=[], purged_at=timezone.now())
        record(actor, "purge_model", "model", model.name, project=model.project)
    return True


def _purge_at_once() -> None:
    """Where nothing is kept in the trash, the worker need not wait for the clock."""
    if settings.TRASH_DAYS == 0:
        enqueue("registry.purge_trash", key="purge_trash")


def what_holds(actor: Actor, version: ModelVersion) -> list[str]:
    """What forbids deleting the version, a line each: its stage, endpoints, protected aliases."""
    model = version.model
    endpoints = sorted({name for name, pk in _endpoints(model) if pk == version.pk})
    return [
        *(["stage Production"] if version.stage == Stage.PRODUCTION else []),
        *[f"endpoint {name}" for name in endpoints],
        *[f"protected alias {name}" for name in _protected_aliases(actor, model, [version])],
    ]


def _refuse_held(actor: Actor, version: ModelVersion) -> None:
    held = what_holds(actor, version)
    if not held:
        return
    if version.stage == Stage.PRODUCTION:
        raise Conflict(
            f"Version {version.number} is in Production. Move it to Archived before deleting it.",
            code="version_in_production",
            items=held,
        )
    _refuse_live(
        version.model, [line.split(" ", 1)[1] for line in held if line.startswith("endpoint ")], held
    )
    raise Conflict(
        f"Version {version.number} is what the {held[0]} points to.",
        "Point the alias to another version, or remove it.",
        code="alias_protected",
        items=held,
    )


def _protected_aliases(actor: Actor, model: RegisteredModel, versions: Sequence[ModelVersion]) -> list[str]:
    rows = Alias.objects.filter(version__in=versions).order_by("name")
    names = list(rows.values_list("name", flat=True))
    return [rule.name for rule in rules_for(actor, model, Protected.ALIAS, names)] if names else []


def _endpoints(model: RegisteredModel) -> list[tuple[str, int]]:
    return live_endpoints([model.pk]).get(model.pk, [])


def _refuse_live(model: RegisteredModel, names: list[str], held: Sequence[str] = ()) -> None:
    endpoints = sorted(set(names))
    if endpoints:
        several = len(endpoints) > 1
        raise Conflict(
            f"{model.name} is served by the endpoint{'s' if several else ''} {', '.join(endpoints)}.",
            f"Undeploy {'them' if several else 'it'} before deleting.",
            code="live_endpoint",
            items=list(held) or [f"endpoint {name}" for name in endpoints],
        )


def _confirmed(
    actor: Actor, model: RegisteredModel, versions: Sequence[ModelVersion], confirm: str | None
) -> None:
    if confirm and confirm != model.name:
        raise Invalid.field(
            "confirm", f"confirm is {shorten(confirm)}; it must be {model.name}, which is deleted."
        )
    standing = [v.number for v in versions if v.stage == Stage.PRODUCTION]
    protected = _protected_aliases(actor, model, versions)
    if confirm == model.name or not (standing or protected):
        return
    numbers = ", ".join(map(str, standing))
    why = (
        f"Version {numbers} of {model.name} is in Production; deleting the model deletes it too."
        if standing
        else f"{model.name} has the protected alias {', '.join(protected)}; deleting the model removes it too."
    )
    raise Conflict(
        why,
        f"Say confirm={model.name} to delete all {len(versions)} versions.",
        code="confirmation_needed",
        items=[
            *[f"version {v.number} ({v.stage})" for v in versions],
            *[f"protected alias {name}" for name in protected],
        ],
    )


def _remove(actor: Actor, model: RegisteredModel, versions: Sequence[ModelVersion], now: datetime) -> None:
    """Into the trash, each version with the names of the aliases that pointed to it."""
    by_id = {version.pk: version for version in versions}
    for alias in Alias.objects.filter(version__in=by_id).order_by("name"):
        version = by_id[alias.version_id]
        version.former_aliases = [*version.former_aliases, alias.name]
        alias.delete()
        write_move(actor, model, alias.name, version, None)
    for version in versions:
        if version.former_aliases:
            sql.save(version, former_aliases=version.former_aliases)
    ModelVersion.objects.filter(pk__in=list(by_id)).update(
        deleted_at=now, deleted_by=actor.user, updated_at=now
    )


def _bring_back(actor: Actor, model: RegisteredModel, versions: Sequence[ModelVersion]) -> None:
    taken = set(Alias.objects.filter(model=model).values_list("name", flat=True))
    now = timezone.now()
    for version in versions:
        back = [name for name in version.former_aliases if name not in taken]
        sql.save(version, deleted_at=None, deleted_by_id=None, former_aliases=[], updated_at=now)
        for name in back:
            sql.insert(Alias(model=model, name=name, version=version, updated_at=now))
            write_move(actor, model, name, None, version)
        taken |= set(back)
    rows = ModelVersion.objects.filter(model=model, deleted_at=None)
    latest = rows.order_by("-number").first()
    sql.save(model, latest_version_id=latest and latest.pk, version_count=rows.count(), updated_at=now)


def _lock_deleted_model(project: Project, name: str) -> RegisteredModel:
    rows = deleted_models().filter(project=project, name=name).select_for_update(of=("self",))
    model = rows.order_by("-deleted_at").first()
    if model is None:
        raise Missing(
            f"There is no model {shorten(name)} in the trash of {project.slug}.",
            f"What was deleted stays there for {settings.TRASH_DAYS} days.",
            code="not_in_trash",
        )
    model.project = project
    return model


def _name_taken(project: Project, name: str) -> Conflict:
    return Conflict(
        f"A model named {shorten(name)} exists already in {project.slug}.",
        "Restore it under another name.",
        code="model_exists",
    )


def _crowded(project: Project, name: str, versions: Sequence[ModelVersion]) -> Conflict:
    numbers = ", ".join(str(each.number) for each in versions if each.stage == Stage.PRODUCTION)
    return Conflict(
        f"Versions {numbers} of {shorten(name)} were in Production, where {project.slug} wants one at most.",
        "Allow more in the project's promotion rules, restore the model, and archive all but one.",
        code="crowded_production",
    )


def _last_number(project: Project, names: Sequence[str]) -> int:
    """The highest number that any model of these names has given: it goes on from there."""
    rows = RegisteredModel.objects.filter(project=project).filter(Q(name__in=names))
    return max(rows.values_list("last_number", flat=True), default=0)
