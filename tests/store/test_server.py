"""The test server's own promises: conditions hold, each trouble is what it says, and every request is counted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest
from obstore.exceptions import GenericError

from tests.store.options import store_at
from tests.stores import Bucket, S3Server


def names(store: object) -> list[str]:
    return [o["path"] for page in store.list() for o in page]  # type: ignore[attr-defined]


def test_what_is_put_is_there_for_everyone_who_has_the_address(bucket: Bucket) -> None:
    store_at(bucket.uri).put("a/b", b"hello")
    assert bytes(store_at(bucket.uri).get("a/b").bytes()) == b"hello"
    assert bucket.stored() == ["shop/lake/a/b"]


def test_large_and_empty_bodies_and_any_name_come_back_as_they_went(bucket: Bucket) -> None:
    store = store_at(bucket.uri)
    large = os.urandom(12 << 20)
    for name, data in {"large": large, "empty": b"", "day=2026-01-01/人 & a+b=c%.txt": b"x"}.items():
        store.put(name, data)
        assert bytes(store.get(name).bytes()) == data
    assert bytes(store.get_range("large", start=5, length=7)) == large[5:12]
    assert sorted(names(store)) == ["day=2026-01-01/人 & a+b=c%.txt", "empty", "large"]
    assert bucket.count("PUT PART") >= 2


def test_two_buckets_know_nothing_of_each_other(s3_server: S3Server, bucket: Bucket) -> None:
    other = s3_server.bucket()
    store_at(bucket.uri).put("a", b"1")
    other.fail(every=1)
    assert names(store_at(bucket.uri)) == ["a"]
    assert other.stored() == [] and other.requests == []
    other.remove()


def test_requests_are_counted_by_what_they_ask_for(bucket: Bucket) -> None:
    store = store_at(bucket.uri)
    store.put("a", b"12345")
    store.put("b", b"1", mode="create")
    store.get("a").bytes()
    store.head("a")
    names(store)
    store.copy("a", "c")
    store.delete(["a", "b"])
    assert bucket.counts() == {"COPY": 1, "DELETE MANY": 1, "GET": 1, "HEAD": 1, "LIST": 1, "PUT": 2}
    assert [r.conditional for r in bucket.requests if r.verb == "PUT"] == [False, True]
    assert next(r for r in bucket.requests if r.verb == "GET").bytes_out == 5
    assert bucket.count("PUT", keys="*/b") == 1
    bucket.forget()
    assert bucket.requests == []


def test_a_slow_server_answers_late_and_side_by_side(bucket: Bucket) -> None:
    store = store_at(bucket.uri)
    store.put("a", b"1")
    bucket.slow(0.3)
    began = time.monotonic()
    askers = [threading.Thread(target=store.head, args=("a",)) for _ in range(8)]
    for a in askers:
        a.start()
    for a in askers:
        a.join()
    assert 0.3 <= time.monotonic() - began < 8 * 0.3


def test_every_third_request_fails_and_the_others_do_not(bucket: Bucket) -> None:
    store = store_at(bucket.uri, max_retries=0)
    store.put("a", b"1")
    bucket.fail(503, every=3, verbs=["GET"])
    went = []
    for _ in range(6):
        try:
            store.get("a")
            went.append(True)
        except GenericError as e:
            assert "SlowDown" in str(e)
            went.append(False)
    assert went == [True, True, False, True, True, False]


def test_a_rate_strikes_the_same_requests_whatever_order_they_come_in(bucket: Bucket) -> None:
    store = store_at(bucket.uri, max_retries=0)

    def struck(order: list[str]) -> set[str]:
        bucket.well()
        bucket.fail(500, rate=0.4, seed=3)
        bucket.forget()
        for name in order:
            with suppress(GenericError):
                store.put(name, b"1")
        return {r.key for r in bucket.requests if r.status == 500}

    ordered = [f"k{i}" for i in range(40)]
    assert struck(ordered) == struck(ordered[::-1])
    assert 8 <= len(struck(ordered)) <= 24


def test_a_dropped_request_is_not_done_unless_only_its_answer_is_lost(bucket: Bucket) -> None:
    store = store_at(bucket.uri, max_retries=0)
    bucket.fail(None, every=1, times=1)
    with pytest.raises(GenericError):
        store.put("before", b"1")
    bucket.fail(None, every=1, times=1, after=True)
    with pytest.raises(GenericError):
        store.put("after", b"1")
    assert bucket.stored() == ["shop/lake/after"]
    assert [r.status for r in bucket.requests] == [None, None]


def test_a_trouble_without_measure_is_refused(bucket: Bucket) -> None:
    with pytest.raises(ValueError, match="every or rate"):
        bucket.fail(503)


def test_lists_lag_and_reads_do_not(bucket: Bucket) -> None:
    store = store_at(bucket.uri)
    for name in ("x/a", "x/b", "y/c"):
        store.put(name, b"1")
    bucket.lag(puts=2)
    assert names(store) == ["x/a"]
    assert store.list_with_delimiter()["common_prefixes"] == ["x"]
    assert bytes(store.get("y/c").bytes()) == b"1"
    assert store.head("x/b")["size"] == 1
    store.put("x/a", b"22")
    assert names(store) == ["x/a"], "an object that lists showed already stays in them when it is written again"
    bucket.lag(seconds=3600)
    assert names(store) == []
    bucket.well()
    assert names(store) == ["x/a", "x/b", "y/c"]


@pytest.mark.parametrize("before", [False, True])
def test_a_process_is_killed_at_its_second_put_of_a_name(bucket: Bucket, before: bool) -> None:
    code = f"""
from tests.store.options import store_at
store = store_at({bucket.uri!r}, max_retries=0)
for i in range(5):
    store.put(f"other/{{i}}", b"1")
    store.put(f"log/{{i}}", b"1")
"""
    bucket.on_put("*/log/*", lambda: os.kill(writer.pid, signal.SIGKILL), nth=2, before=before)
    writer = subprocess.Popen([sys.executable, "-c", code])
    assert writer.wait(60) == -signal.SIGKILL
    kept = ["shop/lake/log/0"] + ([] if before else ["shop/lake/log/1"])
    assert bucket.stored() == [*kept, "shop/lake/other/0", "shop/lake/other/1"]


def test_the_server_ends_with_who_started_it() -> None:
    code = """
import os, signal
from tests.stores import S3Server
if __name__ == "__main__":
    server = S3Server()
    print(server.endpoint, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    port = int(ended.stdout.strip().rpartition(":")[2])
    until = time.monotonic() + 20
    while _listens(port):
        assert time.monotonic() < until, "the server is still there"
        time.sleep(0.1)


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0
