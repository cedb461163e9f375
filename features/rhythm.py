"""Whether a feed is silent for longer than it usually is: the days on which its rows lie against a business day."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from pydantic import Field

from schemas.configuration import Settings

ENOUGH_GAPS = 6
"""Gaps between days with rows from which a feed has a rhythm of its own."""


class ArrivalSettings(Settings):
    """When the silence of a feed is told (``arrivals`` in huaxiang.yaml). Days are business days.

    ``days`` before a feed's newest row give its rhythm; a silence is told where at most the share ``rare`` of the gaps
    between its days with rows were longer. A feed with too few such days is told after ``days_without_rhythm``, and
    after twice its longest gap.
    """

    days: int = Field(default=56, ge=7)
    rare: float = Field(default=0.05, ge=0, lt=1)
    days_without_rhythm: int = Field(default=7, ge=1)


@dataclass(frozen=True)
class Silence:
    """``newest`` day with rows by ``as_of``, how many days before it that is, and the longest usual gap (absent: unknown).

    ``usual_days`` is 1 for a feed with rows on every day.
    """

    newest: date
    age_days: int
    usual_days: int | None
    is_unusual: bool


def silence(
    days: Collection[date], as_of: date, settings: ArrivalSettings, *, is_reference: bool = False
) -> Silence | None:
    """The silence of a feed whose rows lie on ``days``; None where none is by ``as_of``.

    A gap is counted in days from one day with rows to the next: 1 on consecutive days. ``is_reference``: nobody expects
    rows of a feed that came once (products, members).
    """
    there = sorted({d for d in days if d <= as_of})
    if not there:
        return None
    newest = there[-1]
    age = (as_of - newest).days
    first = newest - timedelta(days=settings.days)
    recent = [d for d in there if d >= first]
    gaps = sorted((b - a).days for a, b in pairwise(recent))
    if len(gaps) < ENOUGH_GAPS:
        longest = gaps[-1] if gaps else None
        told = age > max(settings.days_without_rhythm, 2 * (longest or 0)) and not (is_reference and not gaps)
        return Silence(newest, age, longest, told)
    beyond = int(settings.rare * len(gaps))
    usual = gaps[len(gaps) - 1 - beyond]
    # The next row can come tomorrow at the earliest: the gap that is open is already one day longer than its age.
    return Silence(newest, age, usual, age >= usual)
