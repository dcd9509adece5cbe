"""The clock's door to approval requests."""

from __future__ import annotations

from celery import shared_task

from accounts.permissions import system_actor
from approvals.choices import RequestState
from approvals.models import ApprovalRequest
from approvals.services import refresh_request


@shared_task(name="approvals.look_after_requests", ignore_result=True)
def look_after_requests() -> None:
    """Every few seconds: what is over its time expires, and what changed is told."""
    waiting = ApprovalRequest.objects.filter(state=RequestState.PENDING).order_by("id")
    for pk in waiting.values_list("pk", flat=True):
        refresh_request(actor=system_actor(), request_pk=pk)
