"""The behaviours of ``activity`` as numbers (definitions.md section 14). Numbers are written to tables: only append.

The last group is ours: rows credited to a sharer for what another person did, and the correction that a refund makes
to its order's own day.
"""

from __future__ import annotations

BEHAVIOURS: dict[str, int] = {
    "exposure": 1,
    "click": 2,
    "view": 3,
    "search": 4,
    "favourite": 5,
    "cart": 6,
    "sample": 7,
    "video": 8,
    "live": 9,
    "share": 10,
    "share_open": 11,
    "join_group": 12,
    "register": 13,
    "order": 14,
    "pay": 15,
    "refund": 16,
    "review": 17,
    "coupon_get": 18,
    "coupon_use": 19,
    # credited to the sharer; peer_uid is the person who acted
    "share_opened": 20,
    "brought_join": 21,
    "brought_register": 22,
    "brought_order": 23,
    # a refund on the day of its order (behaviour view); counts from the refund's day on
    "refund_of_order": 24,
}

BEHAVIOURS_ZH = {
    "exposure": "曝光",
    "click": "点击",
    "view": "浏览",
    "search": "搜索",
    "favourite": "收藏",
    "cart": "加购",
    "sample": "领样",
    "video": "看视频",
    "live": "看直播",
    "share": "分享",
    "share_open": "打开分享",
    "join_group": "入群或参团",
    "register": "注册",
    "order": "下单",
    "pay": "支付",
    "refund": "退款",
    "review": "评价",
    "coupon_get": "领券",
    "coupon_use": "用券",
    "share_opened": "分享被打开",
    "brought_join": "带来入群",
    "brought_register": "带来注册",
    "brought_order": "带来成交",
    "refund_of_order": "订单退款",
}

BROWSE: tuple[str, ...] = (
    "exposure",
    "click",
    "view",
    "search",
    "favourite",
    "cart",
    "sample",
    "video",
    "live",
    "join_group",
    "register",
    "review",
)
"""On-site behaviours: what makes a visit."""

CARRIES_MONEY = ("order", "pay", "refund", "refund_of_order")
"""Behaviours whose units and money a condition can ask for."""

DETAILS: dict[str, int] = {"brand_search": 1, "positive": 2, "append": 3, "neutral": 4, "negative": 5}
"""Values of ``detail_code``: brand searches and kinds of review; 0 is none."""
