"""The silence of a feed is told by the feed's own rhythm, and not of a feed that is never expected every day."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from features.rhythm import ArrivalSettings, silence

DAY = date(2026, 3, 31)
SETTINGS = ArrivalSettings()


def ago(*days: int) -> list[date]:
    return [DAY - timedelta(days=n) for n in days]


@pytest.mark.parametrize(
    ("name", "days", "told"),
    [
        ("daily, here today", ago(*range(40)), False),
        ("daily, nothing today", ago(*range(1, 40)), True),
        ("daily but for two days, nothing today", ago(*(n for n in range(1, 60) if n not in (20, 30))), True),
        ("weekly, six days ago", ago(*range(6, 60, 7)), False),
        ("weekly, not on its day", ago(*range(7, 60, 7)), True),
        ("never on Sundays", ago(*(n for n in range(2, 50) if n % 7 != 1)), True),
        ("never on Sundays, today is one", ago(*(n for n in range(1, 50) if n % 7)), False),
        ("monthly", ago(29, 60, 91), False),
        ("monthly, and nothing for three", ago(92, 122, 152), True),
        ("once, yesterday", ago(1), False),
        ("once, long ago", ago(40), True),
        ("months after the last event", ago(*range(120, 200)), True),
    ],
)
def test_a_silence_is_judged_by_the_feeds_own_gaps(name: str, days: list[date], told: bool) -> None:
    found = silence(days, DAY, SETTINGS)
    assert found is not None
    assert found.is_unusual == told, (name, found)


def test_products_that_came_once_are_not_waited_for() -> None:
    found = silence(ago(300), DAY, SETTINGS, is_reference=True)
    assert found is not None
    assert not found.is_unusual


def test_days_after_the_business_day_do_not_count() -> None:
    found = silence([*ago(*range(3, 40)), DAY + timedelta(days=1)], DAY, SETTINGS)
    assert found is not None
    assert (found.age_days, found.usual_days, found.is_unusual) == (3, 1, True)
