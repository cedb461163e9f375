"""The example shop's sources/*.yaml read the simulator's files: good rows are taken and bad ones refused."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.cleaning import Cleaner
from features.sources import Mapping
from project.loading import load_mappings
from schemas.contracts import feeds
from simulator import Shop

SOURCES = Path(__file__).parents[2] / "conf" / "sources"
MAPPINGS = {m.feed: m for m in load_mappings(sorted(SOURCES.glob("*.yaml")))}
SIMULATED = (
    *("browse", "coupons", "manual_tags", "members", "order_lines", "orders"),
    *("products", "refunds", "shares", "surveys"),
)
"""Feeds of which the simulator makes files; of a feed that is added it makes none."""


def _content(mapping: Mapping, path: Path) -> tuple[list[str], list[list[str | None]]]:
    """Column names and text rows of one file."""
    if mapping.format == "parquet":
        table = pq.read_table(path)
        return table.column_names, [[None if v is None else str(v) for v in r.values()] for r in table.to_pylist()]
    raw = path.read_bytes()
    raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    text = raw.decode("gb18030" if mapping.encoding == "gb18030" else "utf-8-sig")
    if mapping.format == "jsonl":
        objects = [json.loads(line) for line in text.splitlines()]
        names = list(dict.fromkeys([*mapping.columns, *(k for o in objects for k in o)]))
        return names, [[_as_json_text(o.get(n)) for n in names] for o in objects]
    lines = list(csv.reader(io.StringIO(text, newline="")))
    return lines[0], [list(r) for r in lines[1:]]


def _as_json_text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def test_every_feed_has_its_mapping(small: Shop) -> None:
    assert MAPPINGS.keys() == {c.table for c in feeds()}
    assert small.feeds.keys() == set(SIMULATED) <= MAPPINGS.keys()


@pytest.mark.parametrize("feed", SIMULATED)
def test_a_mapping_matches_its_files_and_exactly_the_bad_rows_are_refused(small: Shop, inbox: Path, feed: str) -> None:
    mapping = MAPPINGS[feed]
    guests = ["", "0", "null"]
    connection = duckdb.connect()
    cleaner = Cleaner(mapping, zone="Asia/Shanghai", currency="CNY", guest_ids=guests, connection=connection)
    paths = sorted(inbox.glob(mapping.files))
    assert paths == sorted((inbox / feed).iterdir()), "the pattern finds the feed's files and no others"
    files = [_content(mapping, path) for path in paths]
    assert all(set(mapping.columns) <= set(names) for names, _ in files)
    # the files' columns differ only in JSON, where absent members are left out
    all_names = list(dict.fromkeys(name for names, _ in files for name in names))
    rows = [dict(zip(names, row, strict=True)) for names, lines in files for row in lines]
    block = pa.table({f"c{i}": pa.array([r.get(n) for r in rows], pa.string()) for i, n in enumerate(all_names)})
    cleaned = cleaner(block, all_names)
    refused = int(cleaned.refused.sum())
    bad = small.truth["bad_rows"].to_pandas().feed.eq(feed).sum()
    assert refused == np.count_nonzero(small.feeds[feed].fault) == bad, "every bad row is refused and no good one"
    assert cleaned.rows.num_rows == len(rows) == len(small.feeds[feed])
