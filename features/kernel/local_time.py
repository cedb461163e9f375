"""Local hours from instants, in whole arrays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

HOUR_US = 3_600_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def local_hour(at: np.ndarray, zone: str) -> np.ndarray:
    """Hour of the local day, 0 to 23, of instants in microseconds since 1970 UTC."""
    if not len(at):
        return np.empty(0, np.int32)
    first = _EPOCH + timedelta(microseconds=int(at.min()))
    last = _EPOCH + timedelta(microseconds=int(at.max()))
    instants, offsets = _offsets(zone, first.year, last.year)
    constant = len(offsets) == 1
    shifted = at + (offsets[0] if constant else offsets[np.searchsorted(instants, at, side="right") - 1])
    shifted //= HOUR_US
    shifted %= 24
    return shifted.astype(np.int32)


@lru_cache(maxsize=64)
def _offsets(zone: str, first_year: int, last_year: int) -> tuple[np.ndarray, np.ndarray]:
    """Instants from which an offset to UTC holds, and the offsets, both in microseconds, over whole years."""
    local = ZoneInfo(zone)

    def offset(moment: datetime) -> timedelta:
        found = moment.astimezone(local).utcoffset()
        assert found is not None
        return found

    day, end = datetime(first_year, 1, 1, tzinfo=UTC), datetime(last_year + 1, 1, 1, tzinfo=UTC)
    instants, offsets = [day], [offset(day)]
    while day < end:
        following = day + timedelta(days=1)
        if offset(following) != offsets[-1]:
            low, high = day, following
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                low, high = (middle, high) if offset(middle) == offsets[-1] else (low, middle)
            # zone changes fall on whole minutes; the search ends within a second after one
            instants.append(high.replace(second=0, microsecond=0))
            offsets.append(offset(following))
        day = following
    micro = timedelta(microseconds=1)
    return (
        np.array([(i - _EPOCH) // micro for i in instants], np.int64),
        np.array([o // micro for o in offsets], np.int64),
    )
