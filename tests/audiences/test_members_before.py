"""Members of the build before, from the log of changes."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import jobs.audiences.build
from features.kernel.rows import USERS_PER_BUCKET
from jobs.audiences.build import changed_by, write_by_bucket


def logged(path: Path, uid: np.ndarray, change: str) -> str:
    pq.write_table(pa.table({"uid": uid, "change": pa.repeat(change, len(uid))}), path, row_group_size=10_000)
    return str(path)


def test_the_last_change_tells_who_is_a_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.audiences.build, "LOG_ROWS", 7)
    draw = np.random.default_rng(3)
    inside, wanted = np.zeros(0, np.bool_), set[int]()
    for n in range(12):
        uid = np.sort(draw.choice(3 * USERS_PER_BUCKET, 40, replace=False))
        inside = changed_by(logged(tmp_path / f"{n}.parquet", uid, "exit" if n % 3 == 2 else "enter"), inside)
        wanted = wanted - set(uid.tolist()) if n % 3 == 2 else wanted | set(uid.tolist())
    files = write_by_bucket(inside, tmp_path / "previous")
    found = {bucket: pq.read_table(path)["uid"].to_pylist() for bucket, path in files.items()}
    assert [u for b in sorted(found) for u in found[b]] == sorted(wanted)
    assert all(uid // USERS_PER_BUCKET == bucket for bucket, uids in found.items() for uid in uids)


def test_a_log_without_rows_has_no_members(tmp_path: Path) -> None:
    inside = changed_by(logged(tmp_path / "none.parquet", np.empty(0, np.int64), "enter"), np.zeros(0, np.bool_))
    assert write_by_bucket(inside, tmp_path / "previous") == {}


def test_memory_is_a_byte_a_uid_and_not_the_log(tmp_path: Path) -> None:
    users = 2_000_000
    path = logged(tmp_path / "all.parquet", np.arange(users), "enter")
    peaks = []
    for times in (1, 3):
        tracemalloc.start()
        inside = np.zeros(0, np.bool_)
        for _ in range(times):
            inside = changed_by(path, inside)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # twice while it grows
    assert peaks[0] < 2.5 * users
    assert peaks[1] < 1.1 * peaks[0]
