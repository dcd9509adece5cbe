"""Endpoints that fail too many requests while nothing is rolled out: they are Degraded, and their people are told."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from common.sweeps import for_each
from deployments import revisions
from deployments.choices import RevisionState, Wanted
from deployments.models import Deployment, EndpointTraffic

WINDOW = timedelta(minutes=5)
# Fewer requests than these say nothing about an endpoint.
FEWEST_TO_JUDGE = 20


def watch_errors(now: datetime | None = None) -> int:
    """Every few seconds: what each running endpoint failed lately; returns how many began or ended to fail."""
    since = (now or timezone.now()) - WINDOW
    rows = EndpointTraffic.objects.filter(at__gte=since, shadow=False).values_list("revision")
    counted = {
        pk: (requests, errors) for pk, requests, errors in rows.annotate(Sum("requests"), Sum("errors"))
    }
    plans = Deployment.objects.with_details().filter(
        wanted=Wanted.RUNNING, serving_revision__state=RevisionState.ACTIVE
    )

    def judge(plan: Deployment) -> int:
        failing = _judged(plan, *counted.get(plan.serving_revision_id, (0, 0)))
        return bool(failing) != bool(plan.failing) and _note(plan, failing)

    return for_each(plans, judge)


def _judged(plan: Deployment, requests: int, errors: int) -> str:
    """The sentence about an endpoint that fails, or "". One that did is believed well at half the limit only."""
    limit = settings.SERVING_ERROR_PERCENT / (2 if plan.failing else 1)
    if requests < FEWEST_TO_JUDGE or 100 * errors <= limit * requests:
        return ""
    minutes = WINDOW.seconds // 60
    return (
        f"{errors} of {requests} requests failed in {minutes} minutes, which is {100 * errors / requests:.3g} %; "
        "see its logs, or roll back."
    )


def _note(plan: Deployment, failing: str) -> bool:
    with transaction.atomic():
        deployment = revisions.lock_as_planned(plan)
        if deployment is None:
            return False
        said = failing or "It answers its requests again."
        revisions.settle(deployment, said, deployment.serving_revision, failing=failing)
    return True
