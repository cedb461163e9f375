"""Whose person new links can change, and the links that this takes to be worked out (definitions.md section 13).

Of the links only numbers are looked at (``number_of`` the kind and value of an id): two ids of one number would only be
worked out together. What rules can reach is followed in rings around the links that changed: members that are one in
chains, ids linked to a member directly or through one id, and everybody of the persons that these ids were of; ids of
no person, which stand in no row of ``identifiers``, from each to the next.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from features.identity import settled_labels
from features.links import Keep, kind_of, number_of, value_of
from schemas.errors import HuaxiangError

MOST_RINGS = 60
"""Of ids of no person that are linked to each other: they are few, a pointer has at most five further ones behind it."""
OF_MEMBERS, OF_A_MEMBER, OF_OTHERS, OF_ITSELF = range(4)
"""Sorts of links: of two members, of a member (``a``) and another id, of two other ids, and of an id with itself."""


@dataclass(frozen=True)
class Reach:
    """``ids`` whose answer may change (number), and ``pairs`` of numbers (a, b) whose links these answers take."""

    ids: DataFrame
    pairs: DataFrame


def edges_of(links: DataFrame) -> DataFrame:
    """Rows of ``identity.links`` as numbers: a, b, sort, and what is known of them."""
    a, b = number_of("id_kind", "id_value"), number_of("other_kind", "other_value")
    first, second = F.col("id_kind") == "member", F.col("other_kind") == "member"
    sort = F.when(a == b, OF_ITSELF).when(first & second, OF_MEMBERS).when(first, OF_A_MEMBER).otherwise(OF_OTHERS)
    return links.select(
        a.alias("a"),
        b.alias("b"),
        sort.cast("int").alias("sort"),
        F.col("first_seen_at").alias("at"),
        F.col("phone_verified").alias("verified"),
        F.col("own_first_at").alias("own_first"),
        F.col("own_last_at").alias("own_last"),
    )


def number_of_id(coded_id: str) -> Column:
    """The number of a coded id that is none of the absent ones."""
    return F.xxhash64(kind_of(F.col(coded_id)), value_of(F.col(coded_id)))


def told(new: DataFrame, edges: DataFrame, cut: DataFrame) -> DataFrame:
    """Of ``new`` edges (each once) those that say something new, and whether it ``matters`` to an answer.

    The last event of an id is nothing new to whom it belongs, unless there was none or the id is one of several
    persons, which ``cut`` names (number).
    """
    known = new.select("a", "b").join(edges, ["a", "b"])
    was = known.groupBy("a", "b").agg(
        F.min("at").alias("was_at"),
        F.bool_or("verified").alias("was_verified"),
        F.min("own_first").alias("was_first"),
        F.max("own_last").alias("was_last"),
    )

    def differs(now: str, before: str, is_further: Column) -> Column:
        return F.col(now).isNotNull() & (F.col(before).isNull() | is_further)

    earlier = differs("at", "was_at", F.col("at") < F.col("was_at"))
    proven = F.coalesce("verified", F.lit(False)) & ~F.coalesce("was_verified", F.lit(False))
    asked = differs("verified", "was_verified", proven)
    began = differs("own_first", "was_first", F.col("own_first") < F.col("was_first"))
    ended = differs("own_last", "was_last", F.col("own_last") > F.col("was_last"))
    is_cut = F.col("cut").isNotNull()
    lives = F.col("own_last").isNotNull() & F.col("was_last").isNull()
    return (
        new.join(was, ["a", "b"], "left")
        .join(cut.select(F.col("number").alias("a"), F.lit(True).alias("cut")), "a", "left")
        .where(earlier | asked | began | ended)
        .select("a", "b", "sort", "verified", (earlier | proven | lives | (is_cut & (began | ended))).alias("matters"))
    )


def within_reach(changed: DataFrame, edges: DataFrame, known: DataFrame, keep: Keep, most: int) -> Reach:
    """What changed links (a, b, sort, verified) can change.

    ``edges`` are those of all links, the new ones among them, and ``known`` are the ids of the last run's
    ``identifiers`` (number, uid). ``pairs`` also tell what ties the members of persons of more than ``most``.
    """
    tied = settled_labels(_ties(edges), keep, "tied")
    ids = keep(_whose_owner_may_change(changed, edges, tied, keep), "may-change")
    persons = keep(known.join(ids, "number", "left_semi").select("uid").distinct(), "persons-in-reach")
    theirs = known.join(persons, "uid", "left_semi").select("number")
    ids = keep(ids.unionByName(theirs).distinct(), "in-reach-0")
    ids, ring = _with_nobodies(ids, edges, known, keep)
    return Reach(ids, _pairs(ids, ring, edges, _with_crowds(tied, most), keep))


def _ties(edges: DataFrame) -> DataFrame:
    """Members that are one person: a, b. Of a phone that several verified each is tied to the first."""
    merged = edges.where(F.col("sort") == OF_MEMBERS).select("a", "b")
    proven = edges.where((F.col("sort") == OF_A_MEMBER) & F.col("verified")).select("a", "b")
    holders = proven.groupBy("b").agg(F.min("a").alias("first"), F.max("a").alias("last")).where("first < last")
    return merged.unionByName(
        holders.join(proven, "b").where("a <> first").select(F.col("first").alias("a"), F.col("a").alias("b"))
    )


def _whose_owner_may_change(changed: DataFrame, edges: DataFrame, tied: DataFrame, keep: Keep) -> DataFrame:
    """Ids (number) of changed links, members that are one with others by them, and other ids that these reach."""
    ends = changed.select(F.col("a").alias("number")).unionByName(changed.select(F.col("b").alias("number")))
    tying = changed.where((F.col("sort") == OF_MEMBERS) | ((F.col("sort") == OF_A_MEMBER) & F.col("verified")))
    labels = tied.join(
        tying.select(F.col("a").alias("member")).unionByName(tying.select(F.col("b").alias("member"))),
        "member",
        "left_semi",
    )
    members = keep(tied.join(labels.select("label").distinct(), "label", "left_semi").select("member"), "members-tied")
    of_members = edges.where(F.col("sort") == OF_A_MEMBER).join(
        members.withColumnRenamed("member", "a"), "a", "left_semi"
    )
    linked = changed.where(F.col("sort") == OF_A_MEMBER).select(F.col("b").alias("number"))
    direct = keep(linked.unionByName(of_members.select(F.col("b").alias("number"))).distinct(), "direct-in-reach")
    return (
        ends.unionByName(members.select(F.col("member").alias("number")))
        .unionByName(direct)
        .unionByName(_beside(direct, edges))
        .distinct()
    )


def _beside(ids: DataFrame, edges: DataFrame) -> DataFrame:
    """Ids without a member that are linked to one of ``ids``, itself no member: number; one may stand several times."""
    pairs = edges.where(F.col("sort") == OF_OTHERS).select("a", "b")
    one, other = (ids.select(F.col("number").alias(side)) for side in ("a", "b"))
    return (
        pairs.join(one, "a", "left_semi")
        .select(F.col("b").alias("number"))
        .unionByName(pairs.join(other, "b", "left_semi").select(F.col("a").alias("number")))
    )


def _with_nobodies(ids: DataFrame, edges: DataFrame, known: DataFrame, keep: Keep) -> tuple[DataFrame, DataFrame]:
    """``ids`` and the ids of no person that are linked to them, to those, and so on; and all other ids beside any of them."""
    newest, rings = ids, []
    for n in range(1, MOST_RINGS):
        near = keep(_beside(newest, edges).distinct().join(ids, "number", "left_anti"), f"beside-{n}")
        rings.append(near)
        nobody = keep(near.join(known.select("number"), "number", "left_anti"), f"nobodies-{n}")
        if nobody.limit(1).count() == 0:
            ring = rings[0]
            for further in rings[1:]:
                ring = ring.unionByName(further)
            return ids, keep(ring.distinct().join(ids, "number", "left_anti"), "ring")
        newest, ids = nobody, keep(ids.unionByName(nobody), f"in-reach-{n}")
    raise HuaxiangError(
        f"ids of no person are linked to each other in chains longer than {MOST_RINGS}; look at guest_ids in huaxiang.yaml"
    )


def _pairs(ids: DataFrame, ring: DataFrame, edges: DataFrame, tied: DataFrame, keep: Keep) -> DataFrame:
    """Pairs of numbers whose links the answers of ``ids`` take: of themselves, and to know who is whose beside them.

    Whether an id beside them is somebody's needs the members of the ids beside that one; who a member is one with,
    whatever ties them.
    """
    near = keep(ids.unionByName(ring), "near")
    beside = keep(near.unionByName(_beside(near, edges)).distinct(), "near-and-beside")
    one, other = (near.select(F.col("number").alias(side)) for side in ("a", "b"))
    others = edges.where(F.col("sort") == OF_OTHERS).select("a", "b")
    of_a_member = edges.where(F.col("sort") == OF_A_MEMBER)
    owning = keep(
        of_a_member.select("a", "b").join(beside.select(F.col("number").alias("b")), "b", "left_semi"), "owning"
    )
    alone = edges.where(F.col("sort") == OF_ITSELF).select("a", "b")
    return (
        alone.join(ids.select(F.col("number").alias("a")), "a", "left_semi")
        .unionByName(owning.select("a", "b"))
        .unionByName(others.join(one, "a", "left_semi"))
        .unionByName(others.join(other, "b", "left_semi"))
        .unionByName(_tying(owning.select(F.col("a").alias("member")), ids, edges, tied, keep))
        .distinct()
    )


def _with_crowds(tied: DataFrame, most: int) -> DataFrame:
    """``tied`` with ``is_crowd`` for members of persons of more than ``most``."""
    sizes = tied.groupBy("label").agg((F.count(F.lit(1)) > most).alias("is_crowd"))
    return tied.join(sizes, "label")


def _tying(members: DataFrame, ids: DataFrame, edges: DataFrame, tied: DataFrame, keep: Keep) -> DataFrame:
    """Links that make members one with others: of these and members among ``ids``, of all with whom they are, and of crowds."""
    asked = members.unionByName(ids.select(F.col("number").alias("member")))
    among = tied.join(asked, "member", "left_semi").select("label")
    labels = among.unionByName(tied.where("is_crowd").select("label")).distinct()
    all_of_them = keep(tied.join(labels, "label", "left_semi").select(F.col("member").alias("a")), "tied-in-reach")
    ties = edges.where((F.col("sort") == OF_MEMBERS) | ((F.col("sort") == OF_A_MEMBER) & F.col("verified")))
    return ties.select("a", "b").join(all_of_them, "a", "left_semi")
