"""Orders brought: who has each, and that sorting them range by range changes nothing and bounds memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import jobs.fission.inputs
from features.kernel.rows import USERS_PER_BUCKET
from jobs.fission.array_files import load_arrays, save_arrays
from jobs.fission.inputs import write_sold


def touches(folder: Path, orders: int, buckets: int = 3) -> list[str]:
    """Random orders brought, every third by sharers of several buckets; some rows name no order."""
    draw = np.random.default_rng(5)
    folders = []
    for bucket in range(buckets):
        key = draw.integers(-orders, orders, orders)
        key[:: max(orders // 3, 1)] = 0
        folders.append(str(folder / f"bucket-{bucket}"))
        save_arrays(folders[-1], sold_key=key, sold_place=draw.integers(0, USERS_PER_BUCKET, orders).astype(np.int32))
    return folders


@pytest.mark.parametrize("at_a_time", [1, 7, 50, 10**6])
@pytest.mark.parametrize("orders", [0, 1, 2, 200])
def test_every_order_has_the_smallest_uid_that_brought_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orders: int, at_a_time: int
) -> None:
    monkeypatch.setattr(jobs.fission.inputs, "SORTED_ORDERS", at_a_time)
    folders = touches(tmp_path, orders)
    wanted: dict[int, int] = {}
    for bucket, folder in enumerate(folders):
        for key, place in zip(*load_arrays(folder, "sold_key", "sold_place"), strict=True):
            if key:
                uid = int(place) + bucket * USERS_PER_BUCKET
                wanted[int(key)] = min(uid, wanted.get(int(key), uid))
    write_sold(folders, tmp_path / "sold")
    key, sharer = load_arrays(tmp_path / "sold", "key", "sharer")
    assert list(zip(key.tolist(), sharer.tolist(), strict=True)) == sorted(wanted.items())


def test_four_times_the_orders_take_no_more_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.fission.inputs, "SORTED_ORDERS", 50_000)
    peaks = []
    for orders in (100_000, 400_000):
        folders = touches(tmp_path / str(orders), orders)
        tracemalloc.start()
        write_sold(folders, tmp_path / "sold")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] < 30 * 50_000 * 8
