"""FilterSets and orderings as the REST API applies them: a wrong filter is a 400 that names it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any, TypeVar

import django_filters
from django.db.models import Model, QuerySet
from django.db.models.expressions import Combinable
from django.forms import Form
from rest_framework.request import Request

from common.checks import shorten
from common.errors import Invalid
from common.filters import LabelsFilter, MomentField, NameFilter

M = TypeVar("M", bound=Model)


def filtered(
    filter_set: type[django_filters.FilterSet],
    rows: QuerySet[M],
    request: Request,
    project: Any,
    also: Collection[str],
) -> QuerySet[M]:
    """`rows` as the query string narrows them; malformed filters, and what is none and not among `also`, are refused.

    A filter that names a thing which the project does not have is Missing.
    """
    often = [name for name, each in filter_set.base_filters.items() if isinstance(each, LabelsFilter)]
    only(request, (*filter_set.base_filters, *also), often=often)
    asked = frozenset(request.query_params) & frozenset(filter_set.base_filters)
    if not asked:
        return rows
    found = _only(filter_set, asked)(  # type: ignore[arg-type]
        request.query_params, queryset=rows, request=request
    )
    if not found.is_valid():
        fields = {name: _told(found.form, name) for name in found.form.errors}
        raise Invalid(next(iter(fields.values()))[0], fields=fields)
    for name, each in found.filters.items():
        if isinstance(each, NameFilter) and found.form.cleaned_data[name]:
            each.check(project, found.form.cleaned_data[name])
    result: QuerySet[Any] = found.qs
    return result


def _told(form: Form, name: str) -> list[str]:
    """What is wrong with one filter; where few values would be right, with these."""
    errors = form.errors.as_data()[name]
    if isinstance(form.fields[name], MomentField):
        return [
            f"{name} is {shorten(form.data.get(name, ''))}; it must be a time such as 2026-03-01T14:00:00Z."
        ]
    choices = getattr(form.fields[name], "choices", ())
    if not any(error.code == "invalid_choice" for error in errors):
        return [
            sentence if name in sentence else f"{name}: {sentence}"
            for sentence in map(str, form.errors[name])
        ]
    known = ", ".join(str(value) for value, _ in choices if value != "")
    return [f"{name} is {shorten(form.data.get(name, ''))}; it must be one of {known}."]


@lru_cache(maxsize=256)
def _only(
    filter_set: type[django_filters.FilterSet], names: frozenset[str]
) -> type[django_filters.FilterSet]:
    """The same with these filters alone: a FilterSet copies all that it has for each request."""
    narrow: type[django_filters.FilterSet] = type(filter_set.__name__, (filter_set,), {})
    narrow.base_filters = OrderedDict(
        (name, each) for name, each in filter_set.base_filters.items() if name in names
    )
    return narrow


def ordering_of(request: Request, allowed: Collection[str], default: str) -> tuple[str, str]:
    """`?ordering=name` or `-name`, with the id in the same direction to break ties."""
    return checked_ordering(request.query_params.get("ordering") or default, allowed)


def checked_ordering(text: str, allowed: Collection[str]) -> tuple[str, str]:
    """The same for an ordering at hand."""
    if text.lstrip("-") not in allowed or text.startswith("--"):
        choices = ", ".join(f"{name}, -{name}" for name in allowed)
        raise Invalid.field("ordering", f"ordering is {shorten(text)}; it must be one of {choices}.")
    return text, "-id" if text.startswith("-") else "id"


def ordered(
    rows: QuerySet[M],
    request: Request,
    columns: Mapping[str, str],
    default: str,
    by_key: Callable[[str], Combinable | None],
) -> tuple[QuerySet[M], tuple[str, str]]:
    """The same where a list can be ordered by a key of its rows too: `-metrics.accuracy`.

    columns: the name in the query string -> the ORM's path; `by_key` gives the number to sort by, or None.
    """
    return sorted_by(rows, request.query_params.get("ordering", ""), columns, default, by_key)


def sorted_by(
    rows: QuerySet[M],
    asked: str,
    columns: Mapping[str, str],
    default: str,
    by_key: Callable[[str], Combinable | None],
) -> tuple[QuerySet[M], tuple[str, str]]:
    """The same for an ordering at hand, "" is the default."""
    text = asked or default
    sign = "-" if text.startswith("-") else ""
    known = text.removeprefix("-") in columns or text.startswith("--") or "\0" in text
    key = None if known else by_key(text)
    if key is not None:
        sorted_rows: Any = rows.annotate(sorted_by=key)
        return sorted_rows, (f"{sign}sorted_by", f"{sign}id")
    name, tie = checked_ordering(text, columns)
    return rows, (sign + columns[name.lstrip("-")], tie)


def only(request: Request, known: Collection[str], *, often: Collection[str] = ()) -> None:
    """Refuses query parameters that mean nothing here, and one that stands there twice but for those of `often`."""
    for name in sorted(set(request.query_params) - set(known)):
        hint = f"There are: {', '.join(known)}." if known else "It takes none."
        raise Invalid.field(name[:80], f"{shorten(name)} is no parameter of this address.", hint)
    for name, values in request.query_params.lists():
        if len(values) > 1 and name not in often:
            raise Invalid.field(name, f"{name} is given {len(values)} times; give it once.")
