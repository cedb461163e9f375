"""Leases on an object store: one holder, taken over once it is gone, and who lost one cannot publish."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from lake import journal, releases
from lake.lake import Lake
from lake.locks import holders, lock
from lake.object_store import ObjectStore
from lake.publish import publish
from lake.run_notes import WARNINGS, remember_warnings
from lake.store import HeldByAnotherError, StoreOptions
from schemas.errors import LockedError, LostLeaseError
from tests.stores import Bucket

ZONE = "Asia/Shanghai"
QUICK: dict[str, Any] = {"lease_seconds": 1.5, "clock_skew_seconds": 0.3}


@pytest.fixture
def options(tmp_path: Path) -> StoreOptions:
    return StoreOptions(cache=str(tmp_path / "cache"), **QUICK)


@pytest.fixture
def store(bucket: Bucket, options: StoreOptions) -> ObjectStore:
    return ObjectStore(bucket.uri, options)


def test_one_holder_at_a_time_who_is_named_with_host(bucket: Bucket, store: ObjectStore, options: StoreOptions) -> None:
    other = Lake(ObjectStore(bucket.uri, options), ZONE)
    with lock(Lake(store, ZONE), "run"):
        with pytest.raises(LockedError, match=r"run is held by process \d+ on \S+ since"), lock(other, "run"):
            pass
        (held,) = holders(other)
        assert held.name == "run" and held.host
    with lock(other, "run"):
        pass
    assert holders(other) == []


def test_a_lease_is_renewed_while_its_holder_lives(bucket: Bucket, store: ObjectStore, options: StoreOptions) -> None:
    lease = store.hold("run")
    time.sleep(2 * options.lease_seconds + options.clock_skew_seconds)
    with pytest.raises(HeldByAnotherError):
        ObjectStore(bucket.uri, options).hold("run")
    assert lease.is_ours()
    lease.release()


HOLD = """
import sys, time
from lake.lake import Lake
from lake.locks import lock
from lake.object_store import ObjectStore
from lake.store import StoreOptions
lake = Lake(ObjectStore(sys.argv[1], StoreOptions(cache=sys.argv[2], lease_seconds=1.5, clock_skew_seconds=0.3)), "UTC")
staged = lake.stage("profile.breaks", "dead") / "part.parquet"
staged.write_bytes(b"rows")
lake.store.share([str(staged)])
with lock(lake, "run"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_after_a_killed_holder_the_next_goes_on_once_its_lease_is_over(
    bucket: Bucket, options: StoreOptions, tmp_path: Path
) -> None:
    held = subprocess.Popen(
        [sys.executable, "-c", HOLD, bucket.uri, str(tmp_path / "theirs")], stdout=subprocess.PIPE, text=True
    )
    assert held.stdout is not None and held.stdout.readline() == "held\n"
    lake = Lake(ObjectStore(bucket.uri, options), ZONE)
    assert journal.recover(lake) == []
    with pytest.raises(LockedError), lock(lake, "run"):
        pass
    assert any("profile/breaks/d-dead" in key for key in bucket.stored())
    held.kill()
    held.wait(10)
    held.stdout.close()
    with lock(lake, "run", wait_seconds=10):
        deadline = time.monotonic() + 10
        while not (found := journal.recover(lake)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert found == ["dead"]
    assert not any("d-dead" in key for key in bucket.stored())


@pytest.mark.parametrize("apart", [-60.0, 60.0])
def test_clocks_that_are_a_minute_apart_take_no_lease_from_its_holder(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: float
) -> None:
    usual = StoreOptions(cache=str(tmp_path / "cache"))
    lease = ObjectStore(bucket.uri, usual).hold("run")
    now = time.time
    with monkeypatch.context() as m:
        m.setattr("lake.object_store.time.time", lambda: now() + usual.lease_seconds + apart)
        # As late as a living holder can be: it renews three times in a lease.
        with pytest.raises(HeldByAnotherError):
            ObjectStore(bucket.uri, usual).hold("run")
    lease.release()


def test_who_lost_a_lease_publishes_and_releases_nothing(bucket: Bucket, store: ObjectStore) -> None:
    lake = Lake(store, ZONE)
    lake.ensure(WARNINGS)
    version = lake.version(WARNINGS)
    with lock(lake, "run"):
        note = json.loads(store.read("_locks/run.json") or b"")
        store.replace("_locks/run.json", json.dumps(note | {"token": "another"}).encode())
        with pytest.raises(LostLeaseError, match="was lost"):
            publish(lake, WARNINGS, [], replace=None, read_version=None, run_id="r", key="r", even_empty=True)
        with pytest.raises(LostLeaseError):
            releases.write_release(lake, date(2026, 3, 1), "r", {})
    assert lake.version(WARNINGS) == version
    assert releases.entries(lake) == []
    left = json.loads(store.read("_locks/run.json") or b"")
    assert left["token"] == "another", "who lost it does not take it from who has it"


def test_a_holder_that_was_cut_off_for_too_long_lost_its_lease(bucket: Bucket, store: ObjectStore) -> None:
    lake = Lake(store, ZONE)
    remember_warnings(lake, "r0", date(2026, 3, 1), ["before"])
    journal.finish(lake, "r0")
    with lock(lake, "run"):
        bucket.fail(503, rate=1.0)
        time.sleep(3 * store.options.lease_seconds)
        bucket.well()
        bucket.fail(503, rate=1.0, keys="*_locks/run.json", verbs=["PUT"])
        with pytest.raises(Exception, match=r"lost|503|SlowDown"):
            publish(lake, WARNINGS, [], replace="all", read_version=None, run_id="r", key="r")
        bucket.well()
    assert len(lake.files(WARNINGS)) == 1
