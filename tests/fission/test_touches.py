"""What becomes of every touch, by hand-made ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.fission.touches import (
    NEVER,
    NOBODY,
    OUTCOMES,
    certainly_joined,
    distinct_pairs,
    outcomes,
)
from tests.silver import at as stamp

JOINED_UNTIL = {1: 100, 2: 50, 3: NEVER}
ZONE = "Asia/Shanghai"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def touches(*opens: tuple[int, int, int]) -> list[str]:
    """Outcomes of opens (who, whose share, when)."""
    person, sharer, at = (np.array(c, np.int64) for c in zip(*opens, strict=True))
    found = outcomes(person, sharer, at, np.array([JOINED_UNTIL[p] for p in person.tolist()]))
    return [OUTCOMES[o] for o in found]


def test_the_sharer_whose_share_was_opened_first_is_the_parent() -> None:
    found = touches((1, 9, 30), (1, 8, 20), (2, 9, 40), (1, 7, 90))
    assert found == ["repeated", "first", "first", "repeated"]


def test_what_is_opened_when_a_person_has_certainly_joined_is_late() -> None:
    assert touches((1, 9, 100), (1, 9, 101), (1, 9, 99), (2, 8, 49)) == ["late", "late", "first", "first"]


def test_own_shares_and_shares_of_nobody_bring_nobody() -> None:
    assert touches((1, 1, 10), (1, NOBODY, 11), (1, 5, 12)) == ["self_invite", "no_sharer", "first"]


def test_who_has_not_joined_waits() -> None:
    assert touches((3, 9, 10), (3, 3, 10)) == ["waiting", "self_invite"]


def test_two_shares_opened_at_one_moment_count_for_the_smaller_sharer() -> None:
    assert touches((1, 9, 10), (1, 4, 10)) == ["repeated", "first"]


def micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("zone", "joined", "until"),
    [
        (ZONE, stamp("2024-01-01 10:00:00"), stamp("2024-01-01 10:00:01")),
        (ZONE, stamp("2024-01-01 00:00:00"), stamp("2024-01-02 00:00:00")),
        (ZONE, stamp("2024-01-01 00:00:01"), stamp("2024-01-01 00:00:02")),
        (ZONE, datetime(2024, 1, 1, 2, 0, 0, 500_000, UTC), datetime(2024, 1, 1, 2, 0, 0, 500_001, UTC)),
        # a day of 23 hours
        ("Europe/Berlin", datetime(2024, 3, 30, 23, tzinfo=UTC), datetime(2024, 3, 31, 22, tzinfo=UTC)),
    ],
)
def test_a_person_has_certainly_joined_after_the_day_or_second_that_the_stamp_names(
    zone: str, joined: datetime, until: datetime
) -> None:
    assert certainly_joined(np.array([micros(joined), NEVER]), zone).tolist() == [micros(until), NEVER]


@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.integers(-1, 5), st.integers(0, 120)), min_size=1), st.randoms()
)
def test_every_touch_is_counted_once_whatever_the_order_of_rows(
    opens: list[tuple[int, int, int]], random: object
) -> None:
    found = touches(*opens)
    chosen = {o for o, outcome in zip(opens, found, strict=True) if outcome == "first"}
    assert found.count("first") == len(chosen) == len({person for person, _, _ in chosen})
    shuffled = opens.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = touches(*shuffled)
    assert sorted(again) == sorted(found)
    assert {o for o, outcome in zip(shuffled, again, strict=True) if outcome == "first"} == chosen
    for person, joined in JOINED_UNTIL.items():
        valid = [(at, s) for p, s, at in opens if p == person and s >= 0 and s != p and at < joined < NEVER]
        assert [c[1] for c in chosen if c[0] == person] == ([min(valid)[1]] if valid else [])


def test_pairs_are_counted_once_and_peers_of_nobody_never() -> None:
    place, peer = distinct_pairs(np.array([1, 1, 0, 1, 0]), np.array([7, 7, 1 << 40, -1, 2]))
    assert list(zip(place.tolist(), peer.tolist(), strict=True)) == [(0, 2), (0, 1 << 40), (1, 7)]
