"""Runs over sixty days, then care: what is kept reads as before, in files and space that are bounded, and the next day is the same."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.audiences.step import build
from jobs.ingest.step import ingest
from jobs.pipeline import RunReport, run
from lake import releases
from lake.compaction import LEFT_ALONE
from lake.engine import Engine, open_engine
from lake.lake import DataFile, Lake
from lake.releases import Release
from lake.sql import connect
from lake.tidy import Tidied, tidy
from lake.verify import Verified, verify
from project.folder import SETTINGS_FILE, Project
from queries.release_diff import difference
from simulator import shop as simulator
from simulator.files import write_files
from tests.pipeline import shop

pytestmark = pytest.mark.slow

NEXT = simulator.LAST_DAY
APART = int(os.environ.get("HUAXIANG_DAYS_APART", "5"))
"""Days from one run to the next, over sixty; the release check runs every day."""
DAYS = [NEXT - timedelta(days=i) for i in reversed(range(1, 61)) if i % APART == 59 % APART]
MONTH_END = date(2026, 1, 31)
BUILT, AUDIENCE = DAYS[12 // APART], "sharers_without_purchase"
EVERY = max(1, 3 // APART)
"""Runs from one delivery to the next: between them a run finds nothing new."""
MOST_FILES = 4


@dataclass(frozen=True)
class Cared:
    """The tidied shop and one that never was, both a day further; and what was there before."""

    project: Project
    untidied: Project
    before: dict[str, pa.Table]
    files_before: int
    done: Tidied
    verified: Verified
    files: dict[str, list[DataFile]]
    size: int
    data: int
    again: RunReport
    """The last day asked for once more."""
    activity: tuple[set[str], set[str]]
    """Names of the slices of ``activity`` that the next day rewrote, of either shop."""


def as_released(project: Project, which: date) -> dict[str, pa.Table]:
    """Every table that a release pins, as it has it."""
    at = releases.release(project.lake, str(which))
    with connect(project.lake, at) as con:
        return {name: con.sql(f"from {name} order by all").to_arrow_table() for name in at.tables}


def named_by(lake: Lake, kept: list[Release]) -> dict[str, int]:
    """Bytes of every data file that the newest version or a kept release names."""
    named = [(t, v) for t, v in lake.versions().items()] + [(t, v) for r in kept for t, v in r.tables.items()]
    return {f.path: f.bytes for t, v in set(named) for f in lake.files(t, v)}


def bytes_below(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def data_files(lake: Lake) -> int:
    return sum(1 for p in lake.root.rglob("d-*/**/*.parquet") if p.is_file())


def next_day(project: Project, engine: Engine) -> set[str]:
    """The further day; the slices of activity that it rewrote."""
    before = project.lake.version("activity.activity")
    ingest(project, engine, received_at=shop.received(project, NEXT))
    run(project, engine, NEXT)
    came, _ = project.lake.difference("activity.activity", before)
    return {f"{f.partition}" for f in came}


@pytest.fixture(scope="module")
def cared(tmp_path_factory: pytest.TempPathFactory, embedded: Engine) -> Iterator[Cared]:
    folder: Path = tmp_path_factory.mktemp("care")
    project = shop.new_project(folder / "project")
    settings = project.folder / SETTINGS_FILE
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace("most_files: 16", f"most_files: {MOST_FILES}"), encoding="utf-8")
    project = Project.load(project.folder)
    made = simulator.simulate(users=600, days=75, seed=3)
    first = made.season.first_day

    def deliver(last: date, after: date | None) -> None:
        low = 0 if after is None else (after - first).days + 1
        spans = [(low, (last - first).days)]
        write_files(made.season, made.feeds, [(-1, -1), *spans] if after is None else spans, project.inbox)

    delivered: date | None = None
    # Of its own, so that what it keeps in the lake while it is open is gone when the lake is measured.
    with open_engine("embedded", memory_gb=2) as engine:
        for n, day in enumerate(DAYS):
            if n % EVERY == 0:
                deliver(day, delivered)
                delivered = day
                ingest(project, engine, received_at=shop.received(project, day))
            run(project, engine, day)
            if day == BUILT:
                build(project, AUDIENCE, engine=engine)
    deliver(NEXT, delivered)
    untidied = Project.load(Path(shutil.copytree(project.folder, folder / "untidied")))
    lake, before = project.lake, as_released(project, MONTH_END)
    files_before = data_files(lake)
    done = tidy(lake, project.settings.care, NEXT)
    size, kept = bytes_below(lake.root), releases.releases(lake)
    # The sources' own files are data, too.
    copies = bytes_below(lake.root / "landing") - bytes_below(lake.root / "landing" / "manifest")
    data = sum(named_by(lake, kept).values()) + copies
    files = {t: lake.files(t) for t in lake.versions()}
    verified = verify(lake)
    again = run(project, embedded, DAYS[-1])
    activity = (next_day(project, embedded), next_day(untidied, embedded))
    yield Cared(project, untidied, before, files_before, done, verified, files, size, data, again, activity)


def test_what_stays_is_35_days_the_month_end_and_what_the_audience_was_built_from(cared: Cared) -> None:
    expected = [d for d in DAYS if d > DAYS[-1] - timedelta(days=35) or d in (MONTH_END, BUILT)]
    assert [k.release.as_of for k in cared.done.kept] == expected
    assert len(cared.done.expired) == len(DAYS) - len(expected)
    why = {k.release.as_of: k.why for k in cared.done.kept}
    assert why[BUILT] == (f"audience {AUDIENCE} was built from it",)
    assert cared.done.notes == []


def test_every_kept_release_can_be_read_and_the_old_month_end_has_the_rows_that_it_had(cared: Cared) -> None:
    assert cared.verified.damage == []
    assert cared.verified.releases == len(cared.done.kept)
    after = as_released(cared.project, MONTH_END)
    assert sorted(after) == sorted(cared.before)
    assert [name for name, table in after.items() if not table.equals(cared.before[name])] == []
    assert any(len(table) for table in after.values())


def test_the_files_of_every_slice_are_few(cared: Cared) -> None:
    for table, files in cared.files.items():
        of_slice = Counter(tuple(f.partition.values()) for f in files)
        if table not in LEFT_ALONE and of_slice:
            assert max(of_slice.values()) <= MOST_FILES, table
    assert any(t.compacted_files > MOST_FILES for t in cared.done.tables if t.table.startswith("silver."))


def test_the_lake_is_hardly_larger_than_the_data_in_it(cared: Cared) -> None:
    """Every file below it (logs, notes and books as well) against data files that something kept names, and landing's copies."""
    assert cared.size <= 1.5 * cared.data
    assert cared.done.freed_bytes > 0
    assert sum(t.files for t in cared.done.tables) < cared.files_before


def test_a_day_that_was_run_is_done_already_in_a_tidied_lake(cared: Cared) -> None:
    assert cared.again.already_done


def test_the_next_day_is_that_of_a_lake_that_was_never_tidied(cared: Cared) -> None:
    tidied, untidied = cared.activity
    assert tidied == untidied
    shop.assert_same(shop.tables(cared.project), shop.tables(cared.untidied), ("tidied", "untidied"))


def test_readers_go_back_to_a_kept_release_and_an_expired_one_says_that_it_is(cared: Cared) -> None:
    lake = cared.project.lake
    releases.rollback(lake, str(MONTH_END), "back", "a test")
    latest = releases.release(lake)
    assert latest.as_of == MONTH_END
    found = difference(cared.project, str(MONTH_END), str(NEXT))
    assert found.kept_users > 0
    gone = cared.done.expired[-1].as_of
    with pytest.raises(releases.NotThereError, match="expired on 2026-03-31"):
        releases.rollback(lake, str(gone), "back-2", "a test")
    tidy(lake, cared.project.settings.care, NEXT)
    assert verify(lake).damage == []
    assert releases.release(lake) == latest
