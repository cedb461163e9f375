"""The one reader of a bucket's activity files: it gives what a look at every row gives."""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import jobs.activity.bucket_files
from features.kernel.rows import DTYPES
from jobs.activity.bucket_files import BucketFiles, Wanted
from tests.kernel.shop import table
from tests.kernel.test_against_the_oracle import drawn_row

COLUMNS = ("behaviour_code", "sku_code", "amount_minor", "order_key")
JUDGED = ("uid", "day", "occurred_at", *COLUMNS)
AS_OF = date(2026, 2, 20)


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """Three files of a bucket, one of them empty, in row groups of ten rows."""
    r, found = random.Random(8), []
    for n, rows in enumerate((120, 0, 77)):
        found.append(str(tmp_path / f"part-{n}.parquet"))
        written = table([drawn_row(r) for _ in range(rows)]).drop_columns(["bucket", "period"])
        pq.write_table(written, found[-1], row_group_size=10)
    return found


def all_rows(paths: list[str]) -> list[tuple[int, ...]]:
    """uid, day, moment and ``COLUMNS`` of every row of the files, looked at one by one."""
    rows = pa.concat_tables(pq.read_table(p, columns=list(JUDGED)) for p in paths)
    numbers = [
        rows["uid"],
        rows["day"].cast(pa.int32()),
        rows["occurred_at"].cast(pa.int64()),
        *map(rows.column, COLUMNS),
    ]
    return list(zip(*(n.to_pylist() for n in numbers), strict=True))


def number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


@pytest.mark.parametrize("small", [True, False], ids=["read at once", "read batch by batch"])
@pytest.mark.parametrize("first", [None, AS_OF - timedelta(days=9)], ids=["ever", "ten days"])
@pytest.mark.parametrize("uid", [None, 1, 3])
@pytest.mark.parametrize("behaviours", [None, (1,), (2, 9)])
@pytest.mark.parametrize("without", [(), (1, 2)])
def test_only_wanted_rows_are_there_and_all_of_them(
    paths: list[str],
    monkeypatch: pytest.MonkeyPatch,
    small: bool,
    first: date | None,
    uid: int | None,
    behaviours: tuple[int, ...] | None,
    without: tuple[int, ...],
) -> None:
    monkeypatch.setattr(jobs.activity.bucket_files, "SMALL_FILE_ROWS", 10**6 if small else 0)
    monkeypatch.setattr(jobs.activity.bucket_files, "BATCH_ROWS", 13)
    wanted = Wanted(AS_OF, first=first, uid=uid, behaviours=behaviours, without=without)
    rows = BucketFiles(paths, wanted).rows(COLUMNS, base=0, users=100)

    def is_wanted(row: tuple[int, ...]) -> bool:
        who, day, code = row[0], row[1], row[3]
        return (
            day <= number(AS_OF)
            and (first is None or day >= number(first))
            and (uid is None or who == uid)
            and (behaviours is None or code in behaviours)
            and who not in without
        )

    users = np.repeat(np.arange(100), np.diff(rows.begin)).tolist()
    found = list(zip(users, *(rows.column(n).tolist() for n in JUDGED[1:]), strict=True))
    if not wanted.by_row:
        found = [row for row in found if is_wanted(row)]
    assert sorted(found) == sorted(filter(is_wanted, all_rows(paths)))
    keys = [(who, day, at) for who, day, at, *_ in found]
    assert keys == sorted(keys), "in order of user and time"


def test_batches_are_the_rows_of_the_files_without_who_is_left_out(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs.activity.bucket_files, "BATCH_ROWS", 13)
    found = list(BucketFiles(paths, Wanted(date(2030, 1, 1), without=[2])).batches(JUDGED))
    assert max(len(rows["uid"]) for rows in found) <= 13
    rows = [row for b in found for row in zip(*(b[n].tolist() for n in JUDGED), strict=True)]
    assert rows == [row for row in all_rows(paths) if row[0] != 2]


def test_a_column_of_a_batch_has_the_kernels_type(paths: list[str]) -> None:
    for rows in BucketFiles(paths, Wanted(AS_OF)).batches(JUDGED):
        assert {name: values.dtype for name, values in rows.items()} == {n: np.dtype(DTYPES[n]) for n in JUDGED}
