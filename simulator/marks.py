"""Which ids a log row of a person shows: by the channel, by who is logged in, and by the device at hand."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from simulator.people import APP, MINI, STORE, Ints, People
from simulator.season import DAY_MS, Season

LOGGED_IN = np.array([0.8, 0.55, 0.45, 0.45, 1.0])
"""Share of visits by channel in which a member is logged in."""


@dataclass(frozen=True)
class ShownIds:
    """Indexes of the ids that each row shows, -1 where it shows none. ``unionid`` is the person's number."""

    account: Ints
    device: Ints
    cookie: Ints
    openid: Ints
    unionid: Ints
    channel: NDArray[np.int8]

    def __getitem__(self, rows: Ints) -> ShownIds:
        return ShownIds(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @property
    def shows_an_id(self) -> NDArray[np.bool_]:
        return (self.account >= 0) | (self.device >= 0) | (self.cookie >= 0) | (self.openid >= 0)

    def small(self) -> ShownIds:
        """The same in four bytes an id: a large shop's log has tens of millions of rows."""
        ids = {f.name: getattr(self, f.name).astype(np.int32) for f in fields(self) if f.name != "channel"}
        return ShownIds(**ids, channel=self.channel)

    @staticmethod
    def joined(parts: list[ShownIds]) -> ShownIds:
        return ShownIds(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(ShownIds)})


def account_at(rng: np.random.Generator, people: People, person: Ints, wall: Ints) -> Ints:
    """The account that each person would log in with, -1 before registration.

    From the second account's day on half of the visits go by it, until the shop merges it into the first.
    """
    first, second = people.account[person], people.second_account[person]
    account = np.where((first >= 0) & (people.registered[person] <= wall), first, -1)
    accounts = people.accounts
    usable = (second >= 0) & (accounts.registered[second] <= wall) & (wall < accounts.merged_at[second])
    return np.where(usable & (rng.random(len(person)) < 0.5), second, account)


def shown_ids(
    rng: np.random.Generator,
    season: Season,
    people: People,
    person: Ints,
    wall: Ints,
    *,
    logged_in: float | None = None,
    channel: NDArray[np.int8] | None = None,
) -> ShownIds:
    """Marks of one visit a row. ``logged_in`` overrides the channel's share of logged-in visits."""
    n = len(person)
    if channel is None:
        usual = rng.random(n) < 0.85
        channel = np.where(usual, people.channel[person], people.other_channel[person]).astype(np.int8)
    account = account_at(rng, people, person, wall)
    on_second = (account >= 0) & (account == people.second_account[person])
    channel = np.where(on_second, APP, channel).astype(np.int8)
    share = LOGGED_IN[channel] if logged_in is None else logged_in
    login = rng.random(n) < share
    part = np.clip((wall - season.start) / (season.days * DAY_MS), 0, 0.9999)
    in_app, in_mini, in_store = channel == APP, channel == MINI, channel == STORE
    device = np.where(in_app, people.devices.of(person, part), -1)
    borrows = in_app & (people.borrowed_device[person] >= 0) & (wall >= people.borrowed_from[person])
    device = np.where(borrows & (rng.random(n) < 0.3), people.borrowed_device[person], device)
    device = np.where(on_second, people.second_device[person], device)
    web_view = in_app & ~on_second & (rng.random(n) < 0.08)
    cookie = np.where(~in_app & ~in_mini & ~in_store | web_view, people.cookies.of(person, part), -1)
    other_app = np.where(rng.random(n) < 0.2, 0.9999, 0.0)
    openid = np.where(in_mini, people.openids.of(person, other_app), -1)
    unionid = np.where((openid >= 0) & people.has_unionid[person], person, -1)
    # a row without any other id is a logged-in one: nobody could log it otherwise
    nameless = (device < 0) & (cookie < 0) & (openid < 0)
    return ShownIds(np.where(login | nameless | on_second, account, -1), device, cookie, openid, unionid, channel)


def without_account(marks: ShownIds, rows: NDArray[np.bool_]) -> ShownIds:
    """The same marks with nobody logged in on ``rows``."""
    return ShownIds(
        np.where(rows, -1, marks.account), marks.device, marks.cookie, marks.openid, marks.unionid, marks.channel
    )
