"""Groups of people, which operators make in the admin."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib.auth.models import Group

from common.checks import shorten
from common.errors import Invalid


def find_groups(names: Sequence[str]) -> list[Group]:
    """The groups of these names, each once; Invalid names the first that is not there."""
    found = {group.name: group for group in Group.objects.filter(name__in=list(names))}
    for name in names:
        if name not in found:
            raise Invalid.field(
                "groups", f"There is no group {shorten(name)}.", "An operator makes groups in the admin."
            )
    return [found[name] for name in dict.fromkeys(names)]
