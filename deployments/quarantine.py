"""Quarantine of what may serve: who quarantines says what becomes of the endpoints."""

from __future__ import annotations

from collections.abc import Collection

from django.db import transaction

from accounts.models import Project
from accounts.permissions import Actor
from common.checks import shorten
from common.errors import Invalid
from deployments.queries import endpoints_holding
from deployments.services import let_go
from registry import quarantine
from registry.models import ModelVersion

KEEP, UNDEPLOY = "keep", "undeploy"


def quarantine_version(
    *,
    actor: Actor,
    project: Project,
    model_name: str,
    ref: str | int,
    reason: str,
    endpoints: str | None = None,
) -> ModelVersion:
    """Quarantines a Ready version: it is neither promoted nor newly deployed until it is released.

    `endpoints` says what becomes of those that serve it: "keep" or "undeploy". It may be left out when none does.
    """
    with transaction.atomic():
        # First the version's lock: nobody deploys it between the look at its endpoints and the end.
        version = quarantine.quarantine_version(
            actor=actor, project=project, model_name=model_name, ref=ref, reason=reason
        )
        check_decision(endpoints, [version.pk])
        if endpoints == UNDEPLOY:
            let_go(actor=actor, project=project, version_ids=[version.pk])
    return version


def check_decision(endpoints: str | None, version_ids: Collection[int]) -> None:
    """Invalid, with their names, when endpoints serve one of these versions and nobody said what becomes of them."""
    if endpoints in (KEEP, UNDEPLOY):
        return
    serving = [each.endpoint_name for each in endpoints_holding(version_ids)]
    if endpoints or serving:
        serve = "serve" if len(serving) > 1 else "serves"
        given = shorten(endpoints) if endpoints else "not given"
        raise Invalid.field(
            "endpoints",
            f"{', '.join(serving[:10]) or 'No endpoint'} {serve} what is to be quarantined; endpoints is {given}; "
            "it must be keep or undeploy.",
            "keep: they go on serving; undeploy: they are taken down.",
            code="endpoints_undecided",
        )
