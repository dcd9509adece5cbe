"""The sidebar's sections: each app announces its own when it is ready, so that none is a dead link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Func, IntegerField, QuerySet, Subquery
from django.urls import reverse

from accounts.models import Project, User


@dataclass(frozen=True)
class Section:
    """One line below MLOps. `count` gives the rows that its figure counts, `counted` says in words what they are."""

    order: int
    label: str
    icon: str
    url_name: str
    apps: tuple[str, ...]
    count: Callable[[Project, User], QuerySet[Any]] | None = None
    counted: str = ""
    warns: bool = False


@dataclass(frozen=True)
class Shown:
    section: Section
    url: str
    count: int


_sections: dict[str, Section] = {}


def add_section(section: Section) -> None:
    """Called from an app's `ready`; a second one with the same address takes the first one's place."""
    _sections[section.url_name] = section


def sections_of(project: Project, user: User) -> list[Shown]:
    """All sections with their figures, which one query reads."""
    sections = sorted(_sections.values(), key=lambda each: each.order)
    counted = {f"n{i}": each.count for i, each in enumerate(sections) if each.count}
    subqueries = {name: _count(count(project, user)) for name, count in counted.items()}
    rows = Project.objects.filter(pk=project.pk).values(**subqueries)
    found: Any = (rows.first() if subqueries else None) or {}
    return [
        Shown(each, reverse(each.url_name, args=[project.slug]), found.get(f"n{i}") or 0)
        for i, each in enumerate(sections)
    ]


def _count(rows: QuerySet[Any]) -> Subquery:
    number = Func(F("pk"), function="COUNT", output_field=IntegerField())
    return Subquery(rows.order_by().annotate(_n=number).values("_n"))
