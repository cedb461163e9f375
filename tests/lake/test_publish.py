"""Publishing trusts nobody: what delta-rs would take without a word is refused here."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake.lake import Lake, partition_path
from lake.publish import PublishError, publish
from lake.sql import connect

SEGMENTS = "segments.segments"
DAY, NEXT = date(2026, 3, 1), date(2026, 3, 2)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path / "lake", "Asia/Shanghai")
    made.ensure(SEGMENTS)
    return made


def stage(lake: Lake, run_id: str, day: date = DAY, users: int = 3, segment: str = "L", **extra: pa.Array) -> Path:
    folder = lake.stage(SEGMENTS, run_id)
    target = folder / partition_path({"as_of": day, "bucket": 0})
    target.mkdir(parents=True)
    rows = {
        "scheme": ["aipl_stage"] * users,
        "uid": pa.array(range(users), pa.int64()),
        "is_member": [True] * users,
        "segment": [segment] * users,
    }
    pq.write_table(pa.table({**rows, **extra}), target / "part.parquet")
    return folder


def put(lake: Lake, folder: Path, run_id: str, day: date = DAY, read_version: int | None = None) -> int:
    return publish(
        lake, SEGMENTS, folder, replace=[{"as_of": day}], read_version=read_version, run_id=run_id, key=f"k-{run_id}"
    )


def rows(lake: Lake, where: str = "true") -> int:
    with connect(lake, None) as con:
        return int(con.execute(f"select count(*) from {SEGMENTS} where {where}").fetchall()[0][0])


def test_a_slice_is_replaced_and_the_others_stay(lake: Lake) -> None:
    put(lake, stage(lake, "r1", users=3), "r1")
    put(lake, stage(lake, "r2", NEXT, users=5), "r2", NEXT)
    put(lake, stage(lake, "r3", users=2), "r3")
    assert (rows(lake, "as_of = '2026-03-01'"), rows(lake, "as_of = '2026-03-02'")) == (2, 5)


def test_the_same_key_twice_publishes_once(lake: Lake) -> None:
    folder = stage(lake, "r1")
    assert put(lake, folder, "r1") == put(lake, folder, "r1") == 1


def test_a_table_that_moved_since_it_was_read_is_not_written(lake: Lake) -> None:
    put(lake, stage(lake, "r1"), "r1", read_version=0)
    with pytest.raises(PublishError, match="moved from version 0 to 1"):
        put(lake, stage(lake, "r2"), "r2", read_version=0)
    assert lake.version(SEGMENTS) == 1


def test_files_outside_the_replaced_slice_are_refused(lake: Lake) -> None:
    with pytest.raises(PublishError, match="outside the slices"):
        put(lake, stage(lake, "r1", NEXT), "r1", DAY)


def test_a_missing_file_is_refused(lake: Lake) -> None:
    files = lake.staged(SEGMENTS, folder := stage(lake, "r1"))
    shutil.rmtree(folder)
    with pytest.raises(PublishError, match="is not there"):
        publish(lake, SEGMENTS, files, replace=None, read_version=None, run_id="r1", key="k")


def test_a_foreign_column_and_a_foreign_type_are_refused(lake: Lake) -> None:
    with pytest.raises(PublishError, match="which the table has not"):
        put(lake, stage(lake, "r1", surprise=pa.array([1, 2, 3])), "r1")
    with pytest.raises(PublishError, match="is int64, wanted string"):
        put(lake, _wrong_type(lake), "r2")


def _wrong_type(lake: Lake) -> Path:
    folder = stage(lake, "r2", users=1)
    path = next(folder.rglob("*.parquet"))
    table = pq.read_table(path, partitioning=None)
    position = table.schema.get_field_index("segment")
    pq.write_table(table.set_column(position, "segment", pa.array([7], pa.int64())), path)
    return folder


def test_a_filter_on_text_finds_its_rows_through_delta_readers(lake: Lake) -> None:
    """With bounds for some columns only, delta-rs' dataset hides every row from a filter on the others."""
    put(lake, stage(lake, "r1", segment="重要价值"), "r1")
    assert rows(lake, "segment = '重要价值'") == 3
    assert rows(lake, "segment = 'x'") == 0


def test_a_replaced_version_stays_readable(lake: Lake) -> None:
    put(lake, stage(lake, "r1", users=3), "r1")
    put(lake, stage(lake, "r2", users=2), "r2")
    assert sum(f.rows for f in lake.files(SEGMENTS, 1)) == 3
    assert lake.dataset(SEGMENTS, 1).count_rows() == 3
