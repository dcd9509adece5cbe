"""Datasets as things of their own: found, listed, and marked bad with a reason."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Count, QuerySet
from django.utils import timezone

from accounts.audit import record
from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from common.checks import check_text
from common.errors import Conflict, Missing
from tracking.models import Dataset

REASON_LENGTH = 2000


def datasets_in(project: Project) -> QuerySet[Dataset]:
    """The project's datasets, each with how many runs used it (`run_count`)."""
    rows = Dataset.objects.filter(project=project).select_related("bad_by")
    return rows.annotate(run_count=Count("run_links__run", distinct=True))


def find_dataset(project: Project, dataset_id: int) -> Dataset:
    """One dataset, or Missing."""
    dataset = datasets_in(project).filter(pk=dataset_id).first()
    if dataset is None:
        raise Missing(f"There is no dataset {dataset_id} in {project.slug}.", code="dataset_not_found")
    return dataset


def mark_dataset(*, actor: Actor, project: Project, dataset_id: int, reason: str) -> Dataset:
    """Says that a dataset is bad, and why; it changes nothing that was made from it. Again replaces the reason."""
    require(actor, project, Right.MAINTAIN)
    check_text("reason", reason, max_length=REASON_LENGTH, required=True)
    with transaction.atomic():
        dataset = _locked(project, dataset_id)
        before = {"bad": dataset.bad_at is not None, "reason": dataset.bad_reason}
        dataset.bad_at, dataset.bad_by, dataset.bad_reason = timezone.now(), actor.user, reason
        dataset.save(update_fields=["bad_at", "bad_by", "bad_reason"])
        after = {"bad": True, "reason": reason, "name": dataset.name}
        record(actor, "mark_dataset", "dataset", str(dataset.pk), project=project, before=before, after=after)
    return find_dataset(project, dataset_id)


def clear_dataset(*, actor: Actor, project: Project, dataset_id: int) -> Dataset:
    """Takes the mark away."""
    require(actor, project, Right.MAINTAIN)
    with transaction.atomic():
        dataset = _locked(project, dataset_id)
        if dataset.bad_at is None:
            raise Conflict(f"Dataset {dataset.name} is not marked bad.", code="dataset_not_bad")
        before = {"bad": True, "reason": dataset.bad_reason}
        dataset.bad_at, dataset.bad_by, dataset.bad_reason = None, None, ""
        dataset.save(update_fields=["bad_at", "bad_by", "bad_reason"])
        after = {"bad": False, "name": dataset.name}
        record(
            actor, "clear_dataset", "dataset", str(dataset.pk), project=project, before=before, after=after
        )
    return find_dataset(project, dataset_id)


def _locked(project: Project, dataset_id: int) -> Dataset:
    dataset = find_dataset(project, dataset_id)
    return Dataset.objects.select_for_update().get(pk=dataset.pk)
