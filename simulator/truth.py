"""What is really so, as tables to hold the pipeline against. Persons are numbered; their ids stand in person_ids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulator.behaviour import Browse
from simulator.faults import Faults, days_as_dates
from simulator.feeds import wall_stamps
from simulator.ids import coded
from simulator.lifecycle import STAGES, Phases, true_stages
from simulator.marks import ShownIds
from simulator.member_records import MemberRecords
from simulator.money import Baskets
from simulator.orders import GUEST_NULL, Orders
from simulator.people import ROLES, Ints, People
from simulator.places import CITIES
from simulator.season import NEVER, SENSITIVITY, Season
from simulator.share_log import ShareLog
from simulator.sharing import Sharing
from simulator.surveys import QUESTIONS, Answers

FAR = 1 << 30


@dataclass(frozen=True)
class World:
    """Everything that was made up, before it was written down."""

    season: Season
    people: People
    phases: Phases
    sharing: Sharing
    orders: Orders
    baskets: Baskets
    browse: Browse
    share_log: ShareLog
    records: MemberRecords
    share_ids: pa.StringArray
    answers: Answers


def _text(values: tuple[str, ...], codes: Ints) -> pa.Array:
    return pa.array(values).take(pa.array(codes.astype(np.int32), mask=codes < 0))


def _days(season: Season, days: Ints) -> pa.Array:
    """Days as dates; FAR is null."""
    dates = days_as_dates(season, np.minimum(days, 1 << 20))
    return pc.if_else(pa.array(days < FAR), dates, pa.scalar(None, pa.date32()))


def _sightings(w: World) -> tuple[ShownIds, Ints, Ints]:
    """Every row that shows ids, members' records included: (marks, person, day)."""
    accounts, a = w.people.accounts, w.records.account
    person = accounts.person[a]
    none = np.full(len(a), -1, np.int64)
    union = np.where((accounts.openid[a] >= 0) & w.people.has_unionid[person], person, -1)
    records = ShownIds(a, accounts.device[a], none, accounts.openid[a], union, accounts.channel[a])
    day = w.season.day_of
    return (
        ShownIds.joined([w.browse.marks, w.share_log.marks, w.orders.marks, w.answers.marks, records]),
        np.concatenate([w.browse.person, w.share_log.person, w.orders.person, w.answers.person, person]),
        np.concatenate(
            [day(t) for t in (w.browse.wall, w.share_log.wall, w.orders.ordered, w.answers.wall, w.records.updated)]
        ),
    )


def _first_by(key: Ints, day: Ints) -> tuple[Ints, Ints]:
    """(key, first day) of each distinct key; keys below 0 are left out."""
    fine = key >= 0
    # days before the season (old records) count as such, so shift them into the positive
    packed = np.unique(key[fine] * (1 << 16) + day[fine] + (1 << 15))
    keys = packed >> 16
    first = np.concatenate([[True], keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, bool)
    return keys[first], (packed[first] & 0xFFFF) - (1 << 15)


def _persons(w: World) -> pa.Table:
    p, n = w.people, w.people.n
    return pa.table(
        {
            "person_id": pa.array(np.arange(n)),
            "is_member": pa.array(p.is_member),
            "is_brushing": pa.array(p.brushes),
            "registered_at": wall_stamps(p.registered),
            "city": pa.array([c[1] for c in CITIES]).take(pa.array(p.city.astype(np.int32))),
            "community": pa.array(w.sharing.community),
            "favourite_category": pa.array(p.favourite.astype(np.int32)),
        }
    )


def _person_ids(w: World) -> tuple[pa.Table, pa.Table]:
    """(person_ids, shared_ids).

    person_ids: one row per person and id that the logs show: first day seen, and ``linked_from_day``, the first day
    on which it stands beside one of the person's member ids, null where it never does.
    shared_ids: ids seen beside the member ids of two or more persons, with the day of the second one.
    """
    marks, person, day = _sightings(w)
    p = w.people
    kinds: list[tuple[str, Ints, pa.Array]] = [
        ("member", marks.account, p.accounts.member_ids),
        ("openid", marks.openid, p.openids.values),
        ("unionid", marks.unionid, p.unionids),
        ("device", marks.device, p.devices.values),
        ("cookie", marks.cookie, p.cookies.values),
    ]
    a = w.records.account
    phone, holder = p.accounts.phone[a], p.accounts.person[a]
    tables, shared = [], []

    def table(kind: str, values: pa.Array, ids: Ints, who: Ints, seen: Ints, linked: Ints) -> None:
        tables.append(
            pa.table(
                {
                    "person_id": pa.array(who),
                    "id_kind": pa.array([kind]).take(pa.array(np.zeros(len(ids), np.int64))),
                    "id_value": values.take(pa.array(ids)),
                    "first_seen_day": _days(w.season, seen),
                    "linked_from_day": _days(w.season, linked),
                }
            )
        )

    def cut(kind: str, values: pa.Array, ids: Ints, who: Ints, since: Ints) -> None:
        """Ids linked to several persons; rows are one per (id, person)."""
        order = np.lexsort((since, ids))
        ids, who, since = ids[order], who[order], since[order]
        second = np.flatnonzero((ids[1:] == ids[:-1]) & np.concatenate([[True], ids[1:-1] != ids[:-2]])) + 1
        number = np.searchsorted(ids, ids[second], side="right") - np.searchsorted(ids, ids[second])
        shared.append(
            pa.table(
                {
                    "id_kind": pa.array([kind]).take(pa.array(np.zeros(len(second), np.int64))),
                    "id_value": values.take(pa.array(ids[second])),
                    "shared_from_day": _days(w.season, since[second]),
                    "first_person_id": pa.array(who[second - 1]),
                    "second_person_id": pa.array(who[second]),
                    "persons": pa.array(number),
                }
            )
        )

    n = np.int64(p.n)
    for kind, ids, values in kinds:
        key, seen = _first_by(np.where(ids >= 0, ids * n + person, -1), day)
        linked_key, linked_day = _first_by(np.where((ids >= 0) & (marks.account >= 0), ids * n + person, -1), day)
        linked = np.full(len(key), FAR, np.int64)
        linked[np.searchsorted(key, linked_key)] = linked_day
        table(kind, values, key // n, key % n, seen, linked)
        if kind != "member":
            cut(kind, values, linked_key // n, linked_key % n, linked_day)
    key, seen = _first_by(np.where(phone >= 0, phone * n + holder, -1), w.season.day_of(w.records.updated))
    table("phone", p.phones, key // n, key % n, seen, seen)
    cut("phone", p.phones, key // n, key % n, seen)
    return pa.concat_tables(tables), pa.concat_tables(shared)


def _lifecycle(w: World) -> pa.Table:
    """Purchases that count: valid, with an id on the order, and not wholly refunded by the season's end."""
    o = w.orders
    back = np.zeros(len(o), bool)
    back[w.baskets.refunds.order[w.baskets.refunds.whole]] = True
    counts = np.flatnonzero(o.valid & ~back & o.marks.shows_an_id)
    who, day, stage = true_stages(w.season, w.people, w.phases, o.person[counts], w.season.day_of(o.paid[counts]))
    return pa.table(
        {
            "person_id": pa.array(who),
            "from_day": days_as_dates(w.season, day),
            "stage": _text(STAGES, stage),
        }
    )


def _invitations(w: World) -> pa.Table:
    """The tree by first valid touch: the sharer whose card a person opened first before registering.

    Self-invites and touches after the registration do not count; of a cycle the latest edge is cut. Visitors who never
    register are placed by the first card that they opened before their first order that shows an id.
    """
    s, p, o = w.sharing, w.people, w.orders
    n = p.n
    until = np.where(p.registered < w.season.start, 0, p.registered)
    bought = np.flatnonzero(o.marks.shows_an_id & (o.brushed < 0) & (o.paid < NEVER))
    first_order = np.full(n, NEVER, np.int64)
    np.minimum.at(first_order, o.person[bought], o.ordered[bought])
    until = np.where(p.is_member, until, np.where(first_order < NEVER, first_order, 0))
    sharer = s.share_person[s.open_share]
    good = np.flatnonzero((sharer != s.open_person) & (s.open_wall < until[s.open_person]))
    good = good[np.lexsort((s.open_wall[good], s.open_person[good]))]
    child, first = np.unique(s.open_person[good], return_index=True)
    row = good[first]
    parent = np.full(n, -1, np.int64)
    opened = np.full(n, NEVER, np.int64)
    share = np.full(n, -1, np.int64)
    parent[child], opened[child], share[child] = sharer[row], s.open_wall[row], s.open_share[row]
    mutual = (parent >= 0) & (parent[np.maximum(parent, 0)] == np.arange(n))
    later = mutual & (opened > opened[np.maximum(parent, 0)])
    parent[later], share[later], opened[later] = -1, -1, NEVER
    depth, root, up = np.zeros(n, np.int64), np.arange(n), parent.copy()
    while (up >= 0).any():
        on = up >= 0
        depth[on] += 1
        root[on] = up[on]
        up = np.where(on, parent[np.maximum(up, 0)], -1)
    kids = np.flatnonzero(parent >= 0)
    return pa.table(
        {
            "person_id": pa.array(kids),
            "parent_person_id": pa.array(parent[kids]),
            "root_person_id": pa.array(root[kids]),
            "depth": pa.array(depth[kids]),
            "share_id": w.share_ids.take(pa.array(share[kids])),
            "opened_at": wall_stamps(opened[kids]),
            "converted_at": wall_stamps(until[kids]),
        }
    )


def _orders_truth(w: World) -> dict[str, pa.Table]:
    o, r, p = w.orders, w.baskets.refunds, w.people
    ids = o.order_ids
    brushed, guests = np.flatnonzero(o.brushed >= 0), np.flatnonzero(o.guest > 0)
    brushers = np.flatnonzero(p.brushes)
    return {
        "orders": pa.table(
            {
                "order_id": ids,
                "person_id": pa.array(o.person),
                "ordered_at": wall_stamps(o.ordered),
                "paid_at": wall_stamps(o.paid),
                "cancelled_at": wall_stamps(o.cancelled),
                "net_amount_minor": pa.array(w.baskets.net),
                "is_brushed": pa.array(o.brushed >= 0),
                "share_id": w.share_ids.take(pa.array(o.share, mask=o.share < 0)),
            }
        ),
        "brushing_orders": pa.table(
            {
                "order_id": ids.take(pa.array(brushed)),
                "person_id": pa.array(o.person[brushed]),
                "ring": pa.array(o.brushed[brushed]),
            }
        ),
        "brushing_users": pa.table({"person_id": pa.array(brushers), "ring": pa.array(p.ring[brushers])}),
        "guest_checkouts": pa.table(
            {
                "order_id": ids.take(pa.array(guests)),
                "person_id": pa.array(o.person[guests]),
                "member_id_as_written": pa.array(np.where(o.guest[guests] == GUEST_NULL, 0, 1)).cast(pa.int32()),
                "cookie_id": coded(p.cookies.values, o.marks.cookie[guests]).dictionary_decode(),
            }
        ),
        "refunds": pa.table(
            {
                "refund_id": r.refund_ids,
                "order_id": ids.take(pa.array(r.order)),
                "person_id": pa.array(o.person[r.order]),
                "refunded_at": wall_stamps(r.refunded),
                "refund_amount_minor": pa.array(r.amount),
                "whole_order": pa.array(r.whole),
            }
        ),
    }


def _survey_answers(w: World) -> pa.Table:
    """What was answered and what is so, both as the values of the tags, not in the questionnaire's words."""
    a = w.answers
    first = np.cumsum([0, *(len(options) for _, _, options in QUESTIONS)])
    values = tuple(value for _, _, options in QUESTIONS for value, _ in options)
    return pa.table(
        {
            "person_id": pa.array(a.person),
            "answered_at": wall_stamps(a.wall),
            "attribute": _text(tuple(attribute for attribute, _, _ in QUESTIONS), a.question),
            "answer": _text(values, first[a.question] + a.answer),
            "truth": _text(values, first[a.question] + a.truth),
        }
    )


def truth_tables(w: World, faults: dict[str, Faults]) -> dict[str, pa.Table]:
    p = w.people
    person_ids, shared_ids = _person_ids(w)
    every = np.arange(p.n)
    tables = {
        "persons": _persons(w),
        "person_ids": person_ids,
        "shared_ids": shared_ids,
        "lifecycle": _lifecycle(w),
        "price_sensitivity": pa.table(
            {"person_id": pa.array(every), "sensitivity": _text(SENSITIVITY, p.sensitivity.astype(np.int64))}
        ),
        "roles": pa.table(
            {
                "person_id": pa.array(every),
                "role": _text(ROLES, p.role.astype(np.int64)),
                "distributor_level": pa.array(p.distributor_level.astype(np.int32), mask=p.distributor_level == 0),
                "distributor_from": wall_stamps(p.distributor_from),
            }
        ),
        "invitations": _invitations(w),
        **_orders_truth(w),
        "survey_answers": _survey_answers(w),
        "late_rows": pa.concat_tables([f.late for f in faults.values()]),
        "duplicates": pa.concat_tables([f.twice for f in faults.values()]),
        "bad_rows": pa.concat_tables([f.bad for f in faults.values()]),
    }
    guests = tables["guest_checkouts"]
    written = pc.if_else(pc.equal(guests["member_id_as_written"], 1), "0", pa.scalar(None, pa.string()))
    tables["guest_checkouts"] = guests.set_column(2, "member_id_as_written", written)
    return tables
