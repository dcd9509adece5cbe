"""The sidebar's sections: each app announces its own when it is ready, so that none is a dead link."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from django.urls import reverse

from accounts.models import Project, User
from common import sql


@dataclass(frozen=True)
class Section:
    """One line below MLOps, or with `in_bar` an icon of the bar on top.

    `count` is the SQL of its figure, in which %(project)s and %(user)s stand for their ids; it stands on every page
    and must cost next to nothing. `counted` says in words what the figure counts. `pages` are the pages of `apps` that
    are the section's own; all where it is empty. `below` are those that lie below another section: its address's name
    by theirs, "" for none.
    """

    order: int
    label: str
    icon: str
    url_name: str
    apps: tuple[str, ...]
    count: str = ""
    counted: str = ""
    warns: bool = False
    in_bar: bool = False
    pages: tuple[str, ...] = ()
    below: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    section: Section
    url: str
    count: int
    others: frozenset[str] = frozenset()  # pages of other sections that lie below this one


_sections: dict[str, Section] = {}


def add_section(section: Section) -> None:
    """Called from an app's `ready`; a second one with the same address takes the first one's place."""
    _sections[section.url_name] = section


@cache
def _pages_below(url_name: str) -> frozenset[str]:
    """Known once all apps are loaded, and asked for by every page."""
    return frozenset(
        f"{app}:{page}"
        for each in _sections.values()
        for app in each.apps
        for page, target in each.below.items()
        if target == url_name
    )


def sections_of(project: Project, user: User) -> list[Shown]:
    """All sections with their figures, which one query reads."""
    sections = sorted(_sections.values(), key=lambda each: each.order)
    figures = ", ".join(f"({each.count or 'SELECT 0'})" for each in sections)
    counts = sql.rows(f"SELECT {figures}", {"project": project.pk, "user": user.pk})[0]
    return [
        Shown(each, reverse(each.url_name, args=[project.slug]), count, _pages_below(each.url_name))
        for each, count in zip(sections, counts, strict=True)
    ]
