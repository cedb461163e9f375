"""A refused file is remembered until it is taken or dismissed by name, and is told wherever its user looks."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import commands
from lake.refused import dismiss, in_words, refused
from project.arrivals import missing, refuse_nothing
from schemas.errors import AuditError, HuaxiangError, InputError, NotThereError
from tests.ingest.shop import LINES, ORDERS, RECEIVED, Shop, csv

H = ["订单号", "下单时间", "支付时间", "会员号"]
GOOD = csv(H, ["o1", "2026-03-01 10:00:00", "2026-03-01 10:01:00", "m1"])
BAD = "x,y\n1,2\n"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop", {"orders": ORDERS, "lines": LINES})


def waiting(shop: Shop) -> list[str]:
    return [r.file for r in refused(shop.lake)]


def test_a_refused_file_is_remembered_once_with_its_reason_and_since_when(shop: Shop) -> None:
    shop.deliver("orders/1.csv", BAD)
    shop.ingest()
    version = shop.lake.version("landing.manifest")
    shop.ingest(RECEIVED + timedelta(days=1))
    [row] = refused(shop.lake)
    assert (row.feed, row.file, row.ingested_us) == ("orders", "orders/1.csv", RECEIVED.timestamp() * 1e6)
    assert "has none of the columns" in (row.message or "")
    assert shop.lake.version("landing.manifest") == version
    shop.deliver("orders/1.csv", GOOD.encode() + b"\xff\n")
    shop.ingest(RECEIVED + timedelta(days=2))
    [again] = refused(shop.lake)
    assert again.ingested_us == row.ingested_us
    assert "UTF-8" in (again.message or "")


@pytest.mark.parametrize("name", ["orders/1.csv", "orders/another.csv"])
def test_it_is_forgotten_once_a_file_of_its_name_or_its_content_is_taken(shop: Shop, name: str) -> None:
    path = shop.deliver("orders/1.csv", GOOD)
    shop.map("orders", ORDERS | {"fields": ORDERS["fields"] | {"order_id": "id"}})  # type: ignore[operator]
    shop.ingest()
    assert waiting(shop) == ["orders/1.csv"]
    path.rename(shop.folder / "inbox" / name)
    shop.map("orders", ORDERS)
    assert shop.ingest().taken == 1
    assert waiting(shop) == []


def test_a_file_that_is_gone_from_the_inbox_is_still_missing(shop: Shop) -> None:
    shop.deliver("orders/1.csv", BAD)
    shop.ingest()
    (shop.folder / "inbox" / "orders" / "1.csv").unlink()
    shop.ingest()
    assert waiting(shop) == ["orders/1.csv"]


def test_changed_content_under_a_known_name_waits_until_it_is_decided(shop: Shop) -> None:
    shop.deliver("orders/1.csv", GOOD)
    shop.ingest()
    shop.deliver("orders/1.csv", GOOD.replace("o1", "o2"))
    shop.ingest()
    assert waiting(shop) == ["orders/1.csv"]
    shop.ingest(append=True)
    assert waiting(shop) == []


def test_a_dismissed_file_is_not_tried_again_until_its_content_changes_or_it_is_asked_for(shop: Shop) -> None:
    shop.deliver("orders/1.csv", BAD)
    shop.ingest()
    assert [r.file for r in dismiss(shop.lake, ["orders/*"], "d")] == ["orders/1.csv"]
    assert waiting(shop) == []
    report = shop.ingest()
    assert (report.failed, [f.state for f in report.files]) == (0, ["dismissed"])
    assert "1 dismissed before" in report.text()
    assert shop.ingest(again="orders/1.csv").failed == 1
    assert waiting(shop) == ["orders/1.csv"]
    dismiss(shop.lake, ["orders/1.csv"], "e")
    shop.deliver("orders/1.csv", GOOD)
    assert shop.ingest().taken == 1


def test_a_name_that_no_refused_file_has_is_not_dismissed(shop: Shop) -> None:
    with pytest.raises(NotThereError, match="none is"):
        dismiss(shop.lake, ["orders/1.csv"], "d")
    shop.deliver("orders/1.csv", BAD)
    shop.ingest()
    with pytest.raises(NotThereError, match=re.escape("no refused file matches 'orders/2.csv'; 1 are: orders/1.csv")):
        dismiss(shop.lake, ["orders/1.csv", "orders/2.csv"], "d")
    assert waiting(shop) == ["orders/1.csv"]


@pytest.mark.parametrize("how", ["read", "audited"])
def test_a_taken_file_that_could_not_be_read_anew_is_told_and_is_not_missing(shop: Shop, how: str) -> None:
    def stop(staged: Any) -> None:
        raise AuditError("too many orders")

    shop.deliver("orders/good[1].csv", GOOD)
    shop.ingest()
    shop.deliver("orders/copy.csv", GOOD)
    if how == "read":
        shop.map("orders", ORDERS | {"fields": ORDERS["fields"] | {"order_id": "id"}})  # type: ignore[operator]
        report = shop.ingest(again="orders/good*")
        [failed] = report.of_state("failed")
        assert (failed.message or "").endswith("; it was not read anew, its rows taken before count as they did")
        assert [f.file for f in report.of_state("known")] == ["orders/copy.csv"]
    else:
        report = shop.ingest(again="orders/good*", audit_staged=stop)
        assert report.stopped == {"orders": "too many orders"}
    assert report.failed == 1
    assert waiting(shop) == []
    assert missing(shop.project, date(2026, 3, 1)).warnings == ()
    assert (shop.count("silver.orders"), shop.count("landing.manifest")) == (1, 1)
    assert [p.name[17:] for p in (shop.lake.root / "landing/orders").iterdir()] == ["good[1].csv"]


def test_a_name_with_the_signs_of_a_pattern_names_its_own_file(shop: Shop) -> None:
    shop.deliver("orders/good[1].csv", GOOD)
    shop.deliver("orders/bad[1].csv", BAD)
    assert shop.ingest().taken == 1
    assert shop.ingest(again="orders/good[1].csv").taken == 1
    assert [r.file for r in dismiss(shop.lake, ["orders/bad[1].csv"], "d")] == ["orders/bad[1].csv"]
    assert shop.ingest(again="orders/bad[1].csv").failed == 1
    assert waiting(shop) == ["orders/bad[1].csv"]


def test_a_file_equal_to_a_refused_one_is_not_called_known(shop: Shop) -> None:
    shop.deliver("orders/1.csv", BAD)
    shop.deliver("orders/2.csv", BAD)
    report = shop.ingest()
    assert (report.failed, report.known) == (2, 0)
    assert waiting(shop) == ["orders/1.csv", "orders/2.csv"]


def test_files_of_a_feed_that_an_audit_stopped_wait(shop: Shop) -> None:
    def stop(staged: Any) -> None:
        raise AuditError("too many orders")

    shop.deliver("orders/1.csv", GOOD)
    assert shop.ingest(audit_staged=stop).failed == 1
    [row] = refused(shop.lake)
    assert row.message == "nothing of orders was taken: too many orders"
    shop.ingest()
    assert waiting(shop) == []


def test_what_waits_is_said_by_feed_with_its_whole_count(shop: Shop) -> None:
    for n in range(7):
        shop.deliver(f"orders/{n}.csv", f"x,{n}\n1,2\n")
    shop.ingest()
    [said] = in_words(refused(shop.lake))
    assert said.startswith("7 refused files of orders are in no number: orders/0.csv, ")
    assert "and 2 more" in said


def test_a_mapping_that_no_file_was_ever_for_is_told(shop: Shop) -> None:
    path = shop.deliver("orders/1.csv", GOOD)
    assert [w.split(":")[0] for w in shop.ingest().without_files] == ["sources/lines.yaml (order_lines) names lines/*"]
    path.unlink()
    assert len(shop.ingest().without_files) == 1


# --- what a run, status and the command say ---


def test_a_run_warns_of_refused_files_counts_them_for_the_release_and_stops_where_the_project_says_so(
    shop: Shop,
) -> None:
    shop.deliver("orders/1.csv", GOOD)
    shop.deliver("orders/2.csv", BAD)
    shop.ingest()
    day = date(2026, 3, 1)
    found = missing(shop.project, day)
    assert found.refused == {"orders": 1}
    assert [w.split(":")[0] for w in found.warnings] == ["1 refused file of orders is in no number"]
    assert missing(shop.project, day, RECEIVED - timedelta(seconds=1)).warnings == ()
    (shop.folder / "huaxiang.yaml").write_text("on_refused: stop\n")
    with pytest.raises(InputError, match=r"on_refused in huaxiang.yaml is stop:\n1 refused file of orders"):
        missing(shop.project, day)


def test_a_feed_that_had_rows_every_day_and_has_none_is_told_by_its_name_and_newest_day(shop: Shop) -> None:
    days = [date(2026, 2, 10) + timedelta(days=n) for n in range(20)]
    shop.deliver("orders/1.csv", csv(H, *([f"o{d}", f"{d} 10:00:00", "", "m1"] for d in days)))
    shop.deliver("lines/1.csv", csv(["order", "at", "sku", "qty", "paid"], ["o1", "2026-03-01", "s", 1, "5"]))
    shop.ingest()
    assert missing(shop.project, days[-1]).warnings == ()
    [told] = missing(shop.project, days[-1] + timedelta(days=1)).warnings
    assert told.startswith(
        "orders: no row of the 1 day up to 2026-03-02, its newest is of 2026-03-01; it usually has rows every day"
    )
    # The lines came once: no rhythm to speak of, so they are told after a week.
    assert len(missing(shop.project, days[-1] + timedelta(days=8)).warnings) == 2


def test_a_lake_without_anybody_says_what_is_there_and_what_is_missing(tmp_path: Path) -> None:
    products = {
        "feed": "products",
        "files": "products/*",
        "format": "csv",
        "fields": {"sku_id": "sku", "category": "kind"},
    }
    shop = Shop(tmp_path / "shop", {"products": products, "orders": ORDERS})
    shop.deliver("orders/1.csv", BAD)
    shop.ingest()
    with pytest.raises(HuaxiangError, match=r"nothing has been ingested yet.*\n1 refused file of orders"):
        refuse_nothing(shop.project)
    shop.deliver("products/1.csv", "sku,kind\ns1,cup\n")
    shop.ingest()
    with pytest.raises(HuaxiangError, match="the lake holds 1 rows of products, and users come from members, orders"):
        refuse_nothing(shop.project)
    shop.deliver("orders/1.csv", GOOD)
    shop.ingest()
    refuse_nothing(shop.project)


def test_status_lists_refused_files_first_and_ingest_dismisses_them(shop: Shop) -> None:
    shop.deliver("orders/1.csv", BAD)
    shop.ingest()
    listed = json.loads(typed("status", "--json", "-p", str(shop.folder)))
    assert next(iter(listed)) == "refused"
    assert (listed["refused"][0]["file"], listed["refused"][0]["feed"]) == ("orders/1.csv", "orders")
    assert typed("status", "-p", str(shop.folder)).startswith("REFUSED orders/1.csv (orders, since 2026-03-10 10:00): ")
    assert "no refused file matches 'x'" in typed("ingest", "--dismiss", "x", "-p", str(shop.folder), code=7)
    assert typed("ingest", "--dismiss", "orders/1.csv", "-p", str(shop.folder)).startswith("dismissed orders/1.csv")
    assert json.loads(typed("status", "--json", "-p", str(shop.folder)))["refused"] == []


def typed(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(commands(), list(words))
    assert done.exit_code == code, done.output
    return done.output
