"""Touches of a campaign: whose they were, what they cost, and the orders that are credited to them.

Credit is no cause: it is shown beside the lift of the held out, never in its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from campaigns.attribution import METHODS, credits_by_rule, markov_shares, moves_of, paths_of
from campaigns.language import ABOVE, HELD_OUT
from campaigns.touches import SEEN, TOUCHES, WHOSE
from features.kernel.rows import USERS_PER_BUCKET
from features.kernel.selection import paid
from jobs.activity.bucket_files import BucketFiles, Wanted
from jobs.campaigns.assigned import ArmHolders, Inputs
from lake.lake import Lake
from lake.releases import Release
from lake.sql import connect
from schemas.behaviours import BEHAVIOURS

COLUMNS = ("occurred_at", "day", "behaviour_code", "order_key", "valid_from_day", "void_day", "flagged_day")
IN_TURN = f'select uid, "at", day, channel, touch_state, cost_minor from ({WHOSE}) order by uid, "at"'


@dataclass(frozen=True)
class Touches:
    """The campaign's touches up to the release's day, in order of person and time, as a file; and their channels."""

    file: Path
    channels: tuple[str, ...]
    rows: int
    has_costs: bool


@dataclass(frozen=True)
class ChannelCredit:
    """Orders credited to a channel by one method, and the channel's touches that were seen and costs."""

    method: str
    channel: str
    credited_orders: float
    touches: int
    cost_minor: int


@dataclass(frozen=True)
class Attribution:
    """What touches brought, by method and channel: credits of a method sum to ``attributed_orders``.

    ``orders`` are all within the windows of who is not held out; those without a touch before them are credited to none.
    """

    orders: int
    attributed_orders: float
    credits: tuple[ChannelCredit, ...]
    cost_by_arm: dict[str, int]
    warnings: tuple[str, ...]


def touches_of(lake: Lake, at: Release, campaign: str, scratch: Path) -> Touches | None:
    """The touches as the release has them; None where it has none of the campaign."""
    if TOUCHES not in at.tables:
        return None
    scratch.mkdir(parents=True, exist_ok=True)
    file = scratch / "touches.parquet"
    with connect(lake, at, ("silver", "identity")) as con:
        found = con.sql(IN_TURN, params={"campaign": campaign, "as_of": at.as_of}).to_arrow_reader(1 << 17)
        channels: set[str] = set()
        rows, costs = 0, 0
        with pq.ParquetWriter(file, found.schema) as out:
            for batch in found:
                channels.update(c for c in pc.unique(batch["channel"]).to_pylist() if c is not None)
                rows, costs = rows + len(batch), costs + (pc.sum(batch["cost_minor"]).as_py() or 0)
                out.write_batch(batch)
    return Touches(file, tuple(sorted(channels)), rows, costs > 0) if rows else None


def credited_in_bucket(item: Inputs, people: ArmHolders) -> dict[str, Any]:
    """Part of a task: credits and moves of one bucket by channel, what touches cost by arm, and how many were seen."""
    low = item["bucket"] * USERS_PER_BUCKET
    uid = pads.field("uid")
    table = pads.dataset(item["touches"]).to_table(filter=(uid >= low) & (uid < low + USERS_PER_BUCKET))
    channels, n = pa.array(item["channels"], pa.string()), len(item["channels"])
    arm = people.texts("arm")
    touched = table["uid"].to_numpy()
    place = np.minimum(np.searchsorted(people.uid, touched), len(people.uid) - 1)
    known = people.uid[place] == touched
    cost = np.asarray(table["cost_minor"].to_numpy(), np.int64)
    channel = np.asarray(pc.index_in(table["channel"], channels).to_numpy(), np.int64)
    # What is shown to the held out by mistake costs, and is no part of what the campaign did for others.
    mine = known & ~np.isin(arm[place], [HELD_OUT, ABOVE])
    seen = mine & np.asarray(pc.is_in(table["touch_state"], pa.array(SEEN)).to_numpy(), np.bool_)
    since = np.asarray(table["day"].cast(pa.int32()).to_numpy(), np.int64) - people.days[place]
    seen &= (since > 0) & (since <= item["window"])
    at = np.asarray(table["at"].to_numpy(), np.int64)
    treated = np.flatnonzero(~np.isin(arm, [HELD_OUT, ABOVE]))
    buyer, when = _orders(item, people, treated)
    j = paths_of(place[seen], at[seen], channel[seen], buyer, when)
    by_arm: Counter[str] = Counter()
    for a, c in zip(arm[place[known]].tolist(), cost[known].tolist(), strict=True):
        by_arm[a] += c
    return {
        "orders": len(buyer),
        "attributed": j.attributed_orders,
        "credits": {m: c.tolist() for m, c in credits_by_rule(j, n, half_life_days=item["half_life"]).items()},
        "moves": moves_of(j, n).tolist(),
        "seen": np.bincount(channel[seen], minlength=n).tolist(),
        "cost": np.bincount(channel[mine], cost[mine], n).tolist(),
        "cost_by_arm": dict(by_arm),
        "known": int(known.sum()),
        "held": int((known & (arm[place] == HELD_OUT) & np.isin(table["touch_state"].to_pylist(), SEEN)).sum()),
    }


def _orders(item: Inputs, people: ArmHolders, treated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place among the people and moment of every valid order in the window of who is not held out."""
    as_of, base = date.fromisoformat(item["as_of"]), item["bucket"] * USERS_PER_BUCKET
    wanted = Wanted(as_of, behaviours=(BEHAVIOURS["pay"],))
    rows = paid(BucketFiles(item["activity"], wanted).rows(COLUMNS, base=base), as_of)
    place = np.full(USERS_PER_BUCKET, -1, np.int64)
    place[people.uid[treated] - base] = treated
    who, day = place[rows.user], rows.column("day")
    assigned = people.days[np.maximum(who, 0)]
    inside = (who >= 0) & (day > assigned) & (day <= assigned + item["window"])
    who, at, key = who[inside], rows.column("occurred_at")[inside], rows.column("order_key")[inside]
    order = np.lexsort((at, key, who))
    first = np.ones(len(order), np.bool_)
    first[1:] = (who[order][1:] != who[order][:-1]) | (key[order][1:] != key[order][:-1])
    return who[order][first], at[order][first]


def attribution_of(parts: Sequence[Mapping[str, Any] | None], touched: Touches) -> Attribution:
    """The parts of all buckets together."""
    there = [p for p in parts if p is not None]
    n = len(touched.channels)
    moves = sum((np.array(p["moves"]) for p in there), np.zeros((n + 1, n + 3)))
    attributed = sum(p["attributed"] for p in there)
    credit = {m: sum((np.array(p["credits"][m]) for p in there), np.zeros(n)) for m in METHODS if m != "markov"}
    credit["markov"] = markov_shares(moves) * attributed
    seen, cost = (sum((np.array(p[k], np.int64) for p in there), np.zeros(n, np.int64)) for k in ("seen", "cost"))
    by_arm = sum((Counter(p["cost_by_arm"]) for p in there), Counter())
    warnings = []
    if lost := touched.rows - sum(p["known"] for p in there):
        warnings.append(f"{lost:,} of {touched.rows:,} touches are of people who have no arm; they are left out")
    if held := sum(p["held"] for p in there):
        warnings.append(
            f"{held:,} touches were seen by people who are held out: the lift is less than it would have been"
        )
    return Attribution(
        orders=sum(p["orders"] for p in there),
        attributed_orders=float(attributed),
        credits=tuple(
            ChannelCredit(m, name, float(credit[m][i]), int(seen[i]), int(cost[i]))
            for m in METHODS
            for i, name in enumerate(touched.channels)
        ),
        cost_by_arm=dict(by_arm) if touched.has_costs else {},
        warnings=tuple(warnings),
    )
