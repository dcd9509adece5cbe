"""Cron expressions: what is refused, and when they come, daylight saving included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from common.errors import Invalid
from scheduling.cron import Cron, check_cron

BERLIN = "Europe/Berlin"


BAD_CRON = [
    ("61 * * * *", "its minute, '61', cannot be"),
    ("* 25 * * *", "its hour, '25', cannot be"),
    ("0 0 31 2 *", "its day of month, '31', cannot be"),
    ("0 0 1 13 *", "its month, '13', cannot be"),
    ("0 0 * * 9", "its day of week, '9', cannot be"),
    ("* * * * * *", "6 fields instead of five"),
    ("0 2 * *", "4 fields instead of five"),
    ("@daily", "1 field instead of five"),
    ("٠ 2 * * *", "must be written in ASCII"),
    ("", "must not be empty"),
    ("0 " * 51, "at most 100"),
    ("0 2 * * *\0", "U+0000"),
    ("*/0 * * * *", "minute"),
    ("5-1 * * * *", "minute"),
]
BAD_ZONES = ["Europe/Nowhere", "", "../etc/passwd", "UTC\0", "localtime", 3, None, "x" * 65]


@pytest.mark.parametrize(("expression", "said"), BAD_CRON)
def test_an_expression_that_cannot_be_is_refused_with_a_sentence(expression: str, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_cron(expression, "UTC")
    assert said in refused.value.message
    assert list(refused.value.fields) == ["cron"]


@pytest.mark.parametrize("zone", BAD_ZONES)
def test_a_time_zone_that_is_none_is_refused(zone: object) -> None:
    with pytest.raises(Invalid) as refused:
        check_cron("0 2 * * *", zone)
    assert list(refused.value.fields) == ["timezone"]


def test_an_expression_is_said_in_words() -> None:
    assert check_cron("0  2 *  * *", "UTC").words == "At 02:00 every day"


def local(cron: Cron, begin: datetime, count: int) -> list[str]:
    zone = ZoneInfo(cron.timezone)
    return [f"{m.astimezone(zone):%d %H:%M%z}" for m in islice(cron.after(begin), count)]


def test_an_hour_that_is_skipped_runs_once_right_after() -> None:
    begin = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert local(Cron("30 2 * * *", BERLIN), begin, 2) == ["29 03:00+0200", "30 02:30+0200"]


def test_an_hour_that_repeats_runs_once_for_a_fixed_hour_and_each_time_for_steps() -> None:
    begin = datetime(2026, 10, 24, 22, 45, tzinfo=UTC)
    assert local(Cron("30 2 * * *", BERLIN), begin, 2) == ["25 02:30+0200", "26 02:30+0100"]
    steps = local(Cron("*/30 * * * *", BERLIN), datetime(2026, 10, 24, 23, 45, tzinfo=UTC), 5)
    assert steps == ["25 02:00+0200", "25 02:30+0200", "25 02:00+0100", "25 02:30+0100", "25 03:00+0100"]


@pytest.mark.parametrize(
    ("zone", "hour", "second_time"),
    [
        (BERLIN, 2, datetime(2026, 10, 25, 1, 10, tzinfo=UTC)),
        ("America/New_York", 1, datetime(2026, 11, 1, 6, 10, tzinfo=UTC)),
        ("Australia/Lord_Howe", 1, datetime(2026, 4, 4, 15, 10, tzinfo=UTC)),
    ],
)
def test_in_the_second_time_of_an_hour_the_first_one_is_over(
    zone: str, hour: int, second_time: datetime
) -> None:
    daily = Cron(f"55 {hour} * * *", zone)
    tomorrow = second_time.astimezone(ZoneInfo(zone)) + timedelta(days=1)
    assert daily.next_after(second_time) == tomorrow.replace(hour=hour, minute=55)
    assert Cron("*/10 * * * *", zone).next_after(second_time) == second_time + timedelta(minutes=10)


def test_moments_are_in_utc_and_after_the_one_asked_about() -> None:
    moment = datetime(2026, 1, 1, 2, tzinfo=UTC)
    found = Cron("0 2 * * *", "UTC").next_after(moment)
    assert found == moment + timedelta(days=1)
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "expression", ["41 * * * 0", "5 * * * *", "*/20 2 * * *", "*/20 1 * * *", "*/25 3 * * *"]
)
@pytest.mark.parametrize("zone", ["Australia/Lord_Howe", BERLIN, "America/Havana", "Asia/Kolkata"])
def test_what_the_clocks_of_a_zone_show_comes_each_time_where_hours_or_minutes_are_free(
    expression: str, zone: str
) -> None:
    """Beside all minutes of days around shifts: of half an hour, of one, and at midnight."""
    minute, hour, _, _, weekday = expression.split()
    for day in (
        datetime(2026, 3, 7),
        datetime(2026, 3, 28),
        datetime(2026, 4, 4),
        datetime(2026, 10, 3),
        datetime(2026, 10, 24),
    ):
        begin = day.replace(tzinfo=UTC)
        shown = [(begin + timedelta(minutes=each)).astimezone(ZoneInfo(zone)) for each in range(1, 3 * 1440)]
        wanted = [
            each.astimezone(UTC)
            for each in shown
            if (each.minute % int(minute[2:]) == 0 if minute.startswith("*/") else each.minute == int(minute))
            and (hour == "*" or each.hour == int(hour))
            and (weekday == "*" or each.isoweekday() % 7 == int(weekday))
        ]
        found = list(islice(Cron(expression, zone).after(begin), len(wanted)))
        assert found == wanted, (day, [each for each in wanted if each not in found][:3])
