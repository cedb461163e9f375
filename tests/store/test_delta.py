"""What publishing takes for granted about deltalake on an object store: its commits, its conflicts, its stale lists."""

from __future__ import annotations

import io
import json
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction

from tests.store.options import DELTA, store_at
from tests.stores import Bucket

SCHEMA = pa.schema([("k", pa.int64()), ("day", pa.string())])
LOG = "*/_delta_log/*.json"


@pytest.fixture
def table(bucket: Bucket) -> str:
    """The address of a table without rows, at version 0."""
    uri = f"{bucket.uri}/silver/orders"
    DeltaTable.create(uri, schema=SCHEMA, partition_by=["day"], storage_options=DELTA)
    return uri


def opened(uri: str, version: int | None = None) -> DeltaTable:
    return DeltaTable(uri, version=version, storage_options=DELTA)


def rows(uri: str) -> list[int]:
    return sorted(opened(uri).to_pyarrow_table()["k"].to_pylist())


def publish(delta: DeltaTable, uri: str, k: int, key: str) -> None:
    """As lake/publish.py does: the file is put first, one commit names it, nothing is tried twice."""
    data = io.BytesIO()
    pq.write_table(pa.table({"k": [k]}), data)
    path = f"day=a/{key}.parquet"
    store_at(uri).put(path, data.getvalue())
    delta.create_write_transaction(
        [AddAction(path, len(data.getvalue()), {"day": "a"}, 0, True, json.dumps({"numRecords": 1}))],
        mode="append",
        schema=delta.schema(),
        partition_by=["day"],
        commit_properties=CommitProperties(app_transactions=[Transaction(key, 1)], max_commit_retries=0),
        post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
    )


def test_a_commit_is_one_put_on_a_condition(bucket: Bucket, table: str) -> None:
    delta = opened(table)
    bucket.forget()
    publish(delta, table, 1, "first")
    assert [(r.conditional, r.status) for r in bucket.requests if r.verb == "PUT"] == [(False, 200), (True, 200)]
    assert bucket.count("COPY") == bucket.count("DELETE") == 0
    assert rows(table) == [1]


def test_commits_are_conditional_without_being_told(bucket: Bucket) -> None:
    write_deltalake(f"{bucket.uri}/plain", pa.table({"k": [1]}))
    bucket.forget()
    write_deltalake(f"{bucket.uri}/plain", pa.table({"k": [2]}), mode="append")
    assert [r.conditional for r in bucket.requests if r.verb == "PUT" and "_delta_log" in r.key] == [True]


def test_who_comes_second_is_told_and_nothing_is_lost(bucket: Bucket, table: str) -> None:
    one, other = opened(table), opened(table)
    publish(one, table, 1, "one")
    with pytest.raises(CommitFailedError):
        publish(other, table, 2, "other")
    assert rows(table) == [1]
    assert opened(table).transaction_version("one") == 1
    assert opened(table).transaction_version("other") is None
    publish(opened(table), table, 2, "other")
    assert rows(table) == [1, 2]


def test_of_two_who_commit_at_once_exactly_one_wins(bucket: Bucket, table: str) -> None:
    for n in range(5):
        went: list[str] = []
        start = threading.Barrier(2)

        def commit(
            delta: DeltaTable, key: str, k: int, went: list[str] = went, start: threading.Barrier = start
        ) -> None:
            start.wait()
            try:
                publish(delta, table, k, key)
                went.append(key)
            except CommitFailedError:
                pass

        keys = [f"{n}-{w}" for w in range(2)]
        writers = [threading.Thread(target=commit, args=(opened(table), key, n)) for key in keys]
        for w in writers:
            w.start()
        for w in writers:
            w.join()
        assert len(went) == 1
        assert [opened(table).transaction_version(k) is not None for k in keys] == [k == went[0] for k in keys]
        assert opened(table).version() == n + 1
    assert rows(table) == list(range(5))


def test_many_who_may_try_again_lose_nothing(bucket: Bucket) -> None:
    uri = f"{bucket.uri}/many"
    write_deltalake(uri, pa.table({"k": pa.array([], pa.int64())}), storage_options=DELTA)
    failed: list[Exception] = []

    def append(w: int) -> None:
        try:
            for i in range(4):
                write_deltalake(uri, pa.table({"k": [w * 10 + i]}), mode="append", storage_options=DELTA)
        except Exception as e:
            failed.append(e)

    writers = [threading.Thread(target=append, args=(w,)) for w in range(4)]
    for w in writers:
        w.start()
    for w in writers:
        w.join()
    assert failed == []
    assert rows(uri) == sorted(w * 10 + i for w in range(4) for i in range(4))


@pytest.mark.parametrize("status", [None, 500])
def test_who_lost_the_answer_of_a_commit_finds_it_by_its_key(bucket: Bucket, table: str, status: int | None) -> None:
    """It looks like a conflict, so publishing asks for its own key before it says that another was first."""
    bucket.fail(status, every=1, times=1, after=True, verbs=["PUT"], keys=LOG)
    with pytest.raises(CommitFailedError):
        publish(opened(table), table, 1, "mine")
    assert opened(table).transaction_version("mine") == 1
    assert rows(table) == [1]


@pytest.mark.parametrize("status", [None, 503])
def test_a_commit_that_failed_on_the_way_is_sent_again(bucket: Bucket, table: str, status: int | None) -> None:
    bucket.fail(status, every=1, times=2, verbs=["PUT"], keys=LOG)
    publish(opened(table), table, 1, "first")
    assert rows(table) == [1]


def test_a_store_that_fails_now_and_then_is_read_and_written_right(bucket: Bucket, table: str) -> None:
    bucket.fail(503, rate=0.2, seed=4)
    for i in range(6):
        publish(opened(table), table, i, f"key-{i}")
    assert rows(table) == list(range(6))
    assert sum(r.status == 503 for r in bucket.requests) > 10


def test_a_store_that_only_fails_is_no_absent_table(bucket: Bucket, table: str) -> None:
    with pytest.raises(TableNotFoundError):
        opened(f"{bucket.uri}/silver/none")
    bucket.fail(503, every=1)
    with pytest.raises(OSError, match="503"):
        opened(table)


def test_a_list_that_lags_shows_an_older_version_and_refuses_the_newest(bucket: Bucket, table: str) -> None:
    """So the newest version is asked for by the name of its commit, and one that is not listed yet is waited for."""
    for i in range(3):
        publish(opened(table), table, i, f"key-{i}")
    bucket.lag(puts=2)
    assert opened(table).version() == 2
    assert store_at(table).head(f"_delta_log/{3:020}.json")["size"] > 0
    with pytest.raises(FileNotFoundError):
        store_at(table).head(f"_delta_log/{4:020}.json")
    with pytest.raises(DeltaError, match="end version 2 not the same as the specified end version 3"):
        opened(table, version=3)
    bucket.lag(seconds=3600)
    with pytest.raises(TableNotFoundError):
        opened(table)
    bucket.well()
    assert opened(table, version=3).version() == 3


def test_nothing_is_lost_by_who_commits_on_a_list_that_lags(bucket: Bucket, table: str) -> None:
    publish(opened(table), table, 1, "first")
    publish(opened(table), table, 2, "second")
    bucket.lag(puts=2)
    stale = opened(table)
    assert stale.version() == 1
    with pytest.raises(CommitFailedError):
        publish(stale, table, 3, "third")
    bucket.well()
    assert rows(table) == [1, 2]


def test_opening_costs_two_requests_for_each_commit_since_the_last_checkpoint(bucket: Bucket, table: str) -> None:
    def cost() -> int:
        bucket.forget()
        opened(table)
        return len(bucket.requests)

    publish(opened(table), table, 0, "key-0")
    before = cost()
    for i in range(1, 9):
        publish(opened(table), table, i, f"key-{i}")
    assert cost() == before + 2 * 8
    opened(table).create_checkpoint()
    after = cost()
    assert after < before + 2 * 8
    publish(opened(table), table, 9, "key-9")
    assert cost() == after + 2


def test_calls_that_hold_pythons_lock_are_answered_too(bucket: Bucket, table: str) -> None:
    """A server in a thread of this process would be asked by itself; see tests/stores.py."""
    publish(opened(table), table, 1, "first")
    assert len(opened(table).history()) == 2
    opened(table).alter.set_table_properties({"delta.logRetentionDuration": "interval 400 days"})
    assert DeltaTable.is_deltatable(table, storage_options=DELTA)
    assert opened(table).version() == 2
