"""What apps above say of the files that they use, told through here so that artifacts need not know them."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import ManyToOneRel, Model

from artifacts.models import Blob
from common.relations import references_to

Uses = Callable[[int], list[str]]

_sources: dict[type[Model], Uses] = {}


def name_uses(model: type[Model], source: Uses) -> None:
    """`source` takes a blob's id and names what uses it by rows of `model`, in a person's words."""
    _sources[model] = source


def uses_of(blob: Blob) -> list[str]:
    """What uses this blob: no table is left out, and one that nobody named is said by its rows' ids."""
    found: list[str] = []
    for relation in references_to(Blob):
        source = _sources.get(relation.related_model)
        found += source(blob.pk) if source else _rows(relation, blob)
    return sorted(found)


def _rows(relation: ManyToOneRel, blob: Blob) -> list[str]:
    value = getattr(blob, relation.field.target_field.attname)
    rows = relation.related_model._base_manager.filter(**{relation.field.attname: value})
    return [f"{relation.related_model._meta.label} {pk}" for pk in rows.values_list("pk", flat=True)]
