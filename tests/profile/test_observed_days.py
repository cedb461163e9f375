"""How many days of data a run says it has: those since the first behaviour, whenever its users joined."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from jobs.profile.inputs import first_day_of_activity
from lake.lake import Lake
from tests.offers.lake_shop import Line, project_of


def test_data_begin_with_the_first_behaviour_of_any_bucket(tmp_path: Path) -> None:
    lines = [Line(1, date(2026, 3, 5), 1, 1), Line(1, date(2026, 2, 9), 2, 1), Line(100_001, date(2026, 2, 8), 3, 1)]
    lake = project_of(tmp_path / "p", lines).lake
    # both were first seen in 2024, before the shop kept logs
    assert lake.files("identity.users")
    assert first_day_of_activity(lake) == date(2026, 2, 8)


def test_without_behaviour_there_is_no_first_day(tmp_path: Path) -> None:
    assert first_day_of_activity(Lake(tmp_path, "Asia/Shanghai")) is None
