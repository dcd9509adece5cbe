"""Which rows refer to a row, read from the models themselves, so that no app can be forgotten."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import CASCADE, Exists, ManyToOneRel, Model, OuterRef, QuerySet

M = TypeVar("M", bound=Model)


def parts_of(model: type[Model]) -> list[ManyToOneRel]:
    """Foreign keys to `model` that cascade: such a row belongs to what it refers to and goes with it."""
    return [relation for relation in _foreign_keys_to(model) if _goes_along(relation)]


def references_to(model: type[Model]) -> list[ManyToOneRel]:
    """All other foreign keys to `model`, those of many-to-many tables included: such a row keeps what it refers to."""
    return [relation for relation in _foreign_keys_to(model) if not _goes_along(relation)]


def unreferenced(rows: QuerySet[M], *, apart_from: type[Model] | None = None) -> QuerySet[M]:
    """Those of `rows` that nothing keeps, or nothing but rows of the model `apart_from`."""
    for relation in references_to(rows.model):
        if relation.related_model is not apart_from:
            rows = rows.filter(~Exists(referring(relation)))
    return rows


def referring(relation: ManyToOneRel) -> QuerySet[Model]:
    """The rows that refer by `relation` to the row of the outer query."""
    field = relation.field
    target = OuterRef(field.target_field.attname)
    return relation.related_model._base_manager.filter(**{field.attname: target})


def _foreign_keys_to(model: type[Model]) -> list[ManyToOneRel]:
    fields = model._meta.get_fields(include_hidden=True)
    return [field for field in fields if isinstance(field, ManyToOneRel)]


def _goes_along(relation: ManyToOneRel) -> bool:
    """The table of a many-to-many field cascades too, but that says nothing of who needs the row."""
    return relation.on_delete is CASCADE and not relation.related_model._meta.auto_created
