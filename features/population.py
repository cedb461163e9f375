"""The base population of a day: every person known by then, with what the shop's member records said at its end."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from features.links import business_day
from features.versions import as_known
from schemas.contracts import SILVER_LINEAGE, contract

MEMBERS = contract("silver.members")
ATTRIBUTES: tuple[str, ...] = tuple(
    c.name
    for c in MEMBERS.columns
    if c.field.personal in ("none", "sensitive")
    and c.field.type != "timestamp"
    and c.name not in (*SILVER_LINEAGE, "phone_verified")
)
"""Columns of a member record that describe the person; ids and contacts never leave the restricted zone."""
STATE_COLUMNS: tuple[str, ...] = (
    "bucket",
    "uid",
    "user_id",
    "person_kind",
    "is_member",
    "first_seen_day",
    "registered_day",
    *ATTRIBUTES,
    "followed_day",
    "has_inviter",
)


def end_of_day(day: date, zone: str) -> datetime:
    """The last microsecond of a business day, in UTC."""
    midnight = datetime.combine(day + timedelta(days=1), time(), ZoneInfo(zone)).astimezone(UTC)
    return midnight - timedelta(microseconds=1)


def users_state(
    users: DataFrame,
    identifiers: DataFrame,
    members: DataFrame,
    as_of: date,
    zone: str,
    known_at: datetime | None = None,
) -> DataFrame:
    """The base population at the end of ``as_of``: columns ``STATE_COLUMNS``, one row per uid.

    In it is who was first seen by that day and whose uid has not been retired since (their days count for the elder).
    ``members`` are all versions of silver.members; ``known_at`` leaves out those learned later.

    ``is_member``: registered by ``as_of``; where no record has a registration date, a member id was seen by then. A
    person with several member ids registered with the first. ``person_kind`` is what the person was on that day.
    Attributes are those of the record version with the latest source time by the end of the day, over all member ids of
    the person: null before the first delivery, and for who has no record. ``followed_day`` is null when it lies later.
    """
    day = F.lit(as_of.isoformat()).cast("date")
    known = users.where("retired_day is null").withColumn("first_seen_day", business_day(F.col("first_seen_at"), zone))
    base = known.where(F.col("first_seen_day") <= day)

    owners = identifiers.where("id_kind = 'member'").select(
        F.col("id_value").alias("member_id"), "uid", business_day(F.col("first_seen_at"), zone).alias("member_seen_day")
    )
    membership = _membership(owners, members, zone, known_at)
    state = _records(owners, members, end_of_day(as_of, zone), zone, known_at)
    is_member = F.coalesce(F.coalesce("registered_on", "member_seen_day") <= day, F.lit(False))
    return (
        base.select("bucket", "uid", "user_id", "person_kind", "first_seen_day")
        .join(membership, "uid", "left")
        .join(state, "uid", "left")
        .select(
            "bucket",
            "uid",
            "user_id",
            F.when(is_member, "member")
            .when(F.col("person_kind") == "guest", "guest")
            .otherwise("anonymous")
            .alias("person_kind"),
            is_member.alias("is_member"),
            "first_seen_day",
            F.when(F.col("registered_on") <= day, F.col("registered_on")).alias("registered_day"),
            *ATTRIBUTES,
            F.when(F.col("followed_on") <= day, F.col("followed_on")).alias("followed_day"),
            "has_inviter",
        )
    )


def known_by(
    state: DataFrame, activity: DataFrame, identifiers: DataFrame, members: DataFrame, as_of: date, known_day: date
) -> DataFrame:
    """Those of the base population of whom a row up to ``as_of``, or a member record, was learned by ``known_day``.

    ``members`` are the versions ingested by then. Nobody else was known, whatever is known of them now.
    """

    def day(value: date) -> Column:
        return F.lit(value.isoformat()).cast("date")

    acted = activity.where((F.col("day") <= day(as_of)) & (F.col("known_day") <= day(known_day))).select("uid")
    ids = identifiers.where("id_kind = 'member'").select(F.col("id_value").alias("member_id"), "uid")
    recorded = ids.join(members.select("member_id"), "member_id").select("uid")
    return state.join(acted.unionByName(recorded).distinct(), "uid").select(*STATE_COLUMNS)


def _membership(owners: DataFrame, members: DataFrame, zone: str, known_at: datetime | None) -> DataFrame:
    """uid, registered_on and member_seen_day: each the earliest of the person's member ids."""
    records = as_known(members, MEMBERS, known_at=known_at)
    registered = records.select("member_id", business_day(F.col("registered_at"), zone).alias("registered_on"))
    return (
        owners.join(registered, "member_id", "left")
        .groupBy("uid")
        .agg(F.min("registered_on").alias("registered_on"), F.min("member_seen_day").alias("member_seen_day"))
    )


def _records(owners: DataFrame, members: DataFrame, until: datetime, zone: str, known_at: datetime | None) -> DataFrame:
    """One member record a uid, the one with the latest source time by ``until``."""
    order = [F.col(n).desc_nulls_last() for n in ("source_time", "_ingested_at", "_file", "_row")]
    newest = Window.partitionBy("uid").orderBy(*order, "member_id")
    return (
        as_known(members, MEMBERS, known_at=known_at, as_of_time=until)
        .join(owners.select("member_id", "uid"), "member_id")
        .withColumn("_position", F.row_number().over(newest))
        .where("_position = 1")
        .select(
            "uid",
            *ATTRIBUTES,
            business_day(F.col("followed_at"), zone).alias("followed_on"),
            F.col("inviter_member_id").isNotNull().alias("has_inviter"),
        )
    )
