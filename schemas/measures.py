"""What can be measured of a user's behaviour and which of its rows count: said once, for facts of tags and audiences alike.

A tag's fact (``features/facts.py``) and an audience's event condition (``audiences/conditions.py``) are two ways of writing
the same: behaviours, a measure with its aggregate, a window, conditions on rows, a view. What each of these may be stands
here; what a row must fulfil to count is computed in ``features/kernel/selection.py``, after definitions.md sections 0, 1, 14.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from schemas.behaviours import BROWSE, DETAILS
from schemas.configuration import Settings, nearest
from schemas.contracts import Type

MAX_WINDOW_DAYS = 36_500

View = Literal["behaviour", "cash"]
Window = Annotated[int | None, Field(ge=1, le=MAX_WINDOW_DAYS)]
"""Business days that end on ``as_of``, both ends included; absent is ever."""


@dataclass(frozen=True)
class Measure:
    """What is measured: its aggregates and the columns of ``activity`` it reads (``product`` ones by way of the sku).

    ``zh`` and ``en`` are what a condition calls it. ``unit`` is that of its numbers; absent: whatever the tag calls them.
    ``compared`` are the aggregates that an event condition can hold against a number or a day, the usual one first;
    absent: all.
    ``negative``: a sum may lie below 0.
    """

    aggs: tuple[str, ...]
    columns: tuple[str, ...]
    meaning: str
    zh: str
    en: str
    unit: str | None = None
    compared: tuple[str, ...] | None = None
    product: bool = False
    negative: bool = False


_OVER_VALUES = ("sum", "min", "max", "mean")
_OVER_KEYS = ("distinct", "first", "last", "mode", "preferred")
_MONEY, _LIST_MONEY = ("amount_minor",), ("list_amount_minor",)


def _key(column: str, meaning: str, zh: str, en: str, unit: str, *, product: bool = False) -> Measure:
    return Measure(_OVER_KEYS, (column,), meaning, zh, en, unit, ("distinct",), product)


MEASURES: dict[str, Measure] = {
    "rows": Measure(("count",), (), "rows, one per behaviour", "次数", "times"),
    "orders": Measure(
        ("count",), ("order_key",), "distinct orders; rows without an order do not count", "订单数", "orders", "orders"
    ),
    "days": Measure(("count",), (), "distinct business days", "天数", "days with", "days"),
    "visits": Measure(
        ("count",),
        (),
        "browse rows with gaps of at most 30 minutes on one day are one visit",
        "到访次数",
        "visits",
        "visits",
    ),
    "quantity": Measure(_OVER_VALUES, ("quantity",), "units per row", "件数", "units", "units"),
    "amount": Measure(_OVER_VALUES, _MONEY, "money per row, before refunds", "金额", "money", "minor"),
    "list_amount": Measure(
        _OVER_VALUES, _LIST_MONEY, "money at list price per row", "标价金额", "money at list price", "minor"
    ),
    "discount": Measure(
        _OVER_VALUES,
        (*_LIST_MONEY, *_MONEY),
        "list price less money paid per row",
        "优惠金额",
        "discount",
        "minor",
        negative=True,
    ),
    "net_amount": Measure(
        ("sum",),
        _MONEY,
        "money paid less money back: on the order's day, in the cash view on the refund's",
        "净额",
        "net money",
        "minor",
        negative=True,
    ),
    "sku": _key("sku_code", "product", "商品数", "products", "products"),
    "brand": _key("sku_code", "brand of the product as of the day counted", "品牌数", "brands", "brands", product=True),
    "category": _key("sku_code", "leaf category of the product", "类目数", "categories", "categories", product=True),
    "category_parent": _key(
        "sku_code", "category above the leaf", "上级类目数", "parent categories", "categories", product=True
    ),
    "seller": _key("seller_code", "seller or distributor", "店铺数", "sellers", "sellers"),
    "channel": _key("channel_code", "channel, app or shop", "渠道数", "channels", "channels"),
    "peer": _key(
        "peer_uid",
        "the other person of a share event, as uid; oneself is none",
        "对方人数",
        "other people",
        "people",
    ),
    "day": Measure(
        ("first", "last", "returned", "reached"), (), "business day", "日期", "day", compared=("last", "first")
    ),
    "gap_days": Measure(
        ("mean", "max", "last"),
        (),
        "days between consecutive distinct business days",
        "间隔天数",
        "days between",
        "days",
    ),
    "hour": Measure(("mode",), (), "local hour of the day, 0 to 23", "时段", "hour", "hour", compared=()),
}

AGGS: dict[str, tuple[str, ...]] = {m: s.aggs for m, s in MEASURES.items()}
COMPARED: dict[str, tuple[str, ...]] = {
    m: aggs for m, s in MEASURES.items() if (aggs := s.aggs if s.compared is None else s.compared)
}
"""What an event condition can measure, by aggregate; the first is the default."""
KEY_COLUMNS: dict[str, str] = {m: s.columns[0] for m, s in MEASURES.items() if s.aggs == _OVER_KEYS}
PRODUCT_KEYS: tuple[str, ...] = tuple(m for m, s in MEASURES.items() if s.product)
TEXT_KEYS: tuple[str, ...] = tuple(k for k in KEY_COLUMNS if k != "peer")
"""Measures whose result the kernel gives as a code and the profile as text."""
CODED_KEYS: tuple[str, ...] = tuple(k for k in TEXT_KEYS if k not in PRODUCT_KEYS)
"""Kinds of ``activity.codes``; the texts of the other keys are those of the product."""

PRODUCT_CONDITIONS: tuple[str, ...] = (*PRODUCT_KEYS, "in_category")
"""Conditions on rows by way of their product."""
CATEGORY_KEYS = ("category", "category_parent")
"""Levels of a category."""


def value_type(measure: str, agg: str) -> Type:
    """Type of an aggregate of a measure, for those who use it: keys are texts."""
    if measure in TEXT_KEYS and agg != "distinct":
        return "string"
    if measure == "day":
        return "date"
    if agg == "mean":
        return "float64"
    return "int32" if measure == "hour" else "int64"


def mistake(
    measure: str, agg: str | None, behaviours: Sequence[str], aggs: Mapping[str, tuple[str, ...]]
) -> tuple[Literal["measure", "agg", "behaviours"], str] | None:
    """Which part cannot be meant, and why; None if all can. ``aggs`` are ``AGGS`` or ``COMPARED``, without ``agg`` any fits."""
    if measure not in aggs:
        return "measure", f"unknown measure {measure!r}; {nearest(measure, list(aggs))}"
    if agg is not None and agg not in aggs[measure]:
        return "agg", f"measure {measure!r} has no agg {agg!r}; it has {', '.join(aggs[measure])}"
    if measure == "net_amount" and tuple(behaviours) != ("pay",):
        return "behaviours", "measure 'net_amount' is defined of pay alone; money back is subtracted by itself"
    if measure == "visits" and (other := set(behaviours) - set(BROWSE)):
        named = ", ".join(sorted(other))
        return "behaviours", f"visits are made of browse behaviours; {named} is none of {', '.join(BROWSE)}"
    return None


def refuse_unknown(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    """ValueError for the first name that is not known, with the nearest that is."""
    listed = list(known)
    for name in names:
        if name not in listed:
            raise ValueError(f"unknown {what} {name!r}; {nearest(str(name), listed)}")


def _as_list(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) or value is None else [value]


def _names_somebody(value: tuple[str, ...] | None) -> tuple[str, ...] | None:
    # After validation, so that a wrong item is not reported a second time as a list that is too short.
    if value is None:
        return None
    if not value:
        raise ValueError("the list is empty and matches nobody; leave the condition out or name a value")
    if not all(value):
        raise ValueError("an empty name matches nobody; leave the condition out or name a value")
    return tuple(dict.fromkeys(value))


def _known_details(value: tuple[str, ...] | None) -> tuple[str, ...] | None:
    refuse_unknown("detail", value or (), DETAILS)
    return value


Names = Annotated[tuple[str, ...] | None, BeforeValidator(_as_list), AfterValidator(_names_somebody)]


class Where(Settings):
    """Further conditions on rows; all must hold. Lists mean "one of"; names are texts as the shop writes them.

    ``in_category`` is a category of any level: the product's own or the one above it.
    """

    brand: Names = None
    category: Names = None
    category_parent: Names = None
    in_category: Names = None
    sku: Names = None
    seller: Names = None
    channel: Names = None
    detail: Annotated[Names, AfterValidator(_known_details)] = None
    on_promotion: bool | None = None
    peer: bool | None = None

    @property
    def lists(self) -> tuple[str, ...]:
        """Names of the conditions that are lists."""
        return tuple(n for n in type(self).model_fields if n not in ("on_promotion", "peer"))

    @property
    def given(self) -> dict[str, Any]:
        """What is set, lists as they were written."""
        return {n: getattr(self, n) for n in type(self).model_fields if getattr(self, n) is not None}

    def names(self, key: str) -> tuple[str, ...]:
        """Names that a key of rows (``category``, ``sku`` ...) is held against."""
        held = (key, "in_category") if key in CATEGORY_KEYS else (key,)
        return tuple(name for k in held for name in getattr(self, k) or ())

    def conditions(self) -> dict[str, Any]:
        """What is set, lists sorted, so that equal conditions compare equal."""
        return {n: tuple(sorted(v)) if isinstance(v, tuple) else v for n, v in self.given.items()}


CONDITION_COLUMNS: dict[str, str] = {
    **{n: c for n, c in KEY_COLUMNS.items() if n in Where.model_fields},
    "in_category": "sku_code",
    "detail": "detail_code",
    "on_promotion": "on_promotion",
}
"""The column of ``activity`` that each condition reads."""
WHERE_ZH = {
    "brand": "品牌",
    "category": "类目",
    "category_parent": "上级类目",
    "in_category": "任一级类目",
    "sku": "商品",
    "seller": "店铺",
    "channel": "渠道",
    "detail": "细节",
    "on_promotion": "促销",
    "peer": "有对方",
}
