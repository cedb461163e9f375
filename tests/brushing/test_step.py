"""What the step holds, gives back and leaves alone, from run to run; and what activity makes of it."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pytest

from features.brushing_settings import SIGNALS, BrushingSettings
from jobs.brushing.paid_orders import TABLE as PAID
from jobs.brushing.step import BEFORE_FLAGS, TABLE
from lake.engine import Engine
from lake.publish import publish
from tests.brushing.shop import Rows, Shop, ring
from tests.silver import at, write_silver

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(tmp_path: Path, embedded: Engine) -> Shop:
    """A ring in March, ordinary buyers from February to March."""
    found = Shop(tmp_path / "lake", embedded)
    rows = Rows()
    rows.crowd(range(1, 25))
    ring(rows, "2026-03-10")
    found.write(rows)
    return found


def test_a_ring_is_held_from_the_day_it_paid_and_returns_to_activity_when_its_visits_come_late(shop: Shop) -> None:
    assert shop.run() == 4
    held = {o: (day, reasons) for o, (day, _, reasons) in shop.flags().items()}
    assert held == {f"r-{i}": (date(2026, 3, 10), "shared_device,shared_address,no_browse,quick_pay") for i in range(4)}
    shop.activity()
    flagged = "select behaviour_code, count(*), min(flagged_day) from activity.activity where flagged_day is not null group by 1 order by 1"
    assert shop.ask(flagged) == [(14, 4, date(2026, 3, 10)), (15, 4, date(2026, 3, 10))]

    # Visits, and slower payments, of two of them come late: they are held no more, and so the others are two on a device.
    late = Rows()
    for i in range(2):
        late.order(f"r-{i}", f"rm{i}", f"2026-03-10 15:{10 + i}", waits=600, device_id=f"own-{i}")
    late.lines.clear()
    shop.write(late, ingested="2026-04-02 06:00")
    assert shop.run() == 0
    assert shop.flags() == {}
    assert shop.activity().slices_rebuilt == 1
    assert shop.ask(flagged) == []


def test_a_late_order_completes_a_burst_of_an_older_day(shop: Shop) -> None:
    rows = Rows()
    made = ring(rows, "2026-03-12", "late", members=3)
    kept = {name: rows_[:2] for name, rows_ in (("orders", rows.orders), ("lines", rows.lines))}
    shop.write(Rows(**kept))
    assert shop.run() == 4
    shop.activity()
    shop.write(Rows(orders=rows.orders[2:], lines=rows.lines[2:]), ingested="2026-04-02 06:00")
    assert shop.run() == 7
    assert {o: shop.flags()[o][0] for o in made} == dict.fromkeys(made, date(2026, 3, 12))
    shop.activity()
    assert shop.ask("select count(*) from activity.activity where flagged_day = date '2026-03-12'") == [(6,)]


def test_nothing_new_writes_nothing_and_other_months_keep_their_files(shop: Shop) -> None:
    shop.run()
    version = shop.lake.version("activity.order_flags")
    files = {f.path for f in shop.lake.files("activity.order_flags", where={"event_month": 202603})}
    assert shop.run() == 0
    assert shop.lake.version("activity.order_flags") == version
    rows = Rows()
    rows.order("may", "may", "2026-05-20 12:00", view=False)
    shop.write(rows, ingested="2026-05-21 06:00")
    assert shop.run() == 0
    assert {f.path for f in shop.lake.files("activity.order_flags")} == files
    noted = shop.lake.metadata("activity.order_flags")["inputs"]
    assert noted["silver.orders"] == shop.lake.version("silver.orders"), "also noted where no file came or went"


def test_another_threshold_judges_every_order_again(shop: Shop) -> None:
    shop.run()
    shop.settings = BrushingSettings(threshold=1.0)
    assert shop.run() == 0, "the same orders are held"
    assert len(shop.flags()) == 4
    shop.settings = BrushingSettings.model_validate({"threshold": 1.0, "no_browse": {"weight": 0}})
    assert shop.run() == 0
    assert shop.flags() == {}


def test_where_every_signal_is_off_no_order_is_held(shop: Shop) -> None:
    shop.settings = BrushingSettings.model_validate({name: {"weight": 0} for name in SIGNALS})
    assert {(r["score"], r["reasons"]) for r in shop.scores().values()} == {(0, "")}
    assert shop.run() == 0
    assert shop.flags() == {}


def test_two_accounts_that_become_one_person_are_one_buyer_from_then_on(shop: Shop) -> None:
    """The burst of three was two persons: the months that the merge reaches are judged again."""
    rows = Rows()
    made = ring(rows, "2026-03-12", "trio", members=3)
    shop.write(rows)
    shop.run()
    assert set(made) <= set(shop.flags())
    shop.activity()
    merged = {"member_id": "triom2", "merged_into_member_id": "triom1", "source_time": at("2026-04-02 08:00")}
    write_silver(shop.lake, "members", [merged], ingested="2026-04-03 06:00")
    shop.run()
    # One device less: address and device bursts are gone, no_browse and quick_pay remain below the threshold.
    assert not set(made) & set(shop.flags())
    assert len(shop.flags()) == 4


def test_refunds_and_coupons_of_a_held_order_are_held_with_it(shop: Shop) -> None:
    refund = {"refund_id": "f1", "order_id": "r-0", "refund_amount_minor": 300, "refunded_at": at("2026-04-05 10:00")}
    write_silver(shop.lake, "refunds", [refund], ingested="2026-04-06 06:00")
    coupon = {"coupon_id": "k1", "behaviour": "coupon_use", "member_id": "rm1", "order_id": "r-1"}
    write_silver(shop.lake, "coupons", [{**coupon, "event_id": "k", "occurred_at": at("2026-03-10 15:11")}])
    shop.settings = BrushingSettings(threshold=1.0)  # 0.35 + 0.35 + 0.3 + 0.25: held at any threshold
    shop.run()
    shop.activity()
    flagged = (
        "select behaviour_code, count(*) from activity.activity where flagged_day is not null group by 1 order by 1"
    )
    assert shop.ask(flagged) == [(14, 4), (15, 4), (16, 1), (19, 1), (24, 1)]
    shop.settings = BrushingSettings.model_validate({"threshold": 1.0, "no_browse": {"weight": 0}})
    shop.run()
    shop.activity()
    assert shop.ask(flagged) == []


def test_orders_that_are_corrected_into_another_month_are_judged_once_and_there(shop: Shop) -> None:
    assert shop.run() == 4
    earlier = Rows()
    made = ring(earlier, "2025-12-26")
    shop.write(earlier, ingested="2026-04-02 06:00")
    shop.run()
    assert shop.ask("select order_id, event_month, flagged_day from activity.order_flags order by 1") == [
        (order_id, 202512, date(2025, 12, 26)) for order_id in made
    ]


def test_a_lake_of_an_older_release_gets_the_tables_that_it_lacks(shop: Shop) -> None:
    shop.run()
    held = shop.flags()
    older = {"inputs": {"silver.orders": shop.lake.version("silver.orders")}, "settings": "said-otherwise"}
    version = shop.lake.version(TABLE)
    publish(
        shop.lake,
        TABLE,
        [],
        replace=None,
        read_version=version,
        run_id="old",
        key="old",
        metadata=older,
        even_empty=True,
    )
    for table in BEFORE_FLAGS:
        shutil.rmtree(shop.lake.path(table))
    assert shop.run() == 0, "the same orders are held"
    assert shop.flags() == held
    assert shop.ask("select count(*) from activity.paid_orders") == [(52,)]


def test_what_a_killed_run_published_is_put_back_before_the_next(shop: Shop) -> None:
    shop.run()
    paid = "select count(*), count(*) filter (is_visited) from activity.paid_orders"
    assert shop.ask(paid) == [(52, 48)]
    version = shop.lake.version(PAID)
    publish(shop.lake, PAID, [], replace="all", read_version=version, run_id="killed", key="killed")
    rows = Rows()
    rows.order("later", "later", "2026-03-25 12:00", view=False)
    shop.write(rows, ingested="2026-04-02 06:00")
    assert shop.run() == 0
    assert shop.ask(paid) == [(53, 48)]
    assert len(shop.flags()) == 4
