"""Which version of a silver row counts: the latest, or the one known or in force at a time (definitions.md section 0)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from schemas.contracts import Contract


def as_known(
    df: DataFrame, c: Contract, known_at: datetime | None = None, as_of_time: datetime | None = None
) -> DataFrame:
    """One row per key: the version of greatest (source_time, _ingested_at, _file, _row), a missing source_time first.

    ``known_at`` leaves out versions ingested later, ``as_of_time`` those that the source made later: a row without
    ``source_time`` counts from when it was ingested. Both are inclusive.
    """
    rows = df
    if known_at is not None:
        rows = rows.where(F.col("_ingested_at") <= F.lit(known_at))
    if as_of_time is not None:
        rows = rows.where(F.coalesce("source_time", "_ingested_at") <= F.lit(as_of_time))
    # Nearly every key has one version; sorting them all to find that out was most of this step's time.
    several = rows.groupBy(*c.key).agg(F.count(F.lit(1)).alias("_versions")).where("_versions > 1")
    marked = rows.join(several, [*c.key], "left")
    order = [F.col(n).desc_nulls_last() for n in ("source_time", "_ingested_at", "_file", "_row")]
    newest = Window.partitionBy(*c.key).orderBy(*order)
    contested = marked.where("_versions is not null").withColumn("_newest", F.row_number().over(newest))
    alone = marked.where("_versions is null").withColumn("_newest", F.lit(1))
    return alone.unionByName(contested.where("_newest = 1")).drop("_newest", "_versions")


def newest_in(df: DataFrame, c: Contract, months: Collection[int]) -> DataFrame:
    """``as_known`` of all rows, of which those of the given event months.

    A correction may move a row from one month into another: then it is gone from the first. Months that are not asked
    for are read for their keys only.
    """
    asked = F.col("event_month").isin(list(months))
    rows = df.where(asked)
    elsewhere = every_version(df.where(~asked), rows, c)
    return as_known(rows.unionByName(elsewhere), c).where(asked)


def every_version(df: DataFrame, rows: DataFrame, c: Contract) -> DataFrame:
    """Every version in ``df`` of what ``rows`` are about."""
    return df.join(rows.select(*c.key), [*c.key], "left_semi")
