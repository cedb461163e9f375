"""``huaxiang lake tidy | verify``: what stays reads as before, what goes is told, and a kill at any point harms nothing."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cli.main import commands
from jobs.identity.step import undo_half_published
from lake import journal, releases
from lake.compaction import LEFT_ALONE, bundles, compact
from lake.folder_store import FolderStore
from lake.lake import COMPACTION, Lake, partition_path
from lake.locks import lock
from lake.publish import PublishError, publish, publish_compacted
from lake.retention import CareSettings, retained
from lake.run_notes import WARNINGS, remember_warnings
from lake.tidy import Tidied, tidy
from lake.verify import verify
from project import setup
from schemas.arrow import arrow_schema, file_schema
from schemas.contracts import contract, contracts
from schemas.errors import LockedError, NotThereError
from tests.conftest import ZONE
from tests.silver import at, write_silver

TODAY = date(2026, 4, 1)
SEGMENTS, BROWSE, FLAGS, EDGES = "segments.segments", "silver.browse", "activity.order_flags", "fission.share_edges"
CODES = "activity.codes"
SMALL = CareSettings(keep_release_days=3, most_files=2, file_mb=1)
FIRST = date(2026, 3, 25)
DAYS = [FIRST + timedelta(days=i) for i in range(8)]
"""From the 25th of March over the month's end to the first of April."""


def put(lake: Lake, table: str, rows: Sequence[dict[str, Any]], replace: Any = None, **noted: Any) -> int:
    """Rows of one slice (of the first row) as one file."""
    lake.ensure(table)
    c = contract(table)
    run_id = journal.new_run_id("test")
    folder = lake.stage(table, run_id)
    if rows:
        target = folder / partition_path({n: rows[0][n] for n in c.partitions})
        target.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, file_schema(arrow_schema(c), c.partitions)), target / "a.parquet")
    made = publish(
        lake,
        table,
        folder,
        replace=replace,
        read_version=None,
        run_id=run_id,
        key=run_id,
        metadata=noted,
        even_empty=True,
    )
    journal.finish(lake, run_id)
    return made


def segments(day: date, users: int, segment: str = "L") -> list[dict[str, Any]]:
    shared = {"as_of": day, "bucket": 0, "scheme": "aipl_stage", "is_member": True, "segment": segment}
    return [{**shared, "uid": uid} for uid in range(users)]


def browse(lake: Lake, day: date, n: int = 3) -> None:
    """A file of a day's views."""
    rows = [
        {"event_id": f"{day}-{i}", "occurred_at": at(f"{day} 10:0{i}"), "behaviour": "view", "device_id": f"d{i}"}
        for i in range(n)
    ]
    write_silver(lake, "browse", rows, ingested=f"{day} 23:00", batch=str(day))
    for run_id in {k[1] for k in journal._held if k[0] == lake.store.address}:
        journal.finish(lake, run_id)


def one_day(lake: Lake, day: date, users: int = 4) -> releases.Release:
    """What a run does, made small: silver grows by a file, a step notes what it has seen, a day's slice, a release."""
    browse(lake, day)
    put(lake, FLAGS, [], inputs={BROWSE: lake.version(BROWSE)})
    put(lake, SEGMENTS, segments(day, users), [{"as_of": day}])
    remember_warnings(lake, f"run-{day}", day, [f"said on {day}"])
    journal.finish(lake, f"run-{day}")
    tables = {n: v for n, v in lake.versions().items() if n.split(".")[0] in releases.RELEASED_LAYERS}
    return releases.write_release(lake, day, f"run-{day}", tables)


def eight_days(folder: Path) -> Lake:
    lake = Lake(folder, ZONE)
    for day in DAYS:
        one_day(lake, day)
    # The 30th again: what it held before is only in releases.
    put(lake, SEGMENTS, segments(DAYS[5], 9, "P"), [{"as_of": DAYS[5]}])
    return lake


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return eight_days(tmp_path_factory.mktemp("made") / "lake")


@pytest.fixture
def lake(made: Lake, tmp_path: Path) -> Lake:
    return Lake(Path(shutil.copytree(made.root, tmp_path / "lake")), ZONE)


def rows(lake: Lake, table: str, version: int | None = None) -> list[tuple[Any, ...]]:
    found = lake.dataset(table, version).to_table()
    return sorted((tuple(row.values()) for row in found.to_pylist()), key=repr)


def everything(lake: Lake) -> dict[Any, list[tuple[Any, ...]]]:
    """Rows of every table as it is now, and of every kept release."""
    found: dict[Any, list[tuple[Any, ...]]] = {t: rows(lake, t) for t in lake.versions()}
    for r in releases.releases(lake):
        found |= {(r.number, t): rows(lake, t, v) for t, v in r.tables.items()}
    return found


def of_kept(lake: Lake, before: dict[Any, Any]) -> dict[Any, Any]:
    numbers = {r.number for r in releases.releases(lake)}
    return {k: v for k, v in before.items() if isinstance(k, str) or k[0] in numbers}


def on_disk(lake: Lake) -> dict[str, tuple[int, int]]:
    """Every file of the lake with its size and time."""
    found = (p for p in lake.root.rglob("*") if p.is_file())
    return {str(p.relative_to(lake.root)): (p.stat().st_size, p.stat().st_mtime_ns) for p in found}


def data_files(lake: Lake, table: str) -> int:
    return len(list(lake.path(table).rglob("*.parquet"))) - len(list(lake.path(table).glob("_delta_log/*.parquet")))


# --- what stays ---


def test_the_last_days_month_ends_and_what_readers_see_stay(lake: Lake) -> None:
    kept, gone = retained(lake, 1)
    why = {k.release.as_of: k.why for k in kept}
    assert why[date(2026, 4, 1)] == ("one of the last 1 days", "written last", "what readers see")
    assert why[date(2026, 3, 31)] == ("a month's end", "what a rollback brings back")
    assert [r.as_of for r in gone] == DAYS[:6]


def test_what_the_newest_build_and_delivery_of_an_audience_name_stays(lake: Lake) -> None:
    size = {"audience": "a", "definition_hash": "h", "users": 1}
    put(lake, "audiences.sizes", [{**size, "as_of": DAYS[0], "release": 1}, {**size, "as_of": DAYS[1], "release": 2}])
    put(lake, "exports.deliveries", [{"audience": "b", "as_of": DAYS[2], "release": 3, "delivery_id": "d"}])
    kept, _ = retained(lake, 1)
    assert {k.release.number: k.why for k in kept if k.release.number < 7} == {
        2: ("audience a was built from it",),
        3: ("audience b was delivered from it",),
    }


def test_after_a_rollback_its_target_stays_and_one_to_an_expired_release_harms_nothing(lake: Lake) -> None:
    releases.rollback(lake, 2, "back", "me")
    tidy(lake, SMALL, TODAY)
    assert [r.number for r in releases.releases(lake)] == [*range(1, 9)], "days are counted from what readers see"
    one_day(lake, TODAY + timedelta(days=1))
    tidy(lake, SMALL, TODAY)
    assert [r.number for r in releases.releases(lake)] == [7, 8, 10]
    latest = releases.latest(lake)
    assert latest is not None and latest.number == 10
    assert releases.newest(lake).number == 10


@given(st.lists(st.integers(0, 80), min_size=1, max_size=12), st.integers(1, 40), st.data())
def test_readers_see_the_same_before_and_after_and_no_number_is_given_twice(
    offsets: list[int], keep_days: int, data: st.DataObject
) -> None:
    lake = Lake(FakeStore.empty(), ZONE)
    for n, offset in enumerate(offsets):
        releases.write_release(lake, FIRST + timedelta(days=offset), f"r{n}", {})
        if data.draw(st.booleans()):
            target = data.draw(st.sampled_from([r.number for r in releases.releases(lake)]))
            releases.rollback(lake, target, f"b{n}", "me")
    before, newest = releases.release(lake), releases.newest(lake)
    count = len(releases.entries(lake))
    kept, gone = retained(lake, keep_days)
    for r in gone:
        releases.expire(lake, r, TODAY, "a test")
    assert releases.release(lake) == before
    assert (newest.rollback_to or newest.number) in {k.release.number for k in kept}
    assert [r.number for r in releases.releases(lake)] == [k.release.number for k in kept]
    assert retained(lake, keep_days)[1] == []
    again = releases.write_release(lake, FIRST, "again", {})
    assert again.number == count + 1
    for r in gone:
        with pytest.raises(NotThereError, match=f"release {r.number} .* expired on 2026-04-01"):
            releases.release(lake, r.number)


class FakeStore(FolderStore):
    """Small state in memory."""

    kept: dict[str, bytes]

    @classmethod
    def empty(cls) -> FakeStore:
        found = cls(Path("nowhere"))
        found.kept = {}
        return found

    def read(self, name: str) -> bytes | None:
        return self.kept.get(name)

    def create(self, name: str, data: bytes, *, private: bool = False) -> bool:
        return self.kept.setdefault(name, data) is data

    def replace(self, name: str, data: bytes) -> None:
        self.kept[name] = data

    def names(self, prefix: str) -> list[str]:
        return sorted(n for n in self.kept if n.startswith(prefix))


# --- what a tidying does ---


def test_every_kept_release_and_every_table_reads_as_before_in_fewer_files(lake: Lake) -> None:
    before = everything(lake)
    done = tidy(lake, SMALL, TODAY)
    assert [r.number for r in done.expired] == [1, 2, 3, 4, 5]
    assert everything(lake) == of_kept(lake, before)
    assert verify(lake).damage == []
    tables = {t.table: t for t in done.tables}
    assert (tables[WARNINGS].compacted_files, tables[WARNINGS].compacted_into) == (8, 1)
    assert len(lake.files(WARNINGS)) == 1
    # Of silver the small files stay on disk beside the new one, as releases name them.
    assert sorted(
        len([f for f in lake.files(BROWSE) if f.partition["event_month"] == m]) for m in (202603, 202604)
    ) == [1, 1]
    assert tables[SEGMENTS].freed_files == 0 and tables[BROWSE].freed_files == 0
    assert lake.metadata(FLAGS)["inputs"][BROWSE] == 8


def test_what_only_expired_releases_named_is_removed(lake: Lake) -> None:
    put(lake, SEGMENTS, segments(DAYS[0], 7), [{"as_of": DAYS[0]}])
    there = data_files(lake, SEGMENTS)
    done = {t.table: t for t in tidy(lake, SMALL, TODAY).tables}[SEGMENTS]
    assert (done.freed_files, done.files) == (0, there), "releases that stay name the slice as it was"
    later = CareSettings(keep_release_days=1, most_files=2, file_mb=1)
    for day in (TODAY + timedelta(days=1), TODAY + timedelta(days=2)):
        one_day(lake, day)
    releases.expire(lake, releases.release(lake, "2026-03-31"), TODAY, "a test")
    done = {t.table: t for t in tidy(lake, later, TODAY).tables}[SEGMENTS]
    assert done.freed_files == 2 and done.freed_bytes > 0
    assert data_files(lake, SEGMENTS) == len(lake.files(SEGMENTS)) == done.files


def test_what_was_written_together_stays_for_who_reads_it_until_the_next_tidying(lake: Lake) -> None:
    reader = lake.dataset(WARNINGS)
    tidy(lake, SMALL, TODAY)
    assert reader.to_table().num_rows == 8
    done = {t.table: t for t in tidy(lake, SMALL, TODAY).tables}
    assert (done[WARNINGS].freed_files, done[BROWSE].freed_files) == (8, 0), "releases name those of silver"
    assert data_files(lake, WARNINGS) == 1


def test_a_third_tidying_finds_nothing_to_do(lake: Lake) -> None:
    tidy(lake, SMALL, TODAY)
    tidy(lake, SMALL, TODAY)
    before = on_disk(lake)
    done = tidy(lake, SMALL, TODAY)
    assert not done.expired and not any(t.is_touched for t in done.tables)
    assert {n: s for n, s in on_disk(lake).items() if not n.startswith("_locks")} == before


def test_a_dry_run_touches_nothing_and_says_what_a_tidying_then_does(lake: Lake) -> None:
    before = on_disk(lake)
    said = tidy(lake, SMALL, TODAY, dry_run=True)
    assert on_disk(lake) == before

    def told(done: Tidied) -> Any:
        tables = [
            (t.table, t.compacted_files, t.compacted_bytes, t.compacted_into, t.freed_files, t.freed_bytes)
            for t in done.tables
        ]
        return [r.number for r in done.expired], [(k.release.number, k.why) for k in done.kept], tables

    assert told(said) == told(tidy(lake, SMALL, TODAY))


@pytest.mark.parametrize(
    "name", ["run", "silver.orders", "audiences.membership", "exports.deliveries", "landing.manifest"]
)
def test_a_lake_that_somebody_writes_is_not_tidied(lake: Lake, name: str) -> None:
    before = on_disk(lake)
    with lock(lake, name), pytest.raises(LockedError, match=f"{name} is held by process"):
        tidy(lake, SMALL, TODAY)
    assert on_disk(lake) == before


def _stage_and_wait(root: str, staged: Any, done: Any) -> None:
    lake = Lake(Path(root), ZONE)
    folder = lake.stage(SEGMENTS, "profile-of-another")
    (folder / "as_of=2026-03-01").mkdir()
    pq.write_table(pa.table({"uid": [1]}), folder / "as_of=2026-03-01" / "a.parquet")
    staged.set()
    done.wait(60)


@pytest.mark.slow
def test_what_a_living_run_has_staged_stays_and_what_a_dead_one_left_goes(lake: Lake) -> None:
    context = multiprocessing.get_context("spawn")
    staged, done = context.Event(), context.Event()
    other = context.Process(target=_stage_and_wait, args=(str(lake.root), staged, done))
    other.start()
    assert staged.wait(60)
    there = data_files(lake, SEGMENTS)
    tidy(lake, SMALL, TODAY)
    assert data_files(lake, SEGMENTS) == there
    other.kill()
    other.join()
    tidy(lake, SMALL, TODAY)
    assert data_files(lake, SEGMENTS) == there - 1


def test_files_outside_staging_folders_are_not_ours_and_stay(lake: Lake) -> None:
    foreign = lake.path(SEGMENTS) / "notes.parquet"
    foreign.write_bytes(b"mine")
    tidy(lake, SMALL, TODAY)
    assert foreign.read_bytes() == b"mine"


def test_of_a_table_that_lacks_a_file_nothing_is_removed(lake: Lake) -> None:
    left = lake.path(WARNINGS) / "d-left" / "a.parquet"
    left.parent.mkdir()
    left.write_bytes(b"left")
    lost = Path(lake.files(SEGMENTS)[0].path)
    lost.unlink()
    orphan = lake.path(SEGMENTS) / "d-left" / "a.parquet"
    orphan.parent.mkdir()
    orphan.write_bytes(b"left")
    done = tidy(lake, SMALL, TODAY)
    assert not left.exists() and orphan.exists()
    assert [n for n in done.notes if n.startswith(f"{SEGMENTS}: 1 files are not there")] == done.notes != []


def test_of_a_table_of_which_a_version_cannot_be_opened_nothing_is_removed(lake: Lake) -> None:
    (lake.path(SEGMENTS) / "_delta_log" / f"{7:020d}.json").unlink()
    there = data_files(lake, SEGMENTS)
    done = tidy(Lake(lake.root, ZONE), SMALL, TODAY)
    assert data_files(lake, SEGMENTS) == there
    assert [n for n in done.notes if n.startswith(SEGMENTS)] == done.notes != []
    assert {d.releases for d in verify(lake).damage} >= {(7,), (8,)}


# --- killed ---

CHANGING = ("create", "replace", "delete", "remove", "share", "hold")


def _interrupted(name: str) -> None:
    raise KeyboardInterrupt(name)


@contextmanager
def killed_at(n: int, end: Callable[[str], None] = _interrupted) -> Iterator[list[str]]:
    """The n-th call that changes anything is the last one; yields what was called so far."""
    calls: list[str] = []
    with pytest.MonkeyPatch.context() as patched:

        def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                calls.append(name)
                if len(calls) == n:
                    end(name)
                return real(*args, **kwargs)

            return call

        for name in CHANGING:
            patched.setattr(FolderStore, name, counted(name, getattr(FolderStore, name)))
        for name in (
            "lake.tidy._checkpoint",
            "lake.tidy.compact",
            "lake.compaction.publish_compacted",
            "lake.compaction._write",
        ):
            module, _, function = name.rpartition(".")
            real = getattr(__import__(module, fromlist=[function]), function)
            patched.setattr(name, counted(function, real))
        yield calls


@pytest.mark.slow
def test_killed_at_any_point_every_kept_release_reads_and_the_next_tidying_finishes(made: Lake, tmp_path: Path) -> None:
    whole = Lake(Path(shutil.copytree(made.root, tmp_path / "whole")), ZONE)
    # What nothing names, so that there is something to remove of a released table, too.
    orphan = whole.path(SEGMENTS) / "d-left" / "a.parquet"
    orphan.parent.mkdir()
    orphan.write_bytes(b"left")
    started = shutil.copytree(whole.root, tmp_path / "started")
    before = everything(whole)
    with killed_at(0) as calls:
        tidy(whole, SMALL, TODAY)
    tidy(whole, SMALL, TODAY)
    after, steps = everything(whole), len(calls)
    assert {"replace", "remove", "share", "_checkpoint", "publish_compacted"} <= set(calls)
    held = calls.count("hold")
    for n in range(held // 2, steps + 1):
        lake = Lake(Path(shutil.copytree(started, tmp_path / f"killed-{n}")), ZONE)
        with killed_at(n), pytest.raises(KeyboardInterrupt):
            tidy(lake, SMALL, TODAY)
        there = everything(lake)
        assert there == of_kept(lake, before), calls[n - 1]
        assert verify(lake).damage == []
        for _ in range(2):
            tidy(lake, SMALL, TODAY)
        assert everything(lake) == after
        assert {t: (len(lake.files(t)), data_files(lake, t)) for t in lake.versions()} == {
            t: (len(whole.files(t)), data_files(whole, t)) for t in whole.versions()
        }
        shutil.rmtree(lake.root)


def _tidy_and_die(root: str, n: int) -> None:
    with killed_at(n, lambda name: os.kill(os.getpid(), signal.SIGKILL)):
        tidy(Lake(Path(root), ZONE), SMALL, TODAY)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
def test_a_killed_process_leaves_what_the_next_tidying_clears(lake: Lake, tmp_path: Path, share: float) -> None:
    before = everything(lake)
    whole = Lake(Path(shutil.copytree(lake.root, tmp_path / "whole")), ZONE)
    with killed_at(0) as calls:
        tidy(whole, SMALL, TODAY)
    tidy(whole, SMALL, TODAY)
    died = multiprocessing.get_context("spawn").Process(
        target=_tidy_and_die, args=(str(lake.root), int(share * len(calls)))
    )
    died.start()
    died.join()
    assert died.exitcode == -signal.SIGKILL
    assert everything(lake) == of_kept(lake, before)
    assert verify(lake).damage == []
    for _ in range(2):
        tidy(lake, SMALL, TODAY)
    assert everything(lake) == everything(whole)
    assert {t: data_files(lake, t) for t in lake.versions()} == {t: data_files(whole, t) for t in whole.versions()}
    assert not list(lake.root.glob("ops/journal/*"))


# --- what steps see of a compaction ---


def test_nothing_came_and_nothing_went_through_a_compaction(lake: Lake) -> None:
    noted, rows_before = lake.metadata(FLAGS)["inputs"][BROWSE], lake.rows_version(BROWSE)
    tidy(lake, SMALL, TODAY)
    assert lake.version(BROWSE) == noted + 1
    assert lake.rows_version(BROWSE) == rows_before == noted
    assert lake.difference(BROWSE, noted) == ([], [])
    browse(lake, TODAY + timedelta(days=1))
    [came], went = lake.difference(BROWSE, noted)
    assert (came.rows, went) == (3, [])
    assert lake.rows_version(BROWSE) == lake.version(BROWSE) == noted + 2
    # A delivery that is replaced takes the month's file away: its rows are read from the files of then.
    put(lake, BROWSE, [], [{"event_month": 202603}])
    came_now, went = lake.difference(BROWSE, noted)
    assert came_now == [came]
    assert sum(f.rows for f in went) == 21 and all(Path(f.path).is_file() for f in went)


def test_a_compaction_of_compacted_files_is_looked_through_as_well(lake: Lake) -> None:
    noted = lake.metadata(FLAGS)["inputs"][BROWSE]
    tidy(lake, SMALL, TODAY)
    for n in range(1, 4):
        browse(lake, TODAY + timedelta(days=n))
    put(lake, FLAGS, [], inputs={BROWSE: lake.version(BROWSE)})
    releases.write_release(lake, TODAY, "released", lake.versions())
    tidy(lake, SMALL, TODAY)
    came, went = lake.difference(BROWSE, noted)
    assert [f.rows for f in came] == [12], "the file that is new in part counts as new"
    assert went == []
    assert lake.difference(BROWSE, lake.metadata(FLAGS)["inputs"][BROWSE]) == ([], [])


def test_rows_that_a_step_has_not_seen_are_not_written_together(lake: Lake) -> None:
    noted = lake.metadata(FLAGS)["inputs"][BROWSE]
    for n in range(3):
        browse(lake, TODAY + timedelta(days=n))
    tidy(lake, SMALL, TODAY)
    came, went = lake.difference(BROWSE, noted)
    assert ([f.rows for f in came], went) == ([3, 3, 3], [])
    of_april = [f.rows for f in lake.files(BROWSE) if f.partition["event_month"] == 202604]
    assert sorted(of_april) == [3, 3, 3, 3]


def test_rows_that_no_release_has_are_not_written_together_with_those_of_one(lake: Lake) -> None:
    edges = {"as_of": DAYS[0], "depth": 1}
    for n in range(4):
        put(lake, EDGES, [{**edges, "uid": n}])
    releases.write_release(lake, TODAY, "released", {**releases.release(lake).tables, EDGES: 4})
    put(lake, EDGES, [{**edges, "uid": 9}])
    tidy(lake, SMALL, TODAY)
    assert sorted(f.rows for f in lake.files(EDGES)) == [1, 4]
    assert [f.rows for f in lake.added_since(EDGES, 4)] == [1]


def test_a_compaction_notes_what_the_newest_publication_noted(lake: Lake) -> None:
    for n in range(3):
        put(lake, "identity.merges", [{"id_kind": "member", "id_value": str(n), "old_uid": n, "new_uid": 0}], said=n)
    tidy(lake, SMALL, TODAY)
    noted = lake.metadata("identity.merges")
    assert noted["said"] == 2 and len(noted[COMPACTION]["files"]) == 1


def test_a_half_published_identity_is_put_back_to_the_compacted_files(lake: Lake) -> None:
    for n in range(4):
        put(lake, "identity.merges", [{"id_kind": "member", "id_value": str(n), "old_uid": n, "new_uid": 0}])
    together = {"identity.merges": 4}
    for table in ("identity.links", "identity.users", "identity.identifiers"):
        put(lake, table, [])
        together[table] = 1
    put(lake, "identity.links", [], tables=together)
    tidy(lake, SMALL, TODAY)
    before = rows(lake, "identity.merges")
    undo_half_published(lake, together)
    assert lake.version("identity.merges") == 5, "nothing to undo"
    put(lake, "identity.merges", [{"id_kind": "member", "id_value": "9", "old_uid": 9, "new_uid": 0}])
    undo_half_published(lake, together)
    assert rows(lake, "identity.merges") == before
    assert len(lake.files("identity.merges")) == 1
    assert lake.difference("identity.merges", 4) == lake.difference("identity.merges", 5) == ([], [])


def test_a_file_that_does_not_hold_the_rows_of_the_others_is_refused(lake: Lake) -> None:
    old = lake.files(WARNINGS)
    version = lake.version(WARNINGS)
    assert version is not None
    folder = lake.stage(WARNINGS, "t")
    shutil.copy(old[0].path, folder / "a.parquet")
    [new] = lake.staged(WARNINGS, folder)
    with pytest.raises(PublishError, match="does not hold the rows"):
        publish_compacted(lake, WARNINGS, [(new, old)], read_version=version, run_id="t")
    assert lake.version(WARNINGS) == version


# --- how files are written together ---


@given(
    st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 50), max_size=6)), min_size=1, max_size=10),
    st.integers(2, 4),
    st.sampled_from([0.001, 0.003, 1.0]),
)
def test_written_together_the_rows_are_the_same_sorted_and_of_the_same_types(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[int, list[int]]], most: int, mb: float
) -> None:
    lake = Lake(tmp_path_factory.mktemp("edges") / "lake", ZONE)
    for day, uids in files:
        of_day = [{"as_of": FIRST + timedelta(days=day), "uid": uid, "depth": None if uid % 3 else uid} for uid in uids]
        if of_day:
            put(lake, EDGES, of_day)
    if lake.version(EDGES) is None:
        return
    before = rows(lake, EDGES)
    chosen = bundles(lake, EDGES, (), most, int(mb * 2**20))
    made = compact(lake, EDGES, chosen, "t") if chosen else []
    assert rows(lake, EDGES) == before
    schema = file_schema(arrow_schema(contract(EDGES)), contract(EDGES).partitions)
    for f in made:
        table = pq.ParquetFile(f.path).read()
        assert table.schema.equals(schema)
        uids = table["uid"].to_pylist()
        assert uids == sorted(uids)
    by_day: dict[Any, list[Any]] = {}
    for f in lake.files(EDGES):
        by_day.setdefault(f.partition["as_of"], []).append(f)
    if mb == 1.0:
        assert all(len(found) <= most for found in by_day.values())
    assert all(sum(f.bytes for f in b.files) <= mb * 2**20 for b in chosen)


def test_a_column_that_older_files_lack_is_absent_in_their_rows(lake: Lake) -> None:
    folder = lake.stage(WARNINGS, "old")
    old = pq.read_table(lake.files(WARNINGS)[0].path, partitioning=None).drop_columns(["message"])
    pq.write_table(old, folder / "a.parquet")
    publish(lake, WARNINGS, folder, replace=None, read_version=None, run_id="old", key="old")
    journal.finish(lake, "old")
    before = rows(lake, WARNINGS)
    tidy(lake, SMALL, TODAY)
    assert rows(lake, WARNINGS) == before and len(lake.files(WARNINGS)) == 1


def test_a_column_that_is_never_absent_in_the_files_is_not_in_the_new_one(lake: Lake) -> None:
    schema = arrow_schema(contract(CODES))
    never = pa.schema([f.with_nullable(f.name != "code") for f in schema])
    lake.ensure(CODES)
    for n in range(3):
        folder = lake.stage(CODES, f"codes-{n}")
        pq.write_table(
            pa.table({"code_kind": ["sku"], "code": [n], "code_value": [f"s{n}"]}).cast(never), folder / "a.parquet"
        )
        publish(lake, CODES, folder, replace=None, read_version=None, run_id=f"codes-{n}", key=f"codes-{n}")
        journal.finish(lake, f"codes-{n}")
    tidy(lake, SMALL, TODAY)
    [f] = lake.files(CODES)
    assert pq.read_schema(f.path).equals(never)


def test_every_table_that_is_left_alone_is_a_table() -> None:
    assert set(LEFT_ALONE) <= set(contracts())


# --- verify ---


def test_a_missing_a_cut_and_a_wrong_file_are_named_with_their_releases_and_what_to_do(lake: Lake) -> None:
    assert verify(lake).damage == []
    files = {f.partition["as_of"]: f for f in lake.files(SEGMENTS)}
    missing, cut, unreadable = (Path(files[day].path) for day in (DAYS[0], DAYS[1], DAYS[7]))
    missing.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    unreadable.write_bytes(b"\0" * unreadable.stat().st_size)
    other = Path(lake.files(WARNINGS)[0].path)
    size, table = other.stat().st_size, pq.read_table(other, partitioning=None)
    pq.write_table(pa.concat_tables([table, table]), other)
    other.write_bytes(other.read_bytes().ljust(size, b"\0"))
    found = {d.file.rsplit("/", 1)[0].split("as_of=")[-1][:10]: d for d in verify(lake).damage}
    assert found["2026-03-25"].what == "is not there"
    assert found["2026-03-25"].releases == tuple(range(1, 9))
    assert "`huaxiang run --as-of 2026-04-01 --force` (and of 7 more days)" in found["2026-03-25"].remedy
    assert "the log says" in found["2026-03-26"].what
    assert found["2026-04-01"].what.startswith("cannot be read")
    assert found["2026-04-01"].releases == (8,)
    [warned] = [d for d in found.values() if d.table == WARNINGS]
    assert warned.releases == () and "backup" in warned.remedy


def test_a_version_that_cannot_be_opened_is_named(lake: Lake) -> None:
    shutil.rmtree(lake.path(SEGMENTS) / "_delta_log")
    damage = verify(lake).damage
    assert [(d.table, d.releases) for d in damage] == [(SEGMENTS, (n,)) for n in range(1, 9)]
    assert "has no log" in damage[0].what


# --- the command ---


@pytest.fixture
def project(made: Lake, tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    setup.init(folder)
    shutil.rmtree(folder / "lake", ignore_errors=True)
    shutil.copytree(made.root, folder / "lake")
    text = (folder / "huaxiang.yaml").read_text(encoding="utf-8")
    text = text.replace("keep_release_days: 35", "keep_release_days: 3").replace("most_files: 16", "most_files: 2")
    (folder / "huaxiang.yaml").write_text(text, encoding="utf-8")
    return folder


def typed(project: Path, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(commands("lake"), [*words, "--project", str(project)])
    assert done.exit_code == code, done.output
    return done.output


def listed(project: Path) -> list[dict[str, Any]]:
    done = CliRunner().invoke(commands("release"), ["release", "list", "--json", "--project", str(project)])
    found: list[dict[str, Any]] = json.loads(done.output)
    return found


def test_the_command_tells_what_expired_what_stays_and_why_and_the_list_says_so_for_ever(project: Path) -> None:
    said = typed(project, "lake", "tidy", "--dry-run")
    assert "5 releases would expire: 1-5; 3 stay." in said
    assert [r["expired_on"] for r in listed(project) if "expired_on" in r] == []
    told = json.loads(typed(project, "lake", "tidy", "--json"))
    assert [r["number"] for r in told["expired"]] == [1, 2, 3, 4, 5]
    assert told["kept"][0] == {
        "number": 6,
        "as_of": "2026-03-30",
        "why": ["one of the last 3 days"],
    }
    assert told["tables"] and told["notes"] == []
    assert [(r["number"], r["expired_by"], r["latest"]) for r in listed(project)][4:] == [
        (5, "keep_release_days: 3", False),
        (6, None, False),
        (7, None, False),
        (8, None, True),
    ]
    assert "3 releases can be read" in typed(project, "lake", "verify")


def test_the_command_refuses_while_a_run_holds_the_lake(project: Path) -> None:
    with lock(Lake(project / "lake", ZONE), "run"):
        assert "run is held by process" in typed(project, "lake", "tidy", code=6)


def test_the_command_names_what_cannot_be_read_and_ends_with_7(project: Path) -> None:
    lake = Lake(project / "lake", ZONE)
    Path(lake.files(SEGMENTS)[-1].path).unlink()
    said = typed(project, "lake", "verify", code=7)
    assert SEGMENTS in said and "is not there" in said and "--force" in said
    told = json.loads(typed(project, "lake", "verify", "--json", code=7))
    assert told["damage"][0]["table"] == SEGMENTS
