"""``activity`` from hand-made silver rows: what each row of a log becomes, and which slices a new row touches."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

import jobs.activity
from features import activity as act
from jobs.activity import run_activity
from jobs.identity import update_identity
from lake.engine import Engine
from lake.lake import Lake
from lake.sql import connect
from schemas.behaviours import BEHAVIOURS
from tests.silver import at, write_silver

NAMES = {number: name for name, number in BEHAVIOURS.items()}


class Shop:
    """A lake and what a run of identity and activity makes of it."""

    def __init__(self, folder: Path, engine: Engine):
        self.lake = Lake(folder, "Asia/Shanghai")
        self.zone = "Asia/Shanghai"
        self.engine = engine
        self.runs = 0

    def write(self, feed: str, *rows: dict[str, Any], ingested: str = "2026-03-31 06:00") -> None:
        write_silver(self.lake, feed, rows, ingested=ingested, batch=f"b{self.runs}")

    def run(self, as_of: str = "2026-03-31") -> Any:
        self.runs += 1
        update_identity(self.lake, self.engine, date.fromisoformat(as_of), f"i{self.runs}", "salt")
        return run_activity(self, self.engine, f"a{self.runs}")  # type: ignore[arg-type]

    def rows(self, *behaviours: str) -> list[dict[str, Any]]:
        with connect(self.lake, None) as con:
            cursor = con.execute("select * from activity.activity order by uid, occurred_at, behaviour_code, sku_code")
            names = [d[0] for d in cursor.description]
            found = [dict(zip(names, r, strict=True)) for r in cursor.fetchall()]
        for r in found:
            r["behaviour"] = NAMES[r["behaviour_code"]]
        return [r for r in found if not behaviours or r["behaviour"] in behaviours]

    def uid(self, kind: str, value: str) -> int:
        with connect(self.lake, None) as con:
            return con.execute(
                "select max(uid) from identity.identifiers where id_kind = ? and id_value = ?", [kind, value]
            ).fetchall()[0][0]


@pytest.fixture
def shop(tmp_path: Path, embedded: Engine) -> Shop:
    return Shop(tmp_path / "lake", embedded)


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every person has a bucket of their own, so that nobody's slices are rebuilt for another's sake."""
    monkeypatch.setattr(act, "USERS_PER_BUCKET", 1)


def order(order_id: str = "o1", **more: Any) -> dict[str, Any]:
    return {"order_id": order_id, "ordered_at": at("2026-03-05 23:50"), "member_id": "m1", **more}


def line(order_id: str = "o1", line_id: str = "1", net: int = 100, **more: Any) -> dict[str, Any]:
    row = {"order_id": order_id, "line_id": line_id, "ordered_at": at("2026-03-05 23:50"), "sku_id": "s1"}
    return {**row, "quantity": 1, "net_amount_minor": net, **more}


def test_a_paid_order_gives_a_pay_row_per_line_on_the_business_day_of_payment(shop: Shop) -> None:
    shop.write("orders", order(paid_at=at("2026-03-06 00:05")))
    shop.write("order_lines", line(net=100, list_amount_minor=120), line(line_id="2", net=50, sku_id="s2"))
    shop.run()
    paid = shop.rows("pay")
    assert [(r["day"], r["amount_minor"], r["list_amount_minor"]) for r in paid] == [
        (date(2026, 3, 6), 100, 120),
        (date(2026, 3, 6), 50, 50),
    ]
    assert {r["order_key"] for r in paid} == {r["order_key"] for r in shop.rows("order")} != {0}
    assert {r["period"] for r in paid} == {202603}


def test_an_unpaid_order_gives_an_order_row_only(shop: Shop) -> None:
    shop.write("orders", order())
    shop.write("order_lines", line())
    shop.run()
    assert [r["behaviour"] for r in shop.rows()] == ["order"]


def test_an_order_worth_nothing_is_void_from_its_payment_on(shop: Shop) -> None:
    shop.write("orders", order(paid_at=at("2026-03-06 00:05")))
    shop.write("order_lines", line(net=0))
    shop.run()
    assert [r["void_day"] for r in shop.rows("pay")] == [date(2026, 3, 6)]


def test_when_an_order_its_payment_and_its_end_were_learned_are_days_of_their_own(shop: Shop) -> None:
    first, second = "2026-03-06 10:00", "2026-03-08 06:00"
    paid = {"paid_at": at("2026-03-07 09:00"), "source_time": at("2026-03-07 09:00")}
    ended = {**paid, "cancelled_at": at("2026-03-08 09:00"), "source_time": at("2026-03-08 09:00")}
    shop.write("orders", order(), order("o2", member_id="m2", paid_at=at("2026-03-06 09:00")), ingested=first)
    shop.write("order_lines", line(), line("o2"), ingested=first)
    shop.write("orders", order(**paid), ingested=second)
    shop.write("orders", order(**ended), ingested="2026-03-11 06:00")
    for amount, refunded, learned in ((40, "07", "20"), (60, "09", "12"), (5, "10", "25")):
        refund = {"refund_id": f"r{amount}", "order_id": "o2", "refunded_at": at(f"2026-03-{refunded} 10:00")}
        shop.write("refunds", {**refund, "refund_amount_minor": amount}, ingested=f"2026-03-{learned} 06:00")
    shop.run()

    def days(member: str, behaviour: str) -> list[tuple[int, int, int]]:
        rows = [r for r in shop.rows(behaviour) if r["uid"] == shop.uid("member", member)]
        return sorted((r["known_day"].day, r["void_day"].day, r["void_known_day"].day) for r in rows)

    assert days("m1", "order") == [(6, 8, 11)]
    assert days("m1", "pay") == [(8, 8, 11)], "paid by the second delivery"
    assert days("m2", "pay") == [(6, 9, 20)], "whole by the second refund, of which the first was learned last"
    assert days("m2", "refund_of_order") == [(12, 9, 20), (20, 9, 20), (25, 9, 20)]


@pytest.mark.slow
def test_a_table_made_before_it_had_all_its_columns_is_made_anew(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write("orders", order(paid_at=at("2026-03-06 09:00")))
    shop.write("order_lines", line())
    with monkeypatch.context() as older:
        older.setattr(jobs.activity, "COLUMNS", jobs.activity.COLUMNS[:-1])
        older.setattr(jobs.activity._Step, "_columns", lambda self: [F.col(n) for n, _ in act.COLUMNS])
        shop.run()
    rows = shop.rows()
    report = shop.run()
    assert report.slices_rebuilt == 1
    assert shop.rows() == rows
    assert shop.run().slices_rebuilt == 0


def test_a_whole_refund_voids_the_order_from_the_day_it_is_complete(shop: Shop) -> None:
    shop.write("orders", order(paid_at=at("2026-03-05 23:55")))
    shop.write("order_lines", line(net=100))
    refund = {"order_id": "o1", "member_id": None}
    shop.write(
        "refunds",
        {**refund, "refund_id": "r1", "refunded_at": at("2026-03-08 10:00"), "refund_amount_minor": 40},
        {**refund, "refund_id": "r2", "refunded_at": at("2026-03-11 23:30"), "refund_amount_minor": 60},
    )
    shop.run()
    assert {r["void_day"] for r in shop.rows("pay", "order", "refund_of_order")} == {date(2026, 3, 11)}
    cash = shop.rows("refund")
    assert [(r["day"], r["amount_minor"], r["void_day"]) for r in cash] == [
        (date(2026, 3, 8), 40, None),
        (date(2026, 3, 11), 60, None),
    ]
    assert [(r["day"], r["valid_from_day"]) for r in shop.rows("refund_of_order")] == [
        (date(2026, 3, 5), date(2026, 3, 8)),
        (date(2026, 3, 5), date(2026, 3, 11)),
    ]
    assert {r["uid"] for r in cash} == {shop.uid("member", "m1")}


def test_a_guest_order_belongs_to_nobody_else(shop: Shop) -> None:
    shop.write("orders", order("o1", member_id=None), order("o2", member_id=None), order("o3"))
    shop.run()
    assert len({r["uid"] for r in shop.rows("order")}) == 3


@pytest.mark.slow
def test_a_newer_version_of_an_order_takes_the_place_of_the_older(shop: Shop) -> None:
    shop.write("orders", order())
    shop.write("order_lines", line())
    shop.run()
    shop.write("orders", order(paid_at=at("2026-03-07 09:00")), ingested="2026-04-01 06:00")
    report = shop.run("2026-04-01")
    assert report.slices_rebuilt == 1
    assert [r["behaviour"] for r in shop.rows()] == ["order", "pay"]


def test_opening_a_share_is_the_openers_and_is_credited_to_the_sharer(shop: Shop) -> None:
    share = {"occurred_at": at("2026-03-02 10:00"), "share_id": "c1"}
    shop.write(
        "shares",
        {**share, "event_id": "e1", "behaviour": "share", "member_id": "m1"},
        {**share, "event_id": "e2", "behaviour": "share_open", "openid": "w2", "sharer_member_id": "m1"},
        {**share, "event_id": "e3", "behaviour": "share_open", "openid": "w3"},
        {**share, "event_id": "e4", "behaviour": "share_open", "member_id": "m1", "sharer_member_id": "m1"},
    )
    shop.run()
    sharer = shop.uid("member", "m1")
    others = {shop.uid("openid", "w2"), shop.uid("openid", "w3")}
    assert {r["peer_uid"] for r in shop.rows("share_opened")} == others
    assert {r["uid"] for r in shop.rows("share_opened")} == {sharer}
    assert {r["peer_uid"] for r in shop.rows("share_open") if r["uid"] in others} == {sharer}
    assert [r["peer_uid"] for r in shop.rows("share")] == [-1]


@pytest.mark.slow
def test_an_order_through_a_share_is_credited_once_it_is_paid_and_until_it_is_void(shop: Shop) -> None:
    shop.write("orders", order("o1", paid_at=at("2026-03-06 00:05")), order("o2"))
    shop.write("order_lines", line("o1"), line("o2"))
    event = {"occurred_at": at("2026-03-05 23:50"), "behaviour": "order", "member_id": "m1", "sharer_member_id": "m9"}
    shop.write("shares", {**event, "event_id": "e1", "order_id": "o1"}, {**event, "event_id": "e2", "order_id": "o2"})
    shop.run()
    assert [(r["uid"], r["valid_from_day"]) for r in shop.rows("brought_order")] == [
        (shop.uid("member", "m9"), date(2026, 3, 6))
    ]
    shop.write(
        "refunds",
        {"refund_id": "r", "order_id": "o1", "refunded_at": at("2026-04-02 09:00"), "refund_amount_minor": 100},
        ingested="2026-04-03 06:00",
    )
    shop.run("2026-04-03")
    assert [r["void_day"] for r in shop.rows("brought_order")] == [date(2026, 4, 2)]


def test_only_the_slices_that_new_rows_touch_are_rewritten(shop: Shop) -> None:
    view = {"behaviour": "view", "member_id": "m1"}
    shop.write("browse", {**view, "event_id": "e1", "occurred_at": at("2026-02-03 10:00")})
    shop.write("browse", {**view, "event_id": "e2", "occurred_at": at("2026-03-03 10:00")})
    assert shop.run().slices_rebuilt == 2
    before = {f.path for f in shop.lake.files("activity.activity", where={"period": 202602})}
    shop.write("browse", {**view, "event_id": "e3", "occurred_at": at("2026-03-04 10:00")}, ingested="2026-04-01 06:00")
    assert shop.run().slices_rebuilt == 1
    assert {f.path for f in shop.lake.files("activity.activity", where={"period": 202602})} == before
    assert len(shop.rows("view")) == 3
    assert shop.run().slices_rebuilt == 0


@pytest.mark.slow
def test_merging_two_persons_appends_the_younger_ones_rows_to_the_elder(shop: Shop) -> None:
    shop.write(
        "browse", {"event_id": "e1", "behaviour": "view", "member_id": "m1", "occurred_at": at("2026-02-03 10:00")}
    )
    shop.write(
        "browse", {"event_id": "e2", "behaviour": "view", "device_id": "d1", "occurred_at": at("2026-02-04 10:00")}
    )
    shop.run()
    shop.write(
        "browse",
        {
            "event_id": "e3",
            "behaviour": "view",
            "member_id": "m1",
            "device_id": "d1",
            "occurred_at": at("2026-03-05 10:00"),
        },
        ingested="2026-03-06 06:00",
    )
    report = shop.run("2026-03-05")
    elder = shop.uid("member", "m1")
    assert report.slices_extended == 1
    assert [r["day"] for r in shop.rows() if r["uid"] == elder] == [
        date(2026, 2, 3),
        date(2026, 2, 4),
        date(2026, 3, 5),
    ]


@pytest.mark.slow
def test_rows_that_arrive_between_identity_and_activity_wait_for_the_next_run(shop: Shop, tmp_path: Path) -> None:
    shop.write("orders", order(paid_at=at("2026-03-06 09:00")))
    shop.write("order_lines", line())
    update_identity(shop.lake, shop.engine, date(2026, 3, 31), "i0", "salt")
    view = {"occurred_at": at("2026-03-03 10:00"), "behaviour": "view", "device_id": "d1"}
    shop.write("browse", {**view, "event_id": "e1"})
    shop.write("orders", order("o2", member_id="m2", paid_at=at("2026-03-06 09:00")), ingested="2026-04-01 06:00")
    run_activity(shop, shop.engine, "a0")  # type: ignore[arg-type]
    assert [r["behaviour"] for r in shop.rows()] == ["order", "pay"]
    shop.run()
    assert sorted(r["behaviour"] for r in shop.rows()) == ["order", "order", "pay", "view"]


def counted(shop: Shop) -> list[dict[str, Any]]:
    """Rows of the people there are, in one order."""
    with connect(shop.lake, None) as con:
        retired = con.execute("select uid from identity.users where merged_into_uid is not null").fetchall()
    gone = {uid for (uid,) in retired}
    return sorted((r for r in shop.rows() if r["uid"] not in gone), key=repr)


def assert_as_rebuilt(shop: Shop) -> None:
    """The table that grew with the deliveries says what one says that is made from nothing now."""
    grown = counted(shop)
    shutil.rmtree(shop.lake.path("activity.activity"))
    run_activity(shop, shop.engine, "anew")  # type: ignore[arg-type]
    assert grown == counted(shop)


APRIL = "2026-04-03 06:00"
OPEN = {"event_id": "e2", "behaviour": "share_open", "share_id": "c1", "occurred_at": at("2026-02-04 10:00")}
CARD = {"event_id": "e1", "behaviour": "share", "share_id": "c1", "occurred_at": at("2026-03-02 10:00")}


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
def test_a_refund_that_names_nobody_is_the_buyers_also_when_it_comes_later(shop: Shop) -> None:
    shop.write("orders", order(paid_at=at("2026-03-06 09:00")))
    shop.write("order_lines", line())
    shop.run()
    refund = {"refund_id": "r", "order_id": "o1", "refunded_at": at("2026-04-02 09:00"), "refund_amount_minor": 40}
    shop.write("refunds", refund, ingested=APRIL)
    shop.run("2026-04-03")
    assert [(r["uid"], r["period"]) for r in shop.rows("refund")] == [(shop.uid("member", "m1"), 202604)]
    corrected = {**refund, "refunded_at": at("2026-03-28 09:00"), "source_time": at("2026-04-04 09:00")}
    shop.write("refunds", corrected, ingested="2026-04-05 06:00")
    shop.run("2026-04-05")
    assert [r["period"] for r in shop.rows("refund")] == [202603]
    assert_as_rebuilt(shop)


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("named", [None, "m2"])
def test_a_refund_goes_over_to_the_buyer_when_its_order_comes_later(shop: Shop, named: str | None) -> None:
    refund = {"refund_id": "r", "order_id": "o1", "refunded_at": at("2026-04-02 09:00"), "refund_amount_minor": 40}
    view = {"event_id": "e1", "behaviour": "view", "member_id": "m1", "occurred_at": at("2026-02-03 10:00")}
    shop.write("refunds", {**refund, "member_id": named})
    shop.write("browse", view)
    shop.run()
    assert len(shop.rows("refund")) == (named is not None)
    shop.write("orders", order(paid_at=at("2026-03-06 09:00")), ingested=APRIL)
    shop.write("order_lines", line(), ingested=APRIL)
    shop.run("2026-04-03")
    assert [r["uid"] for r in shop.rows("refund")] == [shop.uid("member", "m1")]
    later = {"source_time": at("2026-04-04 09:00"), "paid_at": at("2026-03-06 09:00"), "member_id": "m3"}
    shop.write("orders", order(**later), ingested="2026-04-05 06:00")
    shop.run("2026-04-05")
    assert [r["uid"] for r in shop.rows("refund")] == [shop.uid("member", "m3")]
    assert_as_rebuilt(shop)


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
def test_opens_that_came_before_the_card_they_opened_are_credited_to_its_sharer(shop: Shop) -> None:
    shop.write("shares", {**OPEN, "openid": "w2"})
    shop.run()
    assert [r["behaviour"] for r in shop.rows()] == ["share_open"]
    shop.write("shares", {**CARD, "member_id": "m1"}, ingested=APRIL)
    shop.run("2026-04-03")
    assert [(r["uid"], r["period"]) for r in shop.rows("share_opened")] == [(shop.uid("member", "m1"), 202602)]
    assert [r["peer_uid"] for r in shop.rows("share_open")] == [shop.uid("member", "m1")]
    assert_as_rebuilt(shop)


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
def test_a_card_that_turns_out_to_be_an_elder_persons_is_credited_to_them_alone(shop: Shop) -> None:
    view = {"event_id": "e9", "behaviour": "view", "member_id": "m1", "occurred_at": at("2026-01-03 10:00")}
    shop.write("browse", view)
    shop.write("shares", {**OPEN, "openid": "w2"}, {**CARD, "member_id": "m5"})
    shop.run()
    assert [r["uid"] for r in shop.rows("share_opened")] == [shop.uid("member", "m5")]
    shop.write("shares", {**CARD, "event_id": "e3", "member_id": "m1"}, ingested=APRIL)
    shop.run("2026-04-03")
    assert [r["uid"] for r in shop.rows("share_opened")] == [shop.uid("member", "m1")]
    assert_as_rebuilt(shop)


def viewed(event_id: str, when: str, **ids: str) -> dict[str, Any]:
    return {"event_id": event_id, "behaviour": "view", "occurred_at": at(when), **ids}


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
def test_an_opener_who_merges_into_another_is_one_peer_of_the_sharer(shop: Shop) -> None:
    shared = {"sharer_member_id": "m9", "behaviour": "share_open"}
    shop.write("browse", viewed("v1", "2026-01-03 10:00", openid="w1"))
    shop.write(
        "shares",
        {**shared, "event_id": "e1", "openid": "w1", "occurred_at": at("2026-02-03 10:00")},
        {**shared, "event_id": "e2", "device_id": "d2", "occurred_at": at("2026-03-03 10:00")},
    )
    shop.run()
    assert len({r["peer_uid"] for r in shop.rows("share_opened")}) == 2
    shop.write("browse", viewed("v2", "2026-04-02 10:00", openid="w1", device_id="d2"), ingested=APRIL)
    shop.run("2026-04-03")
    assert {r["peer_uid"] for r in shop.rows("share_opened")} == {shop.uid("openid", "w1")}
    assert_as_rebuilt(shop)


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize(("elder", "younger"), [("sharer", "invited"), ("invited", "sharer")])
def test_a_sharer_and_an_invited_person_who_are_one_credit_nobody(shop: Shop, elder: str, younger: str) -> None:
    ids = {"sharer": {"openid": "w1"}, "invited": {"device_id": "d2"}}
    shop.write(
        "browse", viewed("v1", "2026-01-03 10:00", **ids[elder]), viewed("v2", "2026-01-04 10:00", **ids[younger])
    )
    did = {**ids["invited"], "sharer_openid": "w1", "occurred_at": at("2026-03-05 23:50")}
    shop.write("orders", order("o1", member_id=None, openid=None, device_id="d2", paid_at=at("2026-03-06 00:05")))
    shop.write("order_lines", line())
    shop.write(
        "shares",
        {**did, "event_id": "e1", "behaviour": "share_open", "occurred_at": at("2026-02-05 23:50")},
        {**did, "event_id": "e2", "behaviour": "order", "order_id": "o1"},
    )
    shop.run()
    assert len(shop.rows("share_opened", "brought_order")) == 2
    shop.write("browse", viewed("v3", "2026-04-02 10:00", openid="w1", device_id="d2"), ingested=APRIL)
    shop.run("2026-04-03")
    assert not [r for r in counted(shop) if r["behaviour"] in ("share_opened", "brought_order")]
    assert_as_rebuilt(shop)


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
def test_two_who_are_one_with_a_third_credit_nobody_and_owe_their_cards_to_the_third(shop: Shop) -> None:
    one, two, three = {"openid": "w1"}, {"device_id": "d2"}, {"cookie_id": "k3"}
    first = "2026-01-03 10:00"
    shop.write("browse", viewed("v1", first, **one), viewed("v4", "2026-01-04 10:00", device_id="d5"))
    shop.write(
        "shares",
        {**CARD, **two},
        {**CARD, "event_id": "e4", "device_id": "d5"},
        {**OPEN, **three},
        {**OPEN, "event_id": "e5", "device_id": "d6"},
    )
    shop.run()
    assert {r["uid"] for r in shop.rows("share_opened")} == {shop.uid("device", "d5")}
    shop.write("browse", viewed("v2", "2026-04-02 10:00", **one, **two, **three), ingested=APRIL)
    shop.run("2026-04-03")
    assert [r["uid"] for r in shop.rows("share_opened")] == [shop.uid("openid", "w1")]
    assert_as_rebuilt(shop)


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
def test_a_device_that_turns_out_to_be_shared_is_a_peer_of_its_own_from_then_on(shop: Shop) -> None:
    opened = {"sharer_member_id": "m9", "behaviour": "share_open", "device_id": "d1"}
    shop.write("browse", viewed("v1", "2026-01-03 10:00", member_id="m1", device_id="d1"))
    shop.write("shares", {**opened, "event_id": "e1", "occurred_at": at("2026-03-20 10:00")})
    shop.run()
    assert [r["peer_uid"] for r in shop.rows("share_opened")] == [shop.uid("member", "m1")]
    shop.write("browse", viewed("v2", "2026-03-10 10:00", member_id="m2", device_id="d1"), ingested=APRIL)
    shop.run("2026-04-03")
    assert [r["peer_uid"] for r in shop.rows("share_opened")] == [shop.uid("device", "d1")]
    assert_as_rebuilt(shop)
