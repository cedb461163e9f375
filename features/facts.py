"""Declared facts: one aggregate of one user's behaviour, as tags and audiences write it.

``{from: [pay], measure: orders, agg: count, window: 90}`` is the number of orders paid in the 90 business days that end
on ``as_of``. The kernel (features/kernel) computes facts; nothing else in Huaxiang counts behaviour by hand.

What a row must fulfil to count is said once, in ``features/kernel/selection.py``; what each measure means stands in
``MEASURES`` below and in definitions.md sections 0, 1 and 14.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from schemas.behaviours import BEHAVIOURS, BROWSE, DETAILS
from schemas.configuration import Settings, nearest

MAX_WINDOW_DAYS = 36_500
DEFAULT_HALF_LIFE_DAYS = 30.0
DEFAULT_WEIGHTS: dict[str, float] = {"view": 1, "search": 1, "favourite": 3, "cart": 4, "share": 4, "pay": 5}
"""Behaviour weights of ``preferred`` (definitions.md section 1); a behaviour that is not listed weighs 1."""
MAX_WEIGHT = 1_000.0

View = Literal["behaviour", "cash"]
Flagged = Literal["exclude", "include", "only"]


@dataclass(frozen=True)
class Measure:
    """What is measured: its aggregates and the columns of ``activity`` it reads (``product`` ones by way of the sku)."""

    aggs: tuple[str, ...]
    columns: tuple[str, ...]
    meaning: str
    product: bool = False


_OVER_VALUES = ("sum", "min", "max", "mean")
_OVER_KEYS = ("distinct", "first", "last", "mode", "preferred")

MEASURES: dict[str, Measure] = {
    "rows": Measure(("count",), (), "rows, one per behaviour"),
    "orders": Measure(("count",), ("order_key",), "distinct orders; rows without an order do not count"),
    "days": Measure(("count",), (), "distinct business days"),
    "visits": Measure(("count",), (), "browse rows with gaps of at most 30 minutes on one day are one visit"),
    "quantity": Measure(_OVER_VALUES, ("quantity",), "units per row"),
    "amount": Measure(_OVER_VALUES, ("amount_minor",), "money per row, before refunds"),
    "list_amount": Measure(_OVER_VALUES, ("list_amount_minor",), "money at list price per row"),
    "discount": Measure(_OVER_VALUES, ("list_amount_minor", "amount_minor"), "list price less money paid per row"),
    "net_amount": Measure(
        ("sum",), ("amount_minor",), "money paid less money back: on the order's day, in the cash view on the refund's"
    ),
    "sku": Measure(_OVER_KEYS, ("sku_code",), "product"),
    "brand": Measure(_OVER_KEYS, ("sku_code",), "brand of the product as of the day counted", product=True),
    "category": Measure(_OVER_KEYS, ("sku_code",), "leaf category of the product", product=True),
    "category_parent": Measure(_OVER_KEYS, ("sku_code",), "category above the leaf", product=True),
    "seller": Measure(_OVER_KEYS, ("seller_code",), "seller or distributor"),
    "channel": Measure(_OVER_KEYS, ("channel_code",), "channel, app or shop"),
    "peer": Measure(_OVER_KEYS, ("peer_uid",), "the other person of a share event, as uid; oneself is none"),
    "day": Measure(("first", "last", "returned", "reached"), (), "business day"),
    "gap_days": Measure(("mean", "max", "last"), (), "days between consecutive distinct business days"),
    "hour": Measure(("mode",), (), "local hour of the day, 0 to 23"),
}

KEY_COLUMNS: dict[str, str] = {m: s.columns[0] for m, s in MEASURES.items() if s.aggs == _OVER_KEYS}
PRODUCT_KEYS: tuple[str, ...] = tuple(m for m, s in MEASURES.items() if s.product)
TEXT_KEYS: tuple[str, ...] = tuple(k for k in KEY_COLUMNS if k != "peer")
"""Measures whose result the kernel gives as a code and the profile as text."""

# option -> the (measure, agg) pairs that read it; None stands for every measure
_OPTIONS: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "half_life_days": (None, ("preferred",)),
    "weights": (None, ("preferred",)),
    "min_events": (None, ("preferred",)),
    "min_share": (None, ("mode",)),
    "min_gap": ("day", ("returned",)),
    "min_gap_of": ("day", ("returned",)),
    "min_gaps": ("day", ("returned",)),
    "counts_of": ("day", ("reached",)),
    "counts": ("day", ("reached",)),
}
_FROM_BREAKS: dict[str, str] = {"min_gap_of": "min_gaps", "counts_of": "counts"}
"""Options that name a break -> the option that holds its frozen numbers once a run knows them."""


class Where(Settings):
    """Further conditions on rows; all must hold. Lists mean "one of"; names are texts as the shop writes them."""

    brand: tuple[str, ...] | None = None
    category: tuple[str, ...] | None = None
    category_parent: tuple[str, ...] | None = None
    sku: tuple[str, ...] | None = None
    seller: tuple[str, ...] | None = None
    channel: tuple[str, ...] | None = None
    on_promotion: bool | None = None
    detail: tuple[str, ...] | None = None
    peer: bool | None = None

    @field_validator("brand", "category", "category_parent", "sku", "seller", "channel", "detail", mode="before")
    @classmethod
    def _a_list(cls, value: Any) -> Any:
        values = (value,) if isinstance(value, str) else value
        if values is not None and not (values and all(values)):
            raise ValueError("an empty list or name matches nobody; leave the condition out or name a value")
        return values if values is None else tuple(dict.fromkeys(values))

    @field_validator("detail")
    @classmethod
    def _known_detail(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in value or ():
            if name not in DETAILS:
                raise ValueError(f"unknown detail {name!r}; {nearest(name, list(DETAILS))}")
        return value

    def conditions(self) -> dict[str, Any]:
        """What is set, in a fixed order; lists sorted, so that equal conditions compare equal."""
        found = {n: getattr(self, n) for n in type(self).model_fields if getattr(self, n) is not None}
        return {n: tuple(sorted(v)) if isinstance(v, tuple) else v for n, v in found.items()}


class Fact(Settings):
    """One aggregate per user. ``id`` names its column; without one the canonical id does.

    ``window`` is in business days ending on ``as_of``, both ends included; absent means ever. ``view: behaviour`` (the
    default) leaves out orders that are void by ``as_of``; ``view: cash`` keeps them, because the money moved.
    ``flagged`` orders, held for brushing by ``as_of``, are left out unless it says ``include`` (all) or ``only`` (them).
    ``half_life_days``, ``weights`` and ``min_events`` (rows that a value needs to be preferred) belong to ``preferred``;
    ``min_share`` (share of the rows that the most frequent value needs) to ``mode``.

    ``returned`` is the last day after a silence of at least ``min_gap`` days, or of ``min_gaps``: the days by how many
    distinct days came before the silence (one, two ..., the last number for more). ``reached`` is the day on which the
    count of distinct days went beyond the greatest of ``counts`` that it is beyond: with (1, 2, 7) the third day of who
    has five; the first day of who has one. Both can take their numbers from a break (``min_gap_of``, ``counts_of``),
    which ``resolved`` puts in.
    """

    id: str = ""
    behaviours: tuple[str, ...] = Field(alias="from", min_length=1)
    measure: str
    agg: str
    window: int | None = Field(default=None, ge=1, le=MAX_WINDOW_DAYS)
    where: Where = Where()
    view: View = "behaviour"
    flagged: Flagged = "exclude"
    half_life_days: float | None = Field(default=None, gt=0, le=MAX_WINDOW_DAYS)
    weights: Mapping[str, float] | None = None
    min_events: int | None = Field(default=None, ge=1)
    min_share: float | None = Field(default=None, gt=0, le=1)
    min_gap: int | None = Field(default=None, ge=2)
    min_gap_of: str | None = None
    min_gaps: tuple[int, ...] | None = Field(default=None, min_length=1)
    counts_of: str | None = None
    counts: tuple[int, ...] | None = Field(default=None, min_length=1)

    @field_validator("behaviours", mode="before")
    @classmethod
    def _known_behaviours(cls, value: Any) -> Any:
        names = (value,) if isinstance(value, str) else tuple(value or ())
        for name in names:
            if name not in BEHAVIOURS:
                raise ValueError(f"unknown behaviour {name!r}; {nearest(str(name), list(BEHAVIOURS))}")
        return tuple(sorted(set(names), key=BEHAVIOURS.__getitem__))

    @field_validator("measure")
    @classmethod
    def _known_measure(cls, value: str) -> str:
        if value not in MEASURES:
            raise ValueError(f"unknown measure {value!r}; {nearest(value, list(MEASURES))}")
        return value

    @model_validator(mode="after")
    def _possible(self) -> Fact:
        legal = MEASURES[self.measure].aggs
        if self.agg not in legal:
            raise ValueError(f"measure {self.measure!r} has no agg {self.agg!r}; it has {', '.join(legal)}")
        for option, (measure, aggs) in _OPTIONS.items():
            fits = self.agg in aggs and measure in (None, self.measure)
            if getattr(self, option) is not None and not fits:
                where = f"measure {measure!r}, agg" if measure else "agg"
                raise ValueError(f"{option!r} belongs to {where} {', '.join(aggs)}; agg {self.agg!r} does not read it")
        if self.agg == "returned" and (self.min_gap is None) == (self.min_gap_of is None and self.min_gaps is None):
            raise ValueError(
                "agg 'returned' needs min_gap, or min_gap_of: the days of silence after which a day is a return"
            )
        if any(gap < 2 for gap in self.min_gaps or ()):
            raise ValueError(f"min_gaps {self.min_gaps}: consecutive days are no silence; 2 is the least")
        if self.agg == "reached" and self.counts_of is None and self.counts is None:
            raise ValueError(
                "agg 'reached' needs counts, or counts_of: the numbers of days that part one class from the next"
            )
        if self.counts is not None and list(self.counts) != sorted(set(self.counts)):
            raise ValueError(f"counts {self.counts}: they ascend strictly")
        if self.measure == "net_amount" and self.behaviours != ("pay",):
            raise ValueError("measure 'net_amount' is defined from: [pay]; money back is subtracted by itself")
        if self.measure == "visits" and (other := set(self.behaviours) - set(BROWSE)):
            raise ValueError(
                f"visits are made of browse behaviours; {', '.join(sorted(other))} is none of {', '.join(BROWSE)}"
            )
        for name, weight in (self.weights or {}).items():
            if name not in self.behaviours:
                raise ValueError(f"weights name {name!r}, which is not in from: {', '.join(self.behaviours)}")
            if not 0 <= weight <= MAX_WEIGHT:
                raise ValueError(f"the weight of {name!r} is {weight}; weights are from 0 to {MAX_WEIGHT:g}")
        return self

    @property
    def reads(self) -> tuple[str, ...]:
        """Behaviours whose rows enter the fact: ``from``, and for ``net_amount`` the money that went back."""
        if self.measure != "net_amount":
            return self.behaviours
        return ("pay", "refund" if self.view == "cash" else "refund_of_order")

    @property
    def half_life(self) -> float:
        return DEFAULT_HALF_LIFE_DAYS if self.half_life_days is None else self.half_life_days

    def weight(self, behaviour: str) -> float:
        """Weight of one row of ``behaviour`` on its own day, for ``preferred``."""
        return float((self.weights or {}).get(behaviour, DEFAULT_WEIGHTS.get(behaviour, 1)))

    @property
    def breaks(self) -> tuple[str, ...]:
        """Breaks whose frozen numbers the fact needs before it can be computed."""
        return tuple(name for option in _FROM_BREAKS if (name := getattr(self, option)) is not None)

    def resolved(self, numbers: Mapping[str, Sequence[float]]) -> Fact:
        """The fact with the frozen numbers of its breaks put in, as whole numbers. KeyError for a break without any."""
        found = {
            into: tuple(round(n) for n in numbers[name])
            for option, into in _FROM_BREAKS.items()
            if (name := getattr(self, option)) is not None
        }
        # validated anew: numbers that make no sense are refused here, not inside a task
        return Fact.model_validate({**self.model_dump(by_alias=True), **found}) if found else self

    @cached_property
    def key(self) -> str:
        """The whole content but the id as text: equal for two facts that have equal values by definition."""
        said: dict[str, Any] = {
            "from": self.behaviours,
            "measure": self.measure,
            "agg": self.agg,
            "window": self.window,
            "view": self.view,
            "where": self.where.conditions(),
        }
        if self.flagged != "exclude":
            said["flagged"] = self.flagged
        if self.agg == "preferred":
            said["half_life_days"] = self.half_life
            said["weights"] = {b: self.weight(b) for b in self.behaviours}
            said["min_events"] = self.min_events or 1
        if self.agg == "mode":
            said["min_share"] = self.min_share or 0
        if self.agg == "returned":
            said["min_gap"] = self.min_gap
        for name in ("min_gap_of", "min_gaps", "counts_of", "counts"):
            if (given := getattr(self, name)) is not None:
                said[name] = given
        return json.dumps(said, sort_keys=True)

    @cached_property
    def canonical_id(self) -> str:
        """A column name made from the content alone, for facts that nobody named (an audience's event condition)."""
        names = "_".join(self.behaviours) if len(self.behaviours) <= 3 else f"{len(self.behaviours)}_behaviours"
        window = "ever" if self.window is None else f"{self.window}d"
        mark = hashlib.md5(self.key.encode(), usedforsecurity=False).hexdigest()[:10]
        return f"{names}_{self.measure}_{self.agg}_{window}_{mark}"

    @property
    def column(self) -> str:
        return self.id or self.canonical_id

    @property
    def kernel_type(self) -> pa.DataType:
        """Type of the kernel's column: values of text keys are codes, 0 never stands in it (absent is null)."""
        if self.measure in TEXT_KEYS and self.agg != "distinct":
            return pa.int32()
        if self.measure == "day":
            return pa.date32()
        if self.agg == "mean":
            return pa.float64()
        return pa.int32() if self.measure == "hour" else pa.int64()

    @property
    def arrow_type(self) -> pa.DataType:
        """Type of the fact for those who use it: the kernel's, with codes as texts."""
        return pa.string() if self.is_text else self.kernel_type

    @property
    def is_text(self) -> bool:
        return self.measure in TEXT_KEYS and self.agg != "distinct"

    @property
    def absent(self) -> int | None:
        """What a user without a counted row has: 0 for counts and sums, null otherwise."""
        return 0 if self.agg in ("count", "distinct", "sum") else None


@dataclass(frozen=True)
class Needs:
    """What facts read: columns of ``activity``, kinds of codes for names in conditions, products or not."""

    columns: tuple[str, ...]
    code_kinds: tuple[str, ...]
    products: bool


ORDERING = ("uid", "occurred_at", "day")
VALIDITY = ("valid_from_day", "void_day", "flagged_day")
LEARNED = ("void_known_day", "known_day")
_CONDITION_COLUMNS = {"on_promotion": "on_promotion", "detail": "detail_code", "peer": "peer_uid"}


def needs(facts: Iterable[Fact], known_at: bool = False) -> Needs:
    """Columns in a fixed order; days of learning only where the run asks what was known (``known_at``)."""
    facts = list(facts)
    columns = [*ORDERING, "behaviour_code", *VALIDITY, *(LEARNED if known_at else ())]
    kinds: set[str] = set()
    for fact in facts:
        columns += MEASURES[fact.measure].columns
        for name in fact.where.conditions():
            columns.append(_CONDITION_COLUMNS.get(name) or KEY_COLUMNS[name])
            if name in TEXT_KEYS:
                kinds.add(name)
        if fact.is_text:
            kinds.add(fact.measure)
    products = any(f.measure in PRODUCT_KEYS or set(f.where.conditions()) & set(PRODUCT_KEYS) for f in facts)
    return Needs(tuple(dict.fromkeys(columns)), tuple(sorted(kinds)), products)
