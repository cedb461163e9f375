"""What a lake does on a store that is slow, fails, loses answers or lists late: nothing lost, nothing twice, clear words."""

from __future__ import annotations

import threading
from datetime import date
from pathlib import Path

import pytest

from lake import journal, releases
from lake.lake import Lake
from lake.object_store import ObjectStore
from lake.publish import PublishError, publish
from lake.run_notes import WARNINGS, remember_warnings
from lake.store import StoreOptions
from schemas.errors import StoreError
from tests.stores import Bucket

DAY = date(2026, 3, 1)
ZONE = "Asia/Shanghai"


@pytest.fixture
def options(tmp_path: Path) -> StoreOptions:
    return StoreOptions(cache=str(tmp_path / "cache"))


@pytest.fixture
def lake(bucket: Bucket, options: StoreOptions) -> Lake:
    return Lake(ObjectStore(bucket.uri, options), ZONE)


def warned(lake: Lake, run_id: str) -> None:
    remember_warnings(lake, run_id, DAY, [f"said by {run_id}"])
    journal.finish(lake, run_id)


def said(lake: Lake) -> list[str]:
    return sorted(r["run_id"] for r in lake.dataset(WARNINGS).to_table().to_pylist())


def test_two_writers_of_one_version_get_one_winner_and_a_sentence(bucket: Bucket, lake: Lake, tmp_path: Path) -> None:
    warned(lake, "r0")
    other = Lake(ObjectStore(bucket.uri, StoreOptions(cache=str(tmp_path / "other"))), ZONE)
    read = lake.version(WARNINGS)
    assert other.version(WARNINGS) == read
    publish(lake, WARNINGS, [], replace=None, read_version=read, run_id="a", key="a", even_empty=True)
    # The other still believes what it saw: its view of the table is of before.
    other.store._versions.clear()  # type: ignore[attr-defined]
    with pytest.raises(PublishError, match="moved from version"):
        publish(other, WARNINGS, [], replace=None, read_version=read, run_id="b", key="b", even_empty=True)


def test_many_writers_at_once_lose_nothing(bucket: Bucket, lake: Lake, tmp_path: Path) -> None:
    warned(lake, "r0")

    def work(n: int) -> None:
        mine = Lake(ObjectStore(bucket.uri, StoreOptions(cache=str(tmp_path / f"cache-{n}"))), ZONE)
        for i in range(2):
            warned(mine, f"w{n}-{i}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert said(lake) == sorted(["r0", *(f"w{n}-{i}" for n in range(3) for i in range(2))])


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["errors", "lost answers", "dropped connections", "slow"])
def test_a_store_that_fails_now_and_then_loses_nothing_and_doubles_nothing(
    bucket: Bucket, lake: Lake, trouble: str
) -> None:
    if trouble == "errors":
        bucket.fail(503, every=3)
    elif trouble == "lost answers":
        bucket.fail(500, every=2, verbs=["PUT"], after=True)
    elif trouble == "dropped connections":
        bucket.fail(None, every=4)
    else:
        bucket.slow(0.05)
    for n in range(2):
        warned(lake, f"r{n}")
        releases.write_release(lake, DAY, f"r{n}", lake.versions())
    bucket.well()
    fresh = Lake(lake.store, ZONE)
    assert said(fresh) == ["r0", "r1"]
    assert [r.run_id for r in releases.releases(fresh)] == ["r0", "r1"]
    assert not any("_locks/" in key or "ops/journal/" in key for key in bucket.stored())


def test_lists_that_lag_hide_neither_versions_nor_releases(bucket: Bucket, lake: Lake, tmp_path: Path) -> None:
    warned(lake, "r0")
    releases.write_release(lake, DAY, "r0", lake.versions())
    bucket.lag(seconds=1.0)
    for n in (1, 2):
        warned(lake, f"r{n}")
        releases.write_release(lake, DAY, f"r{n}", lake.versions())
    other = Lake(ObjectStore(bucket.uri, StoreOptions(cache=str(tmp_path / "other"))), ZONE)
    assert other.version(WARNINGS) == lake.version(WARNINGS)
    assert [r.number for r in releases.releases(other)] == [1, 2, 3]
    assert said(other) == ["r0", "r1", "r2"]


def test_a_store_that_only_fails_is_named_in_one_sentence(bucket: Bucket, lake: Lake) -> None:
    bucket.fail(503, rate=1.0)
    with pytest.raises(StoreError, match=rf"{bucket.uri}: .*SlowDown") as e:
        lake.version(WARNINGS)
    assert "\n" not in str(e.value) and "\x1b" not in str(e.value)


def test_a_bucket_that_is_not_there_is_said(bucket: Bucket, options: StoreOptions) -> None:
    lake = Lake(ObjectStore(f"s3://{bucket.name}-not/shop", options), ZONE)
    with pytest.raises(StoreError, match="not"):
        remember_warnings(lake, "r0", DAY, ["nowhere"])


def test_copies_are_kept_within_their_bound_and_those_in_use_stay(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    warned(lake, "r0")
    store = lake.store
    assert isinstance(store, ObjectStore)
    [path] = lake.local(lake.files(WARNINGS))
    object.__setattr__(store.options, "cache_gb", 0.0)
    store.trim()
    assert Path(path).is_file(), "used within the hour"
    monkeypatch.setattr("lake.object_store.IN_USE_SECONDS", -1)
    store.trim()
    assert not Path(path).exists()
    assert Path(lake.local(lake.files(WARNINGS))[0]).is_file(), "fetched again"


def test_a_lake_that_is_begun_anew_at_its_place_shows_no_release_of_the_one_before(bucket: Bucket, lake: Lake) -> None:
    """Local copies outlive what a shop that tries things out removes from its bucket."""
    releases.write_release(lake, DAY, "first", {})
    assert [r.run_id for r in releases.entries(lake)] == ["first"]
    store = lake.store
    assert isinstance(store, ObjectStore)
    store.delete(store.names(""))
    anew = Lake(ObjectStore(bucket.uri, store.options), ZONE)
    assert releases.entries(anew) == []
    releases.write_release(anew, DAY, "second", {})
    assert [r.run_id for r in releases.entries(anew)] == ["second"]
