"""Which ids were seen, and which were seen together: the compact state that identity is made from.

Inside identity an id is one text, its kind's rank followed by its value (``0`` member ... ``7`` guest), so that text
order is order of priority and every join has one column. A link is (a, b, at, verified) with a < b, or a = b for an id
that was seen; ``links_from_table`` and ``links_for_table`` go between that and ``identity.links``. An id that was seen
also has (own_first, own_last): the first and the last event of its own, or record of the member, null where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.contracts import Contract, fields

Keep = Callable[[DataFrame, str], DataFrame]
"""``keep(frame, name)``: the frame's rows, computed once and read from there; the embedded engine caches nothing."""
ID_KINDS: tuple[str, ...] = fields()["id_kind"].values
"""Kinds of ids, the strongest first."""
RANK: dict[str, str] = {kind: str(i) for i, kind in enumerate(ID_KINDS)}
MEMBER, GUEST = RANK["member"], RANK["guest"]


def id_text(kind: str, value: Column) -> Column:
    """An id of a known kind as one text; null where the value is."""
    return F.concat(F.lit(RANK[kind]), value)


def coded_pair(kind: Column, value: Column) -> Column:
    """An id whose kind stands in a column as one text."""
    rank = reduce(lambda c, k: c.when(kind == k, F.lit(RANK[k])), ID_KINDS[1:], F.when(kind == ID_KINDS[0], MEMBER))
    return F.concat(rank, value)


def rank_of(coded_id: Column) -> Column:
    return F.substring(coded_id, 1, 1)


def kind_of(coded_id: Column) -> Column:
    rank = rank_of(coded_id)
    first = F.when(rank == MEMBER, F.lit(ID_KINDS[0]))
    return reduce(lambda c, k: c.when(rank == RANK[k], F.lit(k)), ID_KINDS[1:], first)


def value_of(coded_id: Column) -> Column:
    return F.substring(coded_id, 2, 2_000_000_000)


def number_of(*columns: str) -> Column:
    """A number of 64 bits made of values, none of which is absent; equal values have equal numbers on both engines.

    Every value is named twice: Sail 0.7.2 panics where it hashes a column right as it reads it from a file in which it
    has one value only.
    """
    return F.xxhash64(*(F.coalesce(column, column) for column in columns))


def business_day(at: Column, zone: str) -> Column:
    """The local date of a UTC stamp; the session's zone must be UTC."""
    return F.to_date(F.from_utc_timestamp(at, zone))


def links_of(rows: DataFrame, c: Contract, keep: Keep) -> DataFrame:
    """Links that rows of one silver feed show; a link may stand several times, at most once per combination of ids.

    Every id seen is linked with itself, ``at`` its first event. Ids of one row are linked with each other:
    with the member where the row names one, among themselves where it names none (pairs of ids that both have a member
    directly never decide anything). The other person's ids (``peers``, inviters) are seen and link nothing. A row of a
    feed with ``guests`` that carries no id is seen as that guest.

    An event is its strongest id's own, for that is whose it will be; a sharer's too. A member record is the
    member's own and nobody else's: who only stands in it as the inviter has none.
    """
    ids = {kind: id_text(kind, F.col(column)) for kind, column in c.persons.items()}
    seen = {f"_peer_{kind}": id_text(kind, F.col(column)) for kind, column in c.peers.items()}
    if "inviter_member_id" in c.column_names:
        seen["_inviter"] = id_text("member", F.col("inviter_member_id"))
    if c.guests:
        no_id = reduce(lambda a, b: a & b, (F.col(column).isNull() for column in c.persons.values()))
        seen["_guest"] = F.when(no_id, id_text("guest", F.col(c.guests)))
    merges = "merged_into_member_id" in c.column_names
    if merges:
        seen["_merged"] = id_text("member", F.col("merged_into_member_id"))
    is_log = c.table != "members"
    verifies = "phone_verified" in c.column_names
    # As a number: one boolean among the keys makes the embedded engine's grouping four times as slow.
    proof = {"_verified": F.col("phone_verified").cast("int")} if verifies else {}

    times = [F.col(t) for t in c.event_time]
    at = F.coalesce(*times, F.col("_ingested_at"))
    # A member dumped years after registering was known from the registration on.
    seen_at = F.least(at, *times) if len(times) > 1 else at
    keys = {**ids, **seen, **proof}
    # Rows repeat the same few ids: one row a combination before pairs are made of it.
    combinations = keep(
        rows.select(*(k.alias(n) for n, k in keys.items()), at.alias("_at"), seen_at.alias("_seen_at"))
        .groupBy(*keys)
        .agg(F.min("_at").alias("_at"), F.min("_seen_at").alias("_seen_at"), F.max("_at").alias("_last_at")),
        f"combinations_{c.table}",
    )
    # A plan of every pair of kinds costs more than a day's rows: most feeds carry few of them.
    carried = combinations.agg(*(F.count(n).alias(n) for n in keys)).collect()[0].asDict()
    ids, seen = ({n: k for n, k in named.items() if carried[n]} for named in (ids, seen))

    def pair(a: Column, b: Column, time: str, is_verified: bool = False, own: Column | None = None) -> DataFrame:
        sure = (F.col("_verified") if is_verified and verifies else F.lit(None)).cast("boolean")
        first, last = (F.when(F.lit(False) if own is None else own, F.col(t)) for t in ("_at", "_last_at"))
        found = combinations.select(
            a.alias("a"),
            b.alias("b"),
            F.col(time).alias("at"),
            sure.alias("verified"),
            first.alias("own_first"),
            last.alias("own_last"),
        )
        return found.where("a is not null and b is not null")

    if not ids and not seen:
        return pair(F.lit(None).cast("string"), F.lit(None).cast("string"), "_at")
    strongest_id = F.coalesce(*(F.col(k) for k in ID_KINDS if k in ids), F.lit(None).cast("string"))
    # A scan of two columns a pair takes less than exploding an array of all pairs: 5.2 against 6.8 CPU seconds for 2 M.
    is_own = {n: F.lit(is_log or n == "member") & (F.col(n) == strongest_id) for n in ids}
    parts = [pair(F.col(n), F.col(n), "_seen_at", own=is_own[n]) for n in ids]
    parts += [pair(F.col(n), F.col(n), "_seen_at", own=F.lit(is_log)) for n in seen]
    for i, kind in enumerate(ids):
        for other in list(ids)[i + 1 :]:
            a = F.col(kind)
            if kind != "member" and "member" in ids:
                a = F.when(F.col("member").isNull(), a)
            parts.append(pair(a, F.col(other), "_at", (kind, other) == ("member", "phone")))
    if merges and carried["_merged"]:
        member, into = F.col("member"), F.col("_merged")
        parts.append(pair(F.when(member != into, F.least(member, into)), F.greatest(member, into), "_at"))
    return reduce(DataFrame.unionByName, parts)


def merged_links(parts: Sequence[DataFrame]) -> DataFrame:
    """Links of several frames as one: first time, verified if it ever was (null: never), first and last own event."""
    together = reduce(DataFrame.unionByName, parts)
    return together.groupBy("a", "b").agg(
        F.min("at").alias("at"),
        F.bool_or("verified").alias("verified"),
        F.min("own_first").alias("own_first"),
        F.max("own_last").alias("own_last"),
    )


def links_from_table(links: DataFrame) -> DataFrame:
    """Rows of ``identity.links`` as links."""
    return links.select(
        coded_pair(F.col("id_kind"), F.col("id_value")).alias("a"),
        coded_pair(F.col("other_kind"), F.col("other_value")).alias("b"),
        F.col("first_seen_at").alias("at"),
        F.col("phone_verified").alias("verified"),
        F.col("own_first_at").alias("own_first"),
        F.col("own_last_at").alias("own_last"),
    )


def links_for_table(links: DataFrame, zone: str) -> DataFrame:
    """Links as rows of ``identity.links``; ``from_day`` is the business day of the first time."""
    return links.select(
        kind_of(F.col("a")).alias("id_kind"),
        value_of(F.col("a")).alias("id_value"),
        kind_of(F.col("b")).alias("other_kind"),
        value_of(F.col("b")).alias("other_value"),
        business_day(F.col("at"), zone).alias("from_day"),
        F.col("at").alias("first_seen_at"),
        F.col("verified").alias("phone_verified"),
        F.col("own_first").alias("own_first_at"),
        F.col("own_last").alias("own_last_at"),
    )
