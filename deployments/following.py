"""Endpoints that follow an alias: when it moves, they move to the version that it names."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F, OuterRef, Q, Subquery

from accounts.permissions import system_actor
from approvals.policies import policy_for
from common.errors import Conflict
from common.sweeps import for_each
from deployments.choices import Wanted
from deployments.models import Deployment
from deployments.revisions import lock_deployment, tell
from deployments.wanting import current_wish, lack_known_now, want, wanted_revision
from registry.choices import Stage, VersionStatus
from registry.locks import lock_version
from registry.models import Alias, AliasMove, ModelVersion


def follow_aliases() -> int:
    """Every few seconds: endpoints whose alias names another version than the wanted one; returns how many moved."""
    alias = Alias.objects.filter(model=OuterRef("model"), name=OuterRef("follows"))
    rows = (
        Deployment.objects.filter(wanted=Wanted.RUNNING)
        .exclude(follows="")
        .annotate(named=Subquery(alias.values("version")[:1]))
        .filter(Q(named=None) | ~Q(named=F("wanted_revision__version")))
    )
    return for_each(rows.values_list("pk", "named"), _follow)


def _follow(moved: tuple[int, int | None]) -> bool:
    deployment_id, version_id = moved
    plan = Deployment.objects.with_details().get(pk=deployment_id)
    lack = lack_known_now(plan.engine, wanted_revision(plan).gpu_type)
    with transaction.atomic():
        version = lock_version(version_id) if version_id else None
        deployment = lock_deployment(deployment_id)
        current = wanted_revision(deployment)
        named = Alias.objects.filter(model=deployment.model, name=deployment.follows).first()
        if deployment.wanted != Wanted.RUNNING or not deployment.follows:
            return False
        if version is None or named is None or named.version_id != version.pk:
            if version is None and named is None:
                _say_once(deployment, f"The alias {deployment.follows} is gone")
            return False
        if version.pk == current.version_id:
            return False
        why = why_not(deployment, version)
        if why:
            _say_once(deployment, f"{deployment.follows} moved to version {version.number}, {why}")
            return False
        said = (
            f"{deployment.follows} moved to version {version.number}{_by(deployment)}: the endpoint follows"
        )
        wish = current_wish(deployment)
        want(system_actor(), "follow_alias", deployment, version, wish, lack=lack, said=said)
    return True


def why_not(deployment: Deployment, version: ModelVersion) -> str:
    """Why an endpoint does not follow to this version, as part of a sentence, or ""."""
    if version.status != VersionStatus.READY:
        return f"which is {version.status}"
    return not_approved(version)


def not_approved(version: ModelVersion) -> str:
    """Why an alias is not followed to this version although it may be Ready, as part of a sentence, or ""."""
    if version.stage != Stage.PRODUCTION and policy_for(version.model, Stage.PRODUCTION):
        return (
            "which is not in Production, and a policy guards that stage: only what was approved is followed"
        )
    return ""


def followed_version(deployment: Deployment) -> ModelVersion:
    """What the alias that an endpoint follows means for it now: the version named, where following would move there."""
    current = wanted_revision(deployment).version
    rows = Alias.objects.filter(model=deployment.model, name=deployment.follows)
    alias = rows.select_related("version__model").first()
    if alias is None or why_not(deployment, alias.version):
        return current
    return alias.version


def check_follows(version: ModelVersion, alias: str) -> None:
    """Conflict for an alias that names a version to which it would not be followed."""
    why = not_approved(version) if alias else ""
    if why:
        raise Conflict(
            f"{alias} names version {version.number}, {why}.",
            "Have the version approved, or give its number: that follows no alias.",
            code="not_approved",
        )


def _by(deployment: Deployment) -> str:
    moves = AliasMove.objects.filter(model=deployment.model, name=deployment.follows).select_related("actor")
    move = moves.order_by("-id").first()
    return f" by {move.actor.username}" if move else ""


def _say_once(deployment: Deployment, what: str) -> None:
    """One event about what is not followed, until the endpoint is wanted otherwise."""
    number = wanted_revision(deployment).version.number
    said = f"{what}. Version {number} stays."
    last = deployment.events.filter(message=said).order_by("-id").first()
    if last is None or last.at < wanted_revision(deployment).created_at:
        tell(deployment, said)
