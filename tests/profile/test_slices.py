"""A bucket cut into slices: every uid lies in one, and figures do not depend on how it was cut."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from features.kernel.rows import USERS_PER_BUCKET
from features.quality import OTHER, bins_of_bucket, users_by_bin
from jobs.profile.inputs import LEAST_SLICE, slices_of

DAY = date(2026, 3, 31)


def buckets(*sizes: int) -> list[dict[str, Any]]:
    return [
        {"bucket": b, "uids": [b * USERS_PER_BUCKET, (b + 1) * USERS_PER_BUCKET - 1], "size": size}
        for b, size in enumerate(sizes)
    ]


@given(st.lists(st.integers(0, USERS_PER_BUCKET), max_size=6), st.integers(1, 64))
def test_every_uid_that_a_bucket_can_hold_lies_in_one_slice(sizes: list[int], cores: int) -> None:
    items = buckets(*sizes)
    for item in items:
        mine = [s for s in slices_of(items, cores) if s["bucket"] == item["bucket"]]
        assert [s["slice"] for s in mine] == list(range(len(mine)))
        assert [s["uids"][0] for s in mine] == [item["uids"][0], *(s["uids"][1] + 1 for s in mine[:-1])]
        assert mine[-1]["uids"][1] == item["uids"][1]
        assert all(s["uids"][1] - s["uids"][0] + 1 >= LEAST_SLICE for s in mine)


def test_a_small_shop_uses_two_cores_and_many_buckets_stay_whole() -> None:
    assert len(slices_of(buckets(22_390), 2)) == 2
    assert len(slices_of(buckets(*[USERS_PER_BUCKET] * 10), 2)) == 10
    assert slices_of([], 2) == []


@given(st.lists(st.tuples(st.text(max_size=2), st.booleans()), min_size=1, max_size=40), st.integers(0, 40))
def test_values_are_spread_alike_however_a_bucket_is_cut(users: list[tuple[str, bool]], cut: int) -> None:
    column, is_member = pa.array([v for v, _ in users], pa.string()), np.array([m for _, m in users])
    parts = [(column[:cut], is_member[:cut]), (column[cut:], is_member[cut:])]
    spread = bins_of_bucket([users_by_bin(c, m, DAY) for c, m in parts])
    assert spread == bins_of_bucket([users_by_bin(column, is_member, DAY)])
    encoded = column.dictionary_encode()
    assert bins_of_bucket([users_by_bin(encoded, is_member, DAY)]) == spread


def test_rare_texts_are_cut_by_bucket_and_not_by_slice() -> None:
    """A text that is rare in each slice may be frequent in the bucket."""
    halves = [pa.array([f"rare-{n}" for n in range(i * 2_500, (i + 1) * 2_500)] + ["often"]) for i in range(2)]
    everybody = np.ones(2_501, dtype=bool)
    spread = bins_of_bucket([users_by_bin(half, everybody, DAY) for half in halves])
    assert spread["often"] == [0, 2]
    assert len(spread) == 2_001
    assert sum(members for _, members in spread.values()) == 5_002
    assert spread[OTHER] == [0, 5_000 - 1_999]
