"""The transition matrix conserves users, and the alert's arithmetic is what one works out by hand."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.changes import LOST, NEW
from features.migration import MigrationSettings, control, drift, imbalance, summed_moves, users_by_origin
from jobs.insights.migration_tasks import moves_of_bucket

VALUES = ("frequent_high", "frequent_low", "rare_high", "rare_low", "no_purchase")
SETTINGS = MigrationSettings()


def snapshot(path: Path, users: dict[int, str]) -> list[str]:
    uids = sorted(users)
    columns = {"uid": pa.array(uids, pa.int64()), "is_member": [u % 2 == 0 for u in uids]}
    pq.write_table(pa.table({**columns, "quadrant": pa.array([users[u] for u in uids], pa.string())}), path)
    return [str(path)]


def moved(folder: Path, before: dict[int, str], after: dict[int, str]) -> dict[str, object]:
    return moves_of_bucket(
        {
            "bucket": 0,
            "current": snapshot(folder / "now.parquet", after) if after else [],
            "previous": snapshot(folder / "then.parquet", before) if before else [],
            "scheme": "quadrant",
            "alert": "moving_to_rare_low",
            "origins": list(SETTINGS.origins),
            "target": "rare_low",
            "out": str(folder / "users.parquet"),
        }
    )


PEOPLE = st.dictionaries(st.integers(0, 30), st.sampled_from(VALUES), max_size=25)


@given(before=PEOPLE, after=PEOPLE)
def test_rows_are_the_earlier_day_and_columns_the_later_one(
    tmp_path_factory: pytest.TempPathFactory, before: dict[int, str], after: dict[int, str]
) -> None:
    found = moved(tmp_path_factory.mktemp("moves"), before, after)
    moves = {(a, b): n for a, b, n in found["moves"]}  # type: ignore[attr-defined]
    assert not imbalance(moves, Counter(before.values()), Counter(after.values()))
    assert sum(moves.values()) == len({*before, *after})
    assert users_by_origin(moves).get(NEW, 0) == len(set(after) - set(before))
    assert sum(n for (_, to), n in moves.items() if to == LOST) == len(set(before) - set(after))
    listed = pq.read_table(str(found["users"])).to_pylist() if found["users"] else []
    slid = {u for u in {*before} & {*after} if before[u] in SETTINGS.origins and after[u] == "rare_low"}
    assert {r["uid"] for r in listed} == slid
    assert all(r["from_segment"] == before[r["uid"]] and r["to_segment"] == "rare_low" for r in listed)


def test_a_move_that_is_missing_shows() -> None:
    assert imbalance({("a", "b"): 1, (NEW, "a"): 2}, {"a": 1}, {"a": 2, "b": 1}) == {}
    assert imbalance({("a", "b"): 1}, {"a": 2}, {"b": 1}) == {"from a": (1, 2)}
    assert summed_moves([{("a", "b"): 1}, {("a", "b"): 2, ("b", LOST): 1}]) == {("a", "b"): 3, ("b", LOST): 1}


HISTORY = [0.04, 0.05, 0.06, 0.05, 0.04, 0.06, 0.05, 0.05, 0.04, 0.06, 0.05, 0.05]


def test_the_limit_is_the_mean_and_three_deviations_of_twelve_periods() -> None:
    limits = control(HISTORY, 3)
    assert limits.mean == pytest.approx(0.05)
    # six of the twelve are .01 off: sqrt(6 * .0001 / 11)
    assert limits.deviation == pytest.approx(math.sqrt(0.0006 / 11)) == pytest.approx(statistics.stdev(HISTORY))
    assert limits.upper == pytest.approx(0.05 + 3 * 0.0073855)


@pytest.mark.parametrize(("slid", "raised"), [(14, False), (15, True)])
def test_the_alert_is_raised_above_the_limit_and_not_on_it(slid: int, raised: bool) -> None:
    # limit .07216; of 200 at the origins 14 are .07 and 15 are .075
    moves = {
        ("frequent_high", "rare_low"): slid - 4,
        ("rare_high", "rare_low"): 4,
        ("frequent_high", "frequent_high"): 100 - slid,
        ("frequent_low", LOST): 100,
        ("no_purchase", "rare_low"): 500,
        (NEW, "rare_low"): 70,
        ("rare_low", "rare_low"): 300,
    }
    found = drift(moves, "rare_low", HISTORY, SETTINGS)
    assert (found.users, found.moved, found.is_raised) == (200, slid, raised)
    assert found.reason == ("above_limit" if raised else "within_limit")


def test_few_users_or_few_periods_are_not_judged() -> None:
    moves = {("frequent_low", "rare_low"): 40, ("frequent_low", "frequent_low"): 9}
    found = drift(moves, "rare_low", HISTORY, SETTINGS)
    assert (found.share, found.reason, found.is_raised) == (None, "few_users", False)
    moves = {("frequent_low", "rare_low"): 40, ("frequent_low", "frequent_low"): 10}
    found = drift(moves, "rare_low", HISTORY[:5], SETTINGS)
    assert (found.share, found.reason, found.control, found.is_raised) == (0.8, "few_periods", None, False)
    assert drift(moves, "rare_low", HISTORY[:6], SETTINGS).is_raised
