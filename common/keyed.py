"""What a filter asks of rows beside a row, one per key: its metrics, parameters and tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import (
    Case,
    Exists,
    F,
    FloatField,
    Func,
    Model,
    OuterRef,
    Q,
    Subquery,
    TextField,
    Value,
    When,
)
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Concat, Left, Lower, NullIf

from common.filtering import (
    ORDER,
    Comparison,
    Meaning,
    Unfitting,
    key_of,
    like_pattern,
    lookup_of,
    number_of,
    text_of,
    values_of,
)


def numbers(model: type[Model], parent: str, value: str = "value", **only: Any) -> Meaning:
    """`metrics.accuracy > 0.9`: rows that have the key, and a value that is so."""

    def meaning(asked: Comparison) -> Q:
        rows = _of_key(model, parent, key_of(asked), only)
        if asked.operator == "null":
            return ~Q(Exists(rows))
        if "like" in asked.operator:
            raise Unfitting(f"{asked.name}.{asked.key} is a number and knows no LIKE")
        wanted = [number_of(asked, each) for each in values_of(asked)]
        if asked.operator == "!=":
            return Q(Exists(rows.exclude(**{value: wanted[0]})))
        lookup, compared = ("in", wanted) if asked.operator == "in" else (lookup_of(asked), wanted[0])
        return Q(Exists(rows.filter(**{f"{value}__{lookup}": compared})))

    return meaning


def texts(model: type[Model], parent: str) -> Meaning:
    """`tags.team = 'nlp'`."""

    def meaning(asked: Comparison) -> Q:
        rows = _of_key(model, parent, key_of(asked), {})
        if asked.operator == "null":
            return ~Q(Exists(rows))
        if asked.operator == "in":
            return Q(Exists(rows.filter(value__in=[_as_text(asked, each) for each in values_of(asked)])))
        wanted = like_pattern(asked) if "like" in asked.operator else _as_text(asked, asked.value)
        if asked.operator == "!=":
            return Q(Exists(rows.exclude(value=wanted)))
        return Q(Exists(rows.filter(**{f"value__{lookup_of(asked)}": wanted})))

    return meaning


def scalars(model: type[Model], parent: str) -> Meaning:
    """`params.lr < 0.01`, `params.optimizer = 'adamw'`: JSON values, compared with their like."""

    def meaning(asked: Comparison) -> Q:
        rows = _of_key(model, parent, key_of(asked), {})
        if asked.operator == "null":
            return ~Q(Exists(rows))
        if asked.operator == "in":
            return Q(Exists(rows.filter(value__in=list(values_of(asked)))))
        if "like" in asked.operator:
            text = Func(F("value"), template="(%(expressions)s #>> '{}')", output_field=TextField())
            rows = rows.annotate(plain=text)
            return Q(Exists(rows.filter(**{f"plain__{lookup_of(asked)}": like_pattern(asked)})))
        if isinstance(asked.value, str):
            text_of(asked, asked.value)
        if asked.operator == "!=":
            return Q(Exists(rows.exclude(value=asked.value)))
        if asked.operator in ORDER:
            kind = "string" if isinstance(asked.value, str) else "number"
            rows = rows.annotate(
                kind=Func(F("value"), function="jsonb_typeof", output_field=TextField())
            ).filter(kind=kind)
        return Q(Exists(rows.filter(**{f"value__{lookup_of(asked)}": asked.value})))

    return meaning


def sort_value(
    model: type[Model], parent: str, key: str, *, descending: bool, value: str = "value", **only: Any
) -> Combinable:
    """The number to sort by; rows without the key, or with NaN, come last in either direction."""
    rows = _of_key(model, parent, key, only).values(value)[:1]
    return _last_if_none(Subquery(rows, output_field=FloatField()), descending)


# A double's bits as text, which sorts as the numbers do once those of negative ones are turned round.
BITS = "('x' || encode(float8send(%(expressions)s), 'hex'))::bit(64)"
LONGEST_SORTED = 200  # characters of a text: an answer's cursor holds them


def sort_scalar(model: type[Model], parent: str, key: str, *, descending: bool) -> Combinable:
    """The same for JSON values: numbers by value, then texts and truths alphabetically, one text for both."""
    rows = _of_key(model, parent, key, {}).annotate(
        kind=Func(F("value"), function="jsonb_typeof", output_field=TextField()),
        # JSON's numbers have no bounds, doubles have.
        number=Case(
            When(
                kind="number",
                then=Func(
                    F("value"),
                    template="least(greatest((%(expressions)s #>> '{}')::numeric, -1e308), 1e308)::float8",
                    output_field=FloatField(),
                ),
            ),
            output_field=FloatField(),
        ),
        text=Func(F("value"), template="(%(expressions)s #>> '{}')", output_field=TextField()),
    )
    below, above = (
        Concat(Value("1"), Func(F("number"), template=template, output_field=TextField()))
        for template in (f"(~ {BITS})::text", f"({BITS} # ('1' || repeat('0', 63))::bit(64))::text")
    )
    ranked = Case(
        When(number__lt=0, then=below),
        When(kind="number", then=above),
        When(~Q(kind="null"), then=Concat(Value("2"), Lower(Left(F("text"), LONGEST_SORTED)))),
        output_field=TextField(),
    )
    last = Value("0" if descending else "3", TextField())
    return Coalesce(Subquery(rows.annotate(ranked=ranked).values("ranked")[:1]), last)


def _last_if_none(number: Combinable, descending: bool) -> Combinable:
    last = Value(float("-inf") if descending else float("inf"), FloatField())
    return Coalesce(NullIf(number, Value(float("nan"), FloatField())), last)


def _of_key(model: type[Model], parent: str, key: str, only: Mapping[str, Any]) -> Any:
    rows = model._default_manager.filter(**{parent: OuterRef("pk"), "key": key}, **only)
    return rows.order_by()


def _as_text(asked: Comparison, value: object) -> str:
    """Tags are texts: a number or truth is compared as it is written."""
    if isinstance(value, bool):
        return str(value).lower()
    return text_of(asked, value if isinstance(value, str) else str(value))
