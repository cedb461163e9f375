"""How many rows a feed brought for a day, against how many it usually brings."""

from __future__ import annotations

from datetime import date, timedelta

from jobs.profile.feed_rows import FeedRows, feed_rows
from lake.lake import Lake
from tests.silver import at, write_silver

MONDAY = date(2026, 3, 2)


def browsed(lake: Lake, rows: dict[date, int]) -> None:
    events = [
        {"event_id": f"{day}-{n}", "occurred_at": at(f"{day} 23:30"), "behaviour": "view", "member_id": "m"}
        for day, count in rows.items()
        for n in range(count)
    ]
    write_silver(lake, "browse", events, ingested="2026-04-30 06:00", batch="b")


def asked(lake: Lake, day: date, since: int = 1) -> list[FeedRows]:
    return feed_rows(lake, ["browse", "orders"], day - timedelta(days=since), day, history_days=28)


def test_a_day_is_held_against_the_trailing_days_and_its_own_weekday(lake: Lake) -> None:
    # ten rows on weekdays, two on Saturdays and Sundays; nothing but one row on the last Monday
    days = [MONDAY + timedelta(days=i) for i in range(29)]
    browsed(lake, {d: 2 if d.weekday() > 4 else 10 for d in days[:-1]} | {days[-1]: 1})
    assert asked(lake, days[-1]) == [FeedRows("browse", 1, 10, 10)]
    assert asked(lake, days[-1])[0].off(0.5) == "short"
    # a Sunday has as many rows as Sundays have, though fewer than the other days
    assert asked(lake, days[-2]) == [FeedRows("browse", 2, 2, 10)]
    assert asked(lake, days[-2])[0].off(0.5) is None
    # two days after the run before: rows a day
    assert asked(lake, days[-1], since=2)[0].rows == 1.5


def test_a_day_that_is_always_busy_is_not_long_and_the_rows_it_is_held_against_are_told(lake: Lake) -> None:
    # four rows on weekdays, forty on Saturdays and Sundays; the last Saturday has a hundred
    days = [MONDAY + timedelta(days=i) for i in range(34)]
    browsed(lake, {d: 40 if d.weekday() > 4 else 4 for d in days[:-1]} | {days[-1]: 100})
    (usual,), (sale,) = asked(lake, days[-8] + timedelta(days=1)), asked(lake, days[-1])
    assert (usual.rows, usual.off(0.5)) == (40, None)
    assert (sale.rows, sale.off(0.5), sale.usual) == (100, "long", 40)
    # a week has the rows of a week
    (week,) = asked(lake, days[-8] + timedelta(days=1), since=7)
    assert (week.rows, week.off(0.5)) == ((5 * 4 + 2 * 40) / 7, None)


def test_what_is_usual_of_a_young_feed_is_not_known(lake: Lake) -> None:
    browsed(lake, {MONDAY + timedelta(days=i): 10 for i in range(9)})
    assert asked(lake, MONDAY + timedelta(days=6)) == []
    assert asked(lake, MONDAY + timedelta(days=9)) == [FeedRows("browse", 0, 10, 10)]


def test_far_more_rows_than_usual_are_as_remarkable_as_far_fewer() -> None:
    assert [FeedRows("f", n, 10, 10).off(0.5) for n in (4, 5, 20, 21)] == ["short", None, None, "long"]
