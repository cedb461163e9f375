"""The shares' log: shares, opens, joins, registrations and orders, each with the ids of who acted and of the sharer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.marks import ShownIds, shown_ids
from simulator.orders import Orders
from simulator.people import MINI, Ints, People
from simulator.season import MINUTE_MS, Season, stream
from simulator.sharing import Sharing

SHARE, OPEN, JOIN, REGISTER, ORDER = range(5)
SHARE_ACTS = ("share", "open", "join", "register", "order")


@dataclass(frozen=True)
class ShareLog:
    """Arrays by row, in order of time. ``order`` and ``group`` are -1 where there is none; a card's group is the card.

    ``sharer_account`` is -1 where the sharer had none yet: then the openid tells who it was. On rows of kind SHARE
    nobody stands as sharer, because the one who acts is the sharer.
    """

    act: NDArray[np.int8]
    wall: Ints
    person: Ints
    marks: ShownIds
    share: Ints
    order: Ints
    group: Ints
    sharer_account: Ints
    sharer_openid: Ints
    sharer_unionid: Ints

    def __len__(self) -> int:
        return len(self.wall)


def _with_known_ids(people: People, marks: ShownIds, person: Ints, rows: NDArray[np.bool_]) -> ShownIds:
    """Marks whose ``rows`` show the id that the person registered or will register with: an openid, else the device."""
    account = people.account[person]
    openid = np.where(account >= 0, people.accounts.openid[account], -1)
    device = np.where(account >= 0, people.accounts.device[account], -1)
    return ShownIds(
        account=marks.account,
        device=np.where(rows, np.where(openid >= 0, -1, device), marks.device),
        cookie=np.where(rows, -1, marks.cookie),
        openid=np.where(rows, openid, marks.openid),
        unionid=np.where(rows, np.where((openid >= 0) & people.has_unionid[person], person, -1), marks.unionid),
        channel=np.where(rows & (openid >= 0), MINI, marks.channel).astype(np.int8),
    )


def make_open_marks(seed: int, season: Season, people: People, sharing: Sharing) -> ShownIds:
    """What the opens show. An opening that brings a registration shows an id that the registration shows too."""
    rng = stream(seed, "opens")
    marks = shown_ids(rng, season, people, sharing.open_person, sharing.open_wall)
    leads = sharing.open_invites | np.isin(sharing.open_person, sharing.cycle_people)
    return _with_known_ids(people, marks, sharing.open_person, leads)


def make_share_log(
    seed: int, season: Season, people: People, sharing: Sharing, orders: Orders, open_marks: ShownIds
) -> ShareLog:
    rng = stream(seed, "share log")
    cards = np.arange(len(sharing.share_person))
    share_marks = shown_ids(rng, season, people, sharing.share_person, sharing.share_wall)
    not_yet = people.registered[sharing.share_person] > sharing.share_wall
    share_marks = _with_known_ids(people, share_marks, sharing.share_person, not_yet)

    joins = np.flatnonzero(sharing.open_joins)
    invited = np.flatnonzero(sharing.invite_share >= 0)
    at_registration = people.registered[invited] + 1_000
    first = people.account[invited]
    by_tablet = np.isin(people.accounts.device[first], people.tablets)
    none = np.full(len(invited), -1, np.int64)
    blank = ShownIds(first, none, none, none, none, people.accounts.channel[first])
    registering = _with_known_ids(people, blank, invited, ~by_tablet)
    through = np.flatnonzero(orders.share >= 0)

    groups = [np.full(len(cards), -1), np.full(len(open_marks.account), -1), sharing.open_share[joins]]
    act = [SHARE, OPEN, JOIN, REGISTER, ORDER]
    share = [cards, sharing.open_share, sharing.open_share[joins], sharing.invite_share[invited], orders.share[through]]
    wall = [
        sharing.share_wall, sharing.open_wall,
        sharing.open_wall[joins] + rng.integers(5_000, MINUTE_MS, len(joins)),
        at_registration, orders.ordered[through],
    ]  # fmt: skip
    person = [sharing.share_person, sharing.open_person, sharing.open_person[joins], invited, orders.person[through]]
    marks = [share_marks, open_marks, open_marks[joins], registering, orders.marks[through]]
    order = [np.full(len(s), -1) for s in share[:4]] + [through]
    groups += [np.full(len(invited), -1), np.full(len(through), -1)]

    when = np.concatenate(wall)
    kinds = np.repeat(np.array(act, np.int8), [len(w) for w in wall])
    keep = np.flatnonzero((when >= season.start) & (when < season.end))
    keep = keep[np.lexsort((kinds[keep], when[keep]))]
    card = np.concatenate(share)[keep]
    kinds = kinds[keep]
    sharer = sharing.share_person[card]
    told = kinds != SHARE
    known = people.registered[sharer] <= sharing.share_wall[card]
    by_openid = share_marks.openid[card]
    by_account = np.where(share_marks.account[card] >= 0, share_marks.account[card], people.account[sharer])
    return ShareLog(
        act=kinds,
        wall=when[keep],
        person=np.concatenate(person)[keep],
        marks=ShownIds.joined(marks)[keep],
        share=card,
        order=np.concatenate(order)[keep],
        group=np.concatenate(groups)[keep],
        sharer_account=np.where(told & known, by_account, -1),
        sharer_openid=np.where(told, by_openid, -1),
        sharer_unionid=np.where(told & (by_openid >= 0), share_marks.unionid[card], -1),
    )
