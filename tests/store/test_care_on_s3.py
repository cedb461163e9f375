"""``huaxiang lake tidy | verify`` on an object store: what a machine without a single copy reads is what was there before."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake import releases
from lake.lake import Lake
from lake.locks import lock
from lake.object_store import ObjectStore
from lake.run_notes import WARNINGS
from lake.store import StoreOptions
from lake.tidy import tidy
from lake.verify import verify
from schemas.errors import LockedError
from tests.conftest import ZONE
from tests.lake.test_care import DAYS, SEGMENTS, SMALL, TODAY, everything, of_kept, one_day, put, segments
from tests.stores import Bucket

pytestmark = pytest.mark.slow


def test_a_lake_on_a_store_is_tidied_and_verified_as_one_in_a_folder(bucket: Bucket, tmp_path: Path) -> None:
    def machine(name: str) -> Lake:
        return Lake(ObjectStore(bucket.uri, StoreOptions(cache=str(tmp_path / name))), ZONE)

    lake = machine("first")
    for day in DAYS:
        one_day(lake, day)
    put(lake, SEGMENTS, segments(DAYS[5], 9, "P"), [{"as_of": DAYS[5]}])
    left = f"{lake.store.name(lake.path(SEGMENTS))}/d-left/a.parquet"
    lake.store.create(left, b"left by nobody")
    before = everything(lake)

    with lock(machine("second"), "run"), pytest.raises(LockedError, match="run is held by process"):
        tidy(lake, SMALL, TODAY)
    said = tidy(machine("second"), SMALL, TODAY, dry_run=True)
    # Lists that lag show neither the newest files nor that others are gone.
    bucket.lag(seconds=0.3)
    done = tidy(lake, SMALL, TODAY)
    bucket.well()
    assert [r.number for r in said.expired] == [r.number for r in done.expired] == [1, 2, 3, 4, 5]
    assert {t.table: t.freed_files for t in said.tables} == {t.table: t.freed_files for t in done.tables}
    assert not lake.store.is_there(left) and not lake.store.holdings()

    other = machine("third")
    assert everything(other) == of_kept(other, before)
    assert len(other.files(WARNINGS)) == 1
    assert verify(other).damage == []
    assert [e.expired_on for e in releases.entries(other)] == [TODAY] * 5 + [None] * 3

    name = other.store.name(other.files(SEGMENTS)[0].path)
    other.store.delete([name])
    [damage] = verify(machine("fourth")).damage
    assert (damage.file, damage.what) == (name, "is not there")
