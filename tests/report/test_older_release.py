"""The report of a release that an older version made: tables and columns of today are not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from lake.lake import Lake
from lake.releases import RELEASED_LAYERS, write_release
from report.blocks import Block
from report.data import report_data
from report.page import html, sections
from report.sections import sharing
from schemas.contracts import contract
from tests.report.made_shop import D, MadeShop
from tests.report.test_sentences import block, said, told

NEWER: Mapping[str, Sequence[str]] = {
    "fission.touches": ("touch_kind",),
    "profile.tag_quality": ("psi_usual", "compared_with", "verdict_cause", "held_by"),
    "profile.breaks": ("basis", "sample_users", "share_beyond_horizon", "horizon_to_try_days"),
    "segments.figures": ("held_by",),
    "landing.manifest": ("message",),
    "campaigns.results": ("cost_minor", "cost_per_added_order_minor"),
    "exports.deliveries": ("campaign", "stage", "arm"),
}
NEWER_TABLES = ("fission.reach_trees", "fission.card_trees")
OUTCOMES = {"first": 100, "late": 20, "register": 60, "inviter": 20}


def as_it_was(lake: Lake, table: str, without: Sequence[str], rows: pa.Table | None = None) -> None:
    """The table without its newer columns; ``rows`` in place of its own."""
    kept = lake.dataset(table).to_table() if rows is None else rows
    kept = kept.drop_columns([c for c in without if c in kept.column_names])
    parts = list(contract(table).partitions) or None
    write_deltalake(str(lake.path(table)), kept, mode="overwrite", schema_mode="overwrite", partition_by=parts)


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> MadeShop:
    shop = MadeShop(tmp_path_factory.mktemp("older") / "shop")
    lake = shop.lake
    for table, columns in NEWER.items():
        if lake.version(table) is not None:
            rows = None
            if table == "fission.touches":
                rows = pa.table(
                    {"as_of": [D] * 4, "touch_outcome": list(OUTCOMES), "touches": list(OUTCOMES.values())},
                )
            as_it_was(lake, table, columns, rows)
    for table in NEWER_TABLES:
        rmtree(lake.path(table))
    tables = {n: v for n, v in lake.versions().items() if n.split(".")[0] in RELEASED_LAYERS}
    shop.made = write_release(lake, D, "run-older", tables)
    return shop


def touches(found: Block) -> list[list[str]]:
    assert found.table is not None
    return [[str(getattr(cell, "en", cell)) for cell in row] for row in found.table.rows]


def test_the_page_of_an_older_release_is_made(older: MadeShop, tmp_path: Path) -> None:
    page = html(report_data(older.project, older.made))[0]
    assert "Registration names it" in page


def test_touches_of_an_older_release_are_counted_by_outcome_and_the_page_says_why(older: MadeShop) -> None:
    (found,) = [
        b for s in sections(report_data(older.project, older.made)) for b in s.blocks if "every touch" in b.title.en
    ]
    assert touches(found) == [
        ["Brought the person", "100", "50.0%"],
        ["Provably after joining", "20", "10.0%"],
        ["Member record names it", "20", "10.0%"],
        ["Registration names it", "60", "30.0%"],
        ["Total", "200", "100.0%"],
    ]
    assert "older" in found.note.en and "更早" in found.note.zh


def test_old_rows_of_a_table_that_was_widened_since_are_counted_too() -> None:
    rows: list[dict[str, Any]] = [{"touch_kind": None, "touch_outcome": o, "touches": n} for o, n in OUTCOMES.items()]
    found = block(sharing.fission(told(touches=rows)), "every touch")
    assert touches(found)[-1] == ["Total", "200", "100.0%"]


def test_trees_that_an_older_release_did_not_make_are_not_said_to_be_empty(older: MadeShop) -> None:
    section = sharing.fission(report_data(older.project, older.made))
    for title in ("largest reach trees", "Cards that reached most", "Won and reached"):
        found = block(section, title)
        assert found.missing is not None
        assert "older" in said(found.missing) and "更早" in said(found.missing), title
    assert "older" not in said(block(sharing.fission(told()), "largest reach trees").missing)
