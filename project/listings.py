"""Whom a release lists for conditions that need more than a person's own row: the same people for builds and previews.

Everything is asked of the release's tables by DuckDB within this process's budget; what comes back are uids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from audiences.contacts import masked
from audiences.evaluate import UNKNOWN
from audiences.id_files import USER_ID, id_kinds, ids_of, list_path
from audiences.plan import (
    ListedBefore,
    ListedBelow,
    ListedChange,
    ListedIds,
    ListedSample,
    ListedTop,
    Listing,
    Plan,
)
from features.kernel.arrays import from_arrow, text_array, to_arrow
from features.person_forms import as_typed_in, person_id
from features.text_forms import Projection, trimmed
from lake.budget import in_memory
from lake.lake import Lake
from lake.releases import Release, lake_at
from project.audience import PROFILE, USERS, refuse_missing
from schemas.errors import NotThereError

if TYPE_CHECKING:
    import duckdb

CHANGES = "profile.tag_changes"
IDENTIFIERS = "identity.identifiers"
EDGES = "fission.share_edges"
LOG = "audiences.membership_log"
IDS_AT_ONCE = 1 << 16
SHOWN = 3
"""Ids of nobody that a note names, masked."""
HASH_DIGITS = 13
"""Of a hash in hexadecimal so many decide whether a share holds somebody: 52 bits."""

Members = Callable[[Plan], np.ndarray]
"""uids, ascending, of whom a plan holds at the release."""

OWNERS = """
select i.id_value as id, coalesce(u.merged_into_uid, i.uid) as uid
from identifiers i semi join asked on i.id_value = asked.id left join users u on u.uid = i.uid
where i.id_kind = $kind and coalesce(i.from_day <= $day, true) and coalesce(i.until_day > $day, true)
"""


@dataclass(frozen=True)
class ListedPeople:
    """uids in order, people who left the base perhaps among them, and what whoever asks should know."""

    uid: np.ndarray
    notes: tuple[str, ...] = ()


@dataclass
class Lister:
    """Lists people of one release; ``members`` judges the plans among whose people some are chosen."""

    lake: Lake
    at: Release
    members: Members
    _lister: dict[type, Callable[[duckdb.DuckDBPyConnection, Any], ListedPeople]] = field(init=False)

    def __post_init__(self) -> None:
        self.lake = lake_at(self.lake, self.at)
        self._lister = {
            ListedChange: self._changed,
            ListedIds: self._ids,
            ListedTop: self._top,
            ListedSample: self._sample,
            ListedBelow: self._below,
            ListedBefore: self._before,
        }

    def people(self, listing: Listing) -> ListedPeople:
        """NotThereError where the release is older than what is asked."""
        with in_memory() as con:
            return self._lister[type(listing)](con, listing)

    def _open(self, con: duckdb.DuckDBPyConnection, **tables: str) -> None:
        for name, table in tables.items():
            if table.split(".")[0] != "audiences" and table not in self.at.tables:
                raise NotThereError(
                    f"{table} is not in release {self.at.number} ({self.at.as_of}); "
                    f"run that day again: `huaxiang run --as-of {self.at.as_of}`"
                )
            con.register(name, self.lake.dataset(table))

    def _changed(self, con: duckdb.DuckDBPyConnection, wanted: ListedChange) -> ListedPeople:
        self._open(con, changes=CHANGES)
        since = None if wanted.within_days is None else self.at.as_of - timedelta(days=wanted.within_days)
        values: dict[str, Any] = {"tag": wanted.tag, "day": self.at.as_of, "since": since or date.min}
        held = ["place > 1", "from_day > $since"]
        for name, column in (("before", "before"), ("after", "value")):
            if (texts := getattr(wanted, name)) is not None:
                values[name] = [t for t in texts if t is not None]
                unknown = f" or {column} is null" if None in texts else ""
                held.append(f"(coalesce(list_contains(${name}, {column}), false){unknown})")
        return _uids(
            con,
            f"""select distinct uid from (
                select uid, from_day, value, lag(value) over w as before, row_number() over w as place
                from changes where tag = $tag and from_day <= $day window w as (partition by uid order by from_day)
            ) where {" and ".join(held)}""",
            values,
        )

    def _ids(self, con: duckdb.DuckDBPyConnection, wanted: ListedIds) -> ListedPeople:
        path = list_path(Path(wanted.project), wanted.file)
        column = next((c for c, kind in id_kinds().items() if kind == wanted.id_kind), USER_ID)
        read_ids(con, column, ids_of(path, column, wanted.column))
        self._open(con, users=USERS)
        self._profile(con, ["uid", "user_id"])
        if wanted.id_kind == USER_ID:
            owners = "select user_id as id, coalesce(merged_into_uid, uid) as uid from users"
            con.execute(f"create temp table owners as {owners} union select user_id, uid from profile")
        else:
            self._open(con, identifiers=IDENTIFIERS)
            con.execute(f"create temp table owners as {OWNERS}", {"kind": wanted.id_kind, "day": self.at.as_of})
        con.execute(
            "create temp table found as select id, uid from asked join owners using (id) semi join profile using (uid)"
        )
        given, lacking, distinct = con.sql(
            "select count(*), count(*) - count(id), count(distinct id) from given"
        ).fetchall()[0]
        lost = con.sql("select id from asked anti join found using (id) order by id")
        unmatched = lost.count("*").fetchall()[0][0]
        named = [i if wanted.id_kind == USER_ID else str(masked(i)) for (i,) in lost.limit(SHOWN).fetchall()]
        found = _uids(con, "select distinct uid from found").uid
        said = [f"{wanted.file}: {distinct:,} different ids ({column}) are of {len(found):,} people"]
        said += [f"of nobody here: {unmatched:,}, such as {' '.join(named)}"] if unmatched else []
        said += [f"lines without an id: {lacking:,}"] if lacking else []
        said += [f"repeated: {given - lacking - distinct:,}"] if given - lacking > distinct else []
        return ListedPeople(found, ("; ".join(said),))

    def _top(self, con: duckdb.DuckDBPyConnection, wanted: ListedTop) -> ListedPeople:
        within = [] if wanted.within is None else [wanted.within]
        self._candidates(con, [wanted.by, *within], wanted.among)
        group = "true" if wanted.within is None else f'"{wanted.within}"'
        ordered = f'"{wanted.by}" {"asc" if wanted.lowest else "desc"}, user_id'
        known = [f'"{wanted.by}" is not null']
        if pa.types.is_floating(self.lake.schema(PROFILE).field(wanted.by).type):
            known.append(f'not isnan("{wanted.by}")')
        if wanted.within is not None:
            known += [f"{group} is not null", f"{group}::varchar <> '{UNKNOWN}'"]
        con.execute(
            f"""create temp table ranked as select uid, "{wanted.by}" as held, {group} as in_group, count(*) over g as others,
            row_number() over (partition by {group} order by {ordered}) as place
            from candidates where {" and ".join(known)} window g as (partition by {group})"""
        )
        most = _how_many(wanted.people, wanted.share, "others")
        ties = con.sql(
            f"""select count(*) from ranked join (
                select in_group, max_by(held, place) as last from ranked where place <= {most} group by in_group
            ) using (in_group) where place > {most} and held = last"""
        ).fetchall()[0][0]
        note = f"top by {wanted.by}: {ties:,} have the same value as the last who is among them and are left out by user_id"
        return ListedPeople(_uids(con, f"select uid from ranked where place <= {most}").uid, (note,) if ties else ())

    def _sample(self, con: duckdb.DuckDBPyConnection, wanted: ListedSample) -> ListedPeople:
        self._candidates(con, [], wanted.among)
        hashed = "sha256($seed || ':' || user_id)"
        if wanted.people is not None:
            asked = f"select uid from candidates order by {hashed}, user_id limit {wanted.people}"
            return _uids(con, f"select uid from ({asked})", {"seed": wanted.seed})
        assert wanted.share is not None
        below = f"{int(_exact(wanted.share) * 16**HASH_DIGITS):0{HASH_DIGITS}x}"
        if wanted.share == 1:
            return _uids(con, "select uid from candidates")
        return _uids(
            con,
            f"select uid from candidates where substr({hashed}, 1, {HASH_DIGITS}) < $below",
            {"seed": wanted.seed, "below": below},
        )

    def _below(self, con: duckdb.DuckDBPyConnection, wanted: ListedBelow) -> ListedPeople:
        self._open(con, edges=EDGES, users=USERS)
        self._profile(con, ["uid", "user_id"])
        con.register("asked", pa.table({"id": text_array([wanted.user_id])}))
        roots = _uids(
            con,
            """select uid from asked join profile on user_id = id
            union select merged_into_uid from asked join users on user_id = id where merged_into_uid is not null""",
        ).uid
        if not len(roots):
            return ListedPeople(roots, (f"share_tree: no user {wanted.user_id!r} at {self.at.as_of}",))
        return _uids(
            con,
            """with recursive tree as (
                select uid, 1 as level from edges where as_of = $day and parent_uid = $root
                union all
                select e.uid, t.level + 1 from edges e join tree t on e.parent_uid = t.uid
                where e.as_of = $day and ($levels is null or t.level < $levels)
            ) select distinct uid from tree""",
            {"day": self.at.as_of, "root": int(roots[0]), "levels": wanted.levels},
        )

    def _before(self, con: duckdb.DuckDBPyConnection, wanted: ListedBefore) -> ListedPeople:
        self._open(con, log=LOG)
        values = {"audience": wanted.audience, "day": wanted.as_of}
        (last,) = con.execute(
            "select max(as_of) from log where audience = $audience and as_of <= $day", values
        ).fetchall()[0]
        if last is None:
            raise NotThereError(
                f"audience {wanted.audience!r} was not built by {wanted.as_of}; `huaxiang audience list` shows what was built"
            )
        note = f"audience {wanted.audience} on {wanted.as_of}: as its log had it on {last}"
        found = _uids(
            con,
            """select uid from log where audience = $audience and as_of <= $day
            group by uid having max_by(change, as_of) = 'enter'""",
            values,
        )
        return ListedPeople(found.uid, (note,) if last < wanted.as_of else ())

    def _candidates(self, con: duckdb.DuckDBPyConnection, columns: Iterable[str], among: Plan | None) -> None:
        """``candidates``: the base, or those of it among whom people are chosen."""
        self._profile(con, ["uid", "user_id", *columns])
        chosen = ""
        if among is not None:
            con.register("chosen", pa.table([to_arrow(self.members(among), None, pa.int64())], names=["uid"]))
            chosen = "semi join chosen using (uid)"
        con.execute(f"create temp view candidates as select * from profile {chosen}")

    def _profile(self, con: duckdb.DuckDBPyConnection, columns: Iterable[str]) -> None:
        """``profile``: these columns of the day's."""
        whole = self.lake.dataset(PROFILE)
        wanted = list(dict.fromkeys(columns))
        refuse_missing(self.at, whole.schema.names, wanted)
        con.register("whole_profile", whole)
        named = ", ".join(f'"{c}"' for c in wanted)
        con.execute(
            f"create temp view profile as select {named} from whole_profile where as_of = date '{self.at.as_of}'"
        )


def read_ids(con: duckdb.DuckDBPyConnection, column: str, ids: Iterator[str]) -> None:
    """``given``: every line's id as ingest would clean it, null where it is none; ``asked``: each once."""
    con.execute("create temp table lines (line varchar)")
    while piece := list(islice(ids, IDS_AT_ONCE)):
        con.register("piece", pa.table({"line": text_array(piece)}))
        con.execute("insert into lines select line from piece")
    steps = Projection()
    text = steps.let(as_typed_in("plain", is_id=True), "plain")
    cleaned = text if column == USER_ID else person_id(steps, text, column, ())[0]
    base = f"select nullif({trimmed('line')}, '') as plain from lines"
    con.execute(f"create temp table given as select {cleaned} as id from ({steps.over(base)})")
    con.execute("create temp table asked as select distinct id from given where id is not null")


def _uids(con: duckdb.DuckDBPyConnection, query: str, values: dict[str, Any] | None = None) -> ListedPeople:
    found = con.sql(f"select uid from ({query}) order by uid", params=values or {}).to_arrow_table()["uid"]
    return ListedPeople(from_arrow(found.cast(pa.int64()), np.dtype(np.int64), None, "uid"))


def _exact(share: float) -> Fraction:
    """The share as it is written."""
    return Fraction(str(share))


def _how_many(people: int | None, share: float | None, of: str) -> str:
    """So many, or the least whole number that is the share of ``of``, as SQL."""
    if share is None:
        return str(people)
    exact = _exact(share)
    return f"(({of} * {exact.numerator} + {exact.denominator - 1}) // {exact.denominator})"
