"""Who shares what with whom: the invitation tree with its true edges, shares, opens, joins and registrations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.lifecycle import CHURNED, DORMANT, Phases
from simulator.people import MAVEN, Ints, People
from simulator.products import Assortment, choose, latest_launches
from simulator.season import DAY_MS, MINUTE_MS, NEVER, Season, pick_between, stream, time_of_day

# by role none, connector, maven, salesman
SHARES_A_SEASON = np.array([0.28, 14.0, 12.0, 10.0])  # per 180 days
OPENS_A_SHARE = np.array([1.3, 3.2, 2.6, 1.6])
OUTSIDE_THE_COMMUNITY = np.array([0.15, 0.75, 0.2, 0.2])
CONVERSION = np.array([0.10, 0.08, 0.12, 0.50])
OWN_CATEGORY = np.array([0.8, 0.4, 0.1, 0.8])
INVITES = np.array([1.0, 12.0, 4.0, 8.0])
EAGERNESS_OF_NEW_MEMBERS = 4.0
SHARES_OF_A_DISTRIBUTOR = 6.0
REFERENCE_DAYS = 180


@dataclass(frozen=True)
class Sharing:
    """Events by arrays. A share is known by its index; ``parent_share`` is -1 unless a received card was passed on.

    ``inviter``, ``invite_share`` and ``invite_opened`` are by person: -1 (NEVER) for who came without a share.
    ``open_buys`` marks opens that lead to an order of the person who opened.
    """

    share_person: Ints
    share_wall: Ints
    share_product: Ints
    parent_share: Ints
    open_share: Ints
    open_person: Ints
    open_wall: Ints
    open_invites: NDArray[np.bool_]
    open_joins: NDArray[np.bool_]
    open_buys: NDArray[np.bool_]
    inviter: Ints
    invite_share: Ints
    invite_opened: Ints
    community: Ints
    cycle_people: Ints


def _invitations(rng: np.random.Generator, season: Season, people: People) -> tuple[Ints, Ints, Ints]:
    """(child, inviter, wall of the share): inviters are members already, drawn by role, half among the newest."""
    able = np.flatnonzero(people.is_member & ~people.brushes)
    able = able[np.argsort(people.registered[able], kind="stable")]
    joined = people.registered[able]
    pull = INVITES[people.role[able]] * np.where(people.distributor_level[able] > 0, 5.0, 1.0)
    pull = pull * np.where(joined >= season.start, EAGERNESS_OF_NEW_MEMBERS, 1.0)
    cumulative = np.concatenate([[0.0], np.cumsum(pull)])
    child = np.flatnonzero(people.wants_invite)
    at = people.registered[child]
    before = np.searchsorted(joined, at - 60 * MINUTE_MS)
    fine = (before > 0) & (at > season.start + 120 * MINUTE_MS)
    child, at, before = child[fine], at[fine], before[fine]
    low = np.where(rng.random(len(child)) < 0.5, (before * 0.9).astype(np.int64), 0)
    parent = able[pick_between(rng, cumulative, low, before)]
    earliest = np.maximum(np.maximum(people.registered[parent] + 5 * MINUTE_MS, at - 5 * DAY_MS), season.start)
    back = rng.random(len(child)) ** 2
    shared = at - 3 * MINUTE_MS - ((at - 3 * MINUTE_MS - earliest) * back).astype(np.int64)
    return child, parent, shared


def _communities(rng: np.random.Generator, people: People, inviter: Ints) -> Ints:
    """Most people are in the community of who invited them, the others in one of about sixty people drawn at random."""
    community = rng.integers(0, max(1, people.n // 60), people.n)
    follows = np.where((inviter >= 0) & (rng.random(people.n) < 0.8), inviter, np.arange(people.n))
    while True:  # jump to the root; the tree has no cycle because inviters registered earlier
        further = follows[follows]
        if np.array_equal(further, follows):
            return community[follows]
        follows = further


def _further_shares(rng: np.random.Generator, season: Season, people: People, phases: Phases) -> tuple[Ints, Ints]:
    season_share = season.days / REFERENCE_DAYS
    rate = SHARES_A_SEASON[people.role] + np.where(people.distributor_level > 0, SHARES_OF_A_DISTRIBUTOR, 0.0)
    rate = np.where(people.is_member & ~people.brushes, rate * season_share, 0.0)
    # who shares at all does so repeatedly
    count = rng.poisson(rate * rng.gamma(0.8, 1.25, people.n))
    person = np.repeat(np.arange(people.n), count)
    first = np.clip(season.day_of(np.minimum(people.registered[person], season.end - 1)), 0, season.days - 1)
    day = pick_between(rng, season.visit_cum, first, np.full(len(person), season.days, np.int64))
    wall = season.start + day * DAY_MS + time_of_day(rng, people.clock[person])
    silent = np.isin(phases.state_on(person, day), (DORMANT, CHURNED))
    keep = (wall > people.registered[person] + 10 * MINUTE_MS) & (~silent | (rng.random(len(person)) < 0.1))
    return person[keep], wall[keep]


def _openers(
    rng: np.random.Generator, people: People, community: Ints, sharer: Ints, outside: NDArray[np.float64]
) -> Ints:
    """One person who opens per row: of the sharer's community, or anybody; one in a hundred is the sharer."""
    order = np.argsort(community, kind="stable")
    first = np.searchsorted(community[order], np.arange(community.max() + 2))
    mine = community[sharer]
    size = first[mine + 1] - first[mine]
    near = order[first[mine] + (rng.random(len(sharer)) * size).astype(np.int64)]
    far = rng.integers(0, people.n, len(sharer))
    opener = np.where(rng.random(len(sharer)) < outside, far, near)
    return np.where(rng.random(len(sharer)) < 0.01, sharer, opener)


def _cycles(rng: np.random.Generator, season: Season, people: People, used: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Pairs who open each other's share before either registers: (sharer, shared, opener, opened), two rows a pair."""
    free = people.registered - season.start
    single = np.flatnonzero(
        (free > 4 * DAY_MS) & (free < season.days * DAY_MS) & ~people.wants_invite & ~people.brushes
        & (people.openids.count > 0) & (people.seen_from > 0)
    )  # fmt: skip
    single = np.setdiff1d(single, used)
    pairs = min(len(single) // 2, max(1, people.n // 2000))
    chosen = rng.permutation(single)[: 2 * pairs]
    chosen = chosen[np.argsort(people.registered[chosen], kind="stable")]
    a, b = chosen[0::2], chosen[1::2]
    early = np.minimum(people.registered[a], people.registered[b]) - 2 * DAY_MS + rng.integers(0, DAY_MS, pairs)
    hour = 60 * MINUTE_MS
    return (
        np.concatenate([a, b]),
        np.concatenate([early, early + 3 * hour]),
        np.concatenate([b, a]),
        np.concatenate([early + hour, early + 5 * hour]),
    )


def make_sharing(seed: int, season: Season, people: People, products: Assortment, phases: Phases) -> Sharing:
    rng = stream(seed, "sharing")
    child, parent, shared = _invitations(rng, season, people)
    inviter = _by_person(people, child, parent, -1)
    community = _communities(rng, people, inviter)
    # invitations of one person on one day are one card
    card, card_of_child = np.unique(parent * (1 << 14) + season.day_of(shared), return_inverse=True)
    card_wall = np.full(len(card), NEVER, np.int64)
    np.minimum.at(card_wall, card_of_child, shared)
    until_then = people.registered[child] - shared - 60_000
    child_opened = shared + 1000 + (until_then * rng.random(len(child))).astype(np.int64)

    sharer, wall = _further_shares(rng, season, people, phases)
    cycle_sharer, cycle_shared, cycle_opener, cycle_opened = _cycles(rng, season, people, parent)
    share_person = np.concatenate([card // (1 << 14), sharer, cycle_sharer])
    share_wall = np.concatenate([card_wall, wall, cycle_shared])
    order = np.argsort(share_wall, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    share_person, share_wall = share_person[order], share_wall[order]
    product = _shared_products(rng, people, products, share_person, share_wall)

    invite_opened = _by_person(people, child, child_opened, NEVER)
    share, opener, opened = _further_opens(
        rng, season, people, share_person, share_wall, community, inviter, invite_opened
    )
    opens = np.concatenate([rank[card_of_child], share, rank[len(card) + len(sharer) :]])
    who = np.concatenate([child, opener, cycle_opener])
    when = np.concatenate([child_opened, opened, cycle_opened])
    order = np.argsort(when, kind="stable")
    opens, who, when = opens[order], who[order], when[order]
    buys, joins = _outcomes(rng, season, people, phases, share_person[opens], who, when)
    return Sharing(
        share_person=share_person,
        share_wall=share_wall,
        share_product=product,
        parent_share=_passed_on(rng, share_person, share_wall, opens, who, when),
        open_share=opens,
        open_person=who,
        open_wall=when,
        open_invites=order < len(child),
        open_joins=joins,
        open_buys=buys,
        inviter=inviter,
        invite_share=_by_person(people, child, rank[card_of_child], -1),
        invite_opened=invite_opened,
        community=community,
        cycle_people=cycle_opener,
    )


def _by_person(people: People, who: Ints, values: Ints, others: int) -> Ints:
    found = np.full(people.n, others, np.int64)
    found[who] = values
    return found


def _shared_products(rng: np.random.Generator, people: People, products: Assortment, sharer: Ints, wall: Ints) -> Ints:
    """What each share shows: of the sharer's own category more or less often by role; mavens show what is new."""
    role = people.role[sharer]
    product = choose(rng, products, people.favourite[sharer], people.brand[sharer], wall, own=OWN_CATEGORY[role])
    fresh, there = latest_launches(rng, products, wall)
    return np.where((role == MAVEN) & there & (rng.random(len(role)) < 0.6), fresh, product)


def _further_opens(
    rng: np.random.Generator,
    season: Season,
    people: People,
    sharer: Ints,
    wall: Ints,
    community: Ints,
    inviter: Ints,
    invite_opened: Ints,
) -> tuple[Ints, Ints, Ints]:
    """(share, opener, wall) of opens beyond those that invited the opener.

    Who registers without an invitation opened nothing before; who was invited opened the inviter's card first.
    """
    role = people.role[sharer]
    count = rng.poisson(OPENS_A_SHARE[role] * np.where(people.distributor_level[sharer] > 0, 1.2, 1.0))
    share = np.repeat(np.arange(len(count)), count)
    opener = _openers(rng, people, community, sharer[share], OUTSIDE_THE_COMMUNITY[role[share]])
    opened = wall[share] + 5000 + (rng.exponential(6.0, len(opener)) * 3_600_000).astype(np.int64)
    unregistered = (people.registered[opener] > opened) & people.is_member[opener]
    keep = (opened < season.end) & ~people.brushes[opener]
    keep &= ~unregistered | ((inviter[opener] >= 0) & (opened > invite_opened[opener] + 1000))
    return share[keep], opener[keep], opened[keep]


def _outcomes(
    rng: np.random.Generator, season: Season, people: People, phases: Phases, sharer: Ints, who: Ints, when: Ints
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(buys, joins a group) per open, by who shared and who opened when."""
    registered = people.registered[who] <= when
    awake = ~np.isin(phases.state_on(who, season.day_of(when)), (DORMANT, CHURNED))
    foreign = sharer != who
    can = registered & awake & foreign & people.will_buy[who]
    buys = can & (rng.random(len(who)) < CONVERSION[people.role[sharer]])
    return buys, foreign & registered & (rng.random(len(who)) < np.where(buys, 0.5, 0.08))


def _passed_on(rng: np.random.Generator, sharer: Ints, wall: Ints, opens: Ints, who: Ints, when: Ints) -> Ints:
    """The card that a share passes on: the last one that the sharer opened, in a third of the cases there is one."""
    if not len(opens):
        return np.full(len(sharer), -1, np.int64)
    order = np.lexsort((when, who))
    person, at = who[order], when[order]
    base = int(min(wall.min(initial=0), at.min(initial=0)))
    key = person * (1 << 36) + (at - base)
    row = np.searchsorted(key, sharer * (1 << 36) + (wall - base)) - 1
    row = np.maximum(row, 0)
    found = (person[row] == sharer) & (at[row] < wall) & (sharer[opens[order][row]] != sharer)
    return np.where(found & (rng.random(len(sharer)) < 0.33), opens[order][row], -1)
