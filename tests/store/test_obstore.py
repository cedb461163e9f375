"""What a lake on an object store takes for granted about obstore: conditions, lists, and what a failing store looks like."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from obstore.exceptions import AlreadyExistsError, GenericError, PreconditionError
from obstore.store import AzureStore, GCSStore, S3Store, from_url

from tests.store.options import CLIENT, RETRY, mark, store_at
from tests.stores import Bucket


def winners(act: Callable[[int], object], loses: type[Exception]) -> list[int]:
    """Sixteen who act at the same moment; those whom it did not lose."""
    won: list[int] = []
    start = threading.Barrier(16)

    def one(i: int) -> None:
        start.wait()
        with suppress(loses):
            act(i)
            won.append(i)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(16)))
    return won


def test_of_many_who_create_a_name_exactly_one_wins_and_its_content_stays(bucket: Bucket) -> None:
    store = store_at(bucket.uri)
    for n in range(5):
        won = winners(lambda i, name=f"race/{n}": store.put(name, str(i).encode(), mode="create"), AlreadyExistsError)
        assert len(won) == 1
        assert bytes(store.get(f"race/{n}").bytes()) == str(won[0]).encode()


def test_what_changed_meanwhile_is_not_replaced(bucket: Bucket) -> None:
    store = store_at(bucket.uri)
    first = mark(store.put("lease", b"one"))
    assert mark(store.head("lease")) == first
    second = mark(store.put("lease", b"two", mode=first))
    with pytest.raises(PreconditionError):
        store.put("lease", b"three", mode=first)
    assert bytes(store.get("lease").bytes()) == b"two"
    store.delete("lease")
    with pytest.raises(PreconditionError):
        store.put("lease", b"four", mode=second)
    assert bucket.stored() == []


def test_of_many_who_replace_the_same_state_exactly_one_wins(bucket: Bucket) -> None:
    store = store_at(bucket.uri)
    seen = mark(store.put("pointer", b"start"))
    won = winners(lambda i: store.put("pointer", str(i).encode(), mode=seen), PreconditionError)
    assert len(won) == 1
    assert bytes(store.get("pointer").bytes()) == str(won[0]).encode()


def test_what_is_absent_is_told_apart_from_what_fails(bucket: Bucket) -> None:
    store = store_at(bucket.uri)
    with pytest.raises(FileNotFoundError):
        store.get("absent")
    with pytest.raises(FileNotFoundError):
        store.head("absent")
    store.delete("absent")
    with pytest.raises(FileNotFoundError):
        store_at("s3://no-such-bucket-at-all/lake").put("a", b"1")
    bucket.fail(503, every=1)
    with pytest.raises(GenericError, match="after 8 retries"):
        store.get("absent")


@pytest.mark.parametrize(("status", "what"), [(None, "dropped"), (500, "answered with an error")])
def test_who_lost_the_answer_meets_its_own_object(bucket: Bucket, status: int | None, what: str) -> None:
    """Why every object that is created or replaced on a condition holds a token of its writer, which is read back."""
    store = store_at(bucket.uri)
    bucket.fail(status, every=1, times=1, after=True)
    with pytest.raises(AlreadyExistsError):
        store.put("release", b"mine", mode="create")
    assert bytes(store.get("release").bytes()) == b"mine"
    seen = mark(store.head("release"))
    bucket.fail(status, every=1, times=1, after=True)
    with pytest.raises(PreconditionError):
        store.put("release", b"mine again", mode=seen)
    assert bytes(store.get("release").bytes()) == b"mine again"


@pytest.mark.parametrize("status", [500, 503, None])
def test_a_store_that_fails_now_and_then_is_asked_again(bucket: Bucket, status: int | None) -> None:
    store = store_at(bucket.uri)
    bucket.fail(status, rate=0.3)
    for i in range(40):
        store.put(f"k/{i:02}", str(i).encode())
    assert [bytes(store.get(f"k/{i:02}").bytes()) for i in range(40)] == [str(i).encode() for i in range(40)]
    assert sum(len(page) for page in store.list("k")) == 40
    assert sum(r.status in (status, None) for r in bucket.requests) > 10


def test_a_condition_that_was_not_tried_yet_is_tried_again(bucket: Bucket) -> None:
    store = store_at(bucket.uri)
    bucket.fail(503, every=1, times=2)
    store.put("a", b"1", mode="create")
    bucket.fail(None, every=1, times=1)
    store.put("b", b"1", mode="create")
    assert [r.status for r in bucket.requests] == [503, 503, 200, None, 200]


def test_a_store_that_only_fails_is_given_up_in_the_time_that_was_said(bucket: Bucket) -> None:
    store = store_at(bucket.uri)
    bucket.fail(503, every=1)
    began = time.monotonic()
    with pytest.raises(GenericError, match="SlowDown"):
        store.put("a", b"1")
    assert time.monotonic() - began < 8
    assert bucket.count("PUT") == 1 + RETRY["max_retries"]


def test_an_answer_that_does_not_come_is_waited_for_no_longer_than_the_timeout(bucket: Bucket) -> None:
    store = from_url(bucket.uri, retry_config={"max_retries": 0}, client_options=CLIENT | {"timeout": "500ms"})
    bucket.slow(3)
    began = time.monotonic()
    with pytest.raises(GenericError):
        store.get("a")
    assert time.monotonic() - began < 2.5


def test_lists_go_on_beyond_a_page_of_a_thousand_in_order_of_name(bucket: Bucket) -> None:
    store = store_at(bucket.uri)
    wanted = [f"many/{i:04}" for i in range(1100)]
    _put_all(store, wanted)
    bucket.forget()
    assert [o["path"] for page in store.list("many") for o in page] == wanted
    assert bucket.counts() == {"LIST": 2}
    assert [o["path"] for page in store.list("many", offset="many/1090") for o in page] == wanted[1091:]
    assert [o["path"] for page in store.list("many/00") for o in page] == [], "a prefix is whole parts of a path"
    bucket.forget()
    store.delete(wanted)
    assert bucket.stored() == []
    assert bucket.count("DELETE MANY") == 2


def _put_all(store: Any, names: list[str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.put(name, b""), names))


def test_allow_http_of_the_environment_is_lost_once_a_client_is_described(bucket: Bucket) -> None:
    from_url(bucket.uri).put("a", b"1")
    with pytest.raises(GenericError, match="BadScheme"):
        from_url(bucket.uri, client_options={"timeout": "5s"}, retry_config={"max_retries": 0}).put("a", b"1")
    from_url(bucket.uri, client_options={"timeout": "5s", "allow_http": True}).put("a", b"1")


def test_addresses_of_other_stores_lead_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only that they are taken: neither Google's nor Azure's store can be run here."""
    google = from_url("gs://bucket/shop/lake")
    assert isinstance(google, GCSStore) and google.prefix == "shop/lake"
    azure = from_url("abfss://files@account.dfs.core.windows.net/shop/lake")
    assert isinstance(azure, AzureStore) and azure.prefix == "shop/lake"
    assert azure.config["account_name"] == "account" and azure.config["container_name"] == "files"
    with pytest.raises(GenericError, match="Account must be specified"):
        from_url("abfss://files/shop/lake")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    assert isinstance(from_url("abfss://files/shop/lake"), AzureStore)
    assert isinstance(from_url("s3a://bucket/shop/lake"), S3Store)
