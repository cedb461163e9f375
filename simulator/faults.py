"""What goes wrong on the way: late rows, rows delivered twice, and rows that cannot be taken. All of it is recorded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from simulator.feeds import Clean
from simulator.people import Ints
from simulator.season import Season, stream

GOOD, BAD_TIME, BAD_AMOUNT, BAD_BEHAVIOUR, NO_KEY, NO_PERSON, NO_TAG = range(7)
FAULTS = (
    "good",
    "unparseable_time",
    "negative_amount",
    "unknown_behaviour",
    "missing_key",
    "missing_person",
    "missing_tag",
)
DAILY_DAYS = 7
"""The last days come one file a day; before them a file covers a month, or what there is of it."""


@dataclass(frozen=True)
class Rates:
    """Shares of a feed's rows. ``has_ids``: without ids, a row can only be known again in a later file."""

    late: float
    twice: float
    bad: float
    kinds: tuple[int, ...]
    has_ids: bool = True


RATES = {
    "members": Rates(0.0, 0.001, 0.0002, (NO_KEY,)),
    "products": Rates(0.0, 0.0, 0.002, (BAD_AMOUNT,)),
    "orders": Rates(0.003, 0.004, 0.0004, (BAD_TIME, BAD_AMOUNT)),
    "order_lines": Rates(0.003, 0.003, 0.0003, (BAD_AMOUNT,), has_ids=False),
    "refunds": Rates(0.01, 0.004, 0.002, (BAD_TIME, BAD_AMOUNT)),
    "browse": Rates(0.02, 0.003, 0.0003, (BAD_BEHAVIOUR, BAD_TIME)),
    "shares": Rates(0.02, 0.003, 0.0004, (BAD_BEHAVIOUR, BAD_TIME)),
    "coupons": Rates(0.01, 0.003, 0.0006, (BAD_TIME, BAD_AMOUNT), has_ids=False),
    "surveys": Rates(0.02, 0.004, 0.002, (NO_PERSON, BAD_TIME)),
    "manual_tags": Rates(0.0, 0.01, 0.01, (NO_PERSON, NO_TAG), has_ids=False),
}
VERY_LATE = 0.03  # of the late rows: ten days and more


@dataclass(frozen=True)
class Feed:
    """A feed as it arrives, in order of arrival: its rows, the day on which each arrives, and what is wrong with it."""

    name: str
    rows: pa.Table
    arrived: Ints
    fault: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.arrived)


@dataclass(frozen=True)
class Faults:
    """Truth about one feed's delivery, as tables."""

    late: pa.Table
    twice: pa.Table
    bad: pa.Table


def _some(rng: np.random.Generator, among: Ints, share: float, least: int) -> Ints:
    wanted = max(round(share * len(among)), least) if share > 0 else 0
    return np.sort(rng.choice(among, min(wanted, len(among)), replace=False)) if len(among) else among


def days_as_dates(season: Season, days: Ints) -> pa.Array:
    return pa.array((days + season.epoch_day).astype(np.int32)).cast(pa.date32())


def _plain(values: pa.Array) -> pa.Array:
    return values.dictionary_decode() if isinstance(values, pa.DictionaryArray) else values


def with_faults(seed: int, season: Season, name: str, clean: Clean) -> tuple[Feed, Faults]:
    """The feed with its faults. Rows that nothing happens to are delivered on the day they are made."""
    rng = stream(seed, f"faults {name}")
    rates = RATES[name]
    n, last = len(clean.made), season.days - 1
    every = np.arange(n)
    arrived = clean.made.copy()
    late = _some(rng, np.flatnonzero(clean.made < last), rates.late, 4)
    delay = np.where(rng.random(len(late)) < VERY_LATE, rng.integers(10, 21, len(late)), rng.integers(1, 4, len(late)))
    if len(late):
        delay[0] = 12
    arrived[late] = np.minimum(arrived[late] + delay, last)

    if rates.has_ids:
        twice = _some(rng, every, rates.twice, 4)
        later = np.where(rng.random(len(twice)) < 0.5, 0, rng.integers(1, 4, len(twice)))
        again = np.minimum(arrived[twice] + later, last)
    else:
        twice = _some(rng, np.flatnonzero((arrived < last) & (arrived >= 0)), rates.twice, 4)
        again = np.maximum(arrived[twice] + 1, last - rng.integers(0, DAILY_DAYS, len(twice)))
    spoilt = _some(rng, np.flatnonzero(clean.made >= 0), rates.bad, 2)
    kind = np.resize(np.array(rates.kinds, np.int8), len(spoilt))

    row = np.concatenate([every, twice, spoilt])
    when = np.concatenate([arrived, again, arrived[spoilt]])
    fault = np.concatenate([np.zeros(n + len(twice), np.int8), kind])
    order = np.lexsort((row, when))
    rows = clean.rows.take(pa.array(row[order]))
    fault = fault[order]
    if rates.has_ids:
        rows = _with_own_ids(rows, fault, clean)
    key = _plain(clean.key)
    again_key, late_key, bad_key = (key.take(pa.array(r)) for r in (twice, late, spoilt))
    names = {"feed": pa.array([name])}
    tables = Faults(
        late=pa.table(
            {
                **_repeated(names, len(late)),
                "key": late_key,
                "made_day": days_as_dates(season, clean.made[late]),
                "delivered_day": days_as_dates(season, arrived[late]),
                "late_days": pa.array(arrived[late] - clean.made[late]),
            }
        ),
        twice=pa.table(
            {
                **_repeated(names, len(twice)),
                "key": again_key,
                "first_delivered_day": days_as_dates(season, arrived[twice]),
                "delivered_again_day": days_as_dates(season, again),
                "same_delivery": pa.array(again == arrived[twice]),
            }
        ),
        bad=pa.table(
            {
                **_repeated(names, len(spoilt)),
                "made_from_key": bad_key,
                "delivered_day": days_as_dates(season, arrived[spoilt]),
                "fault": pa.array([FAULTS[k] for k in kind], pa.string()),
            }
        ),
    )
    return Feed(name, rows, when[order], fault), tables


def _repeated(names: dict[str, pa.Array], n: int) -> dict[str, pa.Array]:
    return {k: v.take(pa.array(np.zeros(n, np.int64))) for k, v in names.items()}


def _with_own_ids(rows: pa.Table, fault: NDArray[np.int8], clean: Clean) -> pa.Table:
    """A spoilt row is a row of its own, so it gets an id that no good row has."""
    column = rows.column_names[0]
    values = rows[column].combine_chunks()
    spoilt = np.flatnonzero(fault)
    own = pc.binary_join_element_wise("x", _plain(values.take(pa.array(spoilt))), "")
    if isinstance(values, pa.DictionaryArray):
        size = len(values.dictionary)
        codes = values.indices.to_numpy(zero_copy_only=False).copy()
        codes[spoilt] = size + np.arange(len(spoilt))
        changed: pa.Array = pa.DictionaryArray.from_arrays(
            pa.array(codes.astype(np.int32)), pa.concat_arrays([values.dictionary, own])
        )
    else:
        changed = pc.replace_with_mask(values, pa.array(fault > 0), own)
    return rows.set_column(0, column, changed)
