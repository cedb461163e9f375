"""Step ``identity``: who is who, from the links that new silver rows show.

Only silver files that came since the last run are read, or all of them where files were taken away (a delivery that was
replaced). Persons are worked out of whom new links can change anything (``features.within_reach``), or all where these
are too many, and uids from persons and the last run's ``identifiers``. What new links say lies beside the others in files
of its own for some days. Four tables are published one after the other, ``links`` last: its note says which versions
belong together, so what a killed run published is undone before the next begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from audiences.contacts import masked
from features.links import Keep, kind_of, links_for_table, links_from_table, links_of, merged_links, value_of
from features.uids import Numbered
from jobs.identity.persons import LastRun, Numbering, Persons, WithinReach, persons_of_all
from lake.lake import Lake
from lake.locks import lock
from lake.publish import Audit, publish, put_back
from schemas.arrow import arrow_schema, file_schema
from schemas.contracts import FEEDS, contract

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lake.engine import Engine
    from project.folder import Project

LINKS, USERS, IDENTIFIERS, MERGES = "identity.links", "identity.users", "identity.identifiers", "identity.merges"
BEFORE_LINKS = (USERS, IDENTIFIERS, MERGES)
SOURCES = tuple(feed for feed in FEEDS if contract(f"silver.{feed}").persons)
MADE_AS = {"links": contract(LINKS).column_names, "own": ("events", "member records")}
"""Links that were made otherwise are made anew from all silver."""
MOST_NAMED = 3
"""Crowded persons that a warning names."""
MOST_PATCHES = 30
"""Days whose new links lie beside the others in a file of their own, before all are written together."""


@dataclass(frozen=True)
class Links:
    """Rows for ``links``: to lie beside what is there, as one of so many ``patches``, or in its place where that is none."""

    rows: DataFrame
    patches: int


@dataclass(frozen=True)
class IdentityReport:
    """What the step did: silver files read, uids in all and new, ids that changed their uid, the tables' versions."""

    files_read: int
    users: int
    new_users: int
    moves: int
    versions: dict[str, int | None]
    warnings: tuple[str, ...] = ()


def run_identity(
    project: Project,
    engine: Engine,
    as_of: date,
    run_id: str,
    audit: Audit | None = None,
) -> IdentityReport:
    """Bring the identity tables up to the newest silver; with nothing new nothing is written.

    ``as_of`` dates what this run retires and moves. ``audit`` is called with the staged folder of each table before
    anything is published, and stops the run by raising.
    """
    most = project.settings.members_per_person
    return update_identity(project.lake, engine, as_of, run_id, project.id_salt(), audit, most)


def update_identity(
    lake: Lake,
    engine: Engine,
    as_of: date,
    run_id: str,
    salt: str,
    audit: Audit | None = None,
    members_per_person: int = 5,
) -> IdentityReport:
    """``run_identity`` without a project folder. A person of more members than ``members_per_person`` is a warning."""
    with lock(lake, LINKS, *BEFORE_LINKS):
        for table in (LINKS, *BEFORE_LINKS):
            lake.ensure(table)
        noted = lake.metadata(LINKS)
        undo_half_published(lake, noted.get("tables", {}))
        silver = {f"silver.{feed}": lake.version(f"silver.{feed}") for feed in SOURCES}
        outdated = bool(noted) and noted.get("made_as") != {k: list(v) for k, v in MADE_AS.items()}
        new, whole = _new_files(lake, {} if outdated else noted.get("silver", {}), silver)
        whole |= outdated
        if not new and not whole:
            return IdentityReport(0, noted.get("next_uid", 0), 0, 0, _versions(lake), tuple(noted.get("warnings", ())))
        step = _Step(lake, engine, as_of, run_id, salt, members_per_person)
        return step.run(new, whole, silver, noted, audit)


def _new_files(
    lake: Lake, before: dict[str, int | None], now: dict[str, int | None]
) -> tuple[dict[str, list[str]], bool]:
    """Silver files to read by table, and whether they are all there are: links of files taken away must go."""
    new, every, taken_away = {}, {}, False
    for table, version in now.items():
        if version is None:
            continue
        came, went = lake.difference(table, before.get(table), version)
        taken_away |= any(f.rows for f in went)
        every[table] = [f.path for f in lake.files(table, version) if f.rows]
        new[table] = [f.path for f in came if f.rows]
    return {table: files for table, files in (every if taken_away else new).items() if files}, taken_away


def undo_half_published(lake: Lake, together: dict[str, int]) -> None:
    """Put back tables that a killed run published before it came to ``links``, which names the versions that count."""
    for table in BEFORE_LINKS:
        put_back(lake, table, together.get(table, 0))


class _Step:
    """One run over fixed files."""

    def __init__(self, lake: Lake, engine: Engine, as_of: date, run_id: str, salt: str, members_per_person: int):
        self.lake, self.engine, self.as_of, self.run_id, self.salt = lake, engine, as_of, run_id, salt
        self.members_per_person = members_per_person
        self.read_versions = _versions(lake)
        self.scratch = lake.scratch(run_id) / "identity"

    def run(
        self,
        files: dict[str, list[str]],
        whole: bool,
        silver: dict[str, int | None],
        noted: Mapping[str, Any],
        audit: Audit | None,
    ) -> IdentityReport:
        next_uid = noted.get("next_uid", 0)
        keep = self._keep()
        links, persons = self._worked_out(files, whole, next_uid, noted.get("patches", 0), keep)
        staged = {LINKS: self._stage_links(links), IDENTIFIERS: self._stage(IDENTIFIERS, persons.identifiers)}
        numbered = persons.numbered
        staged[MERGES] = self._stage(MERGES, None if numbered is None else numbered.moves)
        users, buckets, left = self._changed_users(numbered, keep)
        crowded = noted.get("warnings", []) if persons.crowded is None else self._crowded(persons.crowded)
        staged[USERS] = self._stage(USERS, users)
        if audit is not None:
            audit(staged if numbered is not None else {LINKS: staged[LINKS]})

        after = self._next_uid(staged[USERS], next_uid)
        self._publish(USERS, staged, [{"bucket": b} for b in buckets])
        self._publish(IDENTIFIERS, staged, None if persons.identifiers is None else "all")
        self._publish(MERGES, staged, None)
        together = {table: self.lake.version(table) for table in BEFORE_LINKS}
        note = {
            "silver": silver,
            "tables": together,
            "next_uid": after,
            "made_as": MADE_AS,
            "warnings": crowded,
            "patches": links.patches,
        }
        self._publish(LINKS, staged, None if links.patches else "all", note)
        moves = sum(f.rows for f in self.lake.staged(MERGES, staged[MERGES]))
        return IdentityReport(
            sum(map(len, files.values())), after, after - next_uid, moves, _versions(self.lake), (*crowded, *left)
        )

    def _worked_out(
        self, files: dict[str, list[str]], whole: bool, next_uid: int, patches: int, keep: Keep
    ) -> tuple[Links, Persons]:
        """Rows for ``links``, and persons: of all links, or of those within reach of the new."""
        zone, most = self.lake.zone, self.members_per_person
        by = Numbering(next_uid, self.as_of, self.run_id, self.salt)
        new = merged_links(self._links(files, keep))
        before = self._before() if next_uid else None
        if before is not None and not whole:
            new = keep(new, "new-links")
            reach = WithinReach(new, before, zone, keep)
            persons = reach.persons(by, most)
            if persons is not None and patches < MOST_PATCHES:
                return Links(reach.patch(), patches + 1), persons
            new = merged_links([links_from_table(before.links), new])
            if persons is not None:
                return Links(links_for_table(new, zone), 0), persons
        links = keep(new, "all-links")
        return Links(links_for_table(links, zone), 0), persons_of_all(links, before, by, zone, most, keep)

    def _before(self) -> LastRun:
        ids = sum(f.rows for f in self.lake.files(IDENTIFIERS, self.read_versions[IDENTIFIERS]))
        links, identifiers, users = (self._published(table) for table in (LINKS, IDENTIFIERS, USERS))
        return LastRun(links, identifiers, users, ids)

    def _links(self, files: dict[str, list[str]], keep: Keep) -> list[DataFrame]:
        found = []
        for table, paths in files.items():
            c = contract(table)
            rows = self.engine.parquet(paths, file_schema(arrow_schema(c), c.partitions))
            found.append(links_of(rows, c, keep))
        return found or [links_from_table(self.engine.empty(arrow_schema(contract(LINKS))))]

    def _changed_users(self, numbered: Numbered | None, keep: Keep) -> tuple[DataFrame | None, list[int], list[str]]:
        """Users of the buckets in which one changed, these buckets, and what to say of users that were nobody's."""
        if numbered is None:
            return None, [], []
        users = keep(numbered.users, "users")
        buckets = sorted(r["bucket"] for r in users.where("changed").select("bucket").distinct().collect())
        columns = contract(USERS).column_names
        gone = users.where("changed and retired_day is not null and merged_into_uid is null").count()
        said = (
            f"{gone} users are retired: their ids are no longer in silver, or only stand beside others' ids and in "
            "members' records, without an event or a record of their own"
        )
        others = self._published(USERS).join(users.select("uid"), "uid", "left_anti")
        in_buckets = F.col("bucket").isin(buckets) if buckets else F.lit(False)
        of_buckets = users.select(*columns).unionByName(others.select(*columns)).where(in_buckets)
        return of_buckets, buckets, [said] if gone else []

    def _crowded(self, crowded: DataFrame) -> list[str]:
        """A warning for each person of suspiciously many members, with the id that ties them, masked."""
        most = self.members_per_person
        found = crowded.select(
            "members", "ties", kind_of(F.col("id")).alias("kind"), value_of(F.col("id")).alias("value")
        )
        rows = found.orderBy(F.col("members").desc(), "value").collect()
        said = []
        for r in rows[:MOST_NAMED]:
            how = f"{r['ties']} of them verified the phone" if r["kind"] == "phone" else f"{r['ties']} were merged with"
            said.append(
                f"{r['members']} members are taken for one person (more than members_per_person: {most}): {how} "
                f"{masked(r['value'])}. If that {r['kind']} is nobody's own (a shop's, a placeholder), add it to guest_ids "
                "in huaxiang.yaml and read the members' files again (`huaxiang ingest members --again FILE`)"
            )
        if len(rows) > MOST_NAMED:
            said.append(f"{len(rows) - MOST_NAMED} more persons are made of more than {most} members each")
        return said

    def _next_uid(self, folder: Path, before: int) -> int:
        found = self.engine.staged(self.lake, USERS, folder).agg(F.max("uid").alias("greatest")).collect()[0]
        return before if found["greatest"] is None else max(before, found["greatest"] + 1)

    def _published(self, table: str) -> DataFrame:
        return self.engine.table(self.lake, table, self.read_versions[table])

    def _stage(self, table: str, df: DataFrame | None) -> Path:
        folder = self.lake.stage(table, self.run_id)
        if df is None:
            return folder
        c = contract(table)
        if c.partitions:
            self.engine.write(df, folder, c.partitions, c.key)
        else:
            self.engine.spread(df.select(*c.column_names), folder)
        return folder

    def _stage_links(self, links: Links) -> Path:
        """Few rows of a day in one file, all in as many as there are tasks."""
        if not links.patches:
            return self._stage(LINKS, links.rows)
        folder = self.lake.stage(LINKS, self.run_id)
        self.engine.write(links.rows.select(*contract(LINKS).column_names), folder)
        return folder

    def _publish(self, table: str, staged: dict[str, Path], replace: Any, note: dict[str, Any] | None = None) -> None:
        publish(
            self.lake,
            table,
            [f for f in self.lake.staged(table, staged[table]) if f.rows],
            replace=replace,
            read_version=self.read_versions[table],
            run_id=self.run_id,
            # The version is part of the key: after an undone publication the same run must publish again.
            key=f"identity-{self.run_id}-{self.read_versions[table]}",
            metadata=note or {},
            even_empty=note is not None,
        )

    def _keep(self) -> Keep:
        """Frames written once to the run's scratch folder and read from there."""

        def keep(df: DataFrame, name: str) -> DataFrame:
            return self.engine.kept(df, self.scratch / name)

        return keep


def _versions(lake: Lake) -> dict[str, int | None]:
    return {table: lake.version(table) for table in (LINKS, *BEFORE_LINKS)}
