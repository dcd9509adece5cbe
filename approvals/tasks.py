"""The clock's door to approval requests."""

from __future__ import annotations

from datetime import datetime

from celery import shared_task
from django.db.models import F, Q
from django.utils import timezone

from accounts.permissions import system_actor
from approvals.choices import RequestState
from approvals.models import ApprovalRequest
from approvals.services import refresh_request

PERIOD = 10  # seconds between two looks, see CELERY_BEAT_SCHEDULE
MOST_AT_ONCE = 50  # a look takes some 20 ms, and the clock's other tasks wait behind it


@shared_task(name="approvals.look_after_requests", ignore_result=True)
def look_after_requests() -> None:
    """Every few seconds: what is over its time expires, and what changed is told."""
    look_after(timezone.now())


def look_after(now: datetime, most: int = MOST_AT_ONCE) -> None:
    """Looks at what is over its time, and at the others; of more than `most`, at a part that changes by the time."""
    waiting = ApprovalRequest.objects.filter(state=RequestState.PENDING)
    rounds = max(1, -(-waiting.count() // most))
    its_turn = Q(turn=int(now.timestamp() / PERIOD) % rounds)
    rows = waiting.annotate(turn=F("id") % rounds).filter(its_turn | Q(expires_at__lte=now))
    for pk in rows.order_by("expires_at", "id").values_list("pk", flat=True)[: 2 * most]:
        refresh_request(actor=system_actor(), request_pk=pk)
