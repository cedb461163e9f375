"""Who brought a person, by hand-made opens."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.fission.touches import NEVER, NOBODY, FirstTouches, distinct_pairs, first_touches

JOINED = {1: 100, 2: 50, 3: NEVER}


def touches(*opens: tuple[int, int, int]) -> FirstTouches:
    """Opens as (who, whose share, when)."""
    person, sharer, at = (np.array(c, np.int64) for c in zip(*opens, strict=True))
    return first_touches(person, sharer, at, np.array([JOINED[p] for p in person.tolist()]))


def test_the_sharer_whose_share_was_opened_first_is_the_parent() -> None:
    found = touches((1, 9, 30), (1, 8, 20), (2, 9, 40), (1, 7, 90))
    assert found.rows.tolist() == [1, 2]
    assert found.repeated == 2


def test_what_is_opened_on_joining_or_later_is_late() -> None:
    found = touches((1, 9, 100), (1, 9, 101), (2, 8, 49))
    assert found.rows.tolist() == [2]
    assert found.late == 2


def test_own_shares_and_shares_of_nobody_bring_nobody() -> None:
    found = touches((1, 1, 10), (1, NOBODY, 11), (1, 5, 12))
    assert found.rows.tolist() == [2]
    assert (found.self_invite, found.no_sharer) == (1, 1)


def test_who_has_not_joined_waits() -> None:
    found = touches((3, 9, 10), (3, 3, 10))
    assert (len(found.rows), found.waiting, found.self_invite) == (0, 1, 1)


def test_two_shares_opened_at_one_moment_count_for_the_smaller_sharer() -> None:
    assert touches((1, 9, 10), (1, 4, 10)).rows.tolist() == [1]


@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.integers(-1, 5), st.integers(0, 120)), min_size=1), st.randoms()
)
def test_every_touch_is_counted_once_whatever_the_order_of_rows(
    opens: list[tuple[int, int, int]], random: object
) -> None:
    found = touches(*opens)
    parts = (found.repeated, found.late, found.self_invite, found.waiting, found.no_sharer)
    assert len(found.rows) + sum(parts) == len(opens)
    chosen = {opens[i] for i in found.rows}
    shuffled = opens.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = touches(*shuffled)
    assert {shuffled[i] for i in again.rows} == chosen
    for person, joined in JOINED.items():
        valid = [(at, s) for p, s, at in opens if p == person and s >= 0 and s != p and at < joined < NEVER]
        assert [c[1] for c in chosen if c[0] == person] == ([min(valid)[1]] if valid else [])


def test_pairs_are_counted_once_and_peers_of_nobody_never() -> None:
    place, peer = distinct_pairs(np.array([1, 1, 0, 1, 0]), np.array([7, 7, 1 << 40, -1, 2]))
    assert list(zip(place.tolist(), peer.tolist(), strict=True)) == [(0, 2), (0, 1 << 40), (1, 7)]
