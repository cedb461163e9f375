"""Dense numbers for persons, never changed and never reused (definitions.md section 13).

A person keeps the eldest uid that its ids had. A uid whose ids now belong to several persons goes with its strongest
id; the others' days get a fresh uid. What became of every id is in the moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from features.activity import bucket_of
from features.links import GUEST, ID_KINDS, MEMBER, RANK, Keep, coded_pair, kind_of, rank_of, value_of

_BLOCK = 64
_HASH_LENGTH = 32


@dataclass(frozen=True)
class Numbered:
    """What one run makes of the persons.

    New content of ``identifiers`` and of ``users`` (with ``changed``), and new rows of ``merges`` (None at first).
    """

    identifiers: DataFrame
    users: DataFrame
    moves: DataFrame | None


def keyed_hash(text: Column, salt: str) -> Column:
    """HMAC-SHA256 of a text as lower-case hex, keyed with ``salt`` (RFC 2104), computed by the engine."""
    import hashlib

    key = salt.encode()
    key = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    inner, outer = (F.lit(bytes(b ^ pad for b in key)) for pad in (0x36, 0x5C))
    return F.sha2(F.concat(outer, F.unhex(F.sha2(F.concat(inner, text.cast("binary")), 256))), 256)


def number_persons(
    persons: DataFrame,
    identifiers: DataFrame | None,
    users: DataFrame | None,
    *,
    next_uid: int,
    as_of: date,
    run_id: str,
    salt: str,
    keep: Keep,
    every_user: DataFrame | None = None,
) -> Numbered:
    """Give every person of ``persons_of`` its uid.

    ``identifiers`` and ``users`` are what the last run left (None before the first), ``next_uid`` is one above the
    greatest uid ever given. New uids follow the order of first event, then of the person's id. With the same persons as
    last time nothing changes: ``changed`` is false everywhere and there are no moves.

    Where ``persons`` are some of all, so are ``identifiers`` and ``users``, those of ``every_user`` that are or were
    theirs, and what is given is about these.
    """
    people = keep(_people(persons), "people")
    if identifiers is None or users is None:
        given = keep(_fresh(people, next_uid), "given")
        return Numbered(_identifiers(persons, given), _new_users(given, None, salt), None)

    old = identifiers.select(
        coded_pair(F.col("id_kind"), F.col("id_value")).alias("id"),
        F.col("uid").alias("old_uid"),
        F.col("from_day").alias("old_from"),
        F.col("until_day").alias("old_until"),
    )
    meetings = keep(_meetings(persons, old), "meetings")
    holders = keep(_holders(meetings), "holders")
    elders = holders.groupBy("person").agg(F.min("old_uid").alias("uid"))
    kept = people.join(elders, "person").select("person", "uid", "first_seen_at")
    fresh = _fresh(people.join(elders, "person", "left_anti"), next_uid)
    given = keep(kept.unionByName(fresh), "given")
    retired = (
        holders.join(given.select("person", F.col("uid").alias("elder")), "person")
        .where("old_uid <> elder")
        .select(F.col("old_uid").alias("uid"), F.col("elder").alias("merged"))
    )
    return Numbered(
        identifiers=_identifiers(persons, given),
        users=_kept_users(users, given, retired, as_of).unionByName(
            _new_users(given.where(F.col("uid") >= next_uid), users if every_user is None else every_user, salt)
        ),
        moves=_moves(meetings, given, next_uid, as_of, run_id),
    )


def _people(persons: DataFrame) -> DataFrame:
    """One row a person: person, first_seen_at. Days before an id became the person's own do not count."""
    return persons.groupBy("person").agg(F.min("known_at").alias("first_seen_at"))


def _fresh(people: DataFrame, next_uid: int) -> DataFrame:
    """Numbers from ``next_uid`` without a gap. Counted within each day and then over days, so no machine sorts all."""
    dated = people.withColumn("_day", F.to_date("first_seen_at"))
    # One partition said out loud: it holds a row a day.
    before = Window.partitionBy(F.lit(0)).orderBy("_day").rowsBetween(Window.unboundedPreceding, -1)
    counts = dated.groupBy("_day").agg(F.count(F.lit(1)).alias("_people"))
    days = counts.withColumn("_before", F.coalesce(F.sum("_people").over(before), F.lit(0).cast("bigint")))
    within = F.row_number().over(Window.partitionBy("_day").orderBy("first_seen_at", "person"))
    uid = F.lit(next_uid - 1).cast("bigint") + F.col("_before") + F.col("_within").cast("bigint")
    return (
        dated.withColumn("_within", within)
        .join(days.select("_day", "_before"), "_day")
        .select("person", uid.cast("bigint").alias("uid"), "first_seen_at")
    )


def _meetings(persons: DataFrame, old: DataFrame) -> DataFrame:
    """Days of an id under its old uid and its present person: id, person, old_uid, from_day, until_day, ..."""
    overlap = (F.col("old_from").isNull() | F.col("until_day").isNull() | (F.col("old_from") < F.col("until_day"))) & (
        F.col("from_day").isNull() | F.col("old_until").isNull() | (F.col("from_day") < F.col("old_until"))
    )
    return (
        persons.join(old, "id")
        .where(overlap)
        .select(
            "id",
            "person",
            "old_uid",
            F.greatest("from_day", "old_from").alias("from_day"),
            F.least("until_day", "old_until").alias("until_day"),
            "first_seen_at",
            F.when(F.col("from_day").isNull() == F.col("old_from").isNull(), 0)
            .otherwise(1)
            .cast("int")
            .alias("turned"),
        )
    )


def _holders(meetings: DataFrame) -> DataFrame:
    """The one person with whom each old uid goes: old_uid, person.

    The strongest id decides, the earliest seen among equals. Where that id is itself cut in two, the days before the
    cut take the uid that it had as a whole, and its own days keep the uid that was made for them.
    """
    persons = meetings.groupBy("old_uid").agg(F.min("person").alias("person"), F.max("person").alias("last"))
    one = persons.where("person = last").select("old_uid", "person")
    # Few uids meet several persons: only these are sorted, a window of its own for each uid being dear.
    parted = meetings.join(persons.where("person < last").select("old_uid"), "old_uid", "left_semi")
    order = Window.partitionBy("old_uid").orderBy(
        rank_of(F.col("id")), "first_seen_at", "id", "turned", F.col("from_day").asc_nulls_first()
    )
    first = parted.withColumn("position", F.row_number().over(order)).where("position = 1")
    return one.unionByName(first.select("old_uid", "person"))


def _identifiers(persons: DataFrame, given: DataFrame) -> DataFrame:
    numbered = persons.join(given.select("person", "uid"), "person")
    return numbered.select(
        kind_of(F.col("id")).alias("id_kind"),
        value_of(F.col("id")).alias("id_value"),
        "uid",
        "from_day",
        "until_day",
        "first_seen_at",
    )


def _person_kind(person: Column) -> Column:
    rank = rank_of(person)
    return F.when(rank == MEMBER, "member").when(rank == GUEST, "guest").otherwise("anonymous")


def _new_users(given: DataFrame, users: DataFrame | None, salt: str) -> DataFrame:
    """Rows of ``users`` for uids given now; a ``user_id`` that one of ``users`` has is made anew with the uid in it."""
    person, uid = F.col("person"), F.col("uid")

    def user_id(text: Column) -> Column:
        return F.concat(kind_letter(person), F.substring(keyed_hash(text, salt), 1, _HASH_LENGTH))

    rows = given.withColumn("user_id", user_id(_hashed_text(person)))
    if users is not None:
        taken = users.select("user_id", F.lit(True).alias("is_taken"))
        again = user_id(F.concat(_hashed_text(person), F.lit("\n"), uid.cast("string")))
        named = F.when(F.col("is_taken").isNotNull(), again).otherwise(F.col("user_id"))
        rows = rows.join(taken, "user_id", "left").withColumn("user_id", named)
    return rows.select(
        "uid",
        bucket_of(uid).alias("bucket"),
        "user_id",
        _person_kind(person).alias("person_kind"),
        "first_seen_at",
        F.lit(None).cast("date").alias("retired_day"),
        F.lit(None).cast("bigint").alias("merged_into_uid"),
        F.lit(True).alias("changed"),
    )


def _hashed_text(person: Column) -> Column:
    return F.concat(kind_of(person), F.lit("\n"), value_of(person))


def kind_letter(person: Column) -> Column:
    """First letter of the id kind that a person was first known by; every kind has its own."""
    letters: Sequence[str] = [k[0] for k in ID_KINDS]
    column = F.when(rank_of(person) == RANK[ID_KINDS[0]], letters[0])
    for kind, letter in zip(ID_KINDS[1:], letters[1:], strict=True):
        column = column.when(rank_of(person) == RANK[kind], letter)
    return column


def _kept_users(users: DataFrame, given: DataFrame, retired: DataFrame, as_of: date) -> DataFrame:
    """The users there were, as they are now. Who was merged, or has no id left in silver, is retired on ``as_of``.

    ``merged_into_uid`` always names a uid in use: who was merged into one that is retired now goes on to its elder.
    """
    further = retired.select(F.col("uid").alias("merged_into_uid"), F.col("merged").alias("further"))
    present = given.select(
        "uid", F.col("first_seen_at").alias("seen_now"), _person_kind(F.col("person")).alias("kind_now")
    )
    day = F.lit(as_of.isoformat()).cast("date")
    gone = F.col("seen_now").isNull() & F.col("retired_day").isNull()
    other = F.col("seen_now").isNotNull() & (
        (F.col("seen_now") != F.col("first_seen_at")) | (F.col("kind_now") != F.col("person_kind"))
    )
    return (
        users.join(present, "uid", "left")
        .join(retired, "uid", "left")
        .join(further, "merged_into_uid", "left")
        .select(
            "uid",
            "bucket",
            "user_id",
            F.coalesce("kind_now", "person_kind").alias("person_kind"),
            F.coalesce("seen_now", "first_seen_at").alias("first_seen_at"),
            F.when(gone, day).otherwise(F.col("retired_day")).cast("date").alias("retired_day"),
            F.coalesce("merged", "further", "merged_into_uid").alias("merged_into_uid"),
            (gone | other | F.col("further").isNotNull()).alias("changed"),
        )
    )


def _moves(meetings: DataFrame, given: DataFrame, next_uid: int, as_of: date, run_id: str) -> DataFrame:
    """Rows of ``merges``: every id whose uid changed, for the days for which it did."""
    moved = meetings.join(given.select("person", F.col("uid").alias("new_uid")), "person").where("old_uid <> new_uid")
    return moved.select(
        kind_of(F.col("id")).alias("id_kind"),
        value_of(F.col("id")).alias("id_value"),
        "old_uid",
        "new_uid",
        "from_day",
        "until_day",
        F.lit(as_of.isoformat()).cast("date").alias("moved_day"),
        F.when(F.col("new_uid") >= next_uid, "split").otherwise("merge").alias("move_kind"),
        F.lit(run_id).alias("run_id"),
    )
