"""Values that people say of users: manual tags and answers of surveys, as they hold on a day (``profile.overrides``).

Manual wins over declared wins over computed; that is decided where tags are made. Here: which rows hold on the day,
whose they are, and whether their values are values of their tags. Nothing is dropped in silence: a row that names no
tag, nobody known or no value of its tag is counted and told with its file and line.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.kernel.rows import USERS_PER_BUCKET
from features.overrides import stated
from jobs.profile.run import Overrides, ProfileRun
from lake.budget import in_memory
from lake.lake import Lake, by_bucket, partition_path
from schemas.arrow import arrow_schema, file_schema
from schemas.configuration import nearest
from schemas.contracts import contract
from schemas.quarantine import literal

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from features.catalogue import Catalogue

OVERRIDES = "profile.overrides"
MANUAL, DECLARED = "manual", "declared"
SHOWN = 60
MOST_TOLD, MOST_PROBLEMS_TOLD = 5, 20
"""Rows of one mistake that are told one by one, and mistakes that are; all are counted."""
READ = ("uid", "tag", "value", "author", "from_day", "until_day", "said_at", "_ingested_at", "_file", "_row")


def overrides_of(
    run: ProfileRun, buckets: Mapping[int, list[str]], folder: Path, declared_valid_days: int
) -> Overrides:
    """Write what holds on the run's day below ``folder`` in the slices of ``profile.overrides``.

    ``buckets`` are the files of the base population by bucket: who is not in it has no profile to override. Of one user
    and tag the newest manual value counts (noted by the end of the day, not expired) and the newest answer (given by
    then, at most ``declared_valid_days`` old); a value that is refused gives way to the one before it.
    """
    said = [f for f in (_manual(run), _answers(run, declared_valid_days)) if f is not None]
    if not said:
        return Overrides()
    with _sql(run, said, buckets) as con:
        _judge(con, run.catalogue)
        warnings = _refused(con)
        found = con.sql(NEWEST).to_arrow_table()
    files = {}
    c = contract(OVERRIDES)
    schema = file_schema(arrow_schema(c), c.partitions)
    for bucket in pc.unique(found["bucket"]).to_pylist():
        rows = found.filter(pc.equal(found["bucket"], bucket)).select(schema.names).cast(schema)
        place = folder / partition_path({"as_of": run.as_of, "bucket": bucket}) / "part-0.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, place, compression="zstd")
        files[bucket] = str(place)
    have = set(pc.unique(found["tag"]).to_pylist())
    return Overrides(files, tuple(n for n in run.catalogue.tags if n in have), tuple(warnings))


# --- who said what of whom ---


def _manual(run: ProfileRun) -> tuple[str, Path] | None:
    """Manual tags that hold on the day, with the uid that their member id or user_id had when they were noted."""
    table = "silver.manual_tags"
    if not any(f.rows for f in run.lake.files(table)):
        return None
    from pyspark.sql import functions as F

    from features.identity import resolve
    from features.links import business_day

    day = F.lit(run.as_of.isoformat()).cast("date")
    rows = _known_by(run, table, "noted_at").withColumn("from_day", business_day(F.col("noted_at"), run.lake.zone))
    rows = rows.where(F.col("expires_on").isNull() | (F.col("expires_on") >= day))
    users = run.engine.table(run.lake, "identity.users").select("user_id", F.col("uid").alias("by_user_id"))
    found = resolve(rows, _identifiers(run), {"member": "member_id"}, "from_day").join(users, "user_id", "left")
    return MANUAL, _written(
        run,
        MANUAL,
        found.select(
            F.coalesce("by_user_id", "uid").alias("uid"),
            "tag",
            "value",
            "author",
            "from_day",
            F.col("expires_on").alias("until_day"),
            F.col("noted_at").alias("said_at"),
            *("_ingested_at", "_file", "_row"),
        ),
    )


def _answers(run: ProfileRun, valid_days: int) -> tuple[str, Path] | None:
    """Answers that hold on the day to what some tag declares; the attribute stands in ``tag`` until tags are named."""
    table = "silver.surveys"
    wanted = sorted(_declaring(run.catalogue))
    if not wanted or not any(f.rows for f in run.lake.files(table)):
        return None
    from pyspark.sql import functions as F

    from features.identity import resolve
    from features.links import business_day

    first = F.lit((run.as_of - dt.timedelta(days=valid_days)).isoformat()).cast("date")
    rows = _known_by(run, table, "answered_at").withColumn(
        "from_day", business_day(F.col("answered_at"), run.lake.zone)
    )
    rows = rows.where((F.col("from_day") >= first) & F.col("attribute").isin(wanted))
    return DECLARED, _written(
        run,
        DECLARED,
        resolve(rows, _identifiers(run), contract(table).persons, "from_day").select(
            "uid",
            F.col("attribute").alias("tag"),
            F.col("answer").alias("value"),
            F.lit(None).cast("string").alias("author"),
            "from_day",
            F.date_add("from_day", valid_days).alias("until_day"),
            F.col("answered_at").alias("said_at"),
            *("_ingested_at", "_file", "_row"),
        ),
    )


def _known_by(run: ProfileRun, table: str, stamp: str) -> DataFrame:
    """The version of each row that was in force at the end of the day; whether it still holds is asked of that one."""
    from pyspark.sql import functions as F

    from features.population import end_of_day
    from features.versions import as_known

    end = F.lit(end_of_day(run.as_of, run.lake.zone))
    # Before the newest version is taken: a later correction must not hide what was said by then. A sheet seldom says
    # when it was changed, and one that is taken in late still counts from the day on it: never from when it came.
    said = run.engine.table(run.lake, table).where((F.col(stamp) <= end) & (F.coalesce("source_time", stamp) <= end))
    return as_known(said, contract(table), known_at=run.known_at)


def _identifiers(run: ProfileRun) -> DataFrame:
    return run.engine.table(run.lake, "identity.identifiers")


def _written(run: ProfileRun, name: str, rows: DataFrame) -> Path:
    folder = run.scratch / "overrides" / name
    run.engine.kept(rows, folder)
    return folder


def _declaring(catalogue: Catalogue) -> dict[str, list[str]]:
    """Tags by the attribute of surveys that they take answers of."""
    found: dict[str, list[str]] = {}
    for name, tag in catalogue.tags.items():
        if tag.declared is not None:
            found.setdefault(tag.declared, []).append(name)
    return found


# --- which of it counts ---

SAID = """
create table said as
select m.origin, coalesce(e.elder, m.uid) as uid, m.tag, m.value, m.author, m.from_day, m.until_day, m.said_at,
       m._ingested_at, m._file, m._row, b.bucket
from (
    select 'manual' as origin, * from manual
    union all by name
    select 'declared' as origin, d.* replace (t.tag as tag) from declared d join declaring t on t.attribute = d.tag
) m
left join elders e on e.uid = m.uid
left join base b on b.uid = coalesce(e.elder, m.uid)
"""
PROBLEMS = """
create table judged as
select s.*, c.stated, coalesce(c.problem, case when s.bucket is null then 'names nobody of the base population' end)
    as problem
from said s join checks c using (origin, tag, value)
"""
REFUSED = """
select origin, problem, count(*) as n, list(_file || ':' || _row order by _file, _row)[:{most}] as places
from judged where problem is not null group by all order by all
"""
NEWEST = """
select bucket, uid, tag, origin, stated as value, author, from_day, until_day from judged where problem is null
qualify row_number() over (
    partition by uid, tag, origin order by said_at desc, _ingested_at desc, _file desc, _row desc
) = 1
order by bucket, uid, tag, origin
"""
ELDERS = """
select uid, merged_into_uid as elder from {files} semi join named using (uid) where merged_into_uid is not null
"""
BASE = f"""
select distinct uid, cast(uid // {USERS_PER_BUCKET} as integer) as bucket from {{files}} semi join wanted using (uid)
"""


@contextmanager
def _sql(
    run: ProfileRun, said: list[tuple[str, Path]], buckets: Mapping[int, list[str]]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with the table ``said``: every row in question with its tag, its uid and the bucket of who is in the base."""
    types = {f.name: f.type for f in arrow_schema(contract("silver.manual_tags"))}
    empty = pa.schema(
        [
            *(pa.field("uid", pa.int64()), pa.field("tag", pa.string()), pa.field("value", pa.string())),
            *(pa.field("author", pa.string()), pa.field("from_day", pa.date32()), pa.field("until_day", pa.date32())),
            pa.field("said_at", types["noted_at"]),
            *(pa.field(n, types[n]) for n in ("_ingested_at", "_file", "_row")),
        ]
    ).empty_table()
    files = dict(said)
    with in_memory() as con:
        con.execute("set enable_progress_bar = false")
        con.execute("set TimeZone = 'UTC'")
        con.execute("set python_enable_replacements = false")
        for name in (MANUAL, DECLARED):
            paths = run.lake.local(run.lake.store.below(files[name])) if name in files else []
            if paths:
                con.execute(f"create view {name} as select {', '.join(READ)} from read_parquet({paths!r})")
            else:
                con.register(name, empty)
        pairs = [{"attribute": a, "tag": t} for a, tags in _declaring(run.catalogue).items() for t in tags]
        con.register(
            "declaring", pa.Table.from_pylist(pairs, pa.schema([("attribute", pa.string()), ("tag", pa.string())]))
        )
        find_named(con, run.lake, by_bucket(run.lake.files("identity.users")), buckets)
        con.execute(SAID)
        yield con


def find_named(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    users: Mapping[int, list[str]],
    population: Mapping[int, list[str]],
) -> None:
    """Tables ``elders`` and ``base`` of whom ``manual`` and ``declared`` name; no other bucket's files are opened.

    ``elders`` has the retired of them and whom they were merged into (always a uid in use, features/uids.py); ``base``
    those that are in the base population, elders in place of the retired, with their bucket.
    """
    con.execute("create table named as select uid from manual union select uid from declared")
    con.execute(
        f"create table elders as {ELDERS.format(files=_files_of(con, lake, 'named', users, 'merged_into_uid'))}"
    )
    con.execute(
        "create table wanted as select coalesce(e.elder, n.uid) as uid from named n left join elders e using (uid)"
    )
    con.execute(f"create table base as {BASE.format(files=_files_of(con, lake, 'wanted', population))}")


def _files_of(
    con: duckdb.DuckDBPyConnection, lake: Lake, table: str, buckets: Mapping[int, list[str]], *more: str
) -> str:
    """SQL of the files of the buckets that the table's uids are in, with uid and ``more``."""
    per_bucket = f"select distinct uid // {USERS_PER_BUCKET} from {table} where uid is not null order by all"
    paths = lake.local(p for (b,) in con.execute(per_bucket).fetchall() for p in buckets.get(b, []))
    if not paths:
        return f"(select {', '.join(f'cast(null as bigint) as {c}' for c in ('uid', *more))} where false)"
    return f"read_parquet([{', '.join(literal(p) for p in paths)}], hive_partitioning = false)"


def _judge(con: duckdb.DuckDBPyConnection, catalogue: Catalogue) -> None:
    """Every distinct value looked at once: the table ``judged`` has it in its written form, or what is wrong with it."""
    checks: list[dict[str, Any]] = []
    for origin, tag, value in con.execute("select distinct origin, tag, value from said").fetchall():
        checked: dict[str, Any] = {"origin": origin, "tag": tag, "value": value, "stated": None, "problem": None}
        if tag not in catalogue.tags:
            checked["problem"] = f"names no tag: {_short(tag)!r}; {nearest(tag, sorted(catalogue.tags))}"
        else:
            try:
                checked["stated"] = stated(catalogue.tags[tag], value)
            except ValueError as e:
                # an answer may say something private: it stays in silver
                shown = f"{_short(value)!r} " if origin == MANUAL else "the answer "
                checked["problem"] = f"tag {tag!r}: {shown}{e}"
        checks.append(checked)
    names = ("origin", "tag", "value", "stated", "problem")
    con.register("checks", pa.Table.from_pylist(checks, pa.schema([(n, pa.string()) for n in names])))
    con.execute(PROBLEMS)


def _short(given: str) -> str:
    """What a sheet says, as long as a line of a log can take."""
    return given if len(given) <= SHOWN else given[:SHOWN] + "…"


def _refused(con: duckdb.DuckDBPyConnection) -> list[str]:
    feeds = {MANUAL: "manual_tags", DECLARED: "surveys"}
    told: list[str] = []
    more = 0
    for origin, problem, n, places in con.execute(REFUSED.format(most=MOST_TOLD)).fetchall():
        if len(told) >= MOST_PROBLEMS_TOLD:
            more += n
            continue
        where = ", ".join(places) + (", ..." if n > len(places) else "")
        told.append(f"{feeds[origin]}: {n:,} {'row' if n == 1 else 'rows'} not taken: {problem} ({where})")
    return told if not more else [*told, f"manual_tags and surveys: {more:,} further rows not taken, for other values"]
