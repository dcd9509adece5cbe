"""How a version is to run: what people may ask for, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypedDict

from django.conf import settings

from common.checks import check_mapping, check_number, check_text, check_whole, shorten
from common.errors import Invalid
from deployments.choices import EngineName
from deployments.models import DeploymentRevision

MOST_REPLICAS = 32
DAY = 86_400
BAKE_SECONDS = 60
MAX_ERROR_RATE = 0.05
MOST_BODY_BYTES = 32 << 20  # what a serving process takes
ROLLOUT_KEYS = ("steps", "bake_seconds", "max_error_rate", "max_p95_ms", "replace")


class Wishes(TypedDict, total=False):
    """Settings of an endpoint as they are asked for; what is left out stays or has its default."""

    gpu_type: str
    min_replicas: int
    max_replicas: int
    idle_seconds: int
    max_batch_size: int
    max_delay_ms: int
    rollout: dict[str, Any]
    engine: str
    rate_limit: int | None
    timeout_seconds: int
    max_body_bytes: int | None


@dataclass(frozen=True)
class Wish:
    """What one revision runs with; how its traffic moves to it makes no other revision of it."""

    gpu_type: str = ""
    min_replicas: int = 1
    max_replicas: int = 1
    idle_seconds: int = 300
    max_batch_size: int = 1
    max_delay_ms: int = 0
    rollout: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def values(self) -> dict[str, Any]:
        """As fields of a revision."""
        return asdict(self)


REVISION_FIELDS = tuple(each.name for each in fields(Wish))
LIMITS = ("rate_limit", "timeout_seconds", "max_body_bytes")


def wish_of(revision: DeploymentRevision) -> Wish:
    """What an existing revision runs with."""
    return Wish(**{name: getattr(revision, name) for name in REVISION_FIELDS})


def check_wish(asked: Mapping[str, Any], before: Wish | None = None) -> Wish:
    """The wish, checked; what is not asked for is as `before`."""
    given = {name: asked[name] for name in REVISION_FIELDS if asked.get(name) is not None}
    values = {**(before or Wish()).values, **given}
    low = check_whole("min_replicas", values["min_replicas"], low=0, high=MOST_REPLICAS)
    high = check_whole("max_replicas", values["max_replicas"], low=1, high=MOST_REPLICAS)
    if high < low:
        raise Invalid.field(
            "max_replicas", f"max_replicas is {high}; it must not be less than min_replicas, {low}."
        )
    return Wish(
        gpu_type=_check_gpu_type(values["gpu_type"]),
        min_replicas=low,
        max_replicas=high,
        idle_seconds=check_whole("idle_seconds", values["idle_seconds"], low=10, high=7 * DAY),
        max_batch_size=check_whole("max_batch_size", values["max_batch_size"], low=1, high=4096),
        max_delay_ms=check_whole("max_delay_ms", values["max_delay_ms"], low=0, high=10_000),
        rollout=check_rollout(values["rollout"]),
    )


def check_rollout(value: object) -> dict[str, Any]:
    """{} moves all traffic at once, {"replace": True} once what serves has ended.

    Else `steps` of percent, `bake_seconds` each, and the limits that stop it.
    """
    found = check_mapping("rollout", value, max_count=len(ROLLOUT_KEYS))
    unknown = [name for name in found if name not in ROLLOUT_KEYS]
    if unknown:
        raise Invalid.field(
            "rollout", f"rollout has no {shorten(unknown[0])}; it may have {', '.join(ROLLOUT_KEYS)}."
        )
    if _check_replace(found.pop("replace", False), found):
        return {"replace": True}
    if not found:
        return {}
    p95 = found.get("max_p95_ms")
    return {
        "steps": _check_steps(found.get("steps")),
        "bake_seconds": check_whole(
            "rollout.bake_seconds", found.get("bake_seconds", BAKE_SECONDS), low=1, high=DAY
        ),
        "max_error_rate": _between(
            "rollout.max_error_rate", found.get("max_error_rate", MAX_ERROR_RATE), 0, 1
        ),
        "max_p95_ms": None if p95 is None else _between("rollout.max_p95_ms", p95, 1, 600_000),
    }


def _check_replace(value: object, others: Mapping[str, Any]) -> bool:
    if not isinstance(value, bool):
        raise Invalid.field(
            "rollout.replace", f"rollout.replace is {shorten(value)}; it must be true or false."
        )
    if value and others:
        raise Invalid.field(
            "rollout.replace",
            f"rollout.replace ends what serves before the new revision starts, so it goes with no {next(iter(others))}.",
            "Leave the one or the other out.",
        )
    return value


def _check_steps(value: object) -> list[int]:
    right = "one to ten whole percentages from 1 to 99, each more than the one before, such as [10, 50]"
    if not isinstance(value, list) or not 1 <= len(value) <= 10:
        raise Invalid.field("rollout.steps", f"rollout.steps is {shorten(value)}; it must be {right}.")
    steps = [check_whole("rollout.steps", step, low=1, high=99) for step in value]
    if steps != sorted(set(steps)):
        raise Invalid.field("rollout.steps", f"rollout.steps is {shorten(value)}; it must be {right}.")
    return steps


def _between(name: str, value: object, low: float, high: float) -> float:
    number = check_number(name, value)
    if not (math.isfinite(number) and low <= number <= high):
        raise Invalid.field(
            name, f"{name} is {shorten(value)}; it must be a number from {low:g} to {high:g}."
        )
    return number


def check_limits(asked: Mapping[str, Any]) -> dict[str, int | None]:
    """Those limits of the endpoint itself that are asked for; 0 and null are no limit of its own."""
    most = {"rate_limit": 1_000_000, "timeout_seconds": 3600, "max_body_bytes": MOST_BODY_BYTES}
    size = asked.get("max_body_bytes")
    if isinstance(size, int) and size > MOST_BODY_BYTES:
        raise Invalid.field(
            "max_body_bytes",
            f"max_body_bytes is {size}; a serving process takes at most {MOST_BODY_BYTES} bytes.",
            "Send many rows by batch-predict, which has no such limit.",
        )
    found: dict[str, int | None] = {}
    for name in LIMITS:
        value = asked.get(name)
        if name == "timeout_seconds" and value is not None:
            found[name] = check_whole(name, value, low=1, high=most[name])
        elif name in asked and name != "timeout_seconds":
            found[name] = check_whole(name, value or 0, low=0, high=most[name]) or None
    return found


def check_engine(value: object) -> str:
    """The name of an engine, or "" for the one that the settings name."""
    if value is None or value == "" or value in EngineName.values:
        return str(value or "")
    raise Invalid.field(
        "engine",
        f"engine is {shorten(value)}; it must be {' or '.join(EngineName.values)}.",
        "Leave it out for the one that the platform is set to.",
    )


def _check_gpu_type(value: object) -> str:
    text = check_text("gpu_type", value, max_length=200).strip()
    known = {name.lower(): name for name in settings.GPU_TYPES}
    if text and text.lower() not in known:
        raise Invalid.field(
            "gpu_type",
            f"gpu_type is {shorten(text)}; it must be one of {', '.join(settings.GPU_TYPES)}.",
            "Leave it out to run on the CPU.",
            code="unknown_gpu_type",
        )
    return known[text.lower()] if text else ""
