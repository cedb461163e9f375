"""Local stamps to instants, and instants to business months."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_EPOCH = date(1970, 1, 1)
NO_TIME = np.iinfo(np.int64).min
NO_MONTH = 197001
"""Month of rows of which no event time is known: one fixed slice, so that a later delivery finds them again."""


def instants_of(local: pa.ChunkedArray, zone: str) -> tuple[pa.ChunkedArray, np.ndarray]:
    """(microseconds UTC of local stamps, which of them fell into a daylight-saving gap or overlap).

    A stamp in a gap moves forward to its end, one in an overlap is the first of the two (definitions.md section 0).
    """
    try:
        exact = pc.assume_timezone(local, zone, ambiguous="raise", nonexistent="raise")
        return exact.cast(pa.int64()), np.zeros(len(local), dtype=bool)
    except pa.ArrowInvalid:
        chosen = pc.assume_timezone(local, zone, ambiguous="earliest", nonexistent="latest").cast(pa.int64())
        other = pc.assume_timezone(local, zone, ambiguous="latest", nonexistent="earliest").cast(pa.int64())
        hit = pc.fill_null(pc.not_equal(chosen, other), False)
        return chosen, hit.to_numpy()


def business_day_of(moment: datetime, zone: str) -> date:
    """The date of a moment in the business time zone."""
    return moment.astimezone(ZoneInfo(zone)).date()


def iso_day_of(moment: datetime | None, zone: str) -> str | None:
    """``business_day_of`` as text, as map tasks take it; None for no moment."""
    return None if moment is None else business_day_of(moment, zone).isoformat()


def day_number(day: date) -> int:
    """Days since 1970, as the kernel and Arrow's ``date32`` count them."""
    return (day - _EPOCH).days


def business_months(event_us: np.ndarray, zone: str) -> np.ndarray:
    """yyyymm of each instant in the business time zone; ``NO_MONTH`` where the instant is ``NO_TIME``."""
    found = np.full(len(event_us), NO_MONTH, dtype=np.int32)
    known = event_us != NO_TIME
    if not known.any():
        return found
    at = event_us[known]
    starts, months = _month_starts(int(at.min()), int(at.max()), ZoneInfo(zone))
    found[known] = months[np.searchsorted(starts, at, side="right") - 1]
    return found


def _month_starts(first_us: int, last_us: int, zone: ZoneInfo) -> tuple[np.ndarray, np.ndarray]:
    day = datetime.fromtimestamp(first_us // 1_000_000, zone)
    year, month = day.year, day.month
    starts: list[int] = []
    months: list[int] = []
    while not starts or starts[-1] <= last_us:
        starts.append(int(datetime(year, month, 1, tzinfo=zone).timestamp()) * 1_000_000)
        months.append(year * 100 + month)
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    return np.array(starts, dtype=np.int64), np.array(months, dtype=np.int32)
