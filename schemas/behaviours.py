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

DETAILS: dict[str, int] = {"brand_search": 1, "positive": 2, "append": 3, "neutral": 4, "negative": 5}
"""Values of ``detail_code``: brand searches and kinds of review; 0 is none."""
