"""``huaxiang source draft``: what is proposed loads and takes the file; personal values never show."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from features.sources import Mapping, mistakes
from jobs.drafting import draft
from jobs.project import ProjectSettings
from schemas.errors import InputError, NotThereError
from tests.ingest.shop import Shop

ORDERS = (
    "订单编号;下单时间;付款时间;买家ID;手机号;运费;收货人;备注\n"
    "7001;2026/3/1 8:05;2026/3/1 8:06;m00000001;13800138000;¥1.50;王小明;\n"
    "7002;2026/3/2 9:05;;0;13900139000;0;李雷;请打13700137000\n"
)


def mapping_of(text: str) -> Mapping:
    found = Mapping.model_validate(yaml.safe_load(text))
    assert list(mistakes(found)) == []
    return found


def test_encoding_delimiter_feed_and_fields_are_guessed(tmp_path: Path) -> None:
    file = tmp_path / "export.csv.gz"
    file.write_bytes(gzip.compress(ORDERS.encode("gb18030")))
    found = draft(file)
    mapping = mapping_of(found.mapping)
    assert (found.feed, mapping.encoding, mapping.delimiter, mapping.format) == ("orders", "gb18030", ";", "csv")
    assert {n: r.column for n, r in mapping.fields.items()} == {
        "order_id": "订单编号",
        "ordered_at": "下单时间",
        "paid_at": "付款时间",
        "member_id": "买家ID",
        "phone": "手机号",
        "freight_amount_minor": "运费",
    }
    assert mapping.fields["freight_amount_minor"].unit == "major"
    assert found.unused_columns == ["收货人", "备注"]
    assert (found.rows_tried, found.rows_refused, len(found.preview)) == (2, 0, 2)


def test_the_preview_is_in_the_zone_and_currency_of_the_project(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("订单编号,下单时间,运费\n1,2026-01-05 08:00,$1.5\n", encoding="utf-8")
    found = draft(file, settings=ProjectSettings(time_zone="America/New_York", currency="USD"))
    assert found.preview[0]["ordered_at"] == "2026-01-05 08:00:00-05:00"
    assert found.preview[0]["freight_amount_minor"] == "150"
    assert draft(file).rows_refused == 1, "no amount of CNY"


def test_personal_values_are_masked_everywhere(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(ORDERS, encoding="utf-8-sig")
    shown = draft(file).text() + json.dumps(draft(file).preview, ensure_ascii=False)
    for personal in ("13800138000", "13900139000", "13700137000", "m00000001", "王小明", "李雷"):
        assert personal not in shown


def test_the_draft_takes_the_file(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    file = shop.deliver("browse/1.jsonl", "")
    lines = [
        {"ts": 1772323500000 + n, "act": act, "mid": f"m{n}", "sku": "s"}
        for n, act in enumerate(["pv", "加购", "hover"])
    ]
    file.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    found = draft(file)
    assert found.feed == "browse"
    assert "not mapped yet, so quarantined: hover" in found.mapping
    (shop.folder / "sources" / "browse.yaml").write_text(found.mapping, encoding="utf-8")
    report = shop.ingest()
    assert (report.rows("rows_silver"), report.rows("rows_quarantined")) == (2, 1)
    assert shop.rows("silver.browse", "behaviour") == [("cart",), ("view",)]


def test_unit_prices_are_multiplied(tmp_path: Path) -> None:
    file = tmp_path / "lines.parquet"
    pq.write_table(
        pa.table({"InvoiceNo": ["1"], "InvoiceDate": ["2026-03-01"], "Quantity": [2], "UnitPrice": [2.5]}), file
    )
    rule = mapping_of(draft(file).mapping).fields["net_amount_minor"]
    assert (rule.column, rule.times, rule.unit) == ("UnitPrice", "Quantity", "major")


def test_what_is_needed_and_not_found_is_said(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("手机号,性别\n13800138000,女\n", encoding="utf-8")
    found = draft(file)
    assert (found.feed, found.missing) == ("members", ["member_id"])
    assert "# not found and needed: member_id (会员号)" in found.text()


def test_the_feed_may_be_named(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(ORDERS, encoding="utf-8")
    assert draft(file, feed="members").feed == "members"
    with pytest.raises(NotThereError, match="did you mean 'orders'"):
        draft(file, feed="order")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01", b"\x00" * 50])
def test_what_cannot_be_read_is_an_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.csv"
    file.write_bytes(content)
    with pytest.raises(InputError):
        draft(file)


def test_addresses_and_networks_are_proposed_as_hashes_and_known_channels_by_their_names(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    head = "订单编号,下单时间,渠道,收货地址,下单IP\n"
    file.write_text(
        head + "1,2026-03-01 08:00,APP,海淀区一路1号,1.2.3.4\n2,2026-03-01 09:00,小程序,二路2号,5.6.7.8\n",
        encoding="utf-8",
    )
    found = draft(file)
    rules = mapping_of(found.mapping).fields
    assert (rules["address_key"].column, rules["address_key"].hash) == ("收货地址", True)
    assert (rules["ip_key"].column, rules["ip_key"].hash) == ("下单IP", True)
    assert rules["channel"].values == {"APP": "app", "小程序": "mini_program"}
    assert (found.unused_columns, found.rows_refused) == ([], 0)
    assert "一路" not in found.text() and "1.2.3.4" not in found.text()
    file.write_text(
        head + f"1,2026-03-01 08:00,APP,{'0f' * 32},x\n2,2026-03-01 09:00,展会,{'1e' * 32},y\n", encoding="utf-8"
    )
    rules = mapping_of(draft(file).mapping).fields
    assert rules["address_key"].hash is False
    assert (rules["channel"].column, rules["channel"].values) == ("渠道", {}), "what is no known word stays as it is"


def test_a_file_that_is_not_there_is_told_apart_from_one_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NotThereError, match="is not there"):
        draft(tmp_path / "nope.csv")
