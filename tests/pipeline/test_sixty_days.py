"""Sixty days of profiles, one after the other: nobody is lost or counted twice in any flow of any segmentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from features.catalogue import Catalogue
from jobs.activity.step import run_activity
from jobs.identity.step import run_identity
from jobs.ingest.step import ingest
from jobs.profile.publishing import SPAN_DAYS
from jobs.profile.step import update_profile
from lake.engine import Engine
from lake.sql import connect
from schemas.contracts import FEEDS
from simulator import shop as simulator
from tests.pipeline import shop

pytestmark = pytest.mark.slow

DAYS = [simulator.LAST_DAY - timedelta(days=i) for i in reversed(range(60))]

STANDING = "select as_of, scheme, is_member, segment, count(*) as users from segments.segments group by all"
ENDS = """
select as_of, from_as_of, scheme, is_member, to_segment as segment, sum(users)::bigint as users
from segments.segment_flows where to_segment <> 'LOST' group by all
"""
STARTS = """
select as_of, from_as_of, scheme, is_member, from_segment as segment, sum(users)::bigint as users
from segments.segment_flows where from_segment <> 'NEW' group by all
"""
# who was where at the earlier day, by the membership of the later one: that is what flows are told by
STOOD = """
with days as (select distinct as_of, from_as_of from segments.segment_flows)
select d.as_of, d.from_as_of, a.scheme, coalesce(p.is_member, a.is_member) as is_member, a.segment, count(*) as users
from days d join segments.segments a on a.as_of = d.from_as_of
left join (select distinct as_of, uid, is_member from segments.segments) p on p.as_of = d.as_of and p.uid = a.uid
group by all
"""


def segmentations_of(catalogue: Catalogue) -> Catalogue:
    """Every segmentation with what it builds on."""
    needed = catalogue.closure([("tag", n) for n in catalogue.schemes])
    return replace(
        catalogue,
        tags={n: t for n, t in catalogue.tags.items() if ("tag", n) in needed},
        facts={n: f for n, f in catalogue.facts.items() if ("fact", n) in needed},
        breaks={n: b for n, b in catalogue.breaks.items() if ("break", n) in needed},
        models={n: m for n, m in catalogue.models.items() if ("model", n) in needed},
        needs={n: below for n, below in catalogue.needs.items() if n in needed},
        order=tuple(n for n in catalogue.order if n in needed),
    )


@pytest.fixture(scope="module")
def sixty(tmp_path_factory: pytest.TempPathFactory, embedded: Engine) -> Iterator[duckdb.DuckDBPyConnection]:
    folder: Path = tmp_path_factory.mktemp("sixty")
    project = shop.new_project(folder / "project")
    made = simulator.simulate(users=150, days=70, seed=3)
    simulator.write_arrivals(made, project.inbox, last_day=DAYS[-1])
    # nothing that people say of users: no flow depends on it, and every run would resolve it anew
    feeds = [f for f in FEEDS if f not in ("surveys", "manual_tags", "touches")]
    ingest(project, embedded, feeds=feeds, received_at=shop.received(project, DAYS[-1]))
    run_identity(project, embedded, DAYS[-1], "identity")
    run_activity(project, embedded, "activity")
    catalogue = segmentations_of(project.catalogue)
    for day in DAYS:
        # month ends stay for ever, so the longest span needs no more than this
        update_profile(project.lake, embedded, catalogue, day, run_id=f"p{day}", keep_days=70)
    with connect(project.lake, None) as con:
        for name, sql in {"standing": STANDING, "ends": ENDS, "starts": STARTS, "stood": STOOD}.items():
            con.execute(f"create temp table {name} as {sql}")
        yield con


def test_flows_are_there_from_the_run_before_and_every_span(sixty: duckdb.DuckDBPyConnection) -> None:
    found: dict[date, set[date]] = {}
    for as_of, origin in sixty.execute("select distinct as_of, from_as_of from segments.segment_flows").fetchall():
        found.setdefault(as_of, set()).add(origin)
    for day in DAYS[1:]:
        expected = {day - timedelta(days=n) for n in (1, *SPAN_DAYS)} & set(DAYS)
        assert found[day] == expected, day


def test_every_start_stayed_moved_or_was_lost(sixty: duckdb.DuckDBPyConnection) -> None:
    ((rows,),) = sixty.execute("select count(*) from starts").fetchall()
    assert rows > 10_000
    assert sixty.execute("(from starts except from stood) union all (from stood except from starts)").fetchall() == []


def test_every_end_stayed_moved_in_or_is_new_members_and_visitors_apart(sixty: duckdb.DuckDBPyConnection) -> None:
    expected = (
        "select d.as_of, d.from_as_of, s.scheme, s.is_member, s.segment, s.users from standing s "
        "join (select distinct as_of, from_as_of from segments.segment_flows) d using (as_of)"
    )
    differing = f"(from ends except ({expected})) union all (({expected}) except from ends)"
    assert sixty.execute(differing).fetchall() == []


def test_starts_of_both_kinds_together_are_those_who_stood_there(sixty: duckdb.DuckDBPyConnection) -> None:
    both = "select as_of, from_as_of, scheme, segment, sum(users)::bigint from starts group by all"
    expected = (
        "select d.as_of, d.from_as_of, s.scheme, s.segment, sum(s.users)::bigint from standing s "
        "join (select distinct as_of, from_as_of from segments.segment_flows) d on d.from_as_of = s.as_of group by all"
    )
    assert sixty.execute(f"(({both}) except ({expected})) union all (({expected}) except ({both}))").fetchall() == []


def test_every_scheme_places_everybody_once_every_day(sixty: duckdb.DuckDBPyConnection) -> None:
    sizes = sixty.execute("select as_of, scheme, sum(users) from standing group by all").fetchall()
    by_day: dict[date, set[int]] = {}
    for as_of, _, users in sizes:
        by_day.setdefault(as_of, set()).add(users)
    assert len(by_day) == len(DAYS)
    assert all(len(users) == 1 for users in by_day.values())
    came = [next(iter(by_day[d])) for d in DAYS]
    assert came == sorted(came)
    assert came[-1] > came[0]
