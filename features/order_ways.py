"""How an order came about (转化方式), as its own fields say: by a group purchase, a share, a coupon, a promotion, or directly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator
from pyspark.sql import functions as F

from schemas.behaviours import DETAILS
from schemas.configuration import Settings

if TYPE_CHECKING:
    from pyspark.sql import Column

Way = Literal["by_group", "by_share", "by_coupon", "by_promotion"]
SIGNS: Mapping[Way, str] = {
    "by_group": "group_id",
    "by_share": "share_id",
    "by_coupon": "coupon_id",
    "by_promotion": "promotion_id",
}
"""The column of an order that is filled where it shows a way; a promotion may be one of its lines' as well."""
DIRECT = "direct"


class WaySettings(Settings):
    """``methods/ways.yaml``. An order that shows several ways came about by the first of ``precedence``.

    A way that is left out is told of no order; one that shows none of them is ``direct``.
    """

    precedence: tuple[Way, ...] = Field(default=tuple(SIGNS), min_length=1)

    @field_validator("precedence")
    @classmethod
    def _each_once(cls, value: tuple[Way, ...]) -> tuple[Way, ...]:
        if twice := next((way for way in value if value.count(way) > 1), None):
            raise ValueError(f"{twice!r} stands twice; an order has one way, the first that it shows")
        return value


def way_code(precedence: Sequence[Way]) -> Column:
    """The way of an order as a number of ``detail_code``; ``promoted_lines`` is how many of its lines have a promotion."""
    found = F.when(F.lit(False), F.lit(0))
    for way in precedence:
        shown = F.col(SIGNS[way]).isNotNull()
        if way == "by_promotion":
            shown |= F.coalesce(F.col("promoted_lines"), F.lit(0)) > 0
        found = found.when(shown, F.lit(DETAILS[way]))
    return found.otherwise(F.lit(DETAILS[DIRECT]))
