"""From files to a release: what holds over the whole way."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from benchmarks.first_build import hand_over
from benchmarks.specialist import sameness, script
from cli.main import commands
from jobs.audiences.step import build
from jobs.ingest.step import ingest
from jobs.pipeline import run, run_step
from jobs.steps import STEPS
from lake import releases
from lake.engine import Engine
from lake.spans import PARTS
from lake.sql import connect
from project.folder import Project
from queries.release_diff import difference
from queries.status import status
from queries.timing import timing
from schemas.contracts import FEEDS
from schemas.errors import AuditError, HuaxiangError
from tests.pipeline import shop

LAST = shop.LAST
pytestmark = pytest.mark.slow


def one(project: Project, sql: str) -> tuple[Any, ...]:
    with connect(project.lake, releases.latest(project.lake)) as con:
        return tuple(con.execute(sql).fetchall()[0])


def test_every_input_row_is_in_silver_a_duplicate_or_in_quarantine(three_days: Project) -> None:
    feeds = status(three_days)["feeds"]
    assert {f["feed"] for f in feeds} == set(FEEDS) - {"touches"}, "all that the simulated shop sends"
    assert all(f["lost"] == 0 for f in feeds)
    for f in feeds:
        silver, waiting = (
            one(
                three_days,
                f"select (select count(*) from silver.{f['feed']}), (select count(*) from quarantine.{f['feed']})",
            )
            if f["quarantined"]
            else (*one(three_days, f"select count(*) from silver.{f['feed']}"), 0)
        )
        assert (silver, waiting) == (f["silver"], f["quarantined"])


def test_the_timing_of_a_run_shows_every_step_and_parts_that_add_up(three_days: Project) -> None:
    found = timing(three_days)
    assert [f["step"] for f in found if f["as_of"] is not None] == [s.name for s in STEPS]
    assert {f["as_of"] for f in found} <= {LAST, None}
    for f in found:
        parts = [f[f"{kind}_seconds"] for kind in PARTS]
        assert min(parts) >= 0 and f["rest_seconds"] >= 0
        assert sum(parts) + f["rest_seconds"] == pytest.approx(f["seconds"], abs=0.005)
        assert f["workers_compute_seconds"] >= -0.005
        assert f["peak_memory_mb"] >= f["main_memory_mb"] > 10 and f["spilled_mb"] is not None
    by_step = {f["step"]: f for f in found}
    assert by_step["profile"]["tasks"] > 0 and by_step["profile"]["workers_write_seconds"] > 0
    assert by_step["identity"]["frames_seconds"] > 0 and by_step["identity"]["commit_seconds"] > 0
    assert by_step["ingest"]["rows_in"] >= by_step["ingest"]["rows_out"] > 0
    assert by_step["profile"]["rows_in"] is None
    assert len({f["run_id"] for f in timing(three_days, 2) if f["as_of"] is not None}) == 2


def test_the_timing_is_a_table_for_people_and_values_for_machines(three_days: Project) -> None:
    words = ["status", "--timing", "--project", str(three_days.folder)]
    shown = CliRunner().invoke(commands(), words).output
    assert all(s.name in shown for s in STEPS) and "frames" in shown and "waiting" in shown
    values = json.loads(CliRunner().invoke(commands(), [*words, "--runs", "3", "--json"]).output)
    assert {v["step"] for v in values} == {s.name for s in STEPS} | {"ingest"}


def test_silver_money_is_profile_money(three_days: Project) -> None:
    """Gross cash of all users is what all paid lines are worth; nobody is counted twice and nobody is lost."""
    paid, lines = one(
        three_days,
        f"""
        with latest as (select * from silver.orders qualify row_number() over (
            partition by order_id order by source_time desc nulls last, _ingested_at desc, _file desc, _row desc) = 1),
        lines as (select * from silver.order_lines qualify row_number() over (
            partition by order_id, line_id order by source_time desc nulls last, _ingested_at desc, _file desc, _row desc) = 1)
        select (select sum(amount_minor) from activity.activity where behaviour_code = 15 and day <= '{LAST}'),
               (select sum(net_amount_minor) from lines join latest using (order_id)
                where paid_at is not null and timezone('Asia/Shanghai', paid_at)::date <= '{LAST}')
        """,
    )
    assert paid == lines > 0


def test_every_base_user_has_one_value_in_every_segmentation(three_days: Project) -> None:
    rows = one(
        three_days,
        f"""select count(*), count(distinct uid), count(distinct scheme), count(*) filter (segment is null)
            from segments.segments where as_of = '{LAST}'""",
    )
    users = one(three_days, f"select count(*) from profile.profile where as_of = '{LAST}'")[0]
    assert rows == (users * rows[2], users, rows[2], 0)
    assert rows[2] >= 8


def test_flows_conserve_users(three_days: Project) -> None:
    before, after = LAST - timedelta(days=1), LAST
    with connect(three_days.lake, None) as con:
        bad = con.execute(
            f"""
            with moved as (select scheme, from_segment, to_segment, sum(users) as users from segments.segment_flows
                           where as_of = '{after}' and from_as_of = '{before}' group by all),
            left_side as (select scheme, from_segment as segment, sum(users) as users from moved
                          where from_segment <> 'NEW' group by all),
            right_side as (select scheme, to_segment as segment, sum(users) as users from moved
                           where to_segment <> 'LOST' group by all),
            was as (select scheme, segment, count(*) as users from segments.segments where as_of = '{before}' group by all),
            is_now as (select scheme, segment, count(*) as users from segments.segments where as_of = '{after}' group by all)
            (from left_side except from was) union all (from was except from left_side)
            union all (from right_side except from is_now) union all (from is_now except from right_side)
            """
        ).fetchall()
    assert bad == []


def test_a_day_that_is_done_is_not_run_again(three_days: Project, embedded: Engine) -> None:
    before = releases.releases(three_days.lake)
    assert run(three_days, embedded, LAST).already_done
    assert releases.releases(three_days.lake) == before


@pytest.mark.parametrize(
    ("day", "said"),
    [
        (LAST.replace(year=LAST.year + 1), "days after the last delivery .* was another day meant"),
        (date(1999, 1, 1), "there is nothing to count by 1999-01-01: the first row that was delivered is of"),
    ],
)
def test_a_day_far_from_the_data_is_refused(three_days: Project, embedded: Engine, day: date, said: str) -> None:
    before = three_days.lake.versions()
    with pytest.raises(HuaxiangError, match=said):
        run(three_days, embedded, day)
    assert three_days.lake.versions() == before


def test_a_release_difference_counts_users(three_days: Project) -> None:
    found = difference(three_days, str(LAST - timedelta(days=1)), str(LAST))
    users = one(three_days, f"select count(*) from profile.profile where as_of = '{LAST}'")[0]
    assert found.kept_users + found.new_users == users
    assert any(t.changed_users for t in found.tags)


def test_an_audience_is_built_from_the_release_that_readers_see(three_days: Project, embedded: Engine) -> None:
    name = next(iter(three_days.audiences))
    built = build(three_days, name, engine=embedded)
    assert built.release == releases.release(three_days.lake).number
    assert build(three_days, name, engine=embedded).already_built


def test_running_an_older_day_again_never_moves_the_latest_back(tmp_path: Path, embedded: Engine) -> None:
    project = shop.new_project(tmp_path / "project")
    days = shop.last_days(2)
    for day in days:
        shop.one_day(project, embedded, day)
    again = run(project, embedded, days[0], force=True)
    assert not again.already_done
    assert releases.release(project.lake).as_of == days[1]


def test_one_delivery_at_once_and_day_by_day_give_the_same_last_day(
    three_days: Project, tmp_path: Path, embedded: Engine
) -> None:
    """Uids may be given in another order; what is said of every person (by public id) is the same."""
    project = shop.new_project(tmp_path / "project")
    shop.deliver(project, LAST)
    ingest(project, embedded, received_at=shop.received(project, LAST))
    run(project, embedded, LAST)
    sums = f"""select count(*), count(*) filter (is_member), sum(purchase_days_365d), sum(active_days_30d)
               from profile.profile where as_of = '{LAST}'"""
    assert one(project, sums) == one(three_days, sums)


def test_a_failing_audit_stops_the_publication_and_yesterday_stays(
    tmp_path: Path, embedded: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = shop.new_project(tmp_path / "project")
    day, following = shop.last_days(2)
    shop.one_day(project, embedded, day)

    class Judge:
        warnings: tuple[str, ...] = ()

        def __call__(self, staged: dict[str, Path], days: dict[str, list[date]] | None = None) -> None:
            if "profile.profile" in staged:
                raise AuditError("the audit says no")

        def published(self, since: dict[str, int]) -> None:
            assert not since

        def warm(self) -> None: ...

    shop.deliver(project, following)
    ingest(project, embedded, received_at=shop.received(project, following))
    before = shop.tables(project)
    with pytest.raises(AuditError):
        run(project, embedded, following, audit=Judge())  # type: ignore[arg-type]
    shop.assert_same(shop.tables(project), before, ("after the audit", "before the run"))
    assert releases.release(project.lake).as_of == day
    assert one(project, "select max(as_of) from profile.profile")[0] == day

    class Second(Judge):
        """What Great Expectations finds, when the run is all but over."""

        seen: frozenset[str] = frozenset()
        stops = True

        def __call__(self, staged: dict[str, Path], days: dict[str, list[date]] | None = None) -> None: ...

        def published(self, since: dict[str, int]) -> None:
            self.seen = frozenset(t for t, version in since.items() if project.lake.added_since(t, version))

        def confirm(self) -> None:
            if self.stops:
                raise AuditError("the audit says no")

    with pytest.raises(AuditError):
        run(project, embedded, following, audit=Second())  # type: ignore[arg-type]
    assert releases.release(project.lake).as_of == day
    shop.assert_same(shop.tables(project), before, ("after the second verdict", "before the run"))
    # As a run that was killed leaves it: published, and confirmed by nobody.
    run_step(project, embedded, following, "identity")
    left = Second()
    left.stops = False
    assert run(project, embedded, following, audit=left).release.as_of == following  # type: ignore[arg-type]
    assert "identity.users" in left.seen
    assert not [t for t in left.seen if not t.startswith("identity.")]


def test_a_script_written_by_hand_gives_the_same_persons_facts_and_segments(
    three_days: Project, tmp_path: Path
) -> None:
    """The benchmark's own, over all files at once: silver, who is who, every fact of the catalogue, RFM, AIPL, lifecycle."""
    facts = hand_over(three_days, LAST, tmp_path / "given")
    inbox, database = three_days.folder / "inbox", tmp_path / "by-hand.duckdb"
    script.made(inbox, database, script.Given(LAST, tmp_path / "given"))
    assert sameness.of_everything(three_days, database, facts, LAST, with_audiences=False) == []
    assert len(facts) > 140
    with duckdb.connect(str(database)) as con:
        con.execute("UPDATE people SET lifecycle = 'new', views_7d = views_7d + 1 WHERE uid = 3")
        con.execute("UPDATE taken SET rows_silver = rows_silver - 1 WHERE feed = 'browse'")
    found = sameness.of_everything(three_days, database, facts, LAST, with_audiences=False)
    assert [line.split(":")[0] for line in found] == ["browse", "lifecycle", "views_7d"]
