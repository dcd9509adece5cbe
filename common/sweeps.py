"""The same work for many things, of which none may keep the others from theirs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

from django.db import InterfaceError, OperationalError

T = TypeVar("T")
log = logging.getLogger(__name__)


def for_each(things: Iterable[T], act: Callable[[T], int]) -> int:
    """What `act` counts for each, added up; one that fails is logged and counts nothing.

    A database that is away ends the sweep: the next one begins anew.
    """
    count = 0
    for thing in things:
        try:
            count += act(thing)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            log.exception("A sweep failed for %s; the others go on.", thing)
    return count
