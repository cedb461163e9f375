"""A catalogue ten times as large does not cost ten times as much: rows are read, ordered and selected once."""

from __future__ import annotations

import pytest

from benchmarks.many_facts import MANY, TENTH, compared


@pytest.mark.slow
def test_two_hundred_facts_cost_at_most_twice_what_twenty_cost() -> None:
    assert (len(TENTH), len(MANY)) == (20, 200)
    assert all(f in MANY for f in TENTH)
    found = compared(users=100_000, rounds=5)
    print(found)
    assert found["rows"] > 1_000_000
    assert found["ratio"] <= 2
