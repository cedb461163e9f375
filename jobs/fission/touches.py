"""Map task ``touches``: what one bucket's activity says of sharing, as arrays for the tasks that follow.

A touch is an opened share, a group joined through a sharer, and, where the settings take them, a registration or a
member record that names who brought the person.

Files are read in batches and only the rows of sharing, joining and buying are kept, so memory is those rows, whatever
else the users did.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from features.facts import LEARNED, VALIDITY
from features.fission.growth import active_within
from features.fission.settings import FissionSettings
from features.fission.touches import (
    FIRST,
    NEVER,
    NO_SHARER,
    NOBODY,
    OUTCOMES,
    REPEATED,
    SELF_INVITE,
    certainly_joined,
    distinct_pairs,
    first_rows,
    outcomes,
)
from features.fission.uids import elders
from features.instants import day_number
from features.kernel.arrays import from_arrow
from features.kernel.rows import DTYPES, USERS_PER_BUCKET
from features.kernel.rows import NEVER as NO_DAY
from features.kernel.selection import last_days, not_void
from jobs.activity.bucket_files import BucketFiles, Wanted
from jobs.fission.array_files import load_arrays, save_arrays
from schemas.behaviours import BEHAVIOURS as B

ROLLING_DAYS = 30
KINDS = ("share_open", "join_group", "register", "inviter")
"""What tells who brought a person; codes of touch_kind are places in this list."""
OPENED, JOINED, REGISTERED, INVITED = range(len(KINDS))
NO_LEVEL = -1
NOT_INVITED = -2

_KEPT = (
    "share",
    "share_open",
    "join_group",
    "register",
    "order",
    "pay",
    "refund_of_order",
    "share_opened",
    "brought_join",
    "brought_order",
)
_OWN = [
    code
    for name, code in B.items()
    if not name.startswith("brought_") and name not in ("share_opened", "refund_of_order")
]
_COLUMNS = ("uid", "occurred_at", "day", "behaviour_code", "sku_code", "order_key", "amount_minor", "peer_uid")

Rows = dict[str, np.ndarray]


def touches_of_bucket(item: dict[str, Any]) -> dict[str, Any]:
    """Read a bucket's activity once and write what fission needs of it to ``out``; gives counts.

    ``item``: ``bucket``, ``files`` of its activity, ``members`` (files of uid, registered_at, distributor_level,
    inviter_uid), ``retired`` (folder), ``as_of`` and ``until`` (the day and its last microsecond), ``known_at_day``,
    ``zone``, ``settings``, ``out``.
    """
    as_of = day_number(dt.date.fromisoformat(item["as_of"]))
    settings = FissionSettings.model_validate(item["settings"])
    retired, elder = load_arrays(item["retired"], "retired", "elder")
    known_at = None if item["known_at_day"] is None else day_number(dt.date.fromisoformat(item["known_at_day"]))
    days = settings.cohort_days + ROLLING_DAYS - 1
    reading = _Reading(item["bucket"] * USERS_PER_BUCKET, as_of, known_at, days)
    low, high = np.searchsorted(retired, [reading.base, reading.base + USERS_PER_BUCKET])
    wanted = Wanted(
        dt.date.fromisoformat(item["as_of"]),
        known_at_day=None if known_at is None else dt.date.fromisoformat(item["known_at_day"]),
        without=retired[low:high],
    )
    names = (*_COLUMNS, *VALIDITY, *(LEARNED if known_at is not None else ()))
    for batch in BucketFiles(item["files"], wanted).batches(names):
        reading.add(batch)
    rows = reading.rows()
    rows["peer_uid"] = elders(rows["peer_uid"], np.asarray(retired), np.asarray(elder))
    member = _members(item["members"], reading.base, item["until"])
    joined = joined_at(rows, member["registered"])
    until = certainly_joined(joined, item["zone"])
    touches = _Touches(rows, reading.base, joined, until)
    touches.bring(member, settings)
    touches.write(item["out"], settings)
    foreign = np.flatnonzero((rows["peer_uid"] >= 0) & (rows["peer_uid"] != rows["place"] + reading.base))
    _write_money(item["out"], rows, as_of, settings)
    _write_sharing(item["out"], rows, foreign)
    active = reading.seen.sum(axis=1)[ROLLING_DAYS - 1 :]
    save_arrays(
        item["out"],
        level=member["level"],
        sku_first_day=reading.sku_first_day,
        active=active,
        active_30d=active_within(reading.seen, ROLLING_DAYS),
    )
    first = reading.first_day
    return {
        "bucket": item["bucket"],
        "folder": item["out"],
        "first_day": None if first == NO_DAY else int(first),
        "greatest_uid": touches.greatest_uid(),
        "outcomes": touches.outcomes.tolist(),
    }


def joined_at(rows: Mapping[str, np.ndarray], registered: np.ndarray) -> np.ndarray:
    """When each user of the bucket joined: registered as the member record says, else by a row, else first ordered.

    The first order is the earliest that was paid; one that was refunded later made its buyer a customer all the same.
    """
    by_row = _earliest(rows, rows["behaviour_code"] == B["register"])
    joined = np.where(registered < NEVER, registered, by_row)
    paid = rows["order_key"][rows["behaviour_code"] == B["pay"]]
    placed = np.flatnonzero(rows["behaviour_code"] == B["order"])
    placed = placed[joined[rows["place"][placed]] == NEVER]
    ordered = np.zeros(len(rows["place"]), np.bool_)
    ordered[placed[np.isin(rows["order_key"][placed], paid)]] = True
    return np.where(joined < NEVER, joined, _earliest(rows, ordered))


def _earliest(rows: Mapping[str, np.ndarray], mask: np.ndarray) -> np.ndarray:
    found = np.full(USERS_PER_BUCKET, NEVER)
    np.minimum.at(found, rows["place"][mask], rows["occurred_at"][mask])
    return found


class _Reading:
    """The rows of a bucket that count on the day, file by file; active users by day; each product's first day."""

    def __init__(self, base: int, as_of: int, known_at: int | None, days: int):
        self.base, self.as_of, self.known_at = base, as_of, known_at
        self.first_seen_day = as_of - days + 1
        self.seen = np.zeros((days, USERS_PER_BUCKET), np.bool_)
        self.sku_first_day = np.full(1, NO_DAY, np.int32)
        self.first_day = NO_DAY
        self._parts: list[Rows] = []
        self._kept = np.zeros(256, np.bool_)
        self._kept[[B[name] for name in _KEPT]] = True
        self._own = np.zeros(256, np.bool_)
        self._own[_OWN] = True

    def add(self, rows: Rows) -> None:
        """Keep of a batch what counts; a column that is not there excludes no row."""
        counts = np.ones(len(rows["uid"]), np.bool_)
        if "flagged_day" in rows:
            counts &= rows["flagged_day"] > self.as_of
        for name, day in last_days(self.as_of, self.known_at).items():
            if name in rows:
                counts &= rows[name] <= day
        self._note(rows, np.flatnonzero(counts & self._own[rows["behaviour_code"]]))
        wanted = np.flatnonzero(counts & self._kept[rows["behaviour_code"]])
        kept = {n: rows[n][wanted] for n in _COLUMNS}
        if "void_day" in rows:
            valid = not_void(rows["void_day"], rows.get("void_known_day"), self.as_of, self.known_at)[wanted]
        else:
            valid = np.ones(len(wanted), np.bool_)
        self._parts.append({**kept, "valid": valid})

    def _note(self, rows: Rows, own: np.ndarray) -> None:
        """Users seen, and products seen for the first time, in rows of what users did themselves."""
        if not len(own):
            return
        day, sku = rows["day"][own], rows["sku_code"][own]
        recent = day >= self.first_seen_day
        self.seen[day[recent] - self.first_seen_day, rows["uid"][own][recent] - self.base] = True
        last = int(sku.max())
        if last >= len(self.sku_first_day):
            more = np.full(last + 1 - len(self.sku_first_day), NO_DAY, np.int32)
            self.sku_first_day = np.concatenate([self.sku_first_day, more])
        np.minimum.at(self.sku_first_day, sku, day)
        self.first_day = min(self.first_day, int(day.min()))

    def rows(self) -> Rows:
        types = {**{n: DTYPES[n] for n in _COLUMNS}, "valid": np.bool_}
        found = {n: np.concatenate([np.empty(0, kind), *(p[n] for p in self._parts)]) for n, kind in types.items()}
        self._parts = []
        found["place"] = (found.pop("uid") - self.base).astype(np.int32)
        return found


def _members(files: Sequence[str], base: int, until: int) -> dict[str, np.ndarray]:
    """Per user of the bucket: when registered (``NEVER`` if not by then), distributor level, inviter.

    The inviter is ``NOT_INVITED`` where the record names none, and ``NOBODY`` where it names one who is no user.
    """
    registered = np.full(USERS_PER_BUCKET, NEVER)
    level = np.full(USERS_PER_BUCKET, NO_LEVEL, np.int32)
    inviter = np.full(USERS_PER_BUCKET, NOT_INVITED, np.int64)
    for path in files:
        table = pq.read_table(path, partitioning=None, use_threads=False)
        place = from_arrow(table["uid"], np.dtype(np.int64), None, "uid") - base
        registered[place] = from_arrow(table["registered_at"], np.dtype(np.int64), NEVER, "registered_at")
        level[place] = from_arrow(table["distributor_level"], np.dtype(np.int32), NO_LEVEL, "distributor_level")
        inviter[place] = from_arrow(table["inviter_uid"], np.dtype(np.int64), NOT_INVITED, "inviter_uid")
    registered[registered > until] = NEVER
    return {"registered": registered, "level": level, "inviter": inviter}


class _Touches:
    """The touches of a bucket's people: what became of each, who brought whom, and who was reached by whom.

    Places are users of the bucket, sharers are uids. ``outcomes`` counts touches by kind (a row) and outcome.
    """

    def __init__(self, rows: Rows, base: int, joined: np.ndarray, until: np.ndarray):
        self.rows, self.base, self.joined, self.until = rows, base, joined, until
        code, peer = rows["behaviour_code"], rows["peer_uid"]
        # joining a group that nobody invited to is no touch
        through = (code == B["share_open"]) | ((code == B["join_group"]) & (peer >= 0))
        at = np.flatnonzero(through)
        self.place, self.sharer, self.at, self.sku = (
            rows[n][at] for n in ("place", "peer_uid", "occurred_at", "sku_code")
        )
        self.kind_of_row = np.where(code[at] == B["share_open"], OPENED, JOINED).astype(np.int8)
        self.parent = np.full(USERS_PER_BUCKET, NOBODY, np.int64)
        self.touched = np.full(USERS_PER_BUCKET, NEVER)
        self.kind = np.zeros(USERS_PER_BUCKET, np.int8)
        self.outcomes = np.zeros((len(KINDS), len(OUTCOMES)), np.int64)

    def bring(self, member: Mapping[str, np.ndarray], settings: FissionSettings) -> None:
        """Find every person's parent: by the first valid touch, else the registration, else the member record."""
        found = outcomes(self.place + self.base, self.sharer, self.at, self.until[self.place])
        for kind in (OPENED, JOINED):
            self.outcomes[kind] = np.bincount(found[self.kind_of_row == kind], minlength=len(OUTCOMES))
        won = np.flatnonzero(found == FIRST)
        who = self.place[won]
        self.parent[who], self.touched[who], self.kind[who] = self.sharer[won], self.at[won], self.kind_of_row[won]
        if "register" in settings.without_touch:
            self._by_registration()
        if "inviter" in settings.without_touch:
            self._by_record(member)

    def _by_registration(self) -> None:
        rows = self.rows
        named = np.flatnonzero((rows["behaviour_code"] == B["register"]) & (rows["peer_uid"] >= 0))
        own = rows["peer_uid"][named] == rows["place"][named] + self.base
        first = first_rows(rows["place"], rows["occurred_at"], rows["peer_uid"], named[~own])
        first = first[self.parent[rows["place"][first]] == NOBODY]
        who = rows["place"][first]
        self.parent[who], self.kind[who] = rows["peer_uid"][first], REGISTERED
        self.touched[who] = np.minimum(rows["occurred_at"][first], self.joined[who])
        self._count(REGISTERED, len(named), int(own.sum()), len(who))

    def _by_record(self, member: Mapping[str, np.ndarray]) -> None:
        named = np.flatnonzero((member["registered"] < NEVER) & (member["inviter"] >= 0))
        own = member["inviter"][named] == named + self.base
        who = named[~own & (self.parent[named] == NOBODY)]
        self.parent[who], self.kind[who], self.touched[who] = member["inviter"][who], INVITED, self.joined[who]
        self._count(INVITED, len(named), int(own.sum()), len(who))
        nobodys = (member["registered"] < NEVER) & (member["inviter"] == NOBODY)
        self.outcomes[INVITED, NO_SHARER] = int(nobodys.sum())

    def _count(self, kind: int, named: int, own: int, won: int) -> None:
        self.outcomes[kind, [FIRST, SELF_INVITE, REPEATED]] = won, own, named - own - won

    def write(self, out: str, settings: FissionSettings) -> None:
        brought = np.flatnonzero(self.parent >= 0)
        in_group = _joined_a_group(self.rows, self.parent, self.touched, self.joined, settings.activity_days)
        save_arrays(
            out,
            child=brought + self.base,
            parent=self.parent[brought],
            touched_at=self.touched[brought],
            joined_at=self.joined[brought],
            touch_kind=self.kind[brought],
            in_group=in_group[brought],
            joined=np.flatnonzero(self.joined < NEVER),
        )
        foreign = np.flatnonzero((self.sharer != NOBODY) & (self.sharer != self.place + self.base))
        opener, peer = distinct_pairs(self.place[foreign], self.sharer[foreign])
        save_arrays(out, pair_opener=opener + self.base, pair_sharer=peer)
        self._write_reached(out, foreign)

    def _write_reached(self, out: str, foreign: np.ndarray) -> None:
        """By whom each person was reached first, whether they ever join or not: of all, and of each product's shares."""
        first = first_rows(self.place, self.at, self.sharer, foreign)
        of_products = foreign[self.sku[foreign] > 0]
        person_of_product = self.sku[of_products].astype(np.int64) * USERS_PER_BUCKET + self.place[of_products]
        card = of_products[
            first_rows(person_of_product, self.at[of_products], self.sharer[of_products], np.arange(len(of_products)))
        ]
        for name, chosen in (("reach", first), ("card", card)):
            save_arrays(
                out,
                **{
                    f"{name}_child": self.place[chosen] + np.int64(self.base),
                    f"{name}_parent": self.sharer[chosen],
                    f"{name}_at": self.at[chosen],
                    f"{name}_sku": self.sku[chosen],
                },
            )

    def greatest_uid(self) -> int:
        """Of whoever is named here; -1 where nobody is."""
        brought = np.flatnonzero(self.parent >= 0)
        named = (brought + self.base, self.parent, self.place + self.base, self.sharer)
        return max((int(a.max()) for a in named if len(a)), default=-1)


def _joined_a_group(rows: Rows, parent: np.ndarray, touched: np.ndarray, joined: np.ndarray, days: int) -> np.ndarray:
    """A flag per user: joined a group of the parent between the touch and so many days after joining."""
    joins = np.flatnonzero((rows["behaviour_code"] == B["join_group"]) & (rows["peer_uid"] >= 0))
    who, at = rows["place"][joins], rows["occurred_at"][joins]
    of_parent = rows["peer_uid"][joins] == parent[who]
    who, at = who[of_parent], at[of_parent]
    soon = (at >= touched[who]) & (at - joined[who] <= days * 86_400_000_000)
    flags = np.zeros(USERS_PER_BUCKET, np.bool_)
    flags[who[soon]] = True
    return flags


def _write_money(out: str, rows: Rows, as_of: int, settings: FissionSettings) -> None:
    """Who ever bought, when last, for how much; and what each order of the window was worth, net of refunds."""
    pays = np.flatnonzero(rows["valid"] & (rows["behaviour_code"] == B["pay"]))
    back = np.flatnonzero(rows["valid"] & (rows["behaviour_code"] == B["refund_of_order"]))
    last = np.full(USERS_PER_BUCKET, -NO_DAY, np.int32)
    np.maximum.at(last, rows["place"][pays], rows["day"][pays])
    buyer = np.flatnonzero(last > -NO_DAY)
    money = np.concatenate([pays, back])
    amount = np.concatenate([rows["amount_minor"][pays], -rows["amount_minor"][back]])
    recent = rows["day"][money] > as_of - settings.amount_days
    money, amount = money[recent], amount[recent]
    net = np.zeros(USERS_PER_BUCKET, np.int64)
    np.add.at(net, rows["place"][money], amount)
    key, order = np.unique(rows["order_key"][money], return_inverse=True)
    worth = np.zeros(len(key), np.int64)
    np.add.at(worth, order, amount)
    save_arrays(out, buyer=buyer, buyer_net=net[buyer], buyer_last_day=last[buyer], order_key=key, order_net=worth)


def _write_sharing(out: str, rows: Rows, foreign: np.ndarray) -> None:
    """Shares, what others opened or joined of them, and valid orders; ``foreign`` rows name another person."""
    code = rows["behaviour_code"]
    share = np.flatnonzero(code == B["share"])
    opened = foreign[np.isin(code[foreign], (B["share_opened"], B["brought_join"]))]
    sold = foreign[(code[foreign] == B["brought_order"]) & rows["valid"][foreign]]
    columns = {
        "place": "place",
        "at": "occurred_at",
        "day": "day",
        "sku": "sku_code",
        "peer": "peer_uid",
        "key": "order_key",
    }
    for name, found in (("share", share), ("opened", opened), ("sold", sold)):
        save_arrays(out, **{f"{name}_{short}": rows[column][found] for short, column in columns.items()})
    save_arrays(out, opened_to_read=code[opened] == B["share_opened"])
