"""Rows in = silver + duplicates + quarantined + not selected, whatever is delivered, in any order and in any pieces."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from lake.manifest import manifest
from tests.ingest.shop import LINES, RECEIVED, Shop, csv
from tests.ingest.test_ingest import L

CELLS = st.sampled_from(
    ["o1", "o2", "", "C9", "2026-03-01", "2026-02-28 23:59", "x", "1", "-1", "5.00", "¥5", "5", '"q"']
)
GOOD = st.tuples(
    st.sampled_from(["o1", "o2", "o3"]),
    st.sampled_from(["2026-03-01", "2026-02-01"]),
    st.sampled_from(["a", ""]),
    st.sampled_from(["1", "2"]),
    st.sampled_from(["5", "5.00", "7"]),
)
ROWS = st.lists(GOOD | st.lists(CELLS, min_size=1, max_size=6).map(tuple), max_size=12)
WHERE = {"where": [{"column": "order", "not_starts_with": "C"}]}


@given(st.lists(ROWS, min_size=1, max_size=3))
@settings(deadline=None, max_examples=8)
def test_no_row_is_lost_and_none_comes_from_nowhere(files: list[list[tuple[str, ...]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder), {"lines": {**LINES, **WHERE}})
        for n, rows in enumerate(files):
            shop.deliver(f"lines/{n}.csv", csv(L, *rows))
            shop.ingest(RECEIVED + timedelta(days=n % 2), append=True)
        taken = manifest(shop.lake)
        assert all(r.lost == 0 for r in taken)
        sums = {
            n: sum(getattr(r, n) for r in taken)
            for n in ("rows_read", "rows_silver", "rows_quarantined", "rows_not_selected")
        }
        assert shop.count("silver.order_lines") == sums["rows_silver"]
        assert shop.count("quarantine.order_lines") == sums["rows_quarantined"]
        assert shop.count("bronze.order_lines") == sums["rows_read"] - sums["rows_not_selected"]
        keys = shop.rows("silver.order_lines", "order_id, line_id")
        assert len(set(keys)) == len(keys)


@given(st.lists(GOOD, min_size=1, max_size=10), st.data())
@settings(deadline=None, max_examples=5)
def test_the_order_of_rows_and_files_does_not_matter(rows: list[tuple[str, ...]], data: st.DataObject) -> None:
    # Equal rows stay in one file: parted over two they could not be told from the same row delivered twice.
    once = list(dict.fromkeys(rows))
    cut = data.draw(st.integers(0, len(once)))
    shuffled = data.draw(st.permutations(once))
    found = []
    for pieces in ([once], [shuffled[:cut], shuffled[cut:]]):
        with tempfile.TemporaryDirectory() as folder:
            shop = Shop(Path(folder), {"lines": LINES})
            for n, piece in enumerate(pieces):
                shop.deliver(f"lines/{n}.csv", csv(L, *piece))
            shop.ingest()
            found.append(shop.content("silver.order_lines"))
    assert found[0] == found[1]
