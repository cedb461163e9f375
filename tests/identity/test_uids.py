"""Numbers that never change: who gets which, and what a run leaves when it is repeated, cut short or comes late."""

from __future__ import annotations

import hashlib
import hmac
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.links import links_of
from jobs.identity import step as identity
from jobs.identity.step import update_identity
from lake.engine import Engine
from lake.lake import Lake
from lake.publish import publish as real_publish
from tests.identity import oracle
from tests.identity.oracle import Row
from tests.identity.tables import SALT, Identity, published, run
from tests.identity.worlds import ZONE, apart, deliver, world


def march(day: int) -> date:
    return date(2026, 3, day)


def row(day: int, feed: str = "browse", **ids: str) -> Row:
    return Row(march(day), ids, feed)


def after(lake: Lake, engine: Engine, *deliveries: list[Row]) -> Identity:
    """The tables after one run a delivery."""
    for n, rows in enumerate(deliveries):
        deliver(lake, rows, f"b{n}")
        run(lake, engine, f"r{n}", march(20 + n))
    return published(lake)


def test_uids_follow_the_first_event_then_the_id(lake: Lake, embedded: Engine) -> None:
    rows = [row(3, cookie="c"), row(2, device="e"), row(2, device="d"), row(2, member="z"), row(1, cookie="first")]
    found = after(lake, embedded, rows)
    order = [("cookie", "first"), ("member", "z"), ("device", "d"), ("device", "e"), ("cookie", "c")]
    assert [found.uid(*i) for i in order] == [0, 1, 2, 3, 4]


def test_later_uids_only_append(lake: Lake, embedded: Engine) -> None:
    found = after(lake, embedded, [row(5, device="d")], [row(1, device="earlier")])
    assert (found.uid("device", "d"), found.uid("device", "earlier")) == (0, 1)


def test_a_member_takes_over_the_uid_of_its_device(lake: Lake, embedded: Engine) -> None:
    before = after(lake, embedded, [row(1, device="d")])
    found = after(lake, embedded, [], [row(2, member="a", device="d")])
    assert found.uid("member", "a") == found.uid("device", "d") == 0
    assert found.users[0]["user_id"] == before.users[0]["user_id"]
    assert (before.users[0]["person_kind"], found.users[0]["person_kind"]) == ("anonymous", "member")
    assert found.merges == []


def test_of_two_merged_persons_the_elder_uid_stays_and_the_younger_is_retired_with_the_date(
    lake: Lake, embedded: Engine
) -> None:
    merge = Row(march(9), {"member": "a"}, "members", merged_into="b")
    found = after(lake, embedded, [row(1, member="b"), row(2, member="a", cookie="c")], [merge])
    assert {found.uid("member", "a"), found.uid("member", "b"), found.uid("cookie", "c")} == {0}
    assert (found.users[1]["retired_day"], found.users[1]["merged_into_uid"]) == (march(21), 0)
    assert found.users[0]["retired_day"] is None
    moves = [(m["id_kind"], m["id_value"], m["old_uid"], m["new_uid"], m["move_kind"]) for m in found.merges]
    assert moves == [("cookie", "c", 1, 0, "merge"), ("member", "a", 1, 0, "merge")]
    assert {m["moved_day"] for m in found.merges} == {march(21)}


@pytest.mark.slow
def test_who_was_merged_earlier_goes_on_to_the_elder_of_its_elder(lake: Lake, embedded: Engine) -> None:
    first = [row(1, member="x"), row(2, member="b"), row(3, member="c")]
    merges = [Row(march(9), {"member": m}, "members", merged_into=into) for m, into in (("c", "b"), ("b", "x"))]
    found = after(lake, embedded, first, merges[:1], merges[1:])
    assert [(u["merged_into_uid"], u["retired_day"]) for u in found.users.values()] == [
        (None, None),
        (0, march(22)),
        (0, march(21)),
    ]


def test_a_split_gives_the_id_a_fresh_uid_from_its_day_on(lake: Lake, embedded: Engine) -> None:
    alone = row(4, device="d")
    found = after(lake, embedded, [row(1, member="a", device="d")], [row(4, member="b", device="d"), alone])
    assert found.uid("device", "d", march(3)) == found.uid("member", "a") == 0
    assert found.uid("device", "d", march(4)) not in (found.uid("member", "a"), found.uid("member", "b"))
    (move,) = found.merges
    assert (move["id_value"], move["from_day"], move["until_day"]) == ("d", march(4), None)
    assert (move["old_uid"], move["new_uid"], move["move_kind"]) == (0, found.uid("device", "d"), "split")
    assert found.users[0]["retired_day"] is None


def test_a_device_known_before_both_its_members_leaves_its_uid_to_the_first(lake: Lake, embedded: Engine) -> None:
    both = [row(2, member="a", device="d"), row(3, member="b", device="d"), row(5, device="d")]
    found = after(lake, embedded, [row(1, device="d")], both)
    assert found.uid("member", "a") == found.uid("device", "d", march(1)) == 0
    assert found.uid("device", "d", march(3)) > 0
    assert len({u["user_id"] for u in found.users.values()}) == len(found.users) == 3


@pytest.mark.slow
def test_members_found_to_be_one_take_their_shared_device_back(lake: Lake, embedded: Engine) -> None:
    shared = [row(1, member="a", device="d"), row(4, member="b", device="d"), row(5, device="d")]
    found = after(lake, embedded, shared, [Row(march(6), {"member": "a"}, "members", merged_into="b")])
    assert {found.uid("member", "a"), found.uid("member", "b"), found.uid("device", "d")} == {0}
    assert sorted(u for u, r in found.users.items() if r["retired_day"]) == [1, 2]


@pytest.mark.slow
def test_a_late_first_event_moves_the_first_day_and_no_uid(lake: Lake, embedded: Engine) -> None:
    found = after(lake, embedded, [row(5, device="d")], [row(2, device="d")])
    assert len(found.users) == 1
    assert found.users[0]["first_seen_at"].date() == march(1)  # 01:00 in Shanghai is the day before in UTC


def test_who_is_only_known_by_a_shared_id_is_first_seen_at_an_event_of_its_own(lake: Lake, embedded: Engine) -> None:
    shared = [Row(march(n), {"member": m, "phone": "p"}, "members") for n, m in ((1, "a"), (3, "b"))]
    found = after(lake, embedded, shared, [], [row(8, "orders", phone="p")])
    assert sorted(found.users) == [0, 1, 2]
    assert found.users[found.uid("phone", "p")]["first_seen_at"].date() == march(7), "01:00 in Shanghai"


def test_users_of_an_older_lake_that_are_nobody_are_retired_and_said_once(
    lake: Lake, embedded: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = [Row(march(n), {"member": m, "phone": "p"}, "members") for n, m in ((1, "a"), (3, "b"))]
    deliver(lake, [*shared, row(5, cookie="c")])
    with monkeypatch.context() as older:
        older.setattr(identity, "MADE_AS", {"links": ["as they were"]})
        older.setattr(identity, "links_of", _every_sight_an_event)
        assert run(lake, embedded, "r1").users == 4
    phantom = published(lake).uid("phone", "p")
    found = run(lake, embedded, "r2", march(21))
    assert found.warnings == (
        "1 users are retired: their ids are no longer in silver, or only stand beside others' ids and in members' "
        "records, without an event or a record of their own",
    )
    assert run(lake, embedded, "r3", march(22)).warnings == ()
    now = published(lake)
    assert [uid for uid, u in now.users.items() if u["retired_day"]] == [phantom]
    assert len(now.persons) == 3


def _every_sight_an_event(*args: Any) -> Any:
    return links_of(*args).selectExpr("a", "b", "at", "verified", "at as own_first", "at as own_last")


@pytest.mark.parametrize("most", [5, 6])
def test_a_person_of_too_many_members_is_a_warning_that_names_the_id_masked(
    lake: Lake, embedded: Engine, most: int
) -> None:
    phone = "13812345678"
    deliver(
        lake, [Row(march(1), {"member": f"m{n}", "phone": phone}, "members", phone_verified=True) for n in range(6)]
    )
    warned = [update_identity(lake, embedded, march(20), f"r{n}", SALT, None, most).warnings for n in range(2)]
    assert warned[0] == warned[1], "a run with nothing new says it again"
    if most == 6:
        assert warned[0] == ()
        return
    (said,) = warned[0]
    assert "6 members are taken for one person" in said
    assert "6 of them verified the phone 138******78" in said
    assert "guest_ids" in said
    assert phone not in said


def test_the_user_id_is_the_first_ids_kind_and_its_salted_hash(lake: Lake, embedded: Engine) -> None:
    found = after(lake, embedded, [row(1, phone="13800000000", cookie="c")])
    digest = hmac.new(SALT.encode(), b"phone\n13800000000", hashlib.sha256).hexdigest()
    assert found.users[0]["user_id"] == "p" + digest[:32]


def test_the_same_rows_delivered_again_change_no_content(lake: Lake, embedded: Engine) -> None:
    rows = [row(1, member="a", device="d"), row(4, member="b", device="d"), row(2, cookie="c", openid="o")]
    first = after(lake, embedded, rows)
    versions = {t: lake.version(t) for t in ("identity.users", "identity.merges")}
    again = after(lake, embedded, rows)
    assert again == first
    assert {t: lake.version(t) for t in versions} == versions


def test_a_run_with_nothing_new_writes_nothing(lake: Lake, embedded: Engine) -> None:
    deliver(lake, [row(1, member="a")])
    first = run(lake, embedded, "r1")
    again = run(lake, embedded, "r2")
    assert (first.files_read, again.files_read) == (1, 0)
    assert again.versions == first.versions
    assert again.users == first.users == 1


def test_only_buckets_in_which_a_user_changed_are_replaced(
    lake: Lake, embedded: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.activity.USERS_PER_BUCKET", 2)
    after(lake, embedded, [row(n, device=f"d{n}") for n in range(1, 6)])
    before = {f.partition["bucket"]: f.path for f in lake.files("identity.users")}
    found = after(lake, embedded, [], [row(9, member="a", device="d3")])
    now = {f.partition["bucket"]: f.path for f in lake.files("identity.users")}
    assert sorted(before) == sorted(now) == [0, 1, 2]
    assert [b for b in now if now[b] != before[b]] == [1]
    assert sorted(found.users) == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_ids_of_a_delivery_that_was_taken_away_are_retired_and_come_back_with_a_fresh_uid(
    lake: Lake, embedded: Engine
) -> None:
    wrong = [row(1, device="d"), row(2, member="a", device="d"), row(2, cookie="c")]
    after(lake, embedded, wrong)
    _replace_browse(lake, [row(1, device="d"), row(2, cookie="e")])
    run(lake, embedded, "again", march(21))
    found = published(lake)
    assert set(found.persons.values()) == oracle.persons([row(1, device="d"), row(2, cookie="e")])
    assert found.uid("device", "d") == 0
    assert (found.users[1]["retired_day"], found.users[1]["merged_into_uid"]) == (march(21), None)
    back = after(lake, embedded, [], [], [row(3, cookie="c")])
    assert back.uid("cookie", "c") == 3
    assert len({u["user_id"] for u in back.users.values()}) == 4


def _replace_browse(lake: Lake, rows: list[Row]) -> None:
    delta = lake.delta("silver.browse")
    assert delta is not None
    delta.delete()
    deliver(lake, rows, "right")


FIRST = [row(1, member="a", device="d"), row(2, cookie="c"), row(2, device="e")]
SECOND = [
    row(3, member="b", device="d"),
    row(4, member="a", device="e"),
    Row(march(5), {"member": "a"}, "members", merged_into="f"),
    row(6, cookie="new"),
]
THIRD = [row(1, member="g", device="e"), row(7, cookie="c", device="x")]


@pytest.mark.parametrize(
    ("published_before", "more"),
    [
        pytest.param(n, more, id=f"{n} published, {'more' if more else 'same'} rows", marks=pytest.mark.slow)
        for n in range(4)
        for more in ([], THIRD)
    ],
)
def test_a_run_killed_between_two_tables_leaves_the_next_run_the_same_tables(
    tmp_path: Path, embedded: Engine, monkeypatch: pytest.MonkeyPatch, published_before: int, more: list[Row]
) -> None:
    whole = Lake(tmp_path / "whole", ZONE)
    expected = after(whole, embedded, FIRST, SECOND + more)

    lake = Lake(tmp_path / "killed", ZONE)
    after(lake, embedded, FIRST)
    deliver(lake, SECOND, "b1")
    with monkeypatch.context() as patched:
        patched.setattr(identity, "publish", _killed_after(published_before))
        with pytest.raises(KeyboardInterrupt):
            run(lake, embedded, "r1", march(21))
    if more:
        deliver(lake, more, "b2")
    run(lake, embedded, "r1", march(21))
    assert published(lake).content == expected.content


@pytest.mark.spark
def test_both_engines_give_equal_tables(tmp_path: Path, embedded: Engine, spark: Engine) -> None:
    found = []
    for engine in (embedded, spark):
        lake = Lake(tmp_path / engine.name, ZONE)
        found.append(after(lake, engine, FIRST, SECOND + THIRD).content)
    assert found[0] == found[1]


def _killed_after(publications: int) -> Any:
    done = 0

    def publish(*args: Any, **kwargs: Any) -> int:
        nonlocal done
        if done == publications:
            raise KeyboardInterrupt
        done += 1
        return real_publish(*args, **kwargs)

    return publish


@pytest.mark.slow
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(shops=st.lists(world, min_size=10, max_size=15), data=st.data())
def test_over_any_history_uids_are_dense_constant_and_their_moves_are_all_logged(
    embedded: Engine, tmp_path_factory: pytest.TempPathFactory, shops: list[list[Row]], data: st.DataObject
) -> None:
    rows = data.draw(st.permutations(apart(shops)))
    lake = Lake(tmp_path_factory.mktemp("history") / "lake", ZONE)
    before: Identity | None = None
    for n in range(3):
        deliver(lake, rows[len(rows) * n // 3 : len(rows) * (n + 1) // 3], f"b{n}")
        run(lake, embedded, f"r{n}", march(20 + n))
        now = published(lake)
        _is_sound(now)
        if before is not None:
            _follows(now, before, f"r{n}")
        before = now
    assert before is not None
    assert set(before.persons.values()) == oracle.persons(rows)


def _is_sound(now: Identity) -> None:
    assert sorted(now.users) == list(range(len(now.users)))
    assert len({u["user_id"] for u in now.users.values()}) == len(now.users)
    assert set(now.persons) == {uid for uid, u in now.users.items() if u["retired_day"] is None}
    for uid, user in now.users.items():
        if user["retired_day"] is not None:
            assert user["merged_into_uid"] < uid
            assert now.users[user["merged_into_uid"]]["retired_day"] is None
    keys = [(r["id_kind"], r["id_value"], r["from_day"]) for r in now.identifiers]
    assert len(set(keys)) == len(keys)


def _follows(now: Identity, before: Identity, run_id: str) -> None:
    for uid, user in before.users.items():
        assert now.users[uid]["user_id"] == user["user_id"]
        if user["retired_day"] is not None:
            assert now.users[uid] == {**user, "merged_into_uid": now.users[uid]["merged_into_uid"]}
    moved = _owners(before.identifiers)
    for m in now.merges:
        if m["run_id"] == run_id:
            days = _days(m["from_day"], m["until_day"])
            for day in days:
                key = m["id_kind"], m["id_value"], day
                assert moved[key] == m["old_uid"]
                moved[key] = m["new_uid"]
    current = _owners(now.identifiers)
    # what became shared and never acts by itself is nobody's from then on; whose the rest is, the oracle says
    assert {k: v for k, v in current.items() if k in moved} == {k: v for k, v in moved.items() if k in current}


def _owners(identifiers: list[dict[str, Any]]) -> dict[tuple[str, str, date], int]:
    """Whose an id is on each day of the shops' days, and one before and after."""
    return {
        (r["id_kind"], r["id_value"], day): r["uid"]
        for r in identifiers
        for day in _days(r["from_day"], r["until_day"])
    }


def _days(start: date | None, end: date | None) -> list[date]:
    return [d for d in map(march, range(1, 15)) if (start is None or d >= start) and (end is None or d < end)]
