"""The files: their bytes, forms and days."""

from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import date, timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator import Shop, arrival_days, simulate, write_arrival, write_arrivals, write_truth


def _bytes(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest() for p in files}


def _text(path: Path) -> str:
    raw = path.read_bytes()
    raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    return raw.decode("gb18030" if path.parent.name == "products" else "utf-8-sig")


def _csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(_text(path), newline="")))


def _rows(path: Path) -> list[dict[str, object]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if ".jsonl" in path.name:
        return [json.loads(line) for line in _text(path).splitlines()]
    return [dict(r) for r in _csv(path)]


def test_the_same_seed_gives_the_same_bytes_of_every_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shop = simulate(users=120, days=40, seed=11)
        write_arrivals(shop, tmp_path / name / "inbox")
        write_truth(shop, tmp_path / name / "truth")
    assert _bytes(tmp_path / "a") == _bytes(tmp_path / "b")
    assert len(_bytes(tmp_path / "a")) > 50


def test_another_seed_gives_other_bytes(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_arrivals(simulate(users=120, days=40, seed=seed), tmp_path / str(seed))
    one, two = _bytes(tmp_path / "1"), _bytes(tmp_path / "2")
    assert not [name for name in one.keys() & two.keys() if one[name] == two[name]]


def test_day_after_day_writes_the_same_files_as_all_at_once(small: Shop, inbox: Path, tmp_path: Path) -> None:
    for day in arrival_days(small):
        write_arrival(small, tmp_path, day)
    assert _bytes(tmp_path) == _bytes(inbox)
    assert not list(tmp_path.rglob("*.part"))


def test_history_comes_in_bulk_and_the_last_week_day_by_day(small: Shop) -> None:
    days = arrival_days(small)
    last = small.season.last_day
    assert days[-7:] == [last - timedelta(days=6 - i) for i in range(7)]
    assert days[0] == small.season.first_day - timedelta(days=1), "the full lists come on the eve of the first day"
    assert all((b - a).days > 1 for a, b in pairwise(days[1:-7]))


def test_a_day_without_delivery_writes_nothing(small: Shop, tmp_path: Path) -> None:
    assert write_arrival(small, tmp_path, date(2001, 1, 1)) == []


def test_every_row_is_in_exactly_one_file(small: Shop, inbox: Path) -> None:
    for name, feed in small.feeds.items():
        assert sum(len(_rows(p)) for p in (inbox / name).iterdir()) == len(feed), name


def test_gzip_files_carry_no_time_and_no_name(inbox: Path) -> None:
    for path in inbox.rglob("*.gz"):
        assert path.read_bytes()[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff", path


def test_products_are_gb18030_with_four_byte_characters(inbox: Path) -> None:
    first = min((inbox / "products").iterdir())
    with pytest.raises(UnicodeDecodeError):
        first.read_bytes().decode("utf-8")
    with pytest.raises(UnicodeDecodeError):
        first.read_bytes().decode("gbk")
    assert _csv(first)[0]["商品名"] == "㐂𠮷礼盒, 限定版"


def test_coupons_begin_with_a_byte_order_mark(inbox: Path) -> None:
    for path in (inbox / "coupons").iterdir():
        assert path.read_bytes().startswith(b"\xef\xbb\xbf"), path
        assert path.read_bytes().count(b"\xef\xbb\xbf") == 1, path


def test_orders_write_times_and_money_the_chinese_way(inbox: Path) -> None:
    rows = [r for p in (inbox / "orders").iterdir() for r in _csv(p)]
    assert any(len(r["下单时间"].split(" ")[1].split(":")[0]) == 1 for r in rows), "8:05:09 and not 08:05:09"
    assert all("-" not in r["下单时间"] for r in rows)
    assert any(r["应付总额"].startswith("¥1,") for r in rows)
    assert {r["备注"] for r in rows} >= {'请写"生日快乐"', "工作日送,周末不在"}


def test_order_lines_carry_local_times_without_a_zone_and_decimals(inbox: Path) -> None:
    schema = pq.read_schema(min((inbox / "order_lines").iterdir()))
    assert schema.field("ordered_at").type == pa.timestamp("ms")
    assert schema.field("paid").type == pa.decimal128(12, 2)
    assert "line_id" not in schema.names


def test_members_come_whole_first_and_then_as_changes(small: Shop, inbox: Path) -> None:
    files = sorted((inbox / "members").iterdir())
    first = [r["会员号"] for r in _csv(files[0])]
    assert len(set(first)) == len(first)
    later = [r for p in files[1:] for r in _csv(p)]
    assert set(first) & {r["会员号"] for r in later}, "changed records come again"
    assert min(r["更新时间"] for r in later if r["会员号"]) >= small.season.first_day.isoformat()


def test_an_order_paid_on_a_later_day_comes_again(inbox: Path) -> None:
    rows = [r for p in sorted((inbox / "orders").iterdir()) for r in _csv(p)]
    states: dict[str, set[bool]] = {}
    for r in rows:
        states.setdefault(r["订单号"], set()).add(bool(r["支付时间"]))
    assert sum(s == {True, False} for s in states.values()) > 3


@pytest.mark.parametrize(("users", "days", "seed"), [(10, 60, 1), (300, 3, 1), (300, 60, -1)])
def test_a_shop_too_small_or_without_a_seed_is_refused(users: int, days: int, seed: int) -> None:
    with pytest.raises(ValueError, match="not"):
        simulate(users=users, days=days, seed=seed)


def test_the_shortest_shop_and_other_seasons_work(tmp_path: Path) -> None:
    for days, last in ((14, date(2024, 2, 29)), (400, date(2025, 6, 18))):
        shop = simulate(users=60, days=days, seed=1, last_day=last)
        assert write_arrivals(shop, tmp_path / str(days))
        assert shop.season.last_day == last
