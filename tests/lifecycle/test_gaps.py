"""Counted gaps: rows that one can count by hand, and plain SQL over the same rows."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.facts import needs
from features.gaps import counted_gaps
from features.kernel import merge_files
from features.kernel.selection import paid
from jobs.profile.estimate_tasks import gaps_of_bucket
from schemas.behaviours import BEHAVIOURS
from tests.kernel.shop import row, table

AS_OF = date(2026, 3, 31)
USERS = 40


def bought(uid: int, *days: str, **columns: Any) -> list[dict[str, Any]]:
    return [row(uid, "pay", f"{day} 12:00", order_key=hash((uid, day)) % 997 + 1, **columns) for day in days]


def gaps(
    rows: list[dict[str, Any]], as_of: date = AS_OF, known_at_day: date | None = None, **options: Any
) -> list[tuple[int, int, bool, int]]:
    files = [table(rows)] if rows else []
    merged = merge_files(files, needs((), known_at=True).columns, users=USERS)
    found = counted_gaps(paid(merged, as_of, known_at_day), as_of, **options)
    return [tuple(r.values()) for r in found.to_pylist()]


def test_every_purchase_day_but_the_last_begins_a_gap_that_ended() -> None:
    rows = bought(1, "2026-03-01", "2026-03-11", "2026-03-11", "2026-03-31") + bought(2, "2026-03-30")
    assert gaps(rows) == [(1, 1, False, 1), (1, 10, True, 1), (2, 20, True, 1), (3, 0, False, 1)]


def test_only_what_counts_on_the_day_makes_a_purchase_day() -> None:
    rows = bought(1, "2026-03-01") + bought(1, "2026-03-05", void_day="2026-03-09")
    rows += bought(1, "2026-03-07", flagged_day="2026-03-20") + bought(1, "2026-04-02") + [row(1, "view", "2026-03-08")]
    assert gaps(rows) == [(1, 30, False, 1)]
    assert gaps(rows, date(2026, 3, 8)) == [(1, 4, True, 1), (2, 2, True, 1), (3, 1, False, 1)]


def test_what_was_learned_later_is_left_out() -> None:
    rows = bought(1, "2026-03-01") + bought(1, "2026-03-02", known_day="2026-03-20")
    assert gaps(rows, known_at_day=date(2026, 3, 10)) == [(1, 30, False, 1)]
    void = bought(1, "2026-03-01", void_day="2026-03-05", void_known_day="2026-03-11")
    assert gaps(void) == gaps(void, known_at_day=date(2026, 3, 11)) == []
    assert gaps(void, known_at_day=date(2026, 3, 10)) == [(1, 30, False, 1)]
    assert gaps([]) == []


def test_many_purchase_days_are_counted_together_at_the_end() -> None:
    rows = bought(1, *(f"2026-03-{d:02d}" for d in range(1, 6)))
    assert gaps(rows, most=3) == [(1, 1, True, 1), (2, 1, True, 1), (3, 1, True, 2), (3, 26, False, 1)]


SQL = f"""
with days as (
    select distinct uid, day from rows where behaviour_code = {BEHAVIOURS["pay"]} and day <= $as_of and valid_from_day <= $as_of
      and (void_day is null or void_day > $as_of) and (flagged_day is null or flagged_day > $as_of)),
gaps as (
    select uid, row_number() over w as n, day, lead(day) over w as next from days window w as (partition by uid order by day))
select n, coalesce(next, $as_of) - day, next is not null, count(*)::int from gaps group by all order by all
"""


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_counts_are_those_of_sql(seed: int, tmp_path: Any) -> None:
    r = random.Random(seed)
    first = date(2026, 1, 1)
    rows = []
    for _ in range(600):
        day = first + timedelta(days=r.randrange(100))
        later = [None, None, (day + timedelta(days=r.randrange(60))).isoformat()]
        behaviour = r.choice(["pay", "pay", "pay", "view", "refund"])
        extra: dict[str, Any] = {"void_day": r.choice(later), "flagged_day": r.choice(later)}
        extra["valid_from_day"] = (day + timedelta(days=r.choice([0, 0, 5]))).isoformat()
        rows.append(row(r.randrange(USERS), behaviour, f"{day} {r.randrange(24):02d}:00", order_key=1, **extra))
    whole = table(rows)
    with duckdb.connect() as con:
        con.register("rows", whole)
        expected = con.execute(SQL, {"as_of": AS_OF}).fetchall()
        con.register("rows", table([r for r in rows if r["uid"] != 5]))
        without_the_retired = con.execute(SQL, {"as_of": AS_OF}).fetchall()
    assert gaps(rows) == expected
    path, retired = tmp_path / "rows.parquet", tmp_path / "users.parquet"
    pq.write_table(whole, path)
    pq.write_table(pa.table({"uid": [3, 5], "retired_day": pa.array([None, AS_OF], pa.date32())}), retired)
    item = {"bucket": 0, "files": [str(path)], "users": [str(retired)], "as_of": "2026-03-31", "known_at_day": None}
    made = gaps_of_bucket({**item, "out": str(tmp_path / "out" / "gaps.parquet")})
    assert [tuple(x.values()) for x in pq.read_table(made["path"]).to_pylist()] == without_the_retired != expected
