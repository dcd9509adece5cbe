"""How a model stood at a moment: its versions' stages and its aliases, and who put them there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import Q

from common.checks import shorten
from common.errors import Invalid
from common.filtering import in_utc
from registry.choices import Stage
from registry.models import AliasMove, ModelVersion, RegisteredModel, StageTransition


@dataclass(frozen=True)
class StoodInStage:
    """A version's stage at the moment. Of a version that was never moved, `since` is when it was made."""

    version: int
    stage: str
    since: datetime
    by: str
    door: str
    note: str
    approval_id: str = ""
    approved_by: tuple[str, ...] = ()
    evidence: str = ""
    bypass_reason: str = ""


@dataclass(frozen=True)
class PointedTo:
    """An alias at the moment."""

    alias: str
    version: int
    since: datetime
    by: str
    door: str


@dataclass(frozen=True)
class Standing:
    """Versions in stages other than None come first, Production before all."""

    as_of: datetime
    stages: tuple[StoodInStage, ...]
    aliases: tuple[PointedTo, ...]


ORDER = {Stage.PRODUCTION: 0, Stage.STAGING: 1, Stage.ARCHIVED: 2, Stage.NONE: 3}
MOST_VERSIONS = 1000


def standing_at(model: RegisteredModel, moment: datetime) -> Standing:
    """What the histories say of `moment`, itself included; of the newest 1,000 versions that were there then."""
    return Standing(moment, _stages(model, moment), _aliases(model, moment))


def _stages(model: RegisteredModel, moment: datetime) -> tuple[StoodInStage, ...]:
    there = ModelVersion.objects.filter(model=model, created_at__lte=moment, purged_at=None).filter(
        Q(deleted_at=None) | Q(deleted_at__gt=moment)
    )
    versions = list(there.select_related("created_by").order_by("-number")[:MOST_VERSIONS])
    moves = (
        StageTransition.objects.filter(version__in=versions, created_at__lte=moment)
        .select_related("actor")
        .order_by("version_id", "-id")
        .distinct("version_id")
    )
    last = {move.version_id: move for move in moves}
    found = [_stood(version, last.get(version.pk)) for version in versions]
    return tuple(sorted(found, key=lambda each: (ORDER[Stage(each.stage)], -each.version)))


def _stood(version: ModelVersion, move: StageTransition | None) -> StoodInStage:
    if move is None:
        by, door = version.created_by.username, version.created_by_door
        return StoodInStage(version.number, Stage.NONE, version.created_at, by, door, "")
    return StoodInStage(
        version.number,
        move.to_stage,
        move.created_at,
        move.actor.username,
        move.door,
        move.note,
        move.approval,
        tuple(move.approved_by),
        move.evidence,
        move.bypass_reason,
    )


def _aliases(model: RegisteredModel, moment: datetime) -> tuple[PointedTo, ...]:
    moves = (
        AliasMove.objects.filter(model=model, created_at__lte=moment)
        .select_related("actor", "to_version")
        .order_by("name", "-id")
        .distinct("name")
    )
    return tuple(
        PointedTo(move.name, move.to_version.number, move.created_at, move.actor.username, move.door)
        for move in moves
        if move.to_version is not None
    )


def moment_of(text: str | None) -> datetime:
    """A time from the query string, UTC where it names no zone; now without it."""
    if text is None:
        return datetime.now(UTC)
    try:
        # A plus sign of a zone arrives as a space.
        return in_utc(datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text))
    except (ValueError, OverflowError):
        raise Invalid.field(
            "as_of", f"as_of is {shorten(text)}; it must be a time such as 2026-03-01T14:00:00Z."
        ) from None
