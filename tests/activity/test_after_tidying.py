"""A tidied lake is to the steps what it was before: nothing came, nothing went, and late rows touch their slices only."""

from __future__ import annotations

from datetime import date

import pytest

from lake import journal
from lake.retention import CareSettings
from lake.tidy import tidy
from tests.activity.shop import Shop, assert_as_rebuilt, line, order
from tests.silver import at

pytestmark = pytest.mark.slow
SMALL = CareSettings(most_files=2, file_mb=1)


def test_after_tidying_a_run_finds_nothing_new_and_late_rows_touch_their_slices_only(shop: Shop, apart: None) -> None:
    for n in range(1, 5):
        who = {"member_id": f"m{n}", "paid_at": at(f"2026-03-0{n} 10:00"), "ordered_at": at(f"2026-03-0{n} 09:00")}
        shop.write("orders", order(f"o{n}", **who), ingested=f"2026-03-0{n} 23:00")
        shop.write("order_lines", line(f"o{n}", ordered_at=at(f"2026-03-0{n} 09:00")), ingested=f"2026-03-0{n} 23:00")
        shop.run(f"2026-03-0{n}")
    # Runs of a command end their journals; these have none that would.
    for address, run_id in list(journal._held):
        if address == shop.lake.store.address:
            journal.finish(shop.lake, run_id)
    before, version = shop.rows(), shop.lake.version("activity.activity")
    done = {t.table: t.compacted_files for t in tidy(shop.lake, SMALL, date(2026, 4, 1)).tables}
    assert done["silver.orders"] == done["silver.order_lines"] == 4
    report = shop.run("2026-03-05")
    assert (report.slices_rebuilt, report.slices_extended, shop.lake.version("activity.activity")) == (0, 0, version)
    assert shop.rows() == before

    refund = {"refund_id": "r1", "order_id": "o2", "refunded_at": at("2026-03-06 10:00"), "refund_amount_minor": 40}
    shop.write("refunds", refund, ingested="2026-03-06 23:00")
    assert shop.run("2026-03-06").slices_rebuilt == 1
    assert_as_rebuilt(shop)
