"""Raw files to typed tables without what was delivered twice; rows that cannot be taken go to ``rejected`` with a reason.

Columns keep our names, so that they can be compared. ``rejected`` has feed, reason, row; ``taken`` has feed, rows_read,
rows_silver, rows_duplicate, rows_rejected, rows_not_selected.
"""

from __future__ import annotations

import csv
import gzip
import tempfile
from dataclasses import dataclass
from pathlib import Path

import duckdb

PLACE = ("file", "row")
"""Columns that say where a row stood, which is no part of what it says."""
GUESTS = "'', '0', '-1', '-', 'null', 'none', 'nil', 'nan', 'n/a', 'na', 'test', 'unknown', 'undefined', 'guest', 'anonymous'"
LONGEST_GUEST = 9
MACROS = f"""
CREATE OR REPLACE MACRO person(id) AS
    CASE WHEN length(id) <= {LONGEST_GUEST} AND lower(trim(id)) IN ({GUESTS}) THEN NULL ELSE id END;
CREATE OR REPLACE MACRO minor(text) AS
    CAST(TRY_CAST(translate(text, '¥￥,元', '') AS DECIMAL(18, 2)) * 100 AS BIGINT);
CREATE OR REPLACE MACRO slashed(text) AS try_strptime(text, ['%Y/%-m/%-d %-H:%M:%S', '%Y/%-m/%-d %-H:%M']);
CREATE OR REPLACE MACRO yes(text) AS text = '是';
CREATE OR REPLACE MACRO channel_of(text) AS
    CASE text WHEN 'APP' THEN 'app' WHEN '小程序' THEN 'mini_program' WHEN 'H5' THEN 'h5' WHEN 'PC' THEN 'pc' WHEN '门店' THEN 'store' END;
CREATE OR REPLACE MACRO hashed(text) AS sha256(lower(replace(text, ' ', '')));
"""


@dataclass(frozen=True)
class Feed:
    """``rows`` is a SELECT with a column ``reason``; ``key`` tells things apart, none where the content does."""

    rows: str
    key: str | None
    selected: str = "true"


def feeds(inbox: Path, products: Path) -> dict[str, Feed]:
    """Every feed of the shop. ``products`` is the folder of its lists of products in UTF-8."""

    def table(feed: str, ending: str = "csv", folder: Path = inbox) -> str:
        # Said and not guessed: looking into every file for its form takes ten times as long as reading it.
        files = f"{folder}/{feed}/*.{ending}"
        columns = dict.fromkeys(_header(folder / feed, ending), "VARCHAR")
        form = "delim = ',', quote = '\"', escape = '\"', header = true, auto_detect = false"
        return f"read_csv('{files}', {form}, columns = {columns}, filename = true)"

    def jsonl(feed: str, ending: str, columns: dict[str, str]) -> str:
        typed = ", ".join(f"{name}: '{kind}'" for name, kind in columns.items())
        return f"read_json('{inbox}/{feed}/*.{ending}', format = 'newline_delimited', columns = {{{typed}}})"

    browse = dict.fromkeys(
        ("event_id", "ts", "act", "mid", "openid", "unionid", "did", "cookie", "sku", "shop", "ch", "page", "kw"),
        "VARCHAR",
    ) | {"brand_kw": "BOOLEAN", "review": "VARCHAR", "dwell": "INTEGER"}
    share = "event_id time type card from_card member openid unionid device cookie"
    sharer = "sharer_member sharer_openid sharer_unionid sku order_id group_id channel"
    shares = dict.fromkeys([*share.split(), *sharer.split()], "VARCHAR")
    return {
        "members": Feed(
            f"""
            SELECT "会员号" AS member_id, CAST("注册时间" AS TIMESTAMP) AS registered_at, "手机号" AS phone,
                yes("手机已验证") AS phone_verified, person(unionid) AS unionid, person(openid) AS openid, "邮箱" AS email,
                person("注册设备") AS device_id, person("并入会员号") AS merged_into_member_id,
                person("邀请人") AS inviter_member_id,
                CASE "性别" WHEN '女' THEN 'female' WHEN '男' THEN 'male' ELSE 'unknown' END AS gender,
                CAST("生日" AS DATE) AS birth_date, "省份" AS province, "城市" AS city, "等级" AS tier,
                CAST("积分" AS BIGINT) AS points, minor("余额") AS balance_minor,
                channel_of("注册渠道") AS register_channel, yes("关注公众号") AS is_follower,
                CAST("关注时间" AS TIMESTAMP) AS followed_at, CAST("店主等级" AS INTEGER) AS distributor_level,
                yes("营销授权") AS marketing_consent, CAST("更新时间" AS TIMESTAMP) AS source_time, filename AS file,
                row_number() OVER () AS row,
                CASE WHEN person("会员号") IS NULL THEN 'member_id is missing' END AS reason
            FROM {table("members")}""",
            "member_id",
        ),
        "products": Feed(
            f"""
            SELECT "商品编码" AS sku_id, "商品名" AS product_name, "品牌" AS brand, "类目" AS category,
                "上级类目" AS category_parent, minor("标价") AS list_price_minor, "店铺" AS seller_id,
                CAST("更新时间" AS TIMESTAMP) AS source_time, filename AS file,
                CASE WHEN minor("标价") < 0 THEN 'list_price_minor below 0' END AS reason
            FROM {table("products", folder=products)}""",
            "sku_id",
        ),
        "orders": Feed(
            f"""
            SELECT "订单号" AS order_id, slashed("下单时间") AS ordered_at, slashed("支付时间") AS paid_at,
                slashed("取消时间") AS cancelled_at, person("会员号") AS member_id, person(openid) AS openid,
                person(unionid) AS unionid, person("设备号") AS device_id, person("Cookie") AS cookie_id,
                "店铺" AS seller_id, channel_of("渠道") AS channel, minor("运费") AS freight_amount_minor,
                "优惠券号" AS coupon_id, "促销号" AS promotion_id, "拼团号" AS group_id, "分享卡片号" AS share_id,
                "收货省份" AS ship_province, "收货城市" AS ship_city, hashed("收货地址") AS address_key,
                hashed("下单IP") AS ip_key, slashed("更新时间") AS source_time, filename AS file,
                CASE WHEN ordered_at IS NULL THEN 'ordered_at is no time'
                     WHEN freight_amount_minor < 0 THEN 'freight below 0' END AS reason
            FROM {table("orders", "csv.gz")}""",
            "order_id",
        ),
        "order_lines": Feed(
            f"""
            SELECT order_id, CAST(ordered_at AS TIMESTAMP) AS ordered_at, sku AS sku_id, qty AS quantity,
                CAST(list_price_total * 100 AS BIGINT) AS list_amount_minor,
                CAST(discount * 100 AS BIGINT) AS discount_amount_minor,
                CAST(paid * 100 AS BIGINT) AS net_amount_minor, promo_id AS promotion_id, filename AS file,
                CASE WHEN paid < 0 THEN 'net_amount_minor below 0' END AS reason
            FROM read_parquet('{inbox}/order_lines/*.parquet', filename = true)""",
            None,
        ),
        "refunds": Feed(
            f"""
            SELECT "退款单号" AS refund_id, "订单号" AS order_id, slashed("退款时间") AS refunded_at,
                minor("退款金额") AS refund_amount_minor, person("会员号") AS member_id, "商品编码" AS sku_id,
                CAST("数量" AS BIGINT) AS quantity, "原因" AS reason_given,
                CASE WHEN refunded_at IS NULL THEN 'refunded_at is no time'
                     WHEN refund_amount_minor < 0 THEN 'refund_amount_minor below 0' END AS reason
            FROM {table("refunds")}""",
            "refund_id",
        ),
        "browse": Feed(
            f"""
            SELECT event_id, make_timestamp_ms(TRY_CAST(ts AS BIGINT)) + INTERVAL 8 HOUR AS occurred_at,
                CASE act WHEN 'expo' THEN 'exposure' WHEN 'clk' THEN 'click' WHEN 'pv' THEN 'view'
                    WHEN 'fav' THEN 'favourite'
                    WHEN 'hover' THEN NULL ELSE act END AS behaviour,
                person(mid) AS member_id, person(openid) AS openid, person(unionid) AS unionid, person(did) AS device_id,
                person(cookie) AS cookie_id, sku AS sku_id, shop AS seller_id, ch AS channel, page, kw AS keyword,
                brand_kw AS is_brand_search, review AS review_kind, dwell AS duration_seconds,
                CASE WHEN occurred_at IS NULL THEN 'occurred_at is no time'
                     WHEN behaviour IS NULL THEN 'behaviour is not known' END AS reason
            FROM {jsonl("browse", "jsonl.gz", browse)}""",
            "event_id",
        ),
        "shares": Feed(
            f"""
            SELECT event_id, try_strptime(time, '%Y-%m-%dT%H:%M:%S+08:00') AS occurred_at,
                CASE type WHEN 'open' THEN 'share_open' WHEN 'join' THEN 'join_group' WHEN 'like' THEN NULL
                    ELSE type END AS behaviour,
                card AS share_id, from_card AS parent_share_id, person(member) AS member_id, person(openid) AS openid,
                person(unionid) AS unionid, person(device) AS device_id, person(cookie) AS cookie_id,
                person(sharer_member) AS sharer_member_id, person(sharer_openid) AS sharer_openid,
                person(sharer_unionid) AS sharer_unionid, sku AS sku_id, order_id, group_id, channel,
                CASE WHEN occurred_at IS NULL THEN 'occurred_at is no time'
                     WHEN behaviour IS NULL THEN 'behaviour is not known' END AS reason
            FROM {jsonl("shares", "jsonl", shares)}""",
            "event_id",
        ),
        "coupons": Feed(
            f"""
            SELECT slashed("时间") AS occurred_at, CASE "动作" WHEN '领取' THEN 'coupon_get' WHEN '使用' THEN 'coupon_use' END
                AS behaviour, "优惠券号" AS coupon_id, "活动号" AS campaign_id, person("会员号") AS member_id,
                minor("面值") AS face_value_minor, "订单号" AS order_id, filename AS file,
                CASE WHEN occurred_at IS NULL THEN 'occurred_at is no time'
                     WHEN face_value_minor < 0 THEN 'face_value_minor below 0' END AS reason
            FROM {table("coupons")}""",
            None,
        ),
        "surveys": Feed(
            f"""
            SELECT "答案编号" AS event_id, "问卷" AS survey_id, slashed("提交时间") AS answered_at,
                person("会员号") AS member_id, person(openid) AS openid, person(unionid) AS unionid,
                "题目" AS attribute, "答案" AS answer,
                CASE WHEN answered_at IS NULL THEN 'answered_at is no time'
                     WHEN coalesce(member_id, openid, unionid) IS NULL THEN 'nobody is named' END AS reason
            FROM {table("surveys")}""",
            "event_id",
            "answer IS DISTINCT FROM '不方便透露'",
        ),
        "manual_tags": Feed(
            f"""
            SELECT slashed("记录时间") AS noted_at, "用户标识" AS user_id, person("会员号") AS member_id, "标签" AS tag,
                "值" AS value, "作者" AS author, CAST("到期日" AS DATE) AS expires_on, filename AS file,
                CASE WHEN coalesce(user_id, person("会员号")) IS NULL THEN 'nobody is named'
                     WHEN tag IS NULL THEN 'tag is missing' END AS reason
            FROM {table("manual_tags")}""",
            None,
        ),
    }


def _header(folder: Path, ending: str) -> list[str]:
    """Names of the columns of a folder's files, which are all alike."""
    first = min(folder.glob(f"*.{ending}"))
    with (
        gzip.open(first, "rt", encoding="utf-8-sig")
        if ending.endswith(".gz")
        else first.open(encoding="utf-8-sig") as file
    ):
        return next(csv.reader(file))


def build(con: duckdb.DuckDBPyConnection, inbox: Path) -> None:
    """A table a feed, ``rejected`` and ``taken``."""
    con.execute(MACROS)
    con.execute("CREATE TABLE rejected (feed VARCHAR, reason VARCHAR, row JSON)")
    con.execute(
        "CREATE TABLE taken (feed VARCHAR, rows_read BIGINT, rows_silver BIGINT, rows_duplicate BIGINT, "
        "rows_rejected BIGINT, rows_not_selected BIGINT)"
    )
    with tempfile.TemporaryDirectory() as folder:
        for path in (inbox / "products").glob("*.csv"):
            target = Path(folder) / "products" / path.name
            target.parent.mkdir(exist_ok=True)
            target.write_text(path.read_text(encoding="gb18030"), encoding="utf-8")
        for name, feed in feeds(inbox, Path(folder)).items():
            # Of two records of one person and second the later in the file counts: the only feed whose order is asked.
            con.execute(f"SET preserve_insertion_order = {name == 'members'}")
            _take(con, name, feed)


def _take(con: duckdb.DuckDBPyConnection, name: str, feed: Feed) -> None:
    """One feed: everything in, then out with the few rows that are wrong or there already."""
    con.execute(f"CREATE TABLE {name} AS {feed.rows}")
    read = _count(con, name)
    con.execute(f"DELETE FROM {name} WHERE NOT ({feed.selected})")
    selected = _count(con, name)
    con.execute(f"INSERT INTO rejected SELECT '{name}', reason, to_json(t) FROM {name} t WHERE reason IS NOT NULL")
    con.execute(f"DELETE FROM {name} WHERE reason IS NOT NULL")
    good = _count(con, name)
    con.execute(f"ALTER TABLE {name} DROP COLUMN reason")
    columns = [row[0] for row in con.execute(f"DESCRIBE {name}").fetchall() if row[0] not in PLACE]
    content = ", ".join(columns)
    if feed.key is not None:
        # Nearly every key stands once: only the others are compared.
        con.execute(f"""
            DELETE FROM {name} WHERE rowid IN (
                SELECT id FROM (
                    SELECT rowid AS id, row_number() OVER (PARTITION BY {content} ORDER BY rowid) AS n FROM {name}
                    WHERE {feed.key} IN (SELECT {feed.key} FROM {name} GROUP BY {feed.key} HAVING count(*) > 1)
                ) WHERE n > 1)""")
    else:
        # Equal rows of one file are several things, those of a further file the same again.
        con.execute(f"""
            DELETE FROM {name} WHERE rowid IN (
                WITH several AS (SELECT hash({content}) AS h FROM {name} GROUP BY h HAVING count(*) > 1),
                placed AS (
                    SELECT rowid AS id, *, row_number() OVER (PARTITION BY {content}, file ORDER BY rowid) AS place
                    FROM {name} WHERE hash({content}) IN (FROM several)
                )
                SELECT id FROM (
                    SELECT id, row_number() OVER (PARTITION BY {content}, place ORDER BY file, id) AS n FROM placed
                ) WHERE n > 1)""")
    left = _count(con, name)
    con.execute(
        "INSERT INTO taken VALUES (?, ?, ?, ?, ?, ?)", [name, read, left, good - left, selected - good, read - selected]
    )


def _count(con: duckdb.DuckDBPyConnection, table: str) -> int:
    found = con.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert found is not None
    return int(found[0])
