"""``map`` on Spark: side by side, balanced, in order, and ended at once when an item fails."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lake.engine import Engine
from schemas.errors import ConfigurationError

NAP = "tests.lake.slow_items:nap"
MARK = "tests.lake.slow_items:leave_a_mark"


def naps(count: int, seconds: float) -> list[dict[str, Any]]:
    return [{"n": n, "seconds": seconds} for n in range(count)]


def span(ran: list[dict[str, Any]]) -> float:
    """Seconds from the first item's begin to the last one's end."""
    return float(max(r["ended"] for r in ran) - min(r["began"] for r in ran))


@pytest.mark.slow
def test_items_run_side_by_side_on_every_slot(spark: Engine) -> None:
    """Six naps of two seconds on two slots take six seconds; one after the other they would take twelve."""
    spark.map(NAP, naps(2, 0))
    ran = spark.map(NAP, naps(6, 2))
    assert [r["n"] for r in ran] == [0, 1, 2, 3, 4, 5]
    assert span(ran) < 9


def test_a_hundred_items_are_a_hundred_tasks(spark: Engine) -> None:
    ran = spark.map(NAP, naps(100, 0))
    assert [r["n"] for r in ran] == list(range(100))
    assert len({r["task"] for r in ran}) == 100


def test_more_items_than_tasks_are_shared_out_evenly(spark: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lake.spark_map.MOST_TASKS", 4)
    ran = spark.map(NAP, naps(10, 0))
    assert [r["n"] for r in ran] == list(range(10))
    assert sorted(Counter(r["task"] for r in ran).values()) == [2, 2, 3, 3]


def test_what_the_session_says_of_local_rows_stands_after_a_map(spark: Engine) -> None:
    key = "spark.sql.leafNodeDefaultParallelism"
    spark.map(NAP, naps(3, 0))
    assert spark.spark.conf.get(key, None) is None
    spark.spark.conf.set(key, "5")
    try:
        spark.map(NAP, naps(3, 0))
        assert spark.spark.conf.get(key) == "5"
    finally:
        spark.spark.conf.unset(key)


@pytest.mark.slow
def test_progress_counts_what_has_finished_in_whatever_order(spark: Engine) -> None:
    """The first item is the last to finish: results wait for it, and what is told does not."""
    told: list[tuple[int, int, float]] = []
    items = [{"n": 0, "seconds": 6}, *({"n": n, "seconds": 0} for n in range(1, 6))]
    ran = spark.map(NAP, items, lambda done, total: told.append((done, total, time.time())))
    assert told[0][2] < ran[0]["ended"]
    counts = [done for done, _, _ in told]
    assert counts == sorted(set(counts)) and counts[-1] == 6
    assert {total for _, total, _ in told} == {6}


@pytest.mark.slow
def test_a_failed_item_ends_what_runs_and_starts_nothing_more(spark: Engine, tmp_path: Path) -> None:
    """The others nap for a minute; were they waited for, the second map would begin after a minute."""
    spark.map(NAP, naps(2, 0))
    items = [{"n": n, "folder": str(tmp_path), "seconds": 60, "fails": n == 0} for n in range(8)]
    began = time.time()
    with pytest.raises(ConfigurationError, match=r"^item 0 cannot be done$"):
        spark.map(MARK, items)
    spark.map(NAP, naps(4, 0))
    assert time.time() - began < 45
    started = {int(path.name.split("-")[0]) for path in tmp_path.iterdir()}
    assert 0 in started and len(started) < 8
