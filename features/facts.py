"""Declared facts: one aggregate of one user's behaviour, as tags and audiences write it.

``{from: [pay], measure: orders, agg: count, window: 90}`` is the number of orders paid in the 90 business days that end
on ``as_of``. The kernel (features/kernel) computes facts; nothing else in Huaxiang counts behaviour by hand.

What can be measured, and on which conditions, stands in ``schemas/measures.py``; what a row must fulfil to count is said
once, in ``features/kernel/selection.py``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from schemas.arrow import ARROW
from schemas.behaviours import BEHAVIOURS
from schemas.configuration import Settings
from schemas.contracts import Type
from schemas.measures import (
    AGGS,
    CONDITION_COLUMNS,
    MAX_WINDOW_DAYS,
    MEASURES,
    PRODUCT_CONDITIONS,
    PRODUCT_KEYS,
    TEXT_KEYS,
    View,
    Where,
    Window,
    mistake,
    refuse_unknown,
    value_type,
)

DEFAULT_HALF_LIFE_DAYS = 30.0
DEFAULT_WEIGHTS: dict[str, float] = {"view": 1, "search": 1, "favourite": 3, "cart": 4, "share": 4, "pay": 5}
"""Behaviour weights of ``preferred`` (definitions.md section 1); a behaviour that is not listed weighs 1."""
MAX_WEIGHT = 1_000.0

Flagged = Literal["exclude", "include", "only"]

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


class Fact(Settings):
    """One aggregate per user. ``id`` names its column; without one the canonical id does.

    ``window`` is in business days ending on ``as_of``, both ends included; absent means ever. ``ago`` leaves out its last
    days: {window: 31, ago: 7} are the days from 30 to 7 before ``as_of``. ``view: behaviour`` (the
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
    window: Window = None
    ago: int = Field(default=0, ge=0, le=MAX_WINDOW_DAYS)
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
        refuse_unknown("behaviour", names, BEHAVIOURS)
        return tuple(sorted(set(names), key=BEHAVIOURS.__getitem__))

    @field_validator("measure")
    @classmethod
    def _known_measure(cls, value: str) -> str:
        refuse_unknown("measure", (value,), AGGS)
        return value

    @model_validator(mode="after")
    def _possible(self) -> Fact:
        if wrong := mistake(self.measure, self.agg, self.behaviours, AGGS):
            raise ValueError(wrong[1])
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
        if self.ago:
            said["ago"] = self.ago
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
        return pa.int32() if self.is_text else self.arrow_type

    @property
    def arrow_type(self) -> pa.DataType:
        """Type of the fact for those who use it: the kernel's, with codes as texts."""
        return ARROW[self.value_type]

    @property
    def value_type(self) -> Type:
        """The same in words of the dictionary."""
        return value_type(self.measure, self.agg)

    @property
    def is_text(self) -> bool:
        return self.value_type == "string"

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


def first_day(facts: Iterable[Fact], as_of: date) -> date | None:
    """The earliest day that a window of the facts reaches; None if one reaches back for ever, or there are no facts."""
    windows = [f.window for f in facts]
    if not windows or None in windows:
        return None
    return as_of - timedelta(days=max(w for w in windows if w is not None) - 1)


ORDERING = ("uid", "occurred_at", "day")
VALIDITY = ("valid_from_day", "void_day", "flagged_day")
LEARNED = ("void_known_day", "known_day")


def needs(facts: Iterable[Fact], known_at: bool = False) -> Needs:
    """Columns in a fixed order; days of learning only where the run asks what was known (``known_at``)."""
    facts = list(facts)
    columns = [*ORDERING, "behaviour_code", *VALIDITY, *(LEARNED if known_at else ())]
    kinds: set[str] = set()
    for fact in facts:
        columns += MEASURES[fact.measure].columns
        for name in fact.where.conditions():
            columns.append(CONDITION_COLUMNS[name])
            if name in TEXT_KEYS:
                kinds.add(name)
        if fact.is_text:
            kinds.add(fact.measure)
    products = any(f.measure in PRODUCT_KEYS or set(f.where.conditions()) & set(PRODUCT_CONDITIONS) for f in facts)
    return Needs(tuple(dict.fromkeys(columns)), tuple(sorted(kinds)), products)
