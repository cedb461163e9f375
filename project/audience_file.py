"""The rows of an audience's files: profile columns of the release, contacts and consent as they are now, and who is left out.

What a member said last of marketing holds until they say otherwise: a version without a word of it changes nothing. A
refusal is of a contact, not of a record: a number, address or id that stands in any version of a member who refused
leaves for nobody, whoever else has it too. Equal contacts leave once, with the eldest of the persons who have it. Names and
addresses leave beside a contact only.

Nothing is held whole but the audience's uids: contacts go through DuckDB, which spills, and through files of a folder
that only its owner reads; rows are joined bucket by bucket.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from audiences.contacts import HASHED_ALREADY, hashed, masked, shaped_or_why
from audiences.funnel import (
    INVALID,
    LEFT_THE_BASE,
    NO_CONTACT,
    NO_MEMBER,
    ONE_PERSON,
    REFUSED_BY_ANOTHER,
    REFUSED_MARKETING,
    REPEATED,
    SILENT,
)
from audiences.language import Audience
from audiences.platforms import PlatformColumn, header_of
from features.kernel.rows import USERS_PER_BUCKET
from lake.budget import in_memory
from lake.lake import Lake
from lake.releases import Release, lake_at
from project.audience import PROFILE, USERS, refuse_missing
from project.folder import Project, UnknownConsent
from project.platforms import Target
from project.suppressed import suppressed_people
from schemas.contracts import CONSENT_SAID_LAST, NEWEST_FIRST, said_last
from schemas.errors import NotThereError
from schemas.quarantine import literal

MEMBERS = "silver.members"
IDENTIFIERS = "identity.identifiers"

BATCH = 50_000
"""Rows that are shaped, or read, at a time."""


def latest_of(consent: str) -> str:
    """Newest records as ``latest`` of a query, their ``marketing_consent`` being what holds as ``consent`` says."""
    return f"""latest as (
    select * replace ({consent} as marketing_consent) from members
    qualify row_number() over (partition by member_id order by {NEWEST_FIRST}) = 1
)"""


LATEST = latest_of(CONSENT_SAID_LAST)
FOUND = """
create table found as
with {latest}, persons as (
    -- Who was merged into another since the release is one person with them.
    select min(a.uid) as uid, coalesce(u.merged_into_uid, a.uid) as person
    from asked a left join users u on u.uid = a.uid group by person
), records as (
    -- A person may hold several member records: the newest contact counts, and one refusal is a refusal.
    select p.uid, p.person, m.*
    from persons p
    join identifiers i on i.uid = p.person and i.id_kind = 'member' and i.until_day is null
    join latest m on m.member_id = i.id_value
)
select records.uid, bool_or(coalesce(not marketing_consent, false)) as refused,
    bool_and(marketing_consent is not null) as known, any_value(s.reason) as suppressed, {columns}
from records left join suppressed s on s.uid = records.person group by records.uid
"""
PERSONS = """
select count(distinct coalesce(u.merged_into_uid, a.uid)) from asked a left join users u on u.uid = a.uid
"""
REFUSED = """
with {latest} select distinct {kind} from members
where {kind} is not null and member_id in (select member_id from latest where not marketing_consent)
"""


@dataclass(frozen=True)
class FileRows:
    """What the files hold, in order of uid, and what they do not. It can be read while the block that gave it is open.

    ``left_out`` counts people of the audience who have no row, by reason. ``withheld`` counts contacts that were taken
    out of rows, by kind and reason; their person may still be there by another. ``rejected`` counts values that could
    not leave, by column and reason. ``digests``: columns in which every value was a digest already. ``notes`` are for
    who asks for the file.
    """

    members: int
    rows: int
    left_out: dict[str, int]
    withheld: dict[str, dict[str, int]] = field(default_factory=dict)
    rejected: dict[str, dict[str, int]] = field(default_factory=dict)
    digests: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reading: _Reading | None = None

    def tables(self) -> Iterator[pa.Table]:
        """The rows, a bucket of users at a time: ``uid``, the profile's columns by name, ids by ``id_name``."""
        return iter(()) if self.reading is None else self.reading.tables()

    def rejects(self) -> Iterator[tuple[int, str, str, str]]:
        """Every value that could not leave: uid, column, the value masked, and why."""
        return iter(()) if self.reading is None else self.reading.rejects()


def id_name(number: int) -> str:
    """What the rows call the id in the column of that number; no tag can be called so."""
    return f"id:{number}"


def digests_in_words(found: FileRows) -> list[str]:
    """A line per column of which every value is a digest already."""
    return [
        f"column {header!r}: all {found.rejected[header][HASHED_ALREADY]:,} values are digests already, and a digest "
        "is no contact and is not hashed a second time. Map the contacts themselves in feed members"
        for header in found.digests
    ]


@contextmanager
def file_rows(project: Project, audience: Audience, at: Release, uids: pa.Array, target: Target) -> Iterator[FileRows]:
    """What the files hold of the members ``uids``, to be read inside the block.

    With ids: who is no member, did not agree (unless consent is ignored), is held back by a rule (``reach:``) or can be reached
    by none of them is left out.
    """
    columns = target.columns
    profile = _Profile(project.lake, at, [c.profile for c in columns if c.profile is not None])
    here = profile.there(uids)
    left_out = {LEFT_THE_BASE: len(uids) - len(here)}
    if not target.platform.ids:
        yield FileRows(len(uids), len(here), left_out, reading=_Reading(profile, here))
        return
    with TemporaryDirectory(prefix="huaxiang-") as scratch, in_memory() as con:
        contacts = FoundContacts(con, Path(scratch), columns, target.country, target.platform.consent)
        for name, source in (("members", MEMBERS), ("identifiers", IDENTIFIERS), ("users", USERS)):
            con.register(name, project.lake.dataset(source))
        refuse_lacking(project.lake.dataset(MEMBERS).schema.names, target)
        held_back, told = suppressed_people(project, at, Path(scratch))
        found = contacts.find(here, held_back)
        left_out |= {ONE_PERSON: len(here) - found.persons, NO_MEMBER: found.persons - found.members}
        notes = [*_notes(project.lake, found.members), *told]
        required = audience.definition.consent == "required"
        if required:
            _count_consent(found, project.settings.unknown_consent, left_out, notes)
        agreed = _agreed(required, project.settings.unknown_consent)
        left_out |= contacts.suppressed(agreed)
        contacts.shape(f"suppressed is null and {agreed}", refusals=required)
        rows, withheld = contacts.leave_once(required, left_out)
        yield FileRows(
            len(uids),
            rows,
            left_out,
            withheld,
            contacts.rejected,
            contacts.digests(),
            tuple(notes),
            _Reading(profile, here, Path(scratch), contacts.cells),
        )


def _agreed(required: bool, unknown: UnknownConsent) -> str:
    return "true" if not required else "not refused" if unknown == "allow" else "not refused and known"


def refuse_lacking(have: Sequence[str], target: Target) -> None:
    """NotThereError where an id is younger than the columns that the table of members has: nothing has brought it yet."""
    for column in target.platform.ids:
        if column.id not in have:
            raise NotThereError(
                f"no file of members with {column.id!r} has been taken yet, which {target.id!r} delivers: map it in feed "
                "members (sources/*.yaml) and ingest a file"
            )


def _notes(lake: Lake, members: int) -> list[str]:
    if lake.version(MEMBERS) is None:
        return [
            "nobody can leave with a contact or id: no file of the feed members has been taken. A file that holds ids "
            "or contacts can have a second mapping, of that feed (docs/audiences.md, Export)"
        ]
    return [] if members else ["none of these people is a member, and contacts and ids leave for members only"]


@dataclass(frozen=True)
class _Found:
    """How many persons and members the audience's people are, and how many members refused or never said anything."""

    persons: int
    members: int
    refused: int
    silent: int


def _count_consent(found: _Found, unknown: UnknownConsent, left_out: dict[str, int], notes: list[str]) -> None:
    left_out[REFUSED_MARKETING] = found.refused
    if unknown == "allow":
        if found.silent:
            notes.append(
                f"{found.silent:,} whose consent is not known count as agreed (unknown_consent in huaxiang.yaml)"
            )
        return
    left_out[SILENT] = found.silent
    if found.silent and found.silent == found.members:
        notes.append(
            "of none of these members it is known whether they agreed to marketing: map marketing_consent of feed "
            "members, or decide for all with unknown_consent: allow in huaxiang.yaml"
        )


class FoundContacts:
    """Contacts of an audience on their way: found, shaped as the platform wants them, each left once.

    A refusal is compared in the shape in which a contact would be delivered: only so do all its spellings compare. With
    ``consent`` (a channel or purpose) what was said of it counts, too: a refusal of it or of all marketing is a refusal, and
    an agreement to all is one to it where nothing was said of it.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        scratch: Path,
        columns: Sequence[PlatformColumn],
        country: str,
        consent: str | None = None,
    ):
        self.con, self.scratch, self.country, self.consent = con, scratch, country, consent
        self.ids = [(i, c) for i, c in enumerate(columns) if c.id is not None]
        self.details = [(i, c) for i, c in enumerate(columns) if c.detail is not None]
        self.rejected: dict[str, dict[str, int]] = {}
        self._values = dict.fromkeys((i for i, _ in self.cells), 0)

    @property
    def cells(self) -> list[tuple[int, PlatformColumn]]:
        """Columns that hold a field of a member record, with their numbers."""
        return [*self.ids, *self.details]

    @property
    def _fields(self) -> list[str]:
        return list(dict.fromkeys(str(c.member_field) for _, c in self.cells))

    def find(self, uids: pa.Array, held_back: Path) -> _Found:
        """Member records of the people; ``held_back`` is a file of who is left out by a rule, and by which."""
        self.con.execute(f"create view suppressed as select * from read_parquet({literal(str(held_back))})")
        newest = ", ".join(f"{self._newest(name)} as {name}" for name in self._fields)
        self.con.register("asked", pa.table({"uid": uids}))
        self.con.execute(FOUND.format(columns=newest, latest=self._latest()))
        counts = "count(*), count(*) filter (refused), count(*) filter (not refused and not known)"
        members, refused, silent = self.con.sql(f"select {counts} from found").fetchall()[0]
        (persons,) = self.con.sql(PERSONS).fetchall()[0]
        return _Found(persons, members, refused, silent)

    def _is_kept(self, name: str) -> bool:
        """Whether the table of members has the column: one younger than its last file is not there."""
        asked = self.con.execute("select count(*) from (describe members) where column_name = ?", [name])
        return bool(asked.fetchall()[0][0])

    def _latest(self) -> str:
        column = f"{self.consent}_consent"
        if self.consent is None or not self._is_kept(column):
            return LATEST
        of_all, of_it = CONSENT_SAID_LAST, said_last(column)
        return latest_of(f"case when not {of_all} or not {of_it} then false else coalesce({of_it}, {of_all}) end")

    def _newest(self, name: str) -> str:
        newest = "row(coalesce(source_time, _ingested_at), member_id)"
        if all(c.id != name for _, c in self.ids):
            # Name and address are of one record: of two they could be nobody's.
            return f"arg_max_null({name}, {newest})" if self._is_kept(name) else "null::varchar"
        return f"arg_max({name}, {newest}) filter ({name} is not null)"

    def suppressed(self, agreed: str) -> dict[str, int]:
        """How many of who ``agreed`` a rule holds back, by rule."""
        asked = f"select suppressed, count(*) from found where suppressed is not null and {agreed} group by all"
        return {str(reason): n for reason, n in self.con.sql(asked).fetchall()}

    def shape(self, agreed: str, *, refusals: bool) -> None:
        """Shaped contacts of who ``agreed`` (an expression), why others may not leave, and refused ones in the same shapes."""
        kinds = self._fields
        asked = self.con.execute(f"select uid, {', '.join(kinds)} from found where {agreed} order by uid")
        schema = pa.schema(
            [pa.field("uid", pa.int64())]
            + [pa.field(n, pa.string()) for i, _ in self.cells for n in (f"s{i}", f"r{i}", f"m{i}")]
        )
        with pq.ParquetWriter(self.scratch / "shaped.parquet", schema) as out:
            while rows := asked.fetchmany(BATCH):
                out.write_table(pa.table(self._shaped(rows, kinds), schema))
        for i, column in self.ids:
            refused = pa.schema([("text", pa.string())])
            with pq.ParquetWriter(self.scratch / f"refused{i}.parquet", refused) as out:
                if refusals:
                    texts = self.con.execute(REFUSED.format(latest=self._latest(), kind=column.id))
                    while rows := texts.fetchmany(BATCH):
                        shapes = (self._shaped_one(column, text).text for (text,) in rows)
                        out.write_table(pa.table({"text": [t for t in shapes if t is not None]}, refused))

    def _shaped(self, rows: list[tuple[Any, ...]], kinds: list[str]) -> dict[str, list[Any]]:
        values = dict(zip(kinds, zip(*(r[1:] for r in rows), strict=True), strict=True))
        made: dict[str, list[Any]] = {"uid": [r[0] for r in rows]}
        for i, column in self.cells:
            asked = values[str(column.member_field)]
            found = [self._shaped_one(column, v) for v in asked]
            made[f"s{i}"] = [f.text for f in found]
            made[f"r{i}"] = [f.reason for f in found]
            made[f"m{i}"] = [None if f.reason is None else masked(v) for f, v in zip(found, asked, strict=True)]
            counts = self.rejected.setdefault(str(header_of(column)), {})
            for f in found:
                if f.reason is not None:
                    counts[f.reason] = counts.get(f.reason, 0) + 1
                self._values[i] += f != (None, None)
        self.rejected = {header: counts for header, counts in self.rejected.items() if counts}
        return made

    def _shaped_one(self, column: PlatformColumn, text: str | None) -> Any:
        return shaped_or_why(str(column.member_field), text, column.hash, self.country, column.shape)

    def digests(self) -> tuple[str, ...]:
        """Headers of the columns in which there are values, and all of them digests."""
        named = [(i, str(header_of(c))) for i, c in self.cells]
        return tuple(h for i, h in named if 0 < self._values[i] == self.rejected.get(h, {}).get(HASHED_ALREADY, 0))

    def leave_once(self, required: bool, left_out: dict[str, int]) -> tuple[int, dict[str, dict[str, int]]]:
        """Rows with at least one contact, and the contacts that were withheld; why others have none goes to ``left_out``."""
        numbers = [i for i, _ in self.ids]
        why = ", ".join(
            f"case when s{i} is null then null when s{i} in (select text from {self._file(f'refused{i}')}) then 'refused'"
            f" when row_number() over (partition by s{i} order by uid) > 1 then 'repeated' end as w{i}"
            for i in numbers
        )
        self.con.execute(f"create view told as select *, {why} from {self._file('shaped')}")
        parted = [f"case when {self._whole(c)} then s{i} end as s{i}" for i, c in self.details]
        left = ", ".join([*(f"case when w{i} is null then s{i} end as s{i}" for i in numbers), *parted])
        is_left = " or ".join(f"(s{i} is not null and w{i} is null)" for i in numbers)
        self.con.execute(
            f"create table kept as select uid, {left}, {is_left} as is_left, {self._any('w', 'refused')} as by_another, "
            f"{self._any('w', 'repeated')} as repeated, {' or '.join(f'r{i} is not null' for i in numbers)} as invalid, "
            f"{', '.join(f'w{i}' for i in numbers)} from told"
        )
        path = self.scratch / "kept.parquet"
        kept = f"select uid, {', '.join(f's{i}' for i, _ in self.cells)} from kept where is_left order by uid"
        self.con.execute(f"copy ({kept}) to {literal(str(path))} (format parquet)")
        reasons = {
            REFUSED_BY_ANOTHER: "by_another",
            REPEATED: "not by_another and repeated",
            INVALID: "not by_another and not repeated and invalid",
            NO_CONTACT: "not by_another and not repeated and not invalid",
        }
        counts = ", ".join(f"count(*) filter (not is_left and {c})" for c in reasons.values())
        rows, *found = self.con.sql(f"select count(*) filter (is_left), {counts} from kept").fetchall()[0]
        left_out |= dict(zip(reasons, found, strict=True))
        withheld: dict[str, dict[str, int]] = {}
        for i, column in self.ids:
            for reason, n in self.con.sql(
                f"select w{i}, count(*) from kept where w{i} is not null group by all order by all"
            ).fetchall():
                told = withheld.setdefault(str(header_of(column)), {})
                told[reason] = told.get(reason, 0) + n
        for i, column in self.details:
            lost = f"select count(*) from told where s{i} is not null and not ({self._whole(column)})"
            (n,) = self.con.sql(lost).fetchall()[0]
            if n:
                withheld.setdefault(str(header_of(column)), {})["incomplete"] = n
        self._hash(path)
        return rows, withheld

    def _whole(self, column: PlatformColumn) -> str:
        """Whether everything that stands together with the detail is there."""
        group = [i for i, c in self.details if column.together is not None and c.together == column.together]
        return " and ".join(f"s{i} is not null" for i in group) or "true"

    def _any(self, of: str, reason: str) -> str:
        return "(" + " or ".join(f"coalesce({of}{i} = '{reason}', false)" for i, _ in self.ids) + ")"

    def _file(self, name: str) -> str:
        return literal(str(self.scratch / f"{name}.parquet"))

    def _hash(self, path: Path) -> None:
        """What is left, as it leaves, in order of uid."""
        schema = pa.schema([("uid", pa.int64()), *((id_name(i), pa.string()) for i, _ in self.cells)])
        with pq.ParquetWriter(self.scratch / "leaving.parquet", schema) as out:
            for batch in pq.ParquetFile(path).iter_batches(BATCH):
                made: dict[str, Any] = {"uid": batch["uid"]}
                for i, column in self.cells:
                    texts = batch[f"s{i}"].to_pylist()
                    made[id_name(i)] = pa.array([hashed(t, column.hash) for t in texts], pa.string())
                out.write_table(pa.table(made, schema))


class _Reading:
    """Rows of the profile with what was found of contacts; without a folder of them, the profile's alone."""

    def __init__(
        self,
        profile: _Profile,
        uids: pa.Array,
        scratch: Path | None = None,
        cells: Sequence[tuple[int, PlatformColumn]] = (),
    ):
        self.profile, self.uids, self.scratch, self.cells = profile, uids, scratch, cells

    def tables(self) -> Iterator[pa.Table]:
        if self.scratch is None:
            yield from self.profile.rows(self.uids)
            return
        leaving = self.scratch / "leaving.parquet"
        uids = pq.ParquetFile(leaving).read(columns=["uid"])["uid"].combine_chunks()
        for rows in self.profile.rows(uids):
            first, last = rows["uid"][0], rows["uid"][-1]
            # Both hold the same people in the same order.
            within = (pads.field("uid") >= first) & (pads.field("uid") <= last)
            ids = pads.dataset(leaving).to_table(filter=within)
            for i, _ in self.cells:
                rows = rows.append_column(id_name(i), ids[id_name(i)])
            yield rows

    def rejects(self) -> Iterator[tuple[int, str, str, str]]:
        if self.scratch is None:
            return
        names = [n for i, _ in self.cells for n in (f"r{i}", f"m{i}")]
        for batch in pq.ParquetFile(self.scratch / "shaped.parquet").iter_batches(BATCH, columns=["uid", *names]):
            for i, column in self.cells:
                for row in batch.filter(pc.is_valid(batch[f"r{i}"])).to_pylist():
                    yield row["uid"], str(header_of(column)), row[f"m{i}"], row[f"r{i}"]


class _Profile:
    """The profile of a release's day, bucket by bucket."""

    def __init__(self, lake: Lake, at: Release, columns: Sequence[str]):
        self.lake, self.at = lake, at
        self.columns = list(dict.fromkeys(["uid", *columns]))
        self.files: dict[int, list[str]] = {}
        for f in lake_at(lake, at).files(PROFILE, where={"as_of": at.as_of}):
            self.files.setdefault(f.partition["bucket"], []).append(f.path)
        for paths in list(self.files.values())[:1]:
            refuse_missing(at, pq.read_schema(lake.local(paths[:1])[0]).names, self.stored)

    @property
    def stored(self) -> list[str]:
        return [c for c in self.columns if c != "as_of"]

    def there(self, uids: pa.Array) -> pa.Array:
        """Those of the uids that the profile has, in order."""
        found = [c for table in self._buckets(uids.sort(), ["uid"]) for c in table["uid"].chunks]
        return pa.chunked_array(found, pa.int64()).combine_chunks()

    def rows(self, uids: pa.Array) -> Iterator[pa.Table]:
        """Rows of the uids in order, a table a bucket; buckets without any are passed over."""
        for table in self._buckets(uids, self.stored):
            if "as_of" in self.columns:
                table = table.append_column("as_of", pa.array([self.at.as_of] * len(table), pa.date32()))
            yield table.select(self.columns)

    def _buckets(self, uids: pa.Array, columns: list[str]) -> Iterator[pa.Table]:
        numbers = uids.to_numpy()
        for bucket in sorted(self.files):
            ends = np.searchsorted(numbers, [bucket * USERS_PER_BUCKET, (bucket + 1) * USERS_PER_BUCKET])
            wanted = pads.field("uid").isin(uids[ends[0] : ends[1]])
            paths = self.lake.local(self.files[bucket] if ends[0] < ends[1] else ())
            parts = [pads.dataset(path).to_table(columns=columns, filter=wanted) for path in paths]
            if any(map(len, parts)):
                yield pa.concat_tables(parts).sort_by("uid").combine_chunks()
