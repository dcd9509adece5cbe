"""Conditions on metrics, such as `val_loss > 2.0`, checked against the points of a batch as they arrive."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from accounts.audit import record
from accounts.choices import Door, Notice, Right
from accounts.models import Project
from accounts.notifications import notify
from accounts.permissions import Actor, require, system_actor
from common.checks import NON_FINITE, check_text, plain_number, shorten
from common.errors import Conflict, Invalid
from common.ids import new_id
from tracking.models import Run, RunAlert
from tracking.queries import find_alert, lock_run, running_run
from tracking.series import Series

FIELD = "condition"
MAX_CONDITION = 400
MAX_KEY = 250
MAX_MESSAGE = 2000
MAX_ALERTS = 100
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


def create_run_alert(
    *, actor: Actor, project: Project, run_id: str, condition: str, message: str = ""
) -> RunAlert:
    """Watches a Running run for a metric's value, `val_loss > 2.0`; points that it has already do not count.

    The alert fires once, by the first value that meets the condition. The same one again while it waits is the
    same alert. At most 100 per run.
    """
    require(actor, project, Right.WRITE)
    parsed = parse_condition(condition)
    values = {
        "condition": condition.strip(),
        "message": check_text("message", message, max_length=MAX_MESSAGE),
    }
    with transaction.atomic():
        run = running_run(project, run_id, alone=True)
        known = run.alerts.filter(fired_at=None, **values).first()
        if known is not None:
            return known
        _check_room_for_alert(run)
        alert = RunAlert.objects.create(
            public_id=new_id("alert"),
            run=run,
            created_by=actor.user,
            key=parsed.key,
            operator=parsed.operator,
            threshold=parsed.threshold,
            **values,
        )
        Run.objects.filter(pk=run.pk).update(has_alerts=True)
        record(actor, "create_run_alert", "run", run.public_id, project=project, after=values)
    return alert


def delete_run_alert(*, actor: Actor, project: Project, run_id: str, alert_id: str) -> None:
    """Takes an alert away, whether it has fired or not."""
    require(actor, project, Right.WRITE)
    with transaction.atomic():
        run = lock_run(project, run_id)
        alert = find_alert(run, alert_id)
        alert.delete()
        Run.objects.filter(pk=run.pk).update(has_alerts=run.alerts.filter(fired_at=None).exists())
        before = {"condition": alert.condition, "message": alert.message}
        record(actor, "delete_run_alert", "run", run.public_id, project=project, before=before)


def _check_room_for_alert(run: Run) -> None:
    if run.alerts.count() >= MAX_ALERTS:
        raise Conflict(
            f"Run {run.public_id} has {MAX_ALERTS} alerts, which is the most that a run may have.",
            "Delete one first.",
            code="too_many_alerts",
        )


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
    notify(
        [alert.created_by, run.created_by],
        Notice.RUN_ALERT,
        f"{alert.condition} on {run.public_id}: {alert.key} is {value:g} at step {step}. {alert.message}".strip(),
        project=project,
        path=reverse("tracking:run", args=[project.slug, run.public_id]),
    )
