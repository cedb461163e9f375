"""The profile as it stood on a day, or as it could be known then: ``huaxiang profile --as-of D [--known-at T]``.

- a day whose snapshot is kept: that snapshot, as it was released last;
- a day whose snapshot is gone: dynamic tags from their process (``profile.tag_changes``); of the others no process is
  kept, and the answer says so;
- with ``known_at``: computed anew from the rows ingested by then, into the run's scratch folder; nothing is published.
  What was done is known by the day, so rows ingested on the day of ``known_at`` count, and a cancellation or refund
  learned after it has not happened. Who is who is what is known today: uids never change, but a person who was merged
  since stands in the base as they do now. The day on which a person was first seen is what is known
  today. An order counts with the lines and money of its last version, and is held for brushing
  where it is held now. What other steps say of users (fission.roles, profile.offers) is what they said of the day; tags
  that rest on it are left out where the day was not run.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from audiences.delivery import in_main_units, money_header, write_csv
from features.catalogue import Catalogue, user_tables
from features.sql_parts import DUCKDB
from features.tagging import FIXED
from features.tags import UNKNOWN
from jobs.profile.inputs import CHANGES
from jobs.profile.publishing import PROFILE
from jobs.profile.step import run_profile
from lake import journal
from lake.budget import in_memory
from lake.journal import new_run_id
from lake.releases import entries, lake_at, newest
from project.held import held_in_words, marks
from schemas.errors import HuaxiangError, NotThereError
from schemas.money import DEFAULT_CURRENCY
from schemas.quarantine import literal, quoted

if TYPE_CHECKING:
    from lake.engine import Engine
    from lake.lake import Lake
    from project.folder import Project

VIEW = "profile_at"
FORMATS = (".parquet", ".csv")
BATCH_ROWS = 20_000
"""Rows that a CSV is written by: cells are made in Python, and are much larger there."""
HISTORY = """
create view {view} as
select {day} as as_of, h.uid, u.user_id, cast(null as boolean) as is_member, {columns}
from (
    select uid, tag, value from changes where from_day <= {day} and tag in ({tags})
    qualify row_number() over (partition by uid, tag order by from_day desc) = 1
) h join users u on u.uid = h.uid
where h.value is not null
group by h.uid, u.user_id order by h.uid
"""


@dataclass(frozen=True)
class PointInTime:
    """The profile of a day as the view ``profile_at`` of ``con``; ``notes`` say what it does not give, and why.

    ``money`` are the tags that hold minor units of ``currency``; a CSV gives main units under a header that says so.
    """

    as_of: dt.date
    known_at: dt.datetime | None
    origin: Literal["snapshot", "history", "recomputed"]
    users: int
    tags: tuple[str, ...]
    notes: tuple[str, ...]
    con: duckdb.DuckDBPyConnection
    money: tuple[str, ...] = ()
    currency: str = DEFAULT_CURRENCY

    def write(self, out: Path) -> None:
        """As Parquet or CSV, by the name's ending; HuaxiangError for another one.

        Cells of a CSV are those of audience files for Excel: what a spreadsheet would run or change is marked with an
        apostrophe (audiences/delivery.py).
        """
        if out.suffix not in FORMATS:
            raise HuaxiangError(f"--out {out}: the name ends in {' or '.join(FORMATS)}")
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".parquet":
            self.con.execute(f"copy (from {VIEW}) to {literal(str(out))} (format parquet, compression zstd)")
            return
        rows = self.con.sql(f"from {VIEW}").to_arrow_reader(BATCH_ROWS)
        headers = [money_header(n, self.currency) if n in self.money else n for n in rows.schema.names]
        with out.open("w", encoding="utf-8", newline="") as file:
            empty = in_main_units(rows.schema.empty_table(), self.money, self.currency).rename_columns(headers)
            write_csv(file, empty.schema, self._in_main_units(rows))

    def _in_main_units(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from in_main_units(pa.Table.from_batches([batch]), self.money, self.currency).to_batches()


@contextmanager
def point_in_time(
    project: Project,
    engine: Engine | None,
    as_of: dt.date,
    *,
    known_at: dt.datetime | None = None,
    tags: Sequence[str] = (),
) -> Iterator[PointInTime]:
    """The profile of ``as_of`` with ``tags`` (all that can be given if absent). An engine is needed for ``known_at``.

    NotThereError for an unknown tag, for a day before the first run, and while nothing is released.
    """
    catalogue, lake = project.catalogue, project.lake
    wanted = [catalogue.tag(n).id for n in tags] or list(catalogue.tags)
    with in_memory() as con:
        con.execute("set enable_progress_bar = false")
        con.execute(f"set TimeZone = '{lake.zone}'")
        con.execute("set python_enable_replacements = false")
        if known_at is None or entries(lake):
            lake = lake_at(lake, newest(lake))
        if known_at is not None:
            assert engine is not None, "recomputing needs an engine"
            wanted, notes = _computable(lake, catalogue, as_of, wanted)
            run_id = new_run_id("profile", as_of)
            try:
                made = run_profile(project.over(lake), engine, as_of, run_id=run_id, known_at=known_at, publish=False)
                folder = made.staged.get(PROFILE)
                files = [] if folder is None else lake.local(lake.staged(PROFILE, folder))
                notes += _held_notes(catalogue, wanted, made.held)
                notes.append("who is who is as known today; rows ingested on the day of --known-at count")
                yield _priced(project, _of_files(con, catalogue, as_of, known_at, wanted, files, "recomputed", notes))
            finally:
                journal.finish(lake, run_id)
            return
        files = lake.local(lake.files(PROFILE, where={"as_of": as_of}))
        if files:
            held = _held_notes(catalogue, wanted, marks(lake, catalogue, as_of).since)
            yield _priced(project, _of_files(con, catalogue, as_of, None, wanted, files, "snapshot", held))
        else:
            yield _priced(project, _of_history(con, lake, catalogue, as_of, wanted, named=bool(tags)))


def _held_notes(catalogue: Catalogue, wanted: Sequence[str], since: Mapping[str, dt.date]) -> list[str]:
    """That tags keep older values, or are made from tags that do."""
    held_by = catalogue.held_by(n for n in since if n in catalogue.tags)
    made = [n for n in wanted if n in held_by]
    if not made:
        return []
    below = {h for n in made for h in held_by[n]}
    return [
        f"made from {held_in_words({n: since[n] for n in sorted(below)})}, that is from older values: {', '.join(made)}"
    ]


def _computable(lake: Lake, catalogue: Catalogue, as_of: dt.date, wanted: list[str]) -> tuple[list[str], list[str]]:
    """Of the tags those that rest on nothing which only a run of the day makes, and what there is to say of the others."""
    absent = [t for t in user_tables() if not lake.files(t, where={"as_of": as_of})]
    reached = {("attribute", column) for t in absent for column in user_tables()[t]}
    for node in catalogue.order:
        if catalogue.needs.get(node, frozenset()) & reached:
            reached.add(node)
    given = [n for n in wanted if ("tag", n) not in reached]
    if len(given) == len(wanted):
        return wanted, []
    left = ", ".join(n for n in wanted if n not in given)
    why = f"{as_of} was not run, and so {' and '.join(absent)} say nothing of it; `huaxiang run` with --known-at makes them"
    if not given:
        raise NotThereError(f"cannot be computed: {left}; {why}")
    return given, [f"not given: {left}; {why}"]


def _priced(project: Project, found: PointInTime) -> PointInTime:
    tags = project.catalogue.tags
    # the process of a tag with bands holds bands, which are texts
    money = [n for n in found.tags if tags[n].unit == "minor" and not (found.origin == "history" and tags[n].log_bands)]
    return replace(found, money=tuple(money), currency=project.currency)


def _of_files(
    con: duckdb.DuckDBPyConnection,
    catalogue: Catalogue,
    as_of: dt.date,
    known_at: dt.datetime | None,
    wanted: Sequence[str],
    files: Sequence[str],
    origin: Literal["snapshot", "recomputed"],
    notes: list[str],
) -> PointInTime:
    have = {n for f in files for n in pq.read_schema(f).names}
    given = [n for n in wanted if n in have] if files else list(wanted)
    if missing := [n for n in wanted if n not in given]:
        notes.append(f"not given, because the snapshot was made before there were such tags: {', '.join(missing)}")
    day = f"date '{as_of}'"
    if files:
        listed = ", ".join(literal(f) for f in sorted(files))
        source = f"read_parquet([{listed}], hive_partitioning = false, union_by_name = true) order by uid"
        columns = ", ".join(quoted(n) for n in (*FIXED, *given))
    else:
        source, kinds = "(select 1) where false", {"uid": "bigint", "user_id": "varchar", "is_member": "boolean"}
        kinds |= {n: DUCKDB[catalogue.tags[n].type] for n in given}
        columns = ", ".join(f"cast(null as {kind}) as {quoted(n)}" for n, kind in kinds.items())
    con.execute(f"create view {VIEW} as select {day} as as_of, {columns} from {source}")
    return PointInTime(as_of, known_at, origin, _users(con), tuple(given), tuple(notes), con)


def _of_history(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    catalogue: Catalogue,
    as_of: dt.date,
    wanted: Sequence[str],
    named: bool,
) -> PointInTime:
    days = sorted({f.partition["from_day"] for f in lake.files(CHANGES)})
    earlier = [d for d in days if d <= as_of]
    if not earlier:
        first = f"the first day is {days[0]}" if days else "no day has any"
        raise NotThereError(f"there is no profile as early as {as_of}; {first}. --known-at computes one")
    last = max(f.partition["as_of"] for f in lake.files(PROFILE))
    if as_of > last:
        raise NotThereError(f"{as_of} has not been released; the newest day is {last}")
    given = [n for n in wanted if catalogue.tags[n].kind == "dynamic"]
    missing = [n for n in wanted if n not in given]
    if not given:
        raise NotThereError(
            f"the snapshot of {as_of} is gone, and of {', '.join(missing)} no process is kept (only of dynamic tags); "
            "--known-at computes them anew"
        )
    notes = [f"the snapshot is gone: dynamic tags are given as their process has them since {earlier[-1]}"]
    notes.append("who was unknown in all of them is left out, and membership is not known")
    if missing:
        told = ", ".join(missing) if named else f"{len(missing)} static and semi-dynamic tags"
        notes.append(f"not given, because no process of them is kept: {told}")
    if banded := [n for n in given if catalogue.tags[n].log_bands]:
        notes.append(f"given by band: {', '.join(banded)}")
    con.register("changes", lake.dataset(CHANGES))
    con.register("users", lake.dataset("identity.users"))
    columns = ", ".join(f"{_typed(catalogue, n)} as {quoted(n)}" for n in given)
    tags = ", ".join(literal(n) for n in given)
    con.execute(HISTORY.format(view=VIEW, day=f"date '{as_of}'", columns=columns, tags=tags))
    return PointInTime(as_of, None, "history", _users(con), tuple(given), tuple(notes), con)


def _typed(catalogue: Catalogue, name: str) -> str:
    value = f"max(h.value) filter (h.tag = {literal(name)})"
    tag = catalogue.tags[name]
    if tag.type == "string":
        # the process has null where a text is unknown
        return f"coalesce({value}, {literal(UNKNOWN)})"
    return value if tag.log_bands else f"cast({value} as {DUCKDB[tag.type]})"


def _users(con: duckdb.DuckDBPyConnection) -> int:
    ((users,),) = con.execute(f"select count(*) from {VIEW}").fetchall()
    return int(users)
