"""``huaxiang source draft``: what is proposed loads and takes the file; what is not known is asked; nobody shows."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from cli.drafting import Draft, Part, draft
from cli.drafting.rendering import with_guesses
from cli.drafting.rules import FieldLine
from features.sources import Mapping, mistakes
from project.folder import ProjectSettings
from project.loading import load_mappings
from schemas.errors import InputError, NotThereError
from tests.ingest.shop import Shop
from tests.ingest.test_drafts_of_exports import written
from tests.test_command_line import typed

ORDERS = (
    "订单编号;下单时间;付款时间;买家ID;手机号;运费;收货人;备注\n"
    "7001;2026/3/1 8:05;2026/3/1 8:06;m00000001;13800000001;¥1.50;王小明;\n"
    "7002;2026/3/2 9:05;;0;13800000002;0;李雷;请打13800000003\n"
)


def mapping_of(part: Part) -> Mapping:
    found = Mapping.model_validate(yaml.safe_load(part.mapping))
    assert list(mistakes(found)) == []
    return found


def drafted(folder: Path, text: str, name: str = "export.csv", **options: str) -> Draft:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return draft(file, **options)


def line(part: Part, field: str) -> FieldLine:
    return next(found for found in part.lines if found.field == field)


def test_encoding_delimiter_feed_and_fields_are_guessed(tmp_path: Path) -> None:
    file = tmp_path / "export.csv.gz"
    file.write_bytes(gzip.compress(ORDERS.encode("gb18030")))
    (part,) = draft(file).parts
    mapping = mapping_of(part)
    assert (part.feed, mapping.encoding, mapping.delimiter, mapping.format) == ("orders", "gb18030", ";", "csv")
    assert mapping.files == "orders/*.csv.gz"
    assert {n: r.column for n, r in mapping.fields.items()} == {
        "order_id": "订单编号",
        "ordered_at": "下单时间",
        "paid_at": "付款时间",
        "member_id": "买家ID",
        "phone": "手机号",
        "freight_amount_minor": "运费",
    }
    assert mapping.fields["freight_amount_minor"].unit == "major"
    assert part.unused_columns == ["收货人", "备注"]
    assert (part.preview.rows_tried, part.preview.rows_refused, len(part.preview.rows)) == (2, 0, 2)


def test_the_preview_is_in_the_zone_and_currency_of_the_project(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("订单编号,下单时间,支付时间,运费\n1,2026-01-05 08:00,2026-01-05 08:00,$1.50\n", encoding="utf-8")
    (part,) = draft(file, settings=ProjectSettings(time_zone="America/New_York", currency="USD")).parts
    assert part.preview.rows[0]["ordered_at"] == "2026-01-05 08:00:00-05:00"
    assert part.preview.rows[0]["freight_amount_minor"] == "150"
    assert draft(file).parts[0].preview.rows_refused == 1, "no amount of CNY"


def test_personal_values_are_masked_everywhere(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(ORDERS, encoding="utf-8-sig")
    shown = draft(file).text() + json.dumps([p.preview.rows for p in draft(file).parts], ensure_ascii=False)
    for personal in ("13800000001", "13800000002", "13800000003", "m00000001", "王小明", "李雷"):
        assert personal not in shown


def test_what_an_unknown_column_holds_is_masked_by_what_it_looks_like(tmp_path: Path) -> None:
    text = (
        "订单编号,下单时间,支付时间,Kontakt,Kundennummer,Wann,Betrag,生日,座机\n"
        "1,2026-03-01 08:00,2026-03-01 08:00,a@example.com,90210,01.03.2026,12.50,1990-05-01,0571-88880001\n"
    )
    shown = drafted(tmp_path, text, "orders.csv").text()
    for personal in ("a@example.com", "90210", "1990-05-01", "88880001"):
        assert personal not in shown
    for harmless in ("01.03.2026", "12.50"):
        assert harmless in shown, "times and amounts are not masked"


def test_values_that_are_the_contracts_own_are_no_question(tmp_path: Path) -> None:
    acts = ["live", "join_group", "video", "live", "sample"]
    lines = [{"ts": 1772323500000 + n, "act": act, "mid": f"m{n}", "sku": "s"} for n, act in enumerate(acts)]
    own = drafted(tmp_path, "\n".join(json.dumps(line) for line in lines), "browse.jsonl").text()
    assert "behaviour: act\n" in own and "quarantined" not in own
    more = "\n".join(json.dumps(line) for line in [*lines, {**lines[0], "act": "hover", "ts": 1772323600000}])
    mixed = drafted(tmp_path, more, "browse2.jsonl").text()
    assert "not mapped yet, so quarantined: hover\n" in mixed and "live: live" in mixed


def test_the_draft_takes_the_file(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    file = shop.deliver("browse/1.jsonl", "")
    lines = [
        {"ts": 1772323500000 + n, "act": act, "mid": f"m{n}", "sku": "s"}
        for n, act in enumerate(["pv", "加购", "pv", "pv", "pv", "hover"])
    ]
    file.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    (part,) = draft(file).parts
    assert part.feed == "browse"
    assert "not mapped yet, so quarantined: hover" in part.mapping
    (shop.folder / "sources" / "browse.yaml").write_text(part.mapping, encoding="utf-8")
    report = shop.ingest()
    assert (report.rows("rows_silver"), report.rows("rows_quarantined")) == (5, 1)
    assert shop.rows("silver.browse", "distinct behaviour") == [("cart",), ("view",)]


def test_keys_in_keys_of_json_are_named_by_their_path(tmp_path: Path) -> None:
    text = '{"ts": 1772323500000, "event": "pv", "user": {"user_id": "m1"}}\n'
    (part,) = drafted(tmp_path, text, "events.jsonl").parts
    assert line(part, "occurred_at").rule == {"column": "ts", "time": "epoch_milliseconds"}
    assert "user.user_id" in part.mapping


def test_a_unit_price_times_a_quantity_is_a_guess_that_is_switched_on_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "lines.parquet"
    pq.write_table(
        pa.table({"InvoiceNo": ["1"], "InvoiceDate": ["2026-03-01"], "Quantity": [2], "UnitPrice": [2.25]}), file
    )
    part = next(p for p in draft(file).parts if p.feed == "order_lines")
    found = line(part, "net_amount_minor")
    assert found.rule == {"column": "UnitPrice", "times": "Quantity", "unit": "major"}
    assert not found.active and "unit price times quantity" in found.comment
    assert part.missing == ["net_amount_minor"]
    assert part.preview.rows[0]["net_amount_minor"] == "450", "the preview shows what the guess would make"


def test_what_is_needed_and_not_found_is_said(tmp_path: Path) -> None:
    (part,) = drafted(tmp_path, "手机号,性别\n13800000001,女\n13800000002,男\n", "x.csv", feed="members").parts
    assert (part.feed, part.missing) == ("members", ["member_id"])
    assert "  # member_id: ?    # needed: 会员号" in part.mapping
    assert "# incomplete: feed members needs 'member_id'" in "\n".join(part.preview.comments("x.csv"))


def test_the_feed_may_be_named(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(ORDERS, encoding="utf-8")
    assert [p.feed for p in draft(file, feed="members").parts] == ["members"]
    with pytest.raises(NotThereError, match="did you mean 'orders'"):
        draft(file, feed="order")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01", b"\x00" * 50])
def test_what_cannot_be_read_is_an_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.csv"
    file.write_bytes(content)
    with pytest.raises(InputError):
        draft(file)


def test_addresses_and_networks_are_proposed_as_hashes_and_known_channels_by_their_names(tmp_path: Path) -> None:
    head = "订单编号,下单时间,支付时间,渠道,收货地址,下单IP\n"
    times = "2026-03-01 08:00,2026-03-01 08:01"
    found = drafted(tmp_path, head + f"1,{times},APP,海淀区一路1号,1.2.3.4\n2,{times},小程序,二路2号,5.6.7.8\n")
    (part,) = found.parts
    rules = mapping_of(part).fields
    assert (rules["address_key"].column, rules["address_key"].hash) == ("收货地址", True)
    assert (rules["ip_key"].column, rules["ip_key"].hash) == ("下单IP", True)
    assert rules["channel"].values == {"APP": "app", "小程序": "mini_program"}
    assert (part.unused_columns, part.preview.rows_refused) == ([], 0)
    assert "一路" not in found.text() and "1.2.3.4" not in found.text()
    (part,) = drafted(tmp_path, head + f"1,{times},APP,{'0f' * 32},\n2,{times},展会,{'1e' * 32},\n").parts
    rules = mapping_of(part).fields
    assert rules["address_key"].hash is False
    assert (rules["channel"].column, rules["channel"].values) == ("渠道", {}), "what is no known word stays as it is"


def test_a_file_that_is_not_there_is_told_apart_from_one_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NotThereError, match="is not there"):
        draft(tmp_path / "nope.csv")


# --- names that mislead ---


@pytest.mark.parametrize(
    "column", ["买家留言", "会员备注", "用户备注", "Customer Note", "Buyer Message", "member comment"]
)
def test_a_remark_becomes_nothing(tmp_path: Path, column: str) -> None:
    text = f"订单编号,下单时间,支付时间,{column}\n1,2026-03-01 08:00,2026-03-01 08:01,m1\n2,2026-03-01 09:00,,m1\n"
    (part,) = drafted(tmp_path, text, "orders.csv").parts
    assert column in part.unused_columns


@pytest.mark.parametrize("column", ["店铺优惠折扣(元)", "会员折扣", "coupon amount", "Member Discount", "平台优惠"])
def test_a_discount_becomes_no_id(tmp_path: Path, column: str) -> None:
    text = f"订单编号,下单时间,支付时间,{column}\n1,2026-03-01 08:00,2026-03-01 08:01,2.00\n"
    (part,) = drafted(tmp_path, text, "orders.csv").parts
    assert column in part.unused_columns


@pytest.mark.parametrize("column", ["会员地址", "Customer Address", "收货人", "buyer street"])
def test_an_address_becomes_no_id(tmp_path: Path, column: str) -> None:
    text = f"订单编号,下单时间,支付时间,{column}\n1,2026-03-01 08:00,2026-03-01 08:01,示例路1号\n"
    (part,) = drafted(tmp_path, text, "orders.csv").parts
    assert "member_id" not in {found.field for found in part.lines}


def test_names_of_people_are_no_ids(tmp_path: Path) -> None:
    text = "Order ID,Order Date,Paid Date,Customer\n1,2026-03-01,2026-03-01,A. Test\n2,2026-03-02,2026-03-02,B. Test\n"
    (part,) = drafted(tmp_path, text, "orders.csv").parts
    assert "Customer" in part.unused_columns


@pytest.mark.parametrize("values", [("张伟", "张伟", "李娜"), ("jane", "joe", "jane"), ("u1001", "u1002", "u1003")])
@pytest.mark.parametrize("column", ["user_name", "username"])
def test_a_name_of_users_is_never_a_certain_id(tmp_path: Path, column: str, values: tuple[str, ...]) -> None:
    rows = "".join(f"{v},o{n},2026-03-01 10:00:00,2026-03-01 10:01:00\n" for n, v in enumerate(values))
    [part] = drafted(tmp_path, f"{column},order_id,ordered_at,paid_at\n{rows}", feed="orders").parts
    lines = [line for line in part.lines if line.field == "member_id" and line.rule is not None]
    assert [(line.rule, line.active, line.standing) for line in lines] == (
        [] if "张伟" in values else [(column, False, "guess")]
    )
    assert f"\n  member_id: {column}" not in part.mapping


def test_a_masked_number_is_no_phone_and_is_said_to_be_masked(tmp_path: Path) -> None:
    text = "订单编号,下单时间,支付时间,手机\n1,2026-03-01 08:00,2026-03-01 08:01,138****0001\n"
    (part,) = drafted(tmp_path, text, "orders.csv").parts
    assert "# not used: 手机 (***): masked at the source, so no phone" in part.mapping


def test_a_kind_of_device_is_no_device_and_few_values_are_no_persons(tmp_path: Path) -> None:
    rows = "".join(f"{n},2026-03-01 08:00,2026-03-01 08:01,mobile,c{n % 2}\n" for n in range(200))
    (part,) = drafted(tmp_path, "Order ID,Order Date,Paid Date,Device,Customer ID\n" + rows, "orders.csv").parts
    assert "Device" in part.unused_columns
    customer = line(part, "member_id")
    assert not customer.active and "only 2 different values in 200" in customer.comment


def test_a_card_that_may_be_one_that_pays_is_neither_a_member_nor_a_shared_one(tmp_path: Path) -> None:
    text = "Order ID,Order Date,Paid Date,Card No,Card ID\n1,2026-03-01,2026-03-01,1234,card_1\n"
    (part,) = drafted(tmp_path, text, "orders.csv").parts
    assert part.unused_columns == ["Card No", "Card ID"]


# --- money of lines ---

TWO_LINES = (
    "订单号,下单时间,支付时间,商品编码,数量,实付金额,{}\n"
    "1,2026-03-01 08:00,2026-03-01 08:01,S1,1,{},{}\n"
    "1,2026-03-01 08:00,2026-03-01 08:01,S2,1,{},{}\n"
)


def test_an_amount_that_is_equal_in_all_rows_of_an_order_is_no_lines_money(tmp_path: Path) -> None:
    found = drafted(tmp_path, TWO_LINES.format("商品名称", "130.00", "杯", "130.00", "壶"))
    lines = next(p for p in found.parts if p.feed == "order_lines")
    assert "net_amount_minor" in lines.missing
    assert (
        "# not used: 实付金额 (130.00): an order's: equal in all rows in the one order of several rows" in lines.mapping
    )


def test_an_amount_that_differs_between_the_rows_of_an_order_is_a_lines(tmp_path: Path) -> None:
    found = drafted(tmp_path, TWO_LINES.format("订单金额", "30.00", "130.00", "100.00", "130.00"))
    lines = next(p for p in found.parts if p.feed == "order_lines")
    assert line(lines, "net_amount_minor").rule == {"column": "实付金额", "unit": "major"}
    assert "adds up to 订单金额" in line(lines, "net_amount_minor").comment


def test_without_an_order_number_rows_of_one_buyer_and_time_are_held_for_one_order(tmp_path: Path) -> None:
    text = TWO_LINES.format("买家账号", "130.00", "tb001", "130.00", "tb001").replace("订单号,", "内部码,")
    found = drafted(tmp_path, text, feed="order_lines")
    assert "net_amount_minor" in found.parts[0].missing
    assert "# not used: 实付金额 (130.00): an order's: equal in all rows" in found.parts[0].mapping


def test_whole_numbers_leave_the_unit_of_money_open(tmp_path: Path) -> None:
    found = drafted(tmp_path, TWO_LINES.format("商品名称", "3000", "杯", "10000", "壶"))
    lines = next(p for p in found.parts if p.feed == "order_lines")
    money = line(lines, "net_amount_minor")
    assert not money.active and "`unit: major` (yuan) or `unit: minor` (fen)?" in money.comment


def test_freight_that_differs_between_the_rows_of_an_order_is_asked_for(tmp_path: Path) -> None:
    found = drafted(tmp_path, TWO_LINES.format("运费", "30.00", "5.00", "100.00", "7.00"))
    orders = next(p for p in found.parts if p.feed == "orders")
    assert not line(orders, "freight_amount_minor").active


# --- times ---


def with_days(days: list[str]) -> str:
    return "Order ID,Order Date,Customer ID\n" + "".join(f"{n},{day},c{n}\n" for n, day in enumerate(days))


def test_the_order_of_day_and_month_is_decided_by_all_rows(tmp_path: Path) -> None:
    days = ["03/04/2026 8:05"] * 6_000 + ["03/25/2026 8:05"]
    (part,) = drafted(tmp_path, with_days(days), "orders.csv").parts
    found = line(part, "ordered_at")
    assert found.rule == {"column": "Order Date", "time": "%m/%d/%Y %H:%M"}
    assert found.active, "the proof stands behind the rows that are looked at for all else"
    assert "day 13..31 seen in second place in 1 of 6,001 values in all 6,001 rows" in found.comment


def test_a_day_that_stands_first_is_seen_too(tmp_path: Path) -> None:
    (part,) = drafted(tmp_path, with_days(["25.03.2026", "04.03.2026"]), "orders.csv").parts
    assert line(part, "ordered_at").rule == {"column": "Order Date", "time": "%d.%m.%Y"}


@pytest.mark.parametrize("days", [["03/04/2026", "05/06/2026"], ["25/03/2026", "03/25/2026"]])
def test_what_the_rows_do_not_tell_of_day_and_month_is_asked(tmp_path: Path, days: list[str]) -> None:
    (part,) = drafted(tmp_path, with_days(days), "orders.csv").parts
    found = line(part, "ordered_at")
    assert not found.active and found.comment.startswith("asked:")
    assert "ordered_at" in part.missing


def test_one_column_proves_the_order_for_the_others_of_its_file(tmp_path: Path) -> None:
    text = "Order ID,Order Date,Paid Date,Customer ID\n1,03/04/2026,03/25/2026,c1\n"
    (part,) = drafted(tmp_path, text, "orders.csv").parts
    assert line(part, "ordered_at").active and "as in another column" in line(part, "ordered_at").comment


def test_the_zone_is_asked_for_unless_the_stamps_name_it(tmp_path: Path) -> None:
    assert (
        "# time_zone: Asia/Shanghai        # asked: Order Date stand without a zone"
        in drafted(tmp_path, with_days(["2026-03-01 08:00"])).text()
    )
    assert "time_zone" not in drafted(tmp_path, with_days(["2026-03-01 08:00:00 -0500"])).text()


def test_orders_without_a_time_of_payment_ask_for_one(tmp_path: Path) -> None:
    (part,) = drafted(tmp_path, with_days(["2026-03-01 08:00"]), "orders.csv").parts
    found = line(part, "paid_at")
    assert (found.rule, found.active) == ("Order Date", False) and "nobody counts as a buyer" in found.comment
    assert any("orders without paid_at" in said for said in part.preview.incomplete)


def test_a_column_of_states_says_which_orders_are_paid(tmp_path: Path) -> None:
    text = "订单号,下单时间,会员号,订单状态\n1,2026-03-01,m1,交易成功\n2,2026-03-02,m2,等待买家付款\n3,2026-03-02,m3,已取消\n"
    (part,) = drafted(tmp_path, text, "orders.csv").parts
    found = line(part, "paid_at")
    assert found.rule == {"column": "下单时间", "when": {"column": "订单状态", "in": ["交易成功"]}}
    assert not found.active and "and not: 等待买家付款, 已取消" in found.comment
    assert [("paid_at" in row) for row in part.preview.rows] == [True, False, False]


# --- the file as a whole ---


def test_a_file_that_fits_no_feed_names_the_two_nearest_and_ends_with_4(tmp_path: Path) -> None:
    _, file = written(tmp_path, "hm_transactions")
    said = typed("source", "draft", str(file), code=4)
    assert (
        "UNSURE which feed this is. Nearest: orders (by t_dat, customer_id), then products (by price, article_id"
        in said
    )
    file.write_text("a,b\nx,y\n", encoding="utf-8")
    assert "no column speaks for any. Say which: --feed, one of members, " in typed(
        "source", "draft", str(file), code=4
    )


def test_the_signs_of_taiwan_and_hong_kong_are_read(tmp_path: Path) -> None:
    text = "訂單編號,訂單成立日期,買家付款時間,買家備註\n1,2026-03-01 08:05,2026-03-01 08:06,請快\n"
    (part,) = drafted(tmp_path, text, "orders.csv").parts
    assert {n: r.column for n, r in mapping_of(part).fields.items()} == {
        "order_id": "訂單編號",
        "ordered_at": "訂單成立日期",
        "paid_at": "買家付款時間",
    }


CASES = ("taobao_orders", "pdd_orders", "youzan_orders", "woocommerce_orders", "wechat_shop_orders", "shopify_orders")


@pytest.mark.parametrize("name", CASES)
def test_once_what_is_asked_is_filled_in_the_draft_takes_every_row(name: str, tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    _, file = written(tmp_path, name)
    found = draft(file)
    for part in found.parts:
        path = shop.folder / part.save_as
        path.write_text(with_guesses(part.mapping, part.lines), encoding="utf-8")
    assert len(load_mappings(sorted((shop.folder / "sources").glob("*.yaml")))) == 2
    shop.deliver(f"orders/{file.name}", file.read_bytes())
    report = shop.ingest()
    rows = len(found.parts[0].preview.rows) if name != "shopify_orders" else 3
    assert report.rows("rows_quarantined") == 0
    assert shop.count("silver.order_lines") == rows
    orders = {order for (order,) in shop.rows("silver.order_lines", "distinct order_id")}
    assert {order for (order,) in shop.rows("silver.orders", "distinct order_id")} == orders
    assert shop.count("silver.orders", "phone is not null or email is not null or openid is not null") == len(orders)


def test_the_blank_second_row_of_an_order_is_left_out_of_the_orders(tmp_path: Path) -> None:
    _, file = written(tmp_path, "shopify_orders")
    orders, lines = draft(file).parts
    (condition,) = mapping_of(orders).where
    assert (condition.column, condition.is_empty) == ("Financial Status", False)
    assert "where:" not in lines.mapping


def test_both_mappings_of_one_file_are_saved_where_they_belong(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    _, file = written(tmp_path, "youzan_orders")
    command = ("source", "draft", str(file), "--project", str(shop.folder), "--save")
    said = typed(*command)
    assert "# === sources/orders.yaml ===" in said and "# === sources/order_lines.yaml ===" in said
    assert [p.name for p in sorted((shop.folder / "sources").iterdir())] == ["order_lines.yaml", "orders.yaml"]
    assert "is there already" in typed(*command, code=1)


def test_titles_above_a_header_a_missing_header_and_a_stray_quote_are_seen(tmp_path: Path) -> None:
    body = "订单编号,下单时间,支付时间\n1,2026-03-01 08:00,2026-03-01 08:01\n2,2026-03-01 09:00,\n"
    titled = drafted(tmp_path, "订单明细\n导出于 2026-03-10\n\n" + body, "orders.csv")
    assert mapping_of(titled.parts[0]).skip_rows == 3 and titled.parts[0].preview.rows_refused == 0
    bare = "u1,8,pv,2026-03-01 08:00:00\nu2,9,cart,2026-03-01 09:00:00\n"
    (part,) = drafted(tmp_path, bare, "log.csv").parts
    assert "header: false" in part.mapping and "columns: [column_1, column_2, column_3, column_4]" in part.mapping
    assert part.preview.rows_tried == 0 or part.preview.rows_tried == 2, "the first row is a row"
    stray = drafted(
        tmp_path,
        body.replace("订单编号", "订单编号,品名").replace("1,2026", '1,"急"件,2026').replace("2,2026", "2,b,2026"),
    )
    assert mapping_of(stray.parts[0]).quoting == "none"


def test_the_signs_of_other_countries_and_of_spreadsheets_are_seen(tmp_path: Path) -> None:
    text = "Order ID;SKU;Qty;Line Total;Order Date;Paid Date\n1;S1;2;1.045,50;45321;45321.5\n2;S2;1;20,00;45322;\n"
    found = drafted(tmp_path, text, "orders.csv")
    lines = next(p for p in found.parts if p.feed == "order_lines")
    mapping = mapping_of(lines)
    assert (mapping.decimal, mapping.fields["ordered_at"].time) == (",", ("excel_serial",))
    assert lines.preview.rows[0]["net_amount_minor"] == "104550"
    assert "45321 is 2024-01-30" in lines.mapping
    assert lines.preview.rows[0]["ordered_at"] == "2024-01-30 00:00:00+08:00"


def test_a_cell_of_several_lines_at_the_end_of_what_is_looked_at_is_no_stray_quote(tmp_path: Path) -> None:
    note = '"' + "请\n送\n" * 2_000 + '"'
    rows = "".join(f"{n},2026-03-01 08:00,2026-03-01 08:01,{note}\n" for n in range(600))
    (part,) = drafted(tmp_path, "订单编号,下单时间,支付时间,买家留言\n" + rows, "orders.csv").parts
    assert mapping_of(part).quoting == "minimal"


def test_a_file_of_nothing_but_lines_gives_no_orders(tmp_path: Path) -> None:
    text = "订单号,下单时间,商品编码,数量,商品实付金额\n1,2026-03-01 08:00,S1,1,30.00\n1,2026-03-01 08:00,S2,1,15.00\n"
    assert [p.feed for p in drafted(tmp_path, text, "lines.csv").parts] == ["order_lines"]


def test_the_first_line_of_excel_names_the_delimiter(tmp_path: Path) -> None:
    (part,) = drafted(tmp_path, "sep=;\n" + ORDERS, "orders.csv").parts
    assert mapping_of(part).delimiter == ";" and mapping_of(part).skip_rows == 0


def test_an_order_without_a_number_is_composed_of_its_person_and_time(tmp_path: Path) -> None:
    text = "Customer ID,SKU,Qty,Line Total,Order Date\nc1,S1,1,2.50,2026-03-01\nc2,S2,1,2.00,2026-03-02\n"
    found = drafted(tmp_path, text, "lines.csv", feed="order_lines")
    asked = line(found.parts[0], "order_id")
    assert (asked.rule, asked.active) == ({"join": ["Customer ID", "Order Date"]}, False)
