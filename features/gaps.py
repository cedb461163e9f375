"""Gaps between purchase days, counted: all that the lifecycle's curves are made of (definitions.md section 4)."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
from pydantic import Field

from features.instants import day_number
from features.kernel.selection import Selection
from schemas.configuration import Settings

MOST_PURCHASE_DAYS = 100
"""Gaps after so many purchase days or more are counted together."""


class LifecycleSettings(Settings):
    """``methods/lifecycle.yaml``: how far curves are trusted, and how often they are drawn anew."""

    min_at_risk: int = Field(default=30, ge=1)
    min_followed_days: int = Field(default=90, ge=1)
    min_users: int = Field(default=100, ge=1)
    min_stability: float = Field(default=0.8, ge=0, le=1)
    refresh_days: int = Field(default=7, ge=1)


def counted_gaps(paid: Selection, as_of: date, *, most: int = MOST_PURCHASE_DAYS) -> pa.Table:
    """``purchase_days``, ``days``, ``ended``, ``users``: how many gaps began with a user's n-th purchase day, lasted so long.

    ``paid`` are the rows that count on ``as_of``. A user with n purchase days has n - 1 gaps that ended and one that
    did not, of as many days as passed until ``as_of``. In order of the three keys.
    """
    today = day_number(as_of)
    opens = paid.opens_day
    day = paid.column("day")[opens].astype(np.int64)
    user = paid.user[opens].astype(np.int64)
    if not len(day):
        return _table(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, bool), np.empty(0, np.int64))
    first = np.flatnonzero(np.diff(user, prepend=-1))
    nth = np.arange(len(day)) - np.repeat(first, np.diff(first, append=len(day))) + 1
    ended = np.zeros(len(day), bool)
    ended[:-1] = user[1:] == user[:-1]
    length = np.where(ended, np.append(day[1:], today), today) - day
    span = int(length.max()) + 1
    keys, users = np.unique((np.minimum(nth, most) * span + length) * 2 + ended, return_counts=True)
    return _table(keys // 2 // span, keys // 2 % span, keys % 2 == 1, users)


def _table(purchase_days: np.ndarray, days: np.ndarray, ended: np.ndarray, users: np.ndarray) -> pa.Table:
    return pa.table(
        {
            "purchase_days": pa.array(purchase_days, pa.int64()),
            "days": pa.array(days, pa.int64()),
            "ended": pa.array(ended, pa.bool_()),
            "users": pa.array(users, pa.int64()),
        }
    )
