"""Which version of a silver row counts: the latest, or the one known or in force at a time (definitions.md section 0)."""

from __future__ import annotations

import uuid
from datetime import datetime

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from features.links import Keep, number_of
from schemas.contracts import Contract

MARKS = ("_ingested_at", "_batch_id", "_file", "_row")
"""What tells versions of one key apart."""


def as_known(
    df: DataFrame,
    c: Contract,
    known_at: datetime | None = None,
    as_of_time: datetime | None = None,
    keep: Keep | None = None,
) -> DataFrame:
    """One row per key: the version of greatest (source_time, _ingested_at, _file, _row), a missing source_time first.

    ``known_at`` leaves out versions ingested later, ``as_of_time`` those that the source made later: a row without
    ``source_time`` counts from when it was ingested. Both are inclusive. ``df`` holds no row twice. ``keep`` is for large
    logs: which keys have several versions is then found at once, and where none has, nothing more is done.
    """
    rows = df
    if known_at is not None:
        rows = rows.where(F.col("_ingested_at") <= F.lit(known_at))
    if as_of_time is not None:
        rows = rows.where(F.coalesce("source_time", "_ingested_at") <= F.lit(as_of_time))
    # Nearly every key has one version: numbers are counted to find the others, and only those are sorted.
    number = number_of(*c.key)
    several = rows.select(number.alias("_n")).groupBy("_n").agg(F.count(F.lit(1)).alias("_of")).where("_of > 1")
    several = _small(several.select("_n"), keep)
    if keep is not None and several.isEmpty():
        return rows
    contested = rows.select(*c.key, "source_time", *MARKS, number.alias("_n")).join(several, "_n", "left_semi")
    order = [F.col(n).desc_nulls_last() for n in ("source_time", "_ingested_at", "_file", "_row")]
    place = F.row_number().over(Window.partitionBy(*c.key).orderBy(*order))
    older = contested.withColumn("_place", place).where("_place > 1").select(*c.key, *MARKS)
    return rows.join(_small(older, keep), [*c.key, *MARKS], "left_anti")


def _small(df: DataFrame, keep: Keep | None) -> DataFrame:
    """Kept: an engine that does not know how few rows there are puts the whole log into memory to compare it with them."""
    return df if keep is None else keep(df, f"versions-{uuid.uuid4().hex[:12]}")


def every_version(df: DataFrame, rows: DataFrame, c: Contract) -> DataFrame:
    """Every version in ``df`` of what ``rows`` are about."""
    return df.join(rows.select(*c.key), [*c.key], "left_semi")
