"""Cron expressions: exactly five fields, in a time zone, with Debian cron's rules for daylight saving.

A fixed hour that is skipped in spring runs once right after; one that repeats in autumn runs once; steps such as
*/30 run in each of the repeated hours. These are CronSim's rules; where clocks move by half an hour, it is helped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from common.checks import check_text, shorten
from common.errors import Invalid

LONGEST = 100
FIELDS = ("minute", "hour", "day of month", "month", "day of week")
EXAMPLE = "Five fields: minute, hour, day of month, month, day of week, such as 0 2 * * * for daily at 2 AM."


class _Moments(CronSim):
    """CronSim jumps by whole hours of UTC, past moments where clocks move by half of one, as on Lord Howe Island."""

    def advance_hour(self) -> bool:
        if self.dt.tzinfo in (None, UTC):
            return bool(super().advance_hour())
        if self.dt.hour in self.hours:
            return False
        while self.dt.hour not in self.hours:
            self.tick(seconds=3600 - 60 * self.dt.minute - self.dt.second)
            if self.dt.hour == 0:
                break  # another day
        return True

    def advance_minute(self) -> bool:
        if self.dt.tzinfo in (None, UTC):
            return bool(super().advance_minute())
        if self.dt.minute in self.minutes:
            return False
        hour = self.dt.hour
        while self.dt.minute not in self.minutes and self.dt.hour == hour:
            self.tick(seconds=60 - self.dt.second)
        return True


@dataclass(frozen=True)
class Cron:
    """An expression that was checked, in its time zone."""

    expression: str
    timezone: str

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The moments after `moment`, in UTC, without end."""
        begin = moment.astimezone(_zone(self.timezone))
        for found in _Moments(self.expression, begin):
            there = found.astimezone(UTC)
            # Asked in an hour that repeats, CronSim answers with a fixed moment of its first time, which is over.
            if there > moment:
                yield there

    def next_after(self, moment: datetime) -> datetime:
        return _next(self, moment.astimezone(UTC).replace(second=0, microsecond=0))

    def until(self, first: datetime, last: datetime) -> Iterator[datetime]:
        """`first`, which is one of its moments, and those after it up to `last`."""
        yield first
        if self.next_after(first) > last:
            return
        for moment in self.after(first):
            if moment > last:
                return
            yield moment

    @property
    def words(self) -> str:
        """In words: "At 02:00 every day"."""
        explained: str = CronSim(self.expression, datetime(2000, 1, 1, tzinfo=UTC)).explain()
        return explained


# Teams choose the same few expressions, and all of a night's schedules come at once.
@lru_cache(maxsize=4096)
def _next(cron: Cron, minute: datetime) -> datetime:
    return next(cron.after(minute))


def check_cron(expression: object, timezone: object) -> Cron:
    """A Cron; Invalid that names the field of the expression that is wrong."""
    text = " ".join(check_text("cron", expression, max_length=LONGEST, required=True).split())
    zone = check_timezone(timezone)
    parts = text.split(" ")
    if not text.isascii():
        raise Invalid.field("cron", f"cron is {shorten(text)}; it must be written in ASCII.", EXAMPLE)
    if len(parts) != len(FIELDS):
        found = "1 field" if len(parts) == 1 else f"{len(parts)} fields"
        raise Invalid.field("cron", f"cron is {shorten(text)}: {found} instead of five.", EXAMPLE)
    try:
        next(CronSim(text, datetime(2026, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        raise Invalid.field("cron", _wrong(text, str(error)), EXAMPLE) from error
    except StopIteration as error:
        raise Invalid.field("cron", f"cron is {shorten(text)}, a date that never comes.", EXAMPLE) from error
    return Cron(text, zone)


def _wrong(text: str, said: str) -> str:
    named = said.removeprefix("Bad ").replace("-", " ")
    for name, part in zip(FIELDS, text.split(" "), strict=True):
        if name == named:
            return f"cron is {shorten(text)}: its {name}, {shorten(part)}, cannot be."
    return f"cron is {shorten(text)}, which cannot be read."


def check_timezone(value: object) -> str:
    """The name of an IANA time zone."""
    text = check_text("timezone", value, max_length=64, required=True)
    if text not in _known_zones():
        raise Invalid.field(
            "timezone",
            f"timezone is {shorten(text)}; it must be an IANA name such as UTC or Europe/Berlin.",
        )
    return text


@lru_cache(maxsize=1)
def _known_zones() -> frozenset[str]:
    # "localtime" and "Factory" say something else on each machine.
    return frozenset(available_timezones() - {"localtime", "Factory"})


@lru_cache(maxsize=1000)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
