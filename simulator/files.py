"""The files as they arrive: for each feed its form, and which file holds which days of arrival.

| feed | form |
|---|---|
| members | CSV, UTF-8, Chinese headers: the full list first, then the changed records of each arrival |
| products | CSV, GB18030: the full list first, then launches and price changes |
| orders | CSV.gz, Chinese headers, ``2026/3/1 8:05:09``, ``¥1,234.50``, remarks with line breaks; again when paid or cancelled later |
| order_lines | Parquet, local timestamps without zone, decimal(12,2) yuan, no line id |
| refunds | CSV, ``￥1,234.50`` |
| browse | JSON Lines.gz, epoch milliseconds |
| shares | JSON Lines, ISO times with zone |
| coupons | CSV, UTF-8 with BOM, ``2026/3/1 8:05``, ``20元``, no event id |
| surveys | CSV, UTF-8 with BOM, one row an answer, questions and answers in words |
| manual_tags | CSV, UTF-8 with BOM, as a spreadsheet saves it: ``2026/3/1 8:05``, no event id |
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simulator.faults import BAD_AMOUNT, BAD_BEHAVIOUR, BAD_TIME, DAILY_DAYS, NO_KEY, NO_PERSON, NO_TAG, Feed
from simulator.season import Season
from simulator.text import (
    csv_cells,
    csv_lines,
    decimals,
    epoch_milliseconds,
    json_lines,
    member,
    plain,
    stamps,
    text_bytes,
    yes_no,
    yuan,
)

CHUNK_ROWS = 250_000
_CHANNEL_NAMES = {"app": "APP", "mini_program": "小程序", "h5": "H5", "pc": "PC", "store": "门店"}
_ACT_CODES = {"exposure": "expo", "click": "clk", "view": "pv", "favourite": "fav"}


def _spoilt(fault: pa.Array, kind: int, value: str, good: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(fault, kind), value, good)


def _renamed(column: pa.DictionaryArray, names: dict[str, str]) -> pa.DictionaryArray:
    values = [names.get(v, v) for v in column.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(column.indices, pa.array(values))


def _members(r: pa.RecordBatch, fault: pa.Array) -> dict[str, pa.Array]:
    return {
        "会员号": pc.if_else(pc.equal(fault, NO_KEY), pa.scalar(None, pa.string()), plain(r["member_id"])),
        "注册时间": stamps(r["registered_at"], "dash"),
        "手机号": csv_cells(r["phone"]),
        "手机已验证": yes_no(r["phone_verified"]),
        "unionid": csv_cells(r["unionid"]),
        "openid": csv_cells(r["openid"]),
        "邮箱": pc.binary_join_element_wise(plain(r["email_name"]), "@example.com", ""),
        "注册设备": csv_cells(r["device_id"]),
        "并入会员号": csv_cells(r["merged_into_member_id"]),
        "邀请人": csv_cells(r["inviter_member_id"]),
        "性别": csv_cells(r["gender"]),
        "生日": plain(r["birth_date"]),
        "省份": csv_cells(r["province"]),
        "城市": csv_cells(r["city"]),
        "等级": csv_cells(r["tier"]),
        "积分": plain(r["points"]),
        "余额": csv_cells(yuan(r["balance_minor"], sign="¥")),
        "注册渠道": csv_cells(_renamed(r["register_channel"], _CHANNEL_NAMES)),
        "关注公众号": yes_no(r["is_follower"]),
        "关注时间": stamps(r["followed_at"], "dash"),
        "店主等级": plain(r["distributor_level"]),
        "营销授权": yes_no(r["marketing_consent"]),
        "更新时间": stamps(r["source_time"], "dash"),
    }


def _products(r: pa.RecordBatch, fault: pa.Array) -> dict[str, pa.Array]:
    return {
        "商品编码": csv_cells(r["sku_id"]),
        "商品名": csv_cells(r["product_name"]),
        "品牌": csv_cells(r["brand"]),
        "类目": csv_cells(r["category"]),
        "上级类目": csv_cells(r["category_parent"]),
        "标价": csv_cells(_spoilt(fault, BAD_AMOUNT, "-1.00", yuan(r["list_price_minor"]))),
        "店铺": csv_cells(r["seller_id"]),
        "更新时间": stamps(r["source_time"], "dash"),
    }


def _orders(r: pa.RecordBatch, fault: pa.Array) -> dict[str, pa.Array]:
    return {
        "订单号": csv_cells(r["order_id"]),
        "下单时间": _spoilt(fault, BAD_TIME, "2026/13/45 99:99", stamps(r["ordered_at"], "slash")),
        "支付时间": stamps(r["paid_at"], "slash"),
        "取消时间": stamps(r["cancelled_at"], "slash"),
        "会员号": csv_cells(r["member_id"]),
        "openid": csv_cells(r["openid"]),
        "unionid": csv_cells(r["unionid"]),
        "设备号": csv_cells(r["device_id"]),
        "Cookie": csv_cells(r["cookie_id"]),
        "店铺": csv_cells(r["seller_id"]),
        "渠道": csv_cells(_renamed(r["channel"], _CHANNEL_NAMES)),
        "运费": csv_cells(_spoilt(fault, BAD_AMOUNT, "¥-8.00", yuan(r["freight_amount_minor"], sign="¥"))),
        "应付总额": csv_cells(yuan(r["total_amount_minor"], sign="¥")),
        "优惠券号": csv_cells(r["coupon_id"]),
        "促销号": csv_cells(r["promotion_id"]),
        "拼团号": csv_cells(r["group_id"]),
        "分享卡片号": csv_cells(r["share_id"]),
        "收货省份": csv_cells(r["ship_province"]),
        "收货城市": csv_cells(r["ship_city"]),
        "收货地址": csv_cells(r["address"]),
        "下单IP": csv_cells(r["ip"]),
        "备注": csv_cells(r["remark"]),
        "更新时间": stamps(r["source_time"], "slash"),
    }


def _refunds(r: pa.RecordBatch, fault: pa.Array) -> dict[str, pa.Array]:
    return {
        "退款单号": csv_cells(r["refund_id"]),
        "订单号": csv_cells(r["order_id"]),
        "退款时间": _spoilt(fault, BAD_TIME, "待定", stamps(r["refunded_at"], "slash")),
        "退款金额": csv_cells(_spoilt(fault, BAD_AMOUNT, "￥-5.00", yuan(r["refund_amount_minor"], sign="￥"))),
        "会员号": csv_cells(r["member_id"]),
        "商品编码": csv_cells(r["sku_id"]),
        "数量": plain(r["quantity"]),
        "原因": csv_cells(r["reason"]),
    }


def _coupons(r: pa.RecordBatch, fault: pa.Array) -> dict[str, pa.Array]:
    return {
        "时间": _spoilt(fault, BAD_TIME, "昨天", stamps(r["occurred_at"], "slash_minutes")),
        "动作": csv_cells(r["behaviour"]),
        "优惠券号": csv_cells(r["coupon_id"]),
        "活动号": csv_cells(r["campaign_id"]),
        "会员号": csv_cells(r["member_id"]),
        "面值": csv_cells(_spoilt(fault, BAD_AMOUNT, "-20元", yuan(r["face_value_minor"], unit="元"))),
        "订单号": csv_cells(r["order_id"]),
    }


def _surveys(r: pa.RecordBatch, fault: pa.Array) -> dict[str, pa.Array]:
    return {
        "答案编号": csv_cells(r["event_id"]),
        "问卷": csv_cells(r["survey_id"]),
        "提交时间": _spoilt(fault, BAD_TIME, "未提交", stamps(r["answered_at"], "slash")),
        "会员号": _without(fault, NO_PERSON, r["member_id"]),
        "openid": _without(fault, NO_PERSON, r["openid"]),
        "unionid": _without(fault, NO_PERSON, r["unionid"]),
        "题目": csv_cells(r["attribute"]),
        "答案": csv_cells(r["answer"]),
    }


def _manual_tags(r: pa.RecordBatch, fault: pa.Array) -> dict[str, pa.Array]:
    return {
        "用户标识": pa.nulls(r.num_rows, pa.string()),
        "会员号": _without(fault, NO_PERSON, r["member_id"]),
        "标签": _without(fault, NO_TAG, r["tag"]),
        "值": csv_cells(r["value"]),
        "作者": csv_cells(r["author"]),
        "到期日": plain(r["expires_on"]),
        "记录时间": stamps(r["noted_at"], "slash_minutes"),
    }


def _without(fault: pa.Array, kind: int, column: pa.DictionaryArray) -> pa.Array:
    """The column's text, left out on rows with the fault."""
    return pc.if_else(pc.equal(fault, kind), pa.scalar(None, pa.string()), plain(column))


def _browse(r: pa.RecordBatch, fault: pa.Array) -> pa.Array:
    acts = _renamed(r["behaviour"], _ACT_CODES)
    time = member("ts", epoch_milliseconds(r["occurred_at"]), quoted=False)
    return json_lines(
        [
            member("event_id", r["event_id"]),
            _spoilt(fault, BAD_TIME, '"ts":"??"', time),
            _spoilt(fault, BAD_BEHAVIOUR, '"act":"hover"', member("act", acts)),
            member("mid", r["member_id"]),
            member("openid", r["openid"]),
            member("unionid", r["unionid"]),
            member("did", r["device_id"]),
            member("cookie", r["cookie_id"]),
            member("sku", r["sku_id"]),
            member("shop", r["seller_id"]),
            member("ch", r["channel"]),
            member("page", r["page"]),
            member("kw", r["keyword"]),
            member("brand_kw", r["is_brand_search"], quoted=False),
            member("review", r["review_kind"]),
            member("dwell", r["duration_seconds"], quoted=False),
        ]
    )


def _shares(r: pa.RecordBatch, fault: pa.Array) -> pa.Array:
    time = member("time", stamps(r["occurred_at"], "iso"))
    return json_lines(
        [
            member("event_id", r["event_id"]),
            _spoilt(fault, BAD_TIME, '"time":"1970-00-00T00:00:00+08:00"', time),
            _spoilt(fault, BAD_BEHAVIOUR, '"type":"like"', member("type", r["behaviour"])),
            member("card", r["share_id"]),
            member("from_card", r["parent_share_id"]),
            member("member", r["member_id"]),
            member("openid", r["openid"]),
            member("unionid", r["unionid"]),
            member("device", r["device_id"]),
            member("cookie", r["cookie_id"]),
            member("sharer_member", r["sharer_member_id"]),
            member("sharer_openid", r["sharer_openid"]),
            member("sharer_unionid", r["sharer_unionid"]),
            member("sku", r["sku_id"]),
            member("order_id", r["order_id"]),
            member("group_id", r["group_id"]),
            member("channel", r["channel"]),
        ]
    )


def _order_lines(r: pa.RecordBatch, fault: pa.Array) -> pa.Table:
    net = r["net_amount_minor"]
    net = pc.if_else(pc.equal(fault, BAD_AMOUNT), pc.negate(net), net)
    return pa.table(
        {
            "order_id": plain(r["order_id"]),
            "ordered_at": r["ordered_at"],
            "sku": plain(r["sku_id"]),
            "qty": r["quantity"],
            "list_price_total": decimals(r["list_amount_minor"]),
            "discount": decimals(r["discount_amount_minor"]),
            "paid": decimals(net),
            "promo_id": plain(r["promotion_id"]),
        }
    )


_CSV: dict[str, tuple[Callable[[pa.RecordBatch, pa.Array], dict[str, pa.Array]], str, str]] = {
    "members": (_members, "utf-8", ".csv"),
    "products": (_products, "gb18030", ".csv"),
    "orders": (_orders, "utf-8", ".csv.gz"),
    "refunds": (_refunds, "utf-8", ".csv"),
    "coupons": (_coupons, "utf-8-sig", ".csv"),
    "surveys": (_surveys, "utf-8-sig", ".csv"),
    "manual_tags": (_manual_tags, "utf-8-sig", ".csv"),
}
_JSON: dict[str, tuple[Callable[[pa.RecordBatch, pa.Array], pa.Array], str]] = {
    "browse": (_browse, ".jsonl.gz"),
    "shares": (_shares, ".jsonl"),
}


def _pieces(feed: Feed, low: int, high: int) -> Iterator[bytes | pa.Buffer]:
    """The file's content for rows [low, high), piece by piece, so that memory does not grow with the file."""
    first = True
    for at in range(low, high, CHUNK_ROWS):
        size = min(CHUNK_ROWS, high - at)
        rows = feed.rows.slice(at, size).combine_chunks().to_batches()[0]
        fault = pa.array(feed.fault[at : at + size])
        if feed.name in _JSON:
            yield text_bytes(_JSON[feed.name][0](rows, fault))
            continue
        make, encoding, _ = _CSV[feed.name]
        columns = make(rows, fault)
        header = ",".join(columns) + "\r\n"
        body = text_bytes(csv_lines(list(columns.values())))
        if encoding == "utf-8":
            if first:
                yield header.encode()
            yield body
        else:
            text = (header if first else "") + body.to_pybytes().decode()
            yield text.encode(encoding)
        first = False


def _gzip(pieces: Iterator[bytes | pa.Buffer], out: IO[bytes]) -> None:
    """One gzip member without a time stamp or a name. Level 1: a third larger than level 6, several times faster."""
    out.write(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff")
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    checksum = size = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
        size += len(piece)
        out.write(packer.compress(piece))
    out.write(packer.flush())
    out.write(struct.pack("<II", checksum, size & 0xFFFFFFFF))


def _suffix(feed: str) -> str:
    if feed in _CSV:
        return _CSV[feed][2]
    return _JSON[feed][1] if feed in _JSON else ".parquet"


def spans(season: Season) -> list[tuple[int, int]]:
    """Delivery days of each file as (first, last) numbers: the snapshot, months of history, then one a day."""
    daily = max(season.days - DAILY_DAYS, 0)
    found = [(-1, -1)]
    start = 0
    for day in range(daily):
        tomorrow = season.first_day + timedelta(days=day + 1)
        if tomorrow.day == 1 or day == daily - 1:
            found.append((start, day))
            start = day + 1
    return found + [(day, day) for day in range(daily, season.days)]


def write_feed(season: Season, feed: Feed, span: tuple[int, int], inbox: Path) -> Path | None:
    """One file with what arrives in ``span``, named by its last day; None where nothing is.

    The file appears at once and whole, so a reader of the inbox never meets half of it.
    """
    low = int(np.searchsorted(feed.arrived, span[0]))
    high = int(np.searchsorted(feed.arrived, span[1], side="right"))
    if low == high:
        return None
    folder = inbox / feed.name
    folder.mkdir(parents=True, exist_ok=True)
    day: date = season.first_day + timedelta(days=span[1])
    path = folder / f"{feed.name}_{day.isoformat()}{_suffix(feed.name)}"
    part = path.with_name(f".{path.name}.part")
    if feed.name == "order_lines":
        rows = feed.rows.slice(low, high - low).combine_chunks().to_batches()[0]
        pq.write_table(_order_lines(rows, pa.array(feed.fault[low:high])), part, compression="zstd")
    else:
        with part.open("wb") as out:
            pieces = _pieces(feed, low, high)
            if path.name.endswith(".gz"):
                _gzip(pieces, out)
            else:
                for piece in pieces:
                    out.write(piece)
    return part.replace(path)


def write_files(season: Season, feeds: dict[str, Feed], wanted: list[tuple[int, int]], inbox: Path) -> list[Path]:
    """Every feed's file of every wanted span, two at a time: the work is outside Python's lock."""
    jobs = [(feed, span) for span in wanted for feed in feeds.values()]
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda j: write_feed(season, j[0], j[1], inbox), jobs))
    return [path for path in made if path is not None]
