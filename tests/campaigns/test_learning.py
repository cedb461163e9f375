"""What is learnt from campaigns whose truth is known: planted values are found, and nothing where nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from campaigns.learning import FALSE_SHARE, ValueCell, ValueLift, cells_of, false_discovery, learnt, shrunk_towards
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
