"""What is listed of a release for conditions that need more than a person's own row: random tables, definitions, and SQL."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from audiences.plan import (
    ListedBefore,
    ListedBelow,
    ListedChange,
    ListedIds,
    ListedSample,
    ListedTop,
    Listing,
    Plan,
)
from tests.audiences.lake_shop import D, Shop

DAYS_LOGGED = [D - timedelta(days=n) for n in (40, 20, 9, 3, 0, -2)]
KEPT = {"loyal_stage": ["new", "loyal", "lost", None], "silent_days": ["<7", "7..29", ">=30", None]}
BUILT = (D - timedelta(days=30), D - timedelta(days=5))
DYNAMIC_TAGS = """\
  - id: loyal_stage
    name: {zh: 阶段, en: Stage}
    description: {zh: 阶段, en: Stage}
    path: [消费特征, 消费能力和频次, 阶段]
    type: string
    values: [new, loyal, lost, unknown]
    attribute: city
  - id: silent_days
    name: {zh: 沉默天数, en: Silent days}
    description: {zh: 沉默, en: Silence}
    path: [消费特征, 消费能力和频次, 沉默]
    type: int64
    unit: days
    values: {min: 0}
    log_bands: [7, 30]
    fact: {from: [pay], measure: days, agg: count}
"""


def add_tables(shop: Shop, chance: random.Random, uids: Sequence[int]) -> None:
    """Changes of tags, who brought whom, ids, people merged into others, and an audience's log."""
    changes = [
        {"uid": u, "tag": tag, "from_day": day, "value": chance.choice(values)}
        for tag, values in KEPT.items()
        for u in [*uids, 65]
        for day in chance.sample(DAYS_LOGGED, chance.randrange(5))
    ]
    shop.put("profile.tag_changes", changes)
    edges, joined = [], []
    for u in chance.sample(list(uids), 70):
        if joined and chance.random() < 0.85:
            edges.append({"as_of": D, "uid": u, "parent_uid": chance.choice(joined)})
            if chance.random() < 0.1:
                edges.append({"as_of": D - timedelta(days=1), "uid": u, "parent_uid": uids[0]})
        joined.append(u)
    shop.put("fission.share_edges", edges)
    shop.put(
        "identity.users",
        [{"uid": u, "bucket": u // 100_000, "user_id": f"m{u:06d}", "person_kind": "member"} for u in uids]
        + [{"uid": 65, "bucket": 0, "user_id": "m000065", "person_kind": "member", "merged_into_uid": uids[3]}],
    )
    shop.put(
        "identity.identifiers",
        [
            {"id_kind": kind, "id_value": f"{letter}{u}", "uid": u, "until_day": until}
            for u in [*uids, 65]
            for kind, letter, until in (
                ("member", "M", None),
                ("openid", "o-", chance.choice([None, None, D, D + timedelta(days=1)])),
            )
        ],
    )
    shop.put(
        "audiences.membership_log",
        [
            {
                "audience": "built_before",
                "as_of": day,
                "uid": u,
                "change": chance.choice(["enter", "exit"]),
                "reason": "r",
            }
            for day in BUILT
            for u in uids
            if chance.random() < 0.6
        ],
    )
    lists = shop.folder / "lists"
    lists.mkdir()
    members = [f"M{u}" for u in chance.sample([*uids, 65], 40)]
    (lists / "members.csv").write_text("\ufeffmember_id\n" + "\n".join([*members, "M-nobody", " ", members[0]]) + "\n")
    openids = [f"o-{u}" for u in chance.sample(list(uids), 40)]
    (lists / "openids.csv").write_text("n,open\n" + "".join(f"{i},{o}\n" for i, o in enumerate(openids)))
    (lists / "users.csv").write_text("\n".join(f"m{u:06d}" for u in chance.sample([*uids, 65], 40)))


def condition(chance: random.Random, below: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Any of them; ``below`` draws a condition among whose people some are chosen."""
    kind = chance.choice(["changed", "ids", "top", "sample", "share_tree", "as_of"])
    if kind == "changed":
        tag = chance.choice(list(KEPT))
        found: dict[str, Any] = {"tag": tag}
        for key in ("from", "to"):
            if chance.random() < 0.5:
                found[key] = ["unknown" if v is None else v for v in chance.sample(KEPT[tag], chance.randint(1, 2))]
        if chance.random() < 0.7:
            found["within_days"] = chance.choice([1, 4, 10, 30])
        return {"changed": found}
    if kind == "ids":
        return {
            "ids": chance.choice(
                [
                    {"file": "lists/members.csv", "kind": "member_id"},
                    {"file": "lists/openids.csv", "kind": "openid", "column": "open"},
                    {"file": "lists/users.csv", "kind": "user_id"},
                ]
            )
        }
    if kind == "share_tree":
        found = {"below": f"m{chance.randrange(90):06d}"}
        return {kind: found | ({"levels": chance.randint(1, 3)} if chance.random() < 0.5 else {})}
    if kind == "as_of":
        return {"audience": "built_before", "as_of": BUILT[0] + timedelta(days=chance.choice([0, 10, 25, 40]))}
    found = (
        {"people": chance.choice([1, 5, 30, 500])} if chance.random() < 0.5 else {"share": chance.choice([0.1, 0.5, 1])}
    )
    if chance.random() < 0.4:
        found["among"] = below()
    if kind == "sample":
        return {kind: found | {"seed": chance.choice(["a", 7])}}
    found |= {"by": chance.choice(["paid_amount_90d", "mean_gap", "last_purchase_day", "active_hour"])}
    if chance.random() < 0.5:
        found["within"] = chance.choice(["register_city", "was_invited", "is_member", "active_hour"])
    return {kind: found | {"order": chance.choice(["highest", "lowest"])}}


def sql(
    listing: Listing, members: Callable[[Plan], list[int]], lists: dict[str, list[str]], everybody: Sequence[int]
) -> str:
    """Whether the person ``p`` is listed; ``members`` are a plan's people by SQL, ``lists`` what the files hold."""
    if isinstance(listing, ListedChange):
        return _changed(listing)
    if isinstance(listing, ListedIds):
        return _in_list(listing, lists[listing.file])
    if isinstance(listing, ListedBelow):
        return _below(listing)
    if isinstance(listing, ListedBefore):
        return (
            f"coalesce((select arg_max(change, as_of) from log l where l.uid = p.uid and l.as_of <= {_day(listing.as_of)} "
            f"and l.audience = '{listing.audience}') = 'enter', false)"
        )
    among = "true"
    if listing.among is not None:
        among = f"uid in ({_numbers(members(listing.among))})"
    if isinstance(listing, ListedTop):
        return _top(listing, among)
    return _sample(listing, everybody if listing.among is None else members(listing.among))


def _changed(listing: ListedChange) -> str:
    held = ["c.tag = '" + listing.tag + "'", f"c.from_day <= {_day(D)}", "c.uid = p.uid"]
    if listing.within_days is not None:
        held.append(f"date_diff('day', c.from_day, {_day(D)}) < {listing.within_days}")
    earlier = "select value from changes b where b.uid = c.uid and b.tag = c.tag and b.from_day < c.from_day"
    held.append(f"exists ({earlier})")
    before = f"coalesce(({earlier} order by from_day desc limit 1), '?')"
    for texts, value in ((listing.before, before), (listing.after, "coalesce(c.value, '?')")):
        if texts is not None:
            held.append(f"{value} in (" + ", ".join(f"'{t or '?'}'" for t in texts) + ")")
    return f"exists (select 1 from changes c where {' and '.join(held)})"


def _in_list(listing: ListedIds, ids: list[str]) -> str:
    """Which uids the ids are of was laid down when they were made: the number in them, and 65 is the fourth."""
    said = ", ".join(f"'{i}'" for i in ids)
    if listing.id_kind == "openid":
        held = "i.id_kind = 'openid' and coalesce(i.until_day, date '9999-01-01') > " + _day(D)
        return f"exists (select 1 from identifiers i where {held} and i.id_value in ({said}) and i.uid = p.uid)"
    named = "'M' || p.uid" if listing.id_kind == "member" else "p.user_id"
    elder = "M65" if listing.id_kind == "member" else "m000065"
    return f"({named} in ({said}) or (p.uid = 3 and '{elder}' in ({said})))"


def _below(listing: ListedBelow) -> str:
    levels = 99 if listing.levels is None else listing.levels
    return f"""p.uid in (with recursive t(uid, n) as (
        select e.uid, 1 from edges e join profile q on q.uid = e.parent_uid
        where e.as_of = {_day(D)} and (q.user_id = '{listing.user_id}' or ('{listing.user_id}' = 'm000065' and q.uid = 3))
        union select e.uid, n + 1 from edges e, t where e.as_of = {_day(D)} and e.parent_uid = t.uid and n < {levels}
    ) select uid from t)"""


def _top(listing: ListedTop, among: str) -> str:
    by, group = listing.by, listing.within or "1"
    known = f"{by} is not null and {group} is not null and cast({group} as varchar) <> 'unknown' and {among}"
    better = f"a.{by} < p.{by}" if listing.lowest else f"a.{by} > p.{by}"
    same = "true" if listing.within is None else f"a.{group} = p.{group}"
    rows = f"(select *, {group} as g from profile where {known})"
    before = (
        f"(select count(*) from {rows} a where {same} and ({better} or (a.{by} = p.{by} and a.user_id < p.user_id)))"
    )
    if listing.people is not None:
        most = str(listing.people)
    else:
        share = Fraction(str(listing.share))
        most = f"(select ceil(count(*) * {share.numerator}.0 / {share.denominator}) from {rows} a where {same})"
    return f"(p.uid in (select uid from {rows}) and {before} < {most})"


def _sample(listing: ListedSample, candidates: Sequence[int]) -> str:
    """Hashes are made here, by another hand than DuckDB's."""
    digest = {u: hashlib.sha256(f"{listing.seed}:m{u:06d}".encode()).digest() for u in candidates}
    if listing.people is not None:
        drawn = sorted(candidates, key=digest.__getitem__)[: listing.people]
    else:
        drawn = [u for u in candidates if Fraction(int.from_bytes(digest[u]), 2**256) < Fraction(str(listing.share))]
    return f"p.uid in ({_numbers(drawn)})"


def _numbers(uids: list[int]) -> str:
    return ", ".join(map(str, uids)) or "-1"


def _day(day: date) -> str:
    return f"date '{day}'"
