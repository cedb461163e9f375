"""What is learnt from campaigns whose truth is known: planted values are found, and nothing where nothing is."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import t as student

from campaigns.learning import (
    FALSE_SHARE,
    PairLift,
    ValueCell,
    ValueLift,
    cells_of,
    corrected,
    false_discovery,
    learnt,
    pair_lifts,
    pair_table,
    shrunk_towards,
    tags_to_pair,
)
from campaigns.lift import NOBODY, moments
from simulator.campaigns import SimulatedCampaign, simulate_campaign

TAGS, VALUES = 8, 4
PLANTED = {(0, 1): 0.05, (2, 3): 0.06, (5, 0): 0.05}


def found_in(c: SimulatedCampaign) -> list[ValueLift]:
    cells = [
        ValueCell(
            str(t),
            str(v),
            moments(c.bought[(c.values[t] == v) & c.is_held]),
            moments(c.bought[(c.values[t] == v) & ~c.is_held]),
        )
        for t in range(len(c.values))
        for v in range(VALUES)
    ]
    return learnt(cells, moments(c.bought[c.is_held]), moments(c.bought[~c.is_held]))


def test_planted_values_are_found_and_what_is_found_was_planted() -> None:
    rng = np.random.default_rng(23)
    runs, hits, named = 40, 0, 0
    for _ in range(runs):
        c = simulate_campaign(rng, tags=TAGS, values=VALUES, planted=PLANTED)
        found = {(int(v.tag), int(v.value)) for v in found_in(c) if v.is_found}
        hits, named = hits + len(found & c.planted), named + len(found)
    recall, precision, chance = hits / (runs * len(PLANTED)), hits / named, len(PLANTED) / (TAGS * VALUES)
    print(f"recall {recall:.3f}, precision {precision:.3f}, chance {chance:.3f}")
    assert recall > 0.8 and precision > 0.9 > 5 * chance


@pytest.mark.parametrize(("lift", "spend"), [(0.0, False), (0.03, False), (0.0, True)])
def test_nothing_is_found_where_nothing_is(lift: float, spend: bool) -> None:
    """A campaign that does nothing, and one that does the same for everybody; both in 95 % of runs."""
    rng = np.random.default_rng(29)
    runs = 300
    quiet = sum(
        not any(v.is_found for v in found_in(simulate_campaign(rng, users=8_000, lift=lift, spend=spend)))
        for _ in range(runs)
    )
    print(f"lift {lift}, spend {spend}: nothing found in {quiet / runs:.3f}")
    assert quiet / runs >= 1 - FALSE_SHARE


def test_a_shrunk_lift_is_nearer_to_the_truth_than_the_plain_one() -> None:
    rng = np.random.default_rng(31)
    plain = shrunk = 0.0
    for _ in range(30):
        c = simulate_campaign(rng, users=8_000, tags=TAGS, values=VALUES, planted=PLANTED)
        everywhere = 0.01 + sum(PLANTED.values()) / VALUES
        for v in found_in(c):
            mine = sum(
                extra * ((k == (int(v.tag), int(v.value))) - (k[0] == int(v.tag)) / VALUES)
                for k, extra in PLANTED.items()
            )
            plain += (v.difference - everywhere - mine) ** 2
            shrunk += (v.shrunk_lift - everywhere - mine) ** 2
    assert shrunk < 0.85 * plain


def test_values_that_do_not_differ_are_drawn_wholly_to_the_campaigns_own_lift() -> None:
    towards, error = shrunk_towards(0.1, 0.01, np.array([0.11, 0.09]), np.array([0.05, 0.05]))
    assert towards.tolist() == [0.1, 0.1] and error.tolist() == [0.01, 0.01]
    towards, _ = shrunk_towards(0.0, 0.01, np.array([1.0, -1.0]), np.array([0.1, 0.1]))
    # Variance of the estimates 1, of the errors .01: 99 % of the distance is real.
    assert towards.tolist() == pytest.approx([0.99, -0.99])


def test_false_discovery_by_hand() -> None:
    assert false_discovery([0.04, 0.01, 0.03, 0.5]).tolist() == pytest.approx([0.16 / 3, 0.04, 0.16 / 3, 0.5])


def test_few_users_are_not_looked_at_and_tags_that_tell_people_apart_are_left_out() -> None:
    few, many = moments(np.arange(10.0)), moments(np.arange(100.0))
    assert learnt([ValueCell("t", "a", few, many), ValueCell("t", "b", many, many)], many, many) == []
    assert learnt([], NOBODY, NOBODY) == []
    by_value = {str(i): (few, many) for i in range(3)}
    assert len(cells_of("t", by_value, 3)) == 3 and cells_of("t", by_value, 2) == []


# --- pairs of values ---

PAIR = ((1, 2), (4, 0))


def found_with_pairs(c: SimulatedCampaign, most_pairs: int = 45) -> tuple[list[ValueLift], list[PairLift]]:
    values, names = found_in(c), tuple(map(str, range(VALUES)))
    tables = [
        pair_table((a, b), (names, names), (c.values[int(a)], c.values[int(b)]), c.bought, c.is_held)
        for a, b in combinations(sorted(tags_to_pair(values, most_pairs)), 2)
    ]
    own = float(c.bought[~c.is_held].mean() - c.bought[c.is_held].mean())
    return corrected(values, pair_lifts(tables), own)


def test_a_planted_pair_is_found_among_all_values_and_pairs_also_where_only_some_tags_are_paired() -> None:
    """Of ten tags the five that differ most surely are paired, or all."""
    rng = np.random.default_rng(41)
    runs, hits, few, named = 30, 0, 0, 0
    for _ in range(runs):
        c = simulate_campaign(rng, tags=10, values=VALUES, planted_pairs={PAIR: 0.18})
        for most in (45, 10):
            found = {
                ((int(v.tag), int(v.value)), (int(v.other_tag), int(v.other_value)))
                for v in found_with_pairs(c, most)[1]
                if v.is_found
            }
            hits, few = (
                hits + (most == 45) * len(found & c.planted_pairs),
                few + (most == 10) * len(found & c.planted_pairs),
            )
            named += len(found)
    print(
        f"found {hits / runs:.2f} with all tags, {few / runs:.2f} with the surest; {(hits + few) / named:.2f} of it planted"
    )
    assert hits / runs > 0.9 and few / runs > 0.9 and (hits + few) / named > 0.9


@pytest.mark.parametrize(("lift", "spend"), [(0.0, False), (0.03, False), (0.0, True)])
def test_no_value_and_no_pair_is_found_where_nothing_is(lift: float, spend: bool) -> None:
    """In 95 % of runs, with all pairs and with those of the surest tags alone, which are picked by the same users."""
    rng = np.random.default_rng(37)
    runs = 200
    for most in (45, 6):
        quiet = sum(
            not any(v.is_found for found in found_with_pairs(c, most) for v in found)
            for c in (simulate_campaign(rng, users=8_000, lift=lift, spend=spend) for _ in range(runs))
        )
        print(f"lift {lift}, spend {spend}, {most} pairs: nothing found in {quiet / runs:.3f}")
        assert quiet / runs >= 1 - FALSE_SHARE


def test_an_interaction_is_what_two_values_do_together_beyond_each_by_hand() -> None:
    rng = np.random.default_rng(43)
    a, b, held = (rng.integers(0, n, 4_000) for n in (3, 2, 2))
    y, is_held = rng.normal(0, 1, 4_000) + (a == 1) * (b == 1), held == 1
    a[:100] = -1
    (one,) = (
        v
        for v in pair_lifts([pair_table(("x", "y"), (("p", "q", "r"), ("s", "t")), (a, b), y, is_held)])
        if (v.value, v.other_value) == ("q", "t")
    )

    def lift(first: np.ndarray, second: np.ndarray) -> float:
        those = first & second & (a >= 0)
        return float(y[those & ~is_held].mean() - y[those & is_held].mean())

    both = lift(a == 1, b == 1)
    assert one.difference == pytest.approx(both)
    assert one.interaction == pytest.approx(both - lift(a == 1, b != 1) - lift(a != 1, b == 1) + lift(a != 1, b != 1))
    assert (one.users, one.held_users) == tuple(
        int(((a == 1) & (b == 1) & (is_held == h)).sum()) for h in (False, True)
    )


def test_a_group_in_which_nobody_bought_by_chance_is_not_taken_to_be_sure() -> None:
    """The p of a pair by hand: the greater of interaction and of above everybody else, no variance below the arm's."""
    rng = np.random.default_rng(53)
    a, b = (rng.integers(0, 2, 2_000) for _ in range(2))
    is_held = rng.random(2_000) < 0.3
    y = (rng.random(2_000) < 0.1).astype(np.float64)
    both = (a == 1) & (b == 1)
    y[both & is_held] = 0
    found = pair_lifts([pair_table(("x", "y"), (("p", "q"), ("s", "t")), (a, b), y, is_held)])
    (one,) = (v for v in found if (v.value, v.other_value) == ("q", "t"))
    arms = {h: float(y[is_held == h].var(ddof=1)) for h in (True, False)}

    def p_of(groups: list[np.ndarray], signs: list[int], least: bool) -> float:
        parts = [
            (sign * (-1) ** h, y[g & (is_held == h)], arms[bool(h)] if least else 0.0)
            for g, sign in zip(groups, signs, strict=True)
            for h in (0, 1)
        ]
        variances = [(max(float(x.var(ddof=1)), floor) / len(x), len(x)) for _, x, floor in parts]
        error2 = sum(v for v, _ in variances)
        degrees = error2**2 / sum(v**2 / (n - 1) for v, n in variances)
        return float(student.sf(sum(sign * x.mean() for sign, x, _ in parts) / np.sqrt(error2), degrees))

    quarters = [both, (a == 1) & (b == 0), (a == 0) & (b == 1), (a == 0) & (b == 0)]
    least, plain = (
        max(p_of(quarters, [1, -1, -1, 1], floor), p_of([both, ~both], [1, -1], floor)) for floor in (True, False)
    )
    assert one.p_value == pytest.approx(least) and least > 1.2 * plain


def test_pairs_are_bounded_and_groups_of_few_users_are_not_looked_at() -> None:
    values = found_in(simulate_campaign(np.random.default_rng(47), users=4_000, tags=6))
    assert [len(tags_to_pair(values, n)) for n in (0, 1, 2, 3, 5, 6, 99)] == [1, 2, 2, 3, 3, 4, 6]
    surest = min(values, key=lambda v: min(v.p_value, 1 - v.p_value))
    assert tags_to_pair(values, 1)[0] == surest.tag
    codes = np.arange(400) % 2
    same = pair_table(("x", "y"), (("p", "q"), ("s", "t")), (codes, codes), np.arange(400.0), np.arange(400) % 4 < 2)
    assert pair_lifts([same]) == [], "nobody has one value without the other"
    assert corrected([], [], 0.0) == ([], [])
