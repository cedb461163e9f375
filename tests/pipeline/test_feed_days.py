"""On which days a feed has rows is asked in one way: by silences, by the freshness of tags, by the rows of a day."""

from __future__ import annotations

from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from features.quality import QualitySettings
from features.rhythm import ArrivalSettings
from jobs.profile.feed_rows import freshness_of
from jobs.profile.warnings import feeds_of_broken
from lake.lake import Lake
from project.arrivals import silences
from project.feed_days import feed_days
from tests.silver import at, write_silver

DAY = date(2026, 3, 31)


def project_of(lake: Lake) -> Any:
    return SimpleNamespace(lake=lake, settings=SimpleNamespace(arrivals=ArrivalSettings()))


def run_of(lake: Lake, **more: Any) -> Any:
    tags = {"t": SimpleNamespace(sources=("members",)), "b": SimpleNamespace(sources=("browse",))}
    catalogue = SimpleNamespace(tags=tags)
    whole = {"lake": lake, "as_of": DAY, "known_at": None, "catalogue": catalogue, "silent": frozenset(), **more}
    return SimpleNamespace(quality=QualitySettings(), **whole)


@pytest.fixture
def members(lake: Lake) -> Lake:
    """One record that says when it was made, and one that does not and was received later; rows without a time lie in 1970-01."""
    write_silver(lake, "members", [{"member_id": "m1", "source_time": at("2026-01-10 12:00")}])
    undated = {"member_id": "m2", "_ingested_at": at("2026-03-05 00:30")}
    write_silver(lake, "members", [undated], ingested="1970-01-01 09:00", batch="b2")
    return lake


def test_a_row_without_a_time_lies_on_the_day_it_was_received_whoever_asks(members: Lake) -> None:
    with feed_days(members, DAY) as there:
        assert there.days("members", 365) == {date(2026, 1, 10), date(2026, 3, 5)}
        assert there.newest("members") == date(2026, 3, 5)
        assert there.newest("orders") is None
    assert silences(project_of(members), DAY)["members"].newest == date(2026, 3, 5)
    assert freshness_of(run_of(members)) == {"t": 26, "b": None}


def test_what_was_not_known_yet_is_no_row(members: Lake) -> None:
    known = at("2026-03-31 06:00")
    with feed_days(members, DAY, known - timedelta(days=1)) as there:
        assert there.days("members", 365) == {date(2026, 3, 5)}
    with feed_days(members, DAY, known) as there:
        assert len(there.days("members", 365)) == 2


def test_versions_of_a_row_on_one_day_are_one_row(lake: Lake) -> None:
    view = {"event_id": "e", "behaviour": "view", "member_id": "m", "occurred_at": at("2026-03-31 00:10")}
    write_silver(lake, "browse", [view, {**view, "event_id": "f"}])
    write_silver(lake, "browse", [{**view, "member_id": "n"}], batch="b2")
    with feed_days(lake, DAY) as there:
        assert there.rows("browse", 28) == {DAY: 2}
    with feed_days(lake, DAY - timedelta(days=1)) as there:
        assert there.rows("browse", 28) == {}


def test_that_a_silent_feed_brought_few_rows_is_told_once(lake: Lake) -> None:
    events = [
        {
            "event_id": str(i),
            "behaviour": "view",
            "member_id": "m",
            "occurred_at": at(f"{DAY - timedelta(days=i)} 12:00"),
        }
        for i in range(1, 30)
    ]
    write_silver(lake, "browse", events)
    moved: Any = [{"tag": "b", "verdict": "act", "held_since": None, "base_users": 1_000}]
    past: Any = SimpleNamespace(last_day=DAY - timedelta(days=1))
    assert [f.feed for f in feeds_of_broken(run_of(lake), past, moved)] == ["browse"]
    silent = frozenset(f for f, s in silences(project_of(lake), DAY).items() if s.is_unusual)
    assert silent == {"browse"}
    assert feeds_of_broken(run_of(lake, silent=silent), past, moved) == []
