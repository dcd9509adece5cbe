"""Conditions on metrics, such as `val_loss > 2.0`, checked against the points of a batch as they arrive."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from django.utils import timezone

from accounts.audit import record
from accounts.choices import Door
from accounts.models import Project
from accounts.permissions import system_actor
from common.checks import NON_FINITE, check_text, plain_number, shorten
from common.errors import Invalid
from tracking.models import Run, RunAlert
from tracking.series import Series

FIELD = "condition"
MAX_CONDITION = 400
MAX_KEY = 250
EXAMPLE = "val_loss > 2.0"
CONDITION = re.compile(
    r"""\s*(?P<key>`[^`]+`|[^\s`<>=!]+)\s*(?P<operator><=|>=|!=|==|=|<|>)\s*
    (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|NaN|-?Infinity)\s*""",
    re.VERBOSE | re.ASCII,
)
OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class Condition:
    """`key` `operator` `threshold`; the operator is one of <, <=, >, >=, ==, !=."""

    key: str
    operator: str
    threshold: float

    def first_met(self, values: Sequence[float]) -> int | None:
        """The index of the first value that meets it; NaN equals NaN here and is neither more nor less."""
        if math.isnan(self.threshold):
            wanted = self.operator == "=="
            return next((i for i, value in enumerate(values) if math.isnan(value) == wanted), None)
        compare, threshold = OPERATORS[self.operator], self.threshold
        return next((i for i, value in enumerate(values) if compare(value, threshold)), None)


def parse_condition(text: object) -> Condition:
    """What `text` asks; Invalid where it is no condition. A key with other signs stands in `backticks`."""
    checked = check_text(FIELD, text, max_length=MAX_CONDITION, required=True)
    match = CONDITION.fullmatch(checked)
    if match is None:
        raise Invalid.field(
            FIELD,
            f"{FIELD} is {shorten(checked)}; it must be a metric's key, one of < <= > >= == != and a number.",
            f"Write it like {EXAMPLE}, a key with spaces or such signs like `val loss` > 2.0.",
            code="condition_wrong",
        )
    key = match["key"].strip("`")
    if not key.strip() or len(key) > MAX_KEY:
        raise Invalid.field(
            FIELD, f"{FIELD} names the metric {shorten(key)}; a key has 1 to {MAX_KEY} characters."
        )
    sign = "==" if match["operator"] == "=" else match["operator"]
    number = NON_FINITE.get(match["number"])
    threshold = float(match["number"]) if number is None else number
    if math.isnan(threshold) and sign not in ("==", "!="):
        raise Invalid.field(
            FIELD, f"{FIELD} is {shorten(checked)}, which no value meets.", "Compare NaN by == or !=."
        )
    return Condition(key, sign, threshold)


def fire_alerts(
    project: Project, run: Run, series: Sequence[Series], steps: Mapping[str, Sequence[int]]
) -> None:
    """Marks the run's alerts that these points meet, each once and for good; in the caller's transaction.

    steps: key -> as many steps as its series has values.
    """
    by_key = {one.key: one.values for one in series}
    waiting = RunAlert.objects.filter(run=run, fired_at=None).order_by("pk")
    for alert in waiting:
        values = by_key.get(alert.key)
        index = None if values is None else _condition(alert).first_met(values)
        if values is not None and index is not None:
            _fire(project, run, alert, values[index], steps[alert.key][index])


def _condition(alert: RunAlert) -> Condition:
    return Condition(alert.key, alert.operator, alert.threshold)


def _fire(project: Project, run: Run, alert: RunAlert, value: float, step: int) -> None:
    still = RunAlert.objects.filter(pk=alert.pk, fired_at=None)
    if not still.update(fired_at=timezone.now(), fired_value=value, fired_step=step):
        return
    after = {"condition": alert.condition, "value": plain_number(value), "step": step}
    if alert.message:
        after["message"] = alert.message
    record(system_actor(Door.JOB), "fire_alert", "run", run.public_id, project=project, after=after)
