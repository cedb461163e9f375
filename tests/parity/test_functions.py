"""The functions of pyspark.sql that jobs may use: each is probed on both engines, values and types.

Sail differs from Spark in silence here and there, so a function is allowed when a probe here says that it does not.
Add one: write its probe, run ``pytest -m spark tests/parity``, keep it if it passes.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F
from pyspark.sql.window import Window, WindowSpec

from lake.engine import Engine
from tests.parity.compare import assert_equal

ROOT = Path(__file__).parents[2]
FOLDERS = ("features", "jobs", "lake")
ZONE = "Asia/Shanghai"
NOT_ON_BOTH = {
    "approxQuantile",
    "broadcast",
    "cache",
    "checkpoint",
    "cogroup",
    "groupingSets",
    "localCheckpoint",
    "observe",
    "persist",
    "rdd",
    "saveAsTable",
    "sparkContext",
    "unpersist",
}
"""Methods and attributes that one engine lacks or does in another way (docs/decisions)."""

ROWS = pa.table(
    {
        "n": pa.array(range(8), pa.int64()),
        "s": pa.array(["a", "", None, "北京", " 张 三 ", "ab1", "b", "a"], pa.string()),
        "hex": pa.array(["00", "ff", "10", "a1b2", "0f", "7fffffff", "", None], pa.string()),
        "i": pa.array([0, -1, None, 7, 2**31 - 1, -(2**31), 3, 3], pa.int32()),
        "l": pa.array([0, -1, None, 2**40, -(2**40), 12345, 3, 3], pa.int64()),
        "m": pa.array([5, None, None, 1, 2**40, -12345, 3, 4], pa.int64()),
        "b": pa.array([True, False, None, True, False, True, None, False], pa.bool_()),
        "d": pa.array([date(2026, 3, 1), date(1970, 1, 1), None, date(2024, 2, 29)] * 2, pa.date32()),
        "t": pa.array(
            [
                datetime(2026, 3, 1, 15, 59, 59, 999999, tzinfo=UTC),
                datetime(2026, 3, 1, 16, 0, tzinfo=UTC),
                None,
                datetime(1991, 4, 14, 18, 0, tzinfo=UTC),
            ]
            * 2,
            pa.timestamp("us", tz="UTC"),
        ),
        "g": pa.array([1, 1, 1, 2, 2, 2, 3, 3], pa.int32()),
    }
)
DDL = "n bigint, s string, hex string, i int, l bigint, m bigint, b boolean, d date, t timestamp, g int"

SCALAR: dict[str, Callable[[], list[Any]]] = {
    "abs": lambda: [F.abs("m")],
    "coalesce": lambda: [F.coalesce("l", "m", F.lit(0).cast("bigint")), F.coalesce("s", F.lit("?"))],
    "col": lambda: [F.col("s"), F.col("t")],
    "concat": lambda: [F.concat("s", F.lit("-"), "hex")],
    "concat_ws": lambda: [F.concat_ws("|", "s", "hex")],
    "conv": lambda: [F.conv("hex", 16, 10)],
    "date_add": lambda: [F.date_add("d", 1), F.date_add("d", -365)],
    "date_sub": lambda: [F.date_sub("d", 1)],
    "expr": lambda: [F.expr("l + 1"), F.expr("l div 100000")],
    "floor": lambda: [F.floor(F.col("m") / 1000).cast("bigint")],
    "from_utc_timestamp": lambda: [F.from_utc_timestamp("t", ZONE)],
    "greatest": lambda: [F.greatest("l", "m"), F.greatest("d", F.lit(date(2025, 1, 1)))],
    "hour": lambda: [F.hour(F.from_utc_timestamp("t", ZONE)).cast("int")],
    "isnotnull": lambda: [F.isnotnull("s")],
    "isnull": lambda: [F.isnull("s")],
    "least": lambda: [F.least("l", "m"), F.least("d", F.lit(date(2025, 1, 1)))],
    "length": lambda: [F.length("s")],
    "lit": lambda: [F.lit(1).cast("int"), F.lit("x"), F.lit(date(2026, 3, 1)), F.lit(True), F.lit(None).cast("string")],
    "lower": lambda: [F.lower("s"), F.lower("hex")],
    "md5": lambda: [F.md5("s")],
    "month": lambda: [F.month("d")],
    "nullif": lambda: [F.nullif("s", F.lit(""))],
    "pmod": lambda: [F.pmod("l", F.lit(7).cast("bigint"))],
    "regexp_replace": lambda: [F.regexp_replace("s", r"[a-z]+", "*")],
    "sha2": lambda: [F.sha2("s", 256)],
    "substring": lambda: [F.substring("s", 1, 2), F.substring("hex", 3, 2)],
    "to_date": lambda: [F.to_date(F.from_utc_timestamp("t", ZONE)), F.to_date(F.from_utc_timestamp("t", "UTC"))],
    "to_utc_timestamp": lambda: [F.to_utc_timestamp(F.col("d").cast("timestamp"), ZONE)],
    "trim": lambda: [F.trim("s")],
    "unhex": lambda: [F.hex(F.unhex("hex"))],
    "unix_date": lambda: [F.unix_date("d")],
    "unix_micros": lambda: [F.unix_micros("t")],
    "upper": lambda: [F.upper("hex")],
    "when": lambda: [F.when(F.col("l") > 0, F.col("s")).when(F.col("l") < 0, F.lit("-")).otherwise(F.lit(None))],
    "xxhash64": lambda: [F.xxhash64("s"), F.xxhash64("l"), F.xxhash64("d"), F.xxhash64("s", "l")],
    "year": lambda: [F.year("d")],
}
AGGREGATE: dict[str, Callable[[], list[Any]]] = {
    "bool_or": lambda: [F.bool_or("b")],
    "collect_set": lambda: [F.sort_array(F.collect_set("s"))],
    "count": lambda: [F.count("*"), F.count("s"), F.count(F.lit(1))],
    "countDistinct": lambda: [F.countDistinct("s"), F.countDistinct("s", "l")],
    "count_distinct": lambda: [F.count_distinct("s")],
    "count_if": lambda: [F.count_if(F.col("b"))],
    "max": lambda: [F.max("l"), F.max("s"), F.max("t"), F.max("b"), F.max("d")],
    "min": lambda: [F.min("l"), F.min("s"), F.min("t"), F.min("b"), F.min("d")],
    # Ties differ between the engines: only with a unique key.
    "max_by": lambda: [F.max_by("s", "n")],
    "min_by": lambda: [F.min_by("s", "n")],
    "percentile": lambda: [F.percentile("m", F.lit(0.95))],
    "sort_array": lambda: [F.sort_array(F.collect_set("l"))],
    "sum": lambda: [F.sum("l"), F.sum("i"), F.sum(F.when(F.col("b"), F.col("m")))],
    "hex": lambda: [F.max(F.hex("s"))],
}


def _over() -> WindowSpec:
    # Made when asked for: before there is a session a window is a classic one.
    return Window.partitionBy("g").orderBy("n")


def _days() -> WindowSpec:
    return Window.partitionBy("g").orderBy("n").rangeBetween(-1, 0)


WINDOW: dict[str, Callable[[], list[Any]]] = {
    "row_number": lambda: [F.row_number().over(_over())],
    "lag": lambda: [F.lag("s").over(_over())],
    "lead": lambda: [F.lead("l", 1).over(_over())],
    # The window of so many days up to a row, all rows of its day included.
    "count_over_days": lambda: [F.count("s").over(_days()), F.min("s").over(_days()), F.max("s").over(_days())],
    "sum_over_days": lambda: [F.sum("m").over(_days())],
    "rank": lambda: [F.rank().over(Window.partitionBy("g").orderBy(F.col("l").asc_nulls_first()))],
}
DIRECTIONS = {"asc", "desc", "asc_nulls_first", "asc_nulls_last", "desc_nulls_first", "desc_nulls_last"}
ALLOWED = SCALAR.keys() | AGGREGATE.keys() | WINDOW.keys() | DIRECTIONS | {"explode"}


def _sources() -> list[tuple[Path, ast.Module]]:
    paths = [p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("*.py"))]
    return [(p.relative_to(ROOT), ast.parse(p.read_text(encoding="utf-8"))) for p in paths]


def test_every_function_that_jobs_use_is_probed_here() -> None:
    unknown = []
    for path, tree in _sources():
        names = {
            a.asname or a.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "pyspark.sql"
            for a in node.names
            if a.name == "functions"
        }
        unknown += [
            f"{path}:{node.lineno} {node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in names
            and node.attr not in ALLOWED
        ]
    assert not unknown, f"write a probe in {Path(__file__).name} first: {unknown}"


def test_no_job_uses_what_only_one_engine_has() -> None:
    used = []
    for path, tree in _sources():
        if "pyspark" not in (ROOT / path).read_text(encoding="utf-8") or path.name == "spark_session.py":
            continue
        used += [
            f"{path}:{node.lineno} {node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr in NOT_ON_BOTH and not _is_functools(node)
        ]
    assert not used, f"not the same on both engines: {used}"


def _is_functools(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == "functools"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("parity")
    pq.write_table(ROWS, folder / "rows.parquet")
    return str(folder / "rows.parquet")


def _answers(engine: Engine, path: str, kind: str) -> pa.Table:
    """One frame with a column for every probe of a kind: one query an engine, not one a function."""
    frame = engine.spark.read.schema(DDL).parquet(path)
    probes = {"scalar": SCALAR, "aggregate": AGGREGATE, "window": WINDOW}[kind]
    columns = [c.alias(f"{name}_{i}") for name, made in probes.items() for i, c in enumerate(made())]
    if kind == "aggregate":
        return frame.groupBy("g").agg(*columns).toArrow()
    return frame.select("n", *columns).toArrow()


def _plain(table: pa.Table) -> pa.Table:
    """Without what the two write differently in Arrow and alike in Parquet: nullability, large strings, views."""

    def plain(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_list(kind):
            return pa.list_(plain(kind.value_type))
        return pa.string() if kind in (pa.large_string(), pa.string_view()) else kind

    return table.cast(pa.schema([pa.field(f.name, plain(f.type)) for f in table.schema]))


@pytest.mark.spark
@pytest.mark.parametrize(("kind", "key"), [("scalar", "n"), ("aggregate", "g"), ("window", "n")])
def test_both_engines_give_the_same_answers(embedded: Engine, spark: Engine, files: str, kind: str, key: str) -> None:
    sail, other = (_plain(_answers(e, files, kind)) for e in (embedded, spark))
    assert_equal(sail, other, [key], ("embedded", "spark"))


@pytest.mark.parametrize("kind", ["scalar", "aggregate", "window"])
def test_every_probe_runs_on_the_embedded_engine(embedded: Engine, files: str, kind: str) -> None:
    assert _answers(embedded, files, kind).num_rows in (ROWS.num_rows, 3)
