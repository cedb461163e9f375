"""The feeds before anything goes wrong: one Arrow table each, in canonical names, with the day each row is made.

Times are naive local timestamps, money is int64 fen, ids are coded text. Files are made from these tables in files.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from simulator.addresses import Addresses
from simulator.behaviour import ACTS, PAGES, REVIEWS, SEARCH_WORDS, Browse
from simulator.ids import coded, numbered
from simulator.marks import ShownIds
from simulator.member_records import SNAPSHOT_BEFORE, TIERS, MemberRecords
from simulator.money import REASONS, Baskets
from simulator.orders import GUEST_ZERO, Orders
from simulator.people import CHANNELS, STORE, Ints, People
from simulator.places import CITIES
from simulator.products import Assortment
from simulator.season import DAY_MS, NEVER, Season
from simulator.share_log import SHARE_ACTS, ShareLog
from simulator.surveys import NOTES, QUESTIONS, SURVEYS, Answers, Notes

_CITY = pa.array([c[1] for c in CITIES])
_PROVINCES = tuple(dict.fromkeys(c[0] for c in CITIES))
_PROVINCE_OF_CITY = np.array([_PROVINCES.index(c[0]) for c in CITIES])
_GENDERS = pa.array(["女", "男", "保密"])
_REMARKS = pa.array(["请放门口\n到了打电话", "工作日送,周末不在", '请写"生日快乐"', "发票抬头:个人"])


@dataclass(frozen=True)
class Clean:
    """A feed as it should be: its rows, the day on which each is made (-1: the snapshot), and each row's key."""

    rows: pa.Table
    made: Ints
    key: pa.Array


def wall_stamps(wall: Ints) -> pa.Array:
    """Wall times as naive timestamps, null for what does not happen."""
    return pa.array(wall, mask=wall >= NEVER).cast(pa.timestamp("ms"))


def _made(season: Season, wall: Ints) -> Ints:
    return np.maximum(season.day_of(wall), -SNAPSHOT_BEFORE)


def _ids(people: People, marks: ShownIds) -> dict[str, pa.Array]:
    return {
        "member_id": coded(people.accounts.member_ids, marks.account),
        "openid": coded(people.openids.values, marks.openid),
        "unionid": coded(people.unionids, marks.unionid),
        "device_id": coded(people.devices.values, marks.device),
        "cookie_id": coded(people.cookies.values, marks.cookie),
    }


def _text(values: tuple[str, ...], codes: NDArray[np.integer]) -> pa.DictionaryArray:
    return coded(pa.array(values), codes)


def members_feed(season: Season, people: People, records: MemberRecords, inviter: Ints) -> Clean:
    accounts, a = people.accounts, records.account
    person = accounts.person[a]
    member_ids = accounts.member_ids
    first = people.account[person] == a
    invited_by = np.where(first & (inviter[person] >= 0), people.account[np.maximum(inviter[person], 0)], -1)
    union = np.where((accounts.openid[a] >= 0) & people.has_unionid[person], person, -1)
    emails = numbered("user", np.arange(len(accounts.person), dtype=np.int64) + 1, 1)
    rows = pa.table(
        {
            "member_id": coded(member_ids, a),
            "registered_at": wall_stamps(accounts.registered[a]),
            "phone": coded(people.phones, accounts.phone[a]),
            "phone_verified": pa.array(records.verified),
            "unionid": coded(people.unionids, union),
            "openid": coded(people.openids.values, accounts.openid[a]),
            "email_name": coded(emails, np.where(accounts.has_email[a], a, -1)),
            "device_id": coded(people.devices.values, accounts.device[a]),
            "merged_into_member_id": coded(member_ids, np.where(records.merged, accounts.merged_into[a], -1)),
            "inviter_member_id": coded(member_ids, invited_by),
            "gender": coded(_GENDERS, np.where(person % 23 == 0, -1, people.gender[person])),
            "birth_date": pa.array(people.birth_day[person].astype(np.int32), mask=person % 9 == 0).cast(pa.date32()),
            "province": _text(_PROVINCES, _PROVINCE_OF_CITY[records.city]),
            "city": coded(_CITY, records.city),
            "tier": _text(TIERS, records.tier),
            "points": pa.array(records.points),
            "balance_minor": pa.array(records.balance),
            "register_channel": _text(CHANNELS, accounts.channel[a]),
            "is_follower": pa.array(records.follows),
            "followed_at": wall_stamps(np.where(records.follows, people.follows_at[person], NEVER)),
            "distributor_level": pa.array(people.distributor_level[person].astype(np.int32), mask=~records.distributes),
            "marketing_consent": pa.array(records.consents),
            "source_time": wall_stamps(records.updated),
        }
    )
    return Clean(rows, _made(season, records.updated), rows["member_id"].combine_chunks())


def products_feed(season: Season, products: Assortment) -> Clean:
    """The list before the season, then a row for each launch and each change of price."""
    n = len(products)
    snapshot = season.start - SNAPSHOT_BEFORE * DAY_MS + 4 * 3_600_000
    begin = np.maximum(products.launched, snapshot)
    changed = np.flatnonzero((products.repriced < season.end) & (products.repriced > begin))
    product = np.concatenate([np.arange(n), changed])
    at = np.concatenate([begin, products.repriced[changed]])
    keep = np.flatnonzero(at < season.end)
    keep = keep[np.argsort(at[keep], kind="stable")]
    product, at = product[keep], at[keep]
    rows = pa.table(
        {
            "sku_id": coded(products.sku_ids, product),
            "product_name": coded(products.names, product),
            "brand": coded(products.brands, products.brand[product]),
            "category": coded(products.leaves, products.leaf[product]),
            "category_parent": coded(products.parents, products.parent[product]),
            "list_price_minor": pa.array(products.price_at(product, at)),
            "seller_id": coded(products.seller_ids, products.seller[product]),
            "source_time": wall_stamps(at),
        }
    )
    return Clean(rows, _made(season, at), rows["sku_id"].combine_chunks())


def sellers_of(
    people: People, products: Assortment, orders: Orders, baskets: Baskets, sharer_of_share: Ints
) -> tuple[pa.Array, Ints]:
    """(all seller ids, each order's seller): the distributor by whose share it came, else the first line's shop."""
    first_line = np.searchsorted(baskets.lines.order, np.arange(len(orders)))
    shop = products.seller[baskets.lines.product[first_line]].astype(np.int64)
    sharer = np.where(orders.share >= 0, sharer_of_share[np.maximum(orders.share, 0)], -1)
    sells = (sharer >= 0) & (people.distributor_from[np.maximum(sharer, 0)] <= orders.ordered)
    sellers = pa.concat_arrays([products.seller_ids, people.accounts.member_ids])
    return sellers, np.where(sells, len(products.seller_ids) + people.account[np.maximum(sharer, 0)], shop)


def orders_feed(
    season: Season,
    people: People,
    orders: Orders,
    baskets: Baskets,
    sellers: tuple[pa.Array, Ints],
    share_ids: pa.Array,
    addresses: Addresses,
) -> Clean:
    """A row when an order is made, and a new version on each later day on which it is paid or cancelled."""
    day = season.day_of(orders.ordered)
    paid_day = np.where(orders.paid < NEVER, season.day_of(orders.paid), day)
    cancel_day = np.where(orders.cancelled < NEVER, season.day_of(orders.cancelled), day)
    every = np.arange(len(orders))
    versions = np.unique(np.concatenate([d * (1 << 40) + every for d in (day, paid_day, cancel_day)]))
    made, o = versions >> 40, versions & ((1 << 40) - 1)
    close = season.start + (made + 1) * DAY_MS
    paid = np.where(orders.paid[o] < close, orders.paid[o], NEVER)
    cancelled = np.where(orders.cancelled[o] < close, orders.cancelled[o], NEVER)
    updated = np.maximum(orders.ordered[o], np.where(paid < NEVER, paid, 0))
    updated = np.maximum(updated, np.where(cancelled < NEVER, cancelled, 0))
    marks = orders.marks[o]
    zero = len(people.accounts.person)  # the text "0" behind the member ids: how one till writes a guest
    member = np.where(orders.guest[o] == GUEST_ZERO, zero, marks.account)
    promotion = np.full(len(orders), -1, np.int64)
    on_offer = np.flatnonzero(baskets.lines.promotion >= 0)[::-1]
    promotion[baskets.lines.order[on_offer]] = baskets.lines.promotion[on_offer]  # reversed: the first line's stays
    as_written = pa.concat_arrays([people.accounts.member_ids, pa.array(["0"])])
    person, ring = orders.person[o], orders.brushed[o]
    city = np.where(people.moved_at[person] <= orders.ordered[o], people.moved_to[person], people.city[person])
    city = np.where(ring >= 0, ring % len(CITIES), city)  # a ring ships to one address
    rows = pa.table(
        {
            "order_id": coded(orders.order_ids, o),
            "ordered_at": wall_stamps(orders.ordered[o]),
            "paid_at": wall_stamps(paid),
            "cancelled_at": wall_stamps(cancelled),
            **_ids(people, marks),
            "member_id": coded(as_written, member),
            "seller_id": coded(sellers[0], sellers[1][o]),
            "channel": _text(CHANNELS, _place(people, orders)[o]),
            "freight_amount_minor": pa.array(baskets.freight[o]),
            "total_amount_minor": pa.array(baskets.net[o] + baskets.freight[o]),
            "coupon_id": coded(baskets.coupons.coupon_ids, baskets.coupon[o]),
            "promotion_id": _text(season.promotion_ids or ("",), promotion[o]),
            "group_id": coded(_groups(share_ids), np.where(o % 2 == 0, orders.share[o], -1)),
            "share_id": coded(share_ids, orders.share[o]),
            "ship_province": _text(_PROVINCES, _PROVINCE_OF_CITY[city]),
            "ship_city": coded(_CITY, city),
            "address": coded(addresses.homes, addresses.home[o]),
            "ip": coded(addresses.networks, addresses.network[o]),
            "remark": coded(_REMARKS, np.where(o % 11 == 0, o // 11 % len(_REMARKS), -1)),
            "source_time": wall_stamps(updated),
        }
    )
    order = np.lexsort((updated, made))
    return Clean(rows.take(order), made[order], rows["order_id"].combine_chunks().take(order))


def _place(people: People, orders: Orders) -> NDArray[np.int8]:
    """Each order's channel: every other order of a member who joined in a shop, and some of others', is paid there."""
    account, every = orders.marks.account, np.arange(len(orders))
    local = people.accounts.channel[np.maximum(account, 0)] == STORE
    in_store = (account >= 0) & (orders.share < 0) & (orders.brushed < 0) & (every % np.where(local, 2, 19) == 0)
    return np.where(in_store, STORE, orders.marks.channel).astype(np.int8)


def _groups(share_ids: pa.Array) -> pa.Array:
    """A group purchase is opened by a card and carries its number."""
    return numbered("G", np.arange(1, len(share_ids) + 1, dtype=np.int64), 8)


def order_lines_feed(season: Season, products: Assortment, orders: Orders, baskets: Baskets) -> Clean:
    """No line ids: equal lines of one order are two purchases."""
    lines = baskets.lines
    at = orders.ordered[lines.order]
    rows = pa.table(
        {
            "order_id": coded(orders.order_ids, lines.order),
            "ordered_at": wall_stamps(at),
            "sku_id": coded(products.sku_ids, lines.product),
            "quantity": pa.array(lines.quantity.astype(np.int32)),
            "list_amount_minor": pa.array(lines.list_amount),
            "discount_amount_minor": pa.array(lines.discount),
            "net_amount_minor": pa.array(lines.net),
            "promotion_id": _text(season.promotion_ids or ("",), lines.promotion),
        }
    )
    return Clean(rows, season.day_of(at), rows["order_id"].combine_chunks())


def refunds_feed(season: Season, people: People, products: Assortment, orders: Orders, baskets: Baskets) -> Clean:
    r = baskets.refunds
    product = np.where(r.line >= 0, baskets.lines.product[np.maximum(r.line, 0)], -1) if len(r.line) else r.line
    rows = pa.table(
        {
            "refund_id": r.refund_ids,
            "order_id": coded(orders.order_ids, r.order),
            "refunded_at": wall_stamps(r.refunded),
            "refund_amount_minor": pa.array(r.amount),
            "member_id": coded(people.accounts.member_ids, orders.marks.account[r.order]),
            "sku_id": coded(products.sku_ids, product),
            "quantity": pa.array(r.quantity, mask=r.quantity == 0),
            "reason": _text(REASONS, r.reason),
        }
    )
    return Clean(rows, season.day_of(r.refunded), rows["refund_id"].combine_chunks())


def browse_feed(season: Season, people: People, products: Assortment, browse: Browse) -> Clean:
    n = len(browse.wall)
    words = pa.concat_arrays([products.brands, pa.array(SEARCH_WORDS)])
    word = np.where(browse.brand >= 0, browse.brand, np.where(browse.word >= 0, browse.word + len(products.brands), -1))
    seller = np.where(browse.product >= 0, products.seller[browse.product], -1)
    rows = pa.table(
        {
            "event_id": numbered("e", np.arange(1, n + 1, dtype=np.int64), 9),
            "occurred_at": wall_stamps(browse.wall),
            "behaviour": _text(ACTS, browse.act),
            **_ids(people, browse.marks),
            "sku_id": coded(products.sku_ids, browse.product),
            "seller_id": coded(products.seller_ids, seller),
            "channel": _text(CHANNELS, browse.marks.channel),
            "page": _text(PAGES, browse.page),
            "keyword": coded(words, word),
            "is_brand_search": pa.array(browse.brand >= 0, mask=word < 0),
            "review_kind": _text(REVIEWS, browse.review),
            "duration_seconds": pa.array(browse.seconds.astype(np.int32), mask=browse.seconds < 0),
        }
    )
    return Clean(rows, season.day_of(browse.wall), rows["event_id"].combine_chunks())


def shares_feed(
    season: Season, people: People, products: Assortment, orders: Orders, log: ShareLog, share_ids: pa.Array,
    parent_share: Ints, share_product: Ints,
) -> Clean:  # fmt: skip
    rows = pa.table(
        {
            "event_id": numbered("s", np.arange(1, len(log) + 1, dtype=np.int64), 9),
            "occurred_at": wall_stamps(log.wall),
            "behaviour": _text(SHARE_ACTS, log.act),
            "share_id": coded(share_ids, log.share),
            "parent_share_id": coded(share_ids, np.where(log.act == 0, parent_share[log.share], -1)),
            **_ids(people, log.marks),
            "sharer_member_id": coded(people.accounts.member_ids, log.sharer_account),
            "sharer_openid": coded(people.openids.values, log.sharer_openid),
            "sharer_unionid": coded(people.unionids, log.sharer_unionid),
            "sku_id": coded(products.sku_ids, share_product[log.share]),
            "order_id": coded(orders.order_ids, log.order),
            "group_id": coded(_groups(share_ids), log.group),
            "channel": _text(CHANNELS, log.marks.channel),
        }
    )
    return Clean(rows, season.day_of(log.wall), rows["event_id"].combine_chunks())


def coupons_feed(season: Season, people: People, orders: Orders, baskets: Baskets) -> Clean:
    """No event ids: a coupon is got once and used once."""
    c = baskets.coupons
    used = np.flatnonzero(c.order >= 0)
    coupon = np.concatenate([np.arange(len(c.got)), used])
    at = np.concatenate([c.got, orders.ordered[c.order[used]]])
    act = np.repeat([0, 1], [len(c.got), len(used)])
    order = np.lexsort((act, at))
    coupon, at, act = coupon[order], at[order], act[order]
    rows = pa.table(
        {
            "occurred_at": wall_stamps(at),
            "behaviour": _text(("领取", "使用"), act),
            "coupon_id": coded(c.coupon_ids, coupon),
            "campaign_id": coded(numbered("C", np.arange(1, 7, dtype=np.int64), 2), c.campaign[coupon]),
            "member_id": coded(people.accounts.member_ids, c.account[coupon]),
            "face_value_minor": pa.array(c.face[coupon]),
            "order_id": coded(orders.order_ids, np.where(act == 1, c.order[coupon], -1)),
        }
    )
    return Clean(rows, season.day_of(at), rows["coupon_id"].combine_chunks())


def surveys_feed(season: Season, people: People, answers: Answers) -> Clean:
    """One row an answer; questions and answers in the words of the questionnaire."""
    words = [w for _, _, options in QUESTIONS for _, w in options]
    first = np.cumsum([0, *(len(options) for _, _, options in QUESTIONS)])
    rows = pa.table(
        {
            "event_id": numbered("q", np.arange(1, len(answers) + 1, dtype=np.int64), 8),
            "survey_id": _text(SURVEYS, answers.survey),
            "answered_at": wall_stamps(answers.wall),
            **{n: ids for n, ids in _ids(people, answers.marks).items() if n in ("member_id", "openid", "unionid")},
            "attribute": _text(tuple(asked for _, asked, _ in QUESTIONS), answers.question),
            "answer": _text(tuple(words), first[answers.question] + answers.answer),
        }
    )
    return Clean(rows, season.day_of(answers.wall), rows["event_id"].combine_chunks())


def manual_tags_feed(season: Season, people: People, notes: Notes) -> Clean:
    """Rows without ids, as a hand-kept spreadsheet has them."""
    said = {name: pa.array([note[i] for note in NOTES]) for i, name in enumerate(("tag", "value", "author"))}
    rows = pa.table(
        {
            "noted_at": wall_stamps(notes.wall),
            "member_id": coded(people.accounts.member_ids, notes.account),
            **{name: column.take(pa.array(notes.note)) for name, column in said.items()},
            "expires_on": pa.array(
                np.where(notes.expires < NEVER, notes.expires, 0).astype(np.int32), mask=notes.expires >= NEVER
            ).cast(pa.date32()),
        }
    )
    return Clean(rows, season.day_of(notes.wall), rows["member_id"].combine_chunks())
