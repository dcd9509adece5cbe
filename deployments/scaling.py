"""How many replicas an endpoint has: by load between its bounds, none while nobody asks."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Q
from django.utils import timezone

from common.sweeps import for_each
from deployments import revisions
from deployments.choices import SLOT_SECONDS, RevisionState, Wanted
from deployments.models import Deployment, DeploymentRevision, EndpointTraffic, ReplicaSample
from deployments.queries import in_canary
from deployments.traffic import SAMPLE_EVERY
from deployments.wanting import look_soon

# Load is answered soon, and a lull is believed after a while only.
UP_AFTER = timedelta(seconds=2 * SLOT_SECONDS)
DOWN_AFTER = timedelta(seconds=120)
KEPT = timedelta(days=8)
AT_ONCE = 10_000


def scale_endpoints(now: datetime | None = None) -> int:
    """Every few seconds: what each running endpoint's load asks for; returns how many were changed."""
    now = now or timezone.now()
    plans = Deployment.objects.with_details().filter(wanted=Wanted.RUNNING).exclude(serving_revision=None)
    return for_each(plans, partial(_scale_revisions, now=now))


def _scale_revisions(plan: Deployment, now: datetime) -> int:
    revisions_of = {each.pk: each for each in (plan.serving_revision, plan.wanted_revision) if each}
    active = [each for each in revisions_of.values() if each.state == RevisionState.ACTIVE]
    return sum(_scale(plan, revision, now) for revision in active)


def _scale(plan: Deployment, revision: DeploymentRevision, now: datetime) -> bool:
    if _is_idle(plan, revision, now):
        return _put_to_sleep(plan, revision)
    wanted, peak = wanted_replicas(revision, now)
    if wanted == revision.replicas or (wanted < revision.replicas and _is_coming(plan, revision)):
        return False
    with transaction.atomic():
        deployment = revisions.lock_as_planned(plan)
        if deployment is None:
            return False
        rows = DeploymentRevision.objects.filter(
            pk=revision.pk, state=RevisionState.ACTIVE, replicas=revision.replicas
        )
        if not rows.update(replicas=wanted):
            return False
        said = f"Up to {peak} requests at once: {_counted(wanted)} instead of {revision.replicas}."
        revisions.tell(deployment, said, revision)
        look_soon(deployment)
    return True


def wanted_replicas(revision: DeploymentRevision, now: datetime) -> tuple[int, int]:
    """How many replicas the load asks for, and the load: the most requests at once."""
    low, high = max(1, revision.min_replicas), revision.max_replicas
    bounded = min(max(revision.replicas, low), high)
    up, down = peak_since(revision, now - UP_AFTER), peak_since(revision, now - DOWN_AFTER)
    more, fewer = (min(max(_replicas_for(peak), low), high) for peak in (up, down))
    if more > bounded:
        return more, up
    settled = revision.active_at is None or now - revision.active_at > DOWN_AFTER
    return (fewer, down) if fewer < bounded and settled else (bounded, up)


def _replicas_for(peak: int) -> int:
    return -(-peak // int(settings.SERVING_TARGET_IN_FLIGHT))


def peak_since(revision: DeploymentRevision, since: datetime) -> int:
    """The most requests that the revision had at one moment."""
    rows = EndpointTraffic.objects.filter(revision=revision, shadow=False, at__gte=since)
    return rows.aggregate(peak=Max("peak_in_flight"))["peak"] or 0


def _counted(number: int) -> str:
    return "1 replica" if number == 1 else f"{number} replicas"


def _is_idle(plan: Deployment, revision: DeploymentRevision, now: datetime) -> bool:
    """Whether nobody asked for as long as the endpoint says, no answer is due, and nothing is on its way."""
    wanted = plan.wanted_revision
    failed = wanted is not None and wanted.state == RevisionState.FAILED
    if revision.min_replicas > 0 or revision.pk != plan.serving_revision_id:
        return False
    if plan.wanted_revision_id != plan.serving_revision_id and not failed:
        return False
    # While a request waits for its answer, the gateway writes it as a peak of each slot, and as a request of the last.
    busy = Q(requests__gt=0) | Q(peak_in_flight__gt=0)
    rows = EndpointTraffic.objects.filter(busy, revision=revision, shadow=False)
    last = rows.aggregate(at=Max("at"))["at"]
    asked = last + timedelta(seconds=SLOT_SECONDS) if last else None
    since = max(moment for moment in (asked, revision.active_at, revision.created_at) if moment)
    return now - since >= timedelta(seconds=revision.idle_seconds)


def _is_coming(plan: Deployment, revision: DeploymentRevision) -> bool:
    """Whether it has a share of the load only, and is to carry all of it soon."""
    return in_canary(plan) and revision.pk == plan.wanted_revision_id


def _put_to_sleep(plan: Deployment, seen: DeploymentRevision) -> bool:
    with transaction.atomic():
        deployment = revisions.lock_as_planned(plan)
        revision = deployment.serving_revision if deployment else None
        if deployment is None or revision is None or revision.pk != seen.pk:
            return False
        if revision.state != RevisionState.ACTIVE:
            return False
        said = f"No request came for {revision.idle_seconds} s: the endpoint sleeps until one does."
        revisions.sleep(deployment, revision, said)
        # Requests that read the old route just before still reach the process.
        look_soon(deployment, delay=1)
    return True


def sample_replicas(now: datetime | None = None) -> None:
    """Writes how many replicas each endpoint is to have and has, when that changed, and once a minute."""
    now = now or timezone.now()
    plans = Deployment.objects.with_details().filter(wanted=Wanted.RUNNING)
    recent = ReplicaSample.objects.filter(at__gt=now - SAMPLE_EVERY, deployment__in=plans)
    last = {
        row.deployment_id: (row.wanted, row.ready)
        for row in recent.order_by("deployment_id", "-at").distinct("deployment_id")
    }
    rows = []
    for plan in plans:
        revision = plan.serving_revision or plan.wanted_revision
        if revision is not None and last.get(plan.pk) != (revision.replicas, revision.ready_replicas):
            rows.append(
                ReplicaSample(
                    deployment=plan, at=now, wanted=revision.replicas, ready=revision.ready_replicas
                )
            )
    ReplicaSample.objects.bulk_create(rows)


def prune_traffic(now: datetime | None = None) -> int:
    """Removes counts that are older than the charts show; returns how many rows."""
    before, count = (now or timezone.now()) - KEPT, 0
    for rows in (EndpointTraffic.objects.filter(at__lt=before), ReplicaSample.objects.filter(at__lt=before)):
        while found := list(rows.values_list("pk", flat=True)[:AT_ONCE]):
            count += rows.model.objects.filter(pk__in=found).delete()[0]
    return count
