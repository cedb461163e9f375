"""What benchmarks keep is judged against the last record of the same size, and drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import records


def figures(seconds: float, users: int = 100) -> dict[str, Any]:
    return {**records.heading(users, 30), "seconds": seconds}


def settled(results: Path, found: dict[str, Any], *, record: bool = True) -> int:
    return records.settled(Console(quiet=True), "race", found, ("seconds",), record=record, results=results)


def test_a_quarter_worse_than_the_last_record_of_its_size_is_exit_code_1(tmp_path: Path) -> None:
    assert settled(tmp_path, figures(20)) == 0, "nothing was kept before"
    assert settled(tmp_path, figures(10)) == 0
    assert settled(tmp_path, figures(12.4), record=False) == 0
    assert settled(tmp_path, figures(12.6), record=False) == 1, "the last record counts, not the first"
    assert settled(tmp_path, figures(99, users=200), record=False) == 0, "another size is another race"


def test_another_engine_is_another_race_with_a_column_of_its_own(tmp_path: Path) -> None:
    settled(tmp_path, figures(10))
    on_spark = {**figures(90), "engine": "spark"}
    assert settled(tmp_path, on_spark) == 0
    assert settled(tmp_path, {**figures(11), "engine": "embedded"}) == 0, (
        "a record that names none is of the embedded one"
    )
    assert settled(tmp_path, {**on_spark, "seconds": 120}, record=False) == 1
    kept = records.newest(records.kept("race", tmp_path))
    assert [records.title(records.size(r)).partition("cores")[2] for r in kept] == ["", ", spark"]


def test_every_record_is_kept_and_drawn_the_same_each_time(tmp_path: Path) -> None:
    for seconds, users in ((20, 100), (5, 50), (10, 100)):
        settled(tmp_path, figures(seconds, users))
    kept = json.loads((tmp_path / "race.json").read_text(encoding="utf-8"))
    assert [r["seconds"] for r in kept] == [20, 5, 10]
    assert [r["seconds"] for r in records.newest(kept)] == [5, 10]
    drawn = (tmp_path / "race.svg").read_text(encoding="utf-8")
    assert "100 users, 30 days" in drawn and "50 users, 30 days" in drawn
    from benchmarks.charts import draw

    assert draw(tmp_path / "race.json").read_text(encoding="utf-8") == drawn
