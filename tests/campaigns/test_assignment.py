"""Who gets which arm: evenly, the same every time, unlike any other campaign, and never moved."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.assignment import arms_of, share_of, standing
from campaigns.language import ABOVE, HELD_OUT
from campaigns.sample_ratio import sample_ratio_p

UIDS = np.arange(200_000, dtype=np.int64)
WEIGHTS = {HELD_OUT: 0.1, "coupon": 0.3, "message": 0.6}


def counts(salt: str, **above: object) -> dict[str, int]:
    arm, names = arms_of(UIDS, salt, WEIGHTS, **above)  # type: ignore[arg-type]
    return dict(zip(names, np.bincount(arm, minlength=len(names)).tolist(), strict=True))


def test_the_numbers_are_those_of_splitmix64() -> None:
    """A stream begun at 1234567 gives these numbers (Rosetta Code); a salt with that beginning is made for the test."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    with patch("campaigns.assignment.hashlib.sha256") as made:
        made.return_value.digest.return_value = (1234567).to_bytes(8, "big")
        found = share_of(np.arange(4, dtype=np.int64), "any")
    assert found.tolist() == [(n >> 11) * 2.0**-53 for n in published]


@pytest.mark.parametrize("salt", [f"campaign-{i}" for i in range(5)])
def test_arms_have_the_people_that_their_weights_say(salt: str) -> None:
    found = counts(salt)
    p = sample_ratio_p([found[n] for n in WEIGHTS], list(WEIGHTS.values()))
    assert p is not None and p > 0.001
    assert found[ABOVE] == 0


def test_the_same_person_and_campaign_give_the_same_arm_whoever_else_is_asked_for() -> None:
    whole, _ = arms_of(UIDS, "spring", WEIGHTS)
    some = np.array([199_999, 7, 123], np.int64)
    assert (arms_of(some, "spring", WEIGHTS)[0] == whole[some]).all()


def test_two_campaigns_hold_out_unlike_people() -> None:
    one, other = share_of(UIDS, "one") < 0.1, share_of(UIDS, "other") < 0.1
    assert abs((one & other).mean() - 0.01) < 0.001
    assert abs(np.corrcoef(share_of(UIDS, "one"), share_of(UIDS, "other"))[0, 1]) < 0.01


def test_the_shops_own_holdout_is_the_same_in_every_campaign() -> None:
    held = [arms_of(UIDS, s, WEIGHTS, 0.05, "everybody")[0] == len(WEIGHTS) for s in ("one", "other")]
    assert (held[0] == held[1]).all()
    assert held[0].mean() == pytest.approx(0.05, abs=0.002)


def test_an_arm_without_weight_gets_nobody_and_no_rounding_loses_one() -> None:
    arm, _ = arms_of(UIDS, "x", {HELD_OUT: 0.0, "a": 0.1 + 0.2, "b": 0.7 - 1e-16, "c": 0.0})
    assert set(np.unique(arm)) == {1, 2}


def test_a_merged_person_has_the_elders_arm() -> None:
    uid = np.array([9, 5, 3, 8], np.int64)
    # 9 and 5 are 3 now, 8 was merged into 1, which has none of its own.
    found = standing(uid, np.array([5, 8, 9]), np.array([3, 1, 3]))
    assert found.person.tolist() == [1, 3]
    assert uid[found.row].tolist() == [8, 3]


def test_of_two_younger_ones_the_elder_counts() -> None:
    found = standing(np.array([9, 5], np.int64), np.array([5, 9]), np.array([2, 2]))
    assert (found.person.tolist(), found.row.tolist()) == ([2], [1])


@given(st.lists(st.integers(0, 50), unique=True), st.dictionaries(st.integers(51, 80), st.integers(0, 50), max_size=9))
def test_everybody_assigned_stands_for_exactly_one_person(uids: list[int], merged: dict[int, int]) -> None:
    uid = np.array([*uids, *merged], np.int64)
    retired = np.array(sorted(merged), np.int64)
    found = standing(uid, retired, np.array([merged[r] for r in sorted(merged)], np.int64))
    persons = {merged.get(int(u), int(u)) for u in uid}
    assert found.person.tolist() == sorted(persons)
    for person, row in zip(found.person.tolist(), found.row.tolist(), strict=True):
        mine = [u for u in uid.tolist() if merged.get(u, u) == person]
        assert uid[row] == (person if person in mine else min(mine))
