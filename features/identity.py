"""Who is who: links between ids made into persons, and rows of logs given their person (definitions.md section 13).

Plain DataFrame functions; frames that are needed several times are handed to ``keep``. The work is a constant number of
joins and aggregations over the links, linear in their number, save for the search among the few members that are linked
to each other.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from features.links import ID_KINDS, MEMBER, Keep, business_day, coded_pair, id_text, rank_of
from schemas.errors import HuaxiangError

MOST_ROUNDS = 60
"""Of the search among members. Labels jump, so chains of any length that a shop can have need far fewer."""
_POINTERS_AT_MOST = 5
"""From a cookie up to a phone: device, e-mail, openid, unionid, phone."""


def persons_of(links: DataFrame, labels: DataFrame, zone: str, keep: Keep) -> DataFrame:
    """Every id's person and the days for which it is theirs: ``persons_of_placed`` of all ``placed_ids``.

    ``links`` are all links, merged, and ``labels`` their ``member_labels``; they are read several times.
    """
    placed = keep(placed_ids(links, labels, zone, keep), "placed")
    return persons_of_placed(placed, placed.where("own_last is not null").select("person"), zone)


def placed_ids(links: DataFrame, labels: DataFrame, zone: str, keep: Keep, *, is_part: bool = False) -> DataFrame:
    """Whose every id with a link to itself is at first: id, person, shared_day, first_seen_at, own_first, own_last.

    ``id`` and ``person`` are coded ids (``features.links``); a person is named by one of its ids: the smallest member,
    the shared id itself, or the strongest id of an anonymous person. Names may change from run to run, uids do not.
    From ``shared_day`` on the id is its own.

    If it ``is_part``, ``links`` are those that the ids with a link to themselves take (``features.within_reach``), and an
    anonymous person that others are part of may be named by any id of theirs.
    """
    ids = links.where("a = b").select(
        F.col("a").alias("id"), F.col("at").alias("first_seen_at"), "own_first", "own_last"
    )
    pairs = links.where("a <> b").select("a", "b", business_day(F.col("at"), zone).alias("day"), "verified")
    between = pairs.where((rank_of(F.col("a")) != MEMBER) & (rank_of(F.col("b")) != MEMBER)).select("a", "b", "day")

    direct = keep(_direct_owners(pairs, labels, keep), "direct")
    owners = keep(_first_owner(direct).unionByName(_indirect_owners(between, direct)), "owners")
    pointing = between.join(ids.select(F.col("id").alias("b")), "b", "left_semi") if is_part else between
    roots = _anonymous_roots(pointing, owners, keep)

    nobody = F.lit(None).cast("date")
    belongs = owners.unionByName(roots.select("id", "person", nobody.alias("shared_day"))).unionByName(
        labels.select(F.col("member").alias("id"), F.col("label").alias("person"), nobody.alias("shared_day"))
    )
    return ids.join(belongs, "id", "left").select(
        "id", F.coalesce("person", "id").alias("person"), "shared_day", "first_seen_at", "own_first", "own_last"
    )


def persons_of_placed(placed: DataFrame, somebody: DataFrame, zone: str) -> DataFrame:
    """Whose each id is and when: id, person, from_day, until_day, first_seen_at, known_at.

    Grain: id x from_day, the intervals [from_day, until_day) of an id cover all days without overlap, null is open.
    ``known_at`` is when the person is first known by the id.

    Nobody is a person by an id that only stands beside others' or in their records, such as an inviter: a person has a
    member record, or an event of their own on a day that is theirs (``somebody``: person, also several times). Ids of no
    person on some days have no interval for these.
    """
    nobody = F.lit(None).cast("date")
    first = placed.join(somebody.distinct(), "person").select(
        "id",
        "person",
        nobody.alias("from_day"),
        F.col("shared_day").alias("until_day"),
        "first_seen_at",
        F.col("first_seen_at").alias("known_at"),
    )
    # The moment of the cut stands for the first own event after it where there were own events before it too.
    cut = F.col("shared_day")
    known_at = F.greatest("own_first", F.to_utc_timestamp(cut.cast("timestamp"), zone))
    alone = placed.where(cut <= business_day(F.col("own_last"), zone)).select(
        "id",
        F.col("id").alias("person"),
        cut.alias("from_day"),
        nobody.alias("until_day"),
        "first_seen_at",
        known_at.alias("known_at"),
    )
    return first.unionByName(alone)


def crowded_persons(labels: DataFrame, links: DataFrame, most: int) -> DataFrame:
    """Persons made of more than ``most`` members: person, members, and the ``id`` (with ``ties``) that ties most of them.

    That is a phone that ``ties`` of them verified, or a member id that as many were merged with. ``labels`` are the
    ``member_labels`` of ``links``.
    """
    members = labels.select(F.col("member").alias("id"), F.col("label").alias("person"))
    many = members.groupBy("person").agg(F.count(F.lit(1)).alias("members")).where(F.col("members") > most)
    merged = links.where((F.col("a") != F.col("b")) & (rank_of(F.col("b")) == MEMBER))
    ends = (
        links.where("verified")
        .select(F.col("a").alias("id"), F.col("b").alias("tie"))
        .unionByName(merged.select(F.col("a").alias("id"), F.col("b").alias("tie")))
        .unionByName(merged.select(F.col("b").alias("id"), F.col("a").alias("tie")))
    )
    ties = (
        members.join(many, "person")
        .join(ends, "id")
        .groupBy("person", "members", "tie")
        .agg(F.count("id").alias("ties"))
    )
    order = Window.partitionBy("person").orderBy(F.col("ties").desc(), "tie")
    return (
        ties.withColumn("position", F.row_number().over(order))
        .where("position = 1")
        .select("person", "members", F.col("tie").alias("id"), "ties")
    )


def member_labels(links: DataFrame, keep: Keep) -> DataFrame:
    """The smallest member of the person of every member that is linked to another: member, label.

    Two members are one person by an explicit merge or by the same verified phone, also in several steps.
    """
    both = (rank_of(F.col("a")) == MEMBER) & (rank_of(F.col("b")) == MEMBER)
    merged = links.where(both & (F.col("a") != F.col("b"))).select("a", "b")
    phones = links.where("verified").select(F.col("a").alias("member"), F.col("b").alias("phone"))
    holder = phones.groupBy("phone").agg(F.min("member").alias("holder"))
    by_phone = phones.join(holder, "phone").where("member <> holder")
    edges = merged.unionByName(by_phone.select(F.col("holder").alias("a"), F.col("member").alias("b")))
    return settled_labels(edges, keep, "member")


def settled_labels(edges: DataFrame, keep: Keep, name: str) -> DataFrame:
    """The smallest of all that are linked by ``edges`` (a, b), also in several steps, to each: member, label.

    Smallest labels are passed along and jump (a label's own label is taken), so a chain of n members needs about log n
    rounds. ``name`` is that of the frames kept. Raises HuaxiangError when ``MOST_ROUNDS`` do not settle it.
    """
    both = keep(
        edges.unionByName(edges.select(F.col("b").alias("a"), F.col("a").alias("b"))).distinct(), f"{name}_edges"
    )
    state = both.groupBy("a").agg(F.min(F.least("a", "b")).alias("label")).select(F.col("a").alias("member"), "label")
    if both.limit(1).count() == 0:
        return state
    unchanged = F.lit(None).cast(both.schema["a"].dataType)
    state = keep(state, f"{name}_labels_0")
    for round_ in range(1, MOST_ROUNDS):
        own = state.select("member", "label", F.col("label").alias("was"))
        passed = both.join(state.withColumnRenamed("member", "b"), "b").select(
            F.col("a").alias("member"), "label", unchanged.alias("was")
        )
        best = own.unionByName(passed).groupBy("member").agg(F.min("label").alias("label"), F.max("was").alias("was"))
        jump = state.select(F.col("member").alias("label"), F.col("label").alias("further"))
        settled = keep(
            best.join(jump, "label").select("member", F.least("label", "further").alias("label"), "was"),
            f"{name}_labels_{round_}",
        )
        state = settled.select("member", "label")
        if settled.where("label <> was").limit(1).count() == 0:
            return state
    raise HuaxiangError(
        f"members are merged into each other in chains too long to settle in {MOST_ROUNDS} rounds; "
        "look at merged_into_member_id and phone_verified of silver.members"
    )


def _direct_owners(pairs: DataFrame, labels: DataFrame, keep: Keep) -> DataFrame:
    """Members that an id is linked to, the first ``position`` 1: id, member, day, position, shared_day."""
    linked = pairs.where((rank_of(F.col("a")) == MEMBER) & (rank_of(F.col("b")) != MEMBER))
    # Who verified it are one person; whoever else typed it is not asked.
    proven = linked.where("verified").select("b", F.lit(True).alias("_proven")).distinct()
    typed = F.col("_proven").isNull() | F.coalesce("verified", F.lit(False))
    direct = (
        linked.join(proven, "b", "left")
        .where(typed)
        .join(labels.withColumnRenamed("member", "a"), "a", "left")
        .select(F.col("b").alias("id"), F.coalesce("label", "a").alias("member"), "day")
        .groupBy("id", "member")
        .agg(F.min("day").alias("day"))
    )
    return _in_order(keep(direct, "linked-members"))


def _in_order(candidates: DataFrame) -> DataFrame:
    """Candidates of each id by day, ties by member; ``shared_day`` is the day of the second. Only the first is kept."""
    # Nearly every id has one: only the others are sorted, a window of its own for each id being dear.
    number = candidates.groupBy("id").agg(
        F.min("member").alias("member"), F.min("day").alias("day"), F.count(F.lit(1)).alias("candidates")
    )
    alone = number.where("candidates = 1").select("id", "member", "day", F.lit(None).cast("date").alias("shared_day"))
    several = candidates.join(number.where("candidates > 1").select("id"), "id", "left_semi")
    order = Window.partitionBy("id").orderBy("day", "member")
    sorted_out = (
        several.withColumn("position", F.row_number().over(order))
        .where("position <= 2")
        .groupBy("id")
        .agg(
            F.max(F.when(F.col("position") == 1, F.col("member"))).alias("member"),
            F.max(F.when(F.col("position") == 1, F.col("day"))).alias("day"),
            F.max(F.when(F.col("position") == 2, F.col("day"))).alias("shared_day"),
        )
    )
    return alone.unionByName(sorted_out)


def _first_owner(direct: DataFrame) -> DataFrame:
    return direct.select("id", F.col("member").alias("person"), "shared_day")


def _indirect_owners(between: DataFrame, direct: DataFrame) -> DataFrame:
    """Ids without a member of their own that reach one through one other id: id, person, shared_day.

    Ids with exactly one member count first. Only where all that an id reaches are shared, it follows the first member
    of the earliest until that id is shared, so that a split does not take earlier days from who had them.
    """
    steps = between.select(F.col("a").alias("id"), F.col("b").alias("near"), "day").unionByName(
        between.select(F.col("b").alias("id"), F.col("a").alias("near"), "day")
    )
    near = direct.select(
        F.col("id").alias("near"), "member", F.col("day").alias("near_day"), F.col("shared_day").alias("near_shared")
    )
    reached = (
        steps.join(near, "near")
        .join(direct.select("id"), "id", "left_anti")
        .select(
            "id",
            "member",
            F.greatest("day", "near_day").alias("day"),
            F.when(F.col("near_shared").isNotNull(), F.greatest("day", "near_shared")).alias("until_day"),
            F.when(F.col("near_shared").isNull(), 1).otherwise(2).cast("int").alias("level"),
        )
    )
    best = (
        reached.withColumn("best", F.min("level").over(Window.partitionBy("id")))
        .where("level = best")
        .groupBy("id", "member")
        .agg(F.min("day").alias("day"), F.min("until_day").alias("until_day"))
    )
    order = Window.partitionBy("id").orderBy("day", "member")
    ranked = best.withColumn("position", F.row_number().over(order))
    return (
        ranked.groupBy("id")
        .agg(
            F.max(F.when(F.col("position") == 1, F.col("member"))).alias("person"),
            F.max(F.when(F.col("position") == 2, F.col("day"))).alias("second_day"),
            F.min("until_day").alias("until_day"),
        )
        .select("id", "person", F.least("second_day", "until_day").alias("shared_day"))
    )


def _anonymous_roots(between: DataFrame, owners: DataFrame, keep: Keep) -> DataFrame:
    """The strongest id that an id without any member leads to: id, person. Ids that lead nowhere are left out."""
    owned_a, owned_b = (owners.select(F.col("id").alias(side)) for side in ("a", "b"))
    free = between.join(owned_a, "a", "left_anti").join(owned_b, "b", "left_anti")
    order = Window.partitionBy("b").orderBy(rank_of(F.col("a")), "day", "a")
    pointers = keep(
        free.withColumn("position", F.row_number().over(order))
        .where("position = 1")
        .select(F.col("b").alias("id"), F.col("a").alias("person")),
        "pointers",
    )
    roots = pointers
    for _ in range(_POINTERS_AT_MOST - 1):
        further = pointers.select(F.col("id").alias("person"), F.col("person").alias("further"))
        roots = roots.join(further, "person", "left").select("id", F.coalesce("further", "person").alias("person"))
    return roots


def strongest(columns: Mapping[str, str]) -> Column:
    """The coded id of highest priority that a row carries; ``columns`` is id kind -> column."""
    return F.coalesce(*(id_text(k, F.col(columns[k])) for k in ID_KINDS if k in columns))


def resolve(
    rows: DataFrame, identifiers: DataFrame, columns: Mapping[str, str], day: str, *, into: str = "uid"
) -> DataFrame:
    """``rows`` with the uid of the person they name in a new column ``into``: one join.

    ``columns`` is id kind -> column: a contract's ``persons`` (with its ``guests`` under ``guest``, the weakest kind)
    or its ``peers``. ``day`` is the column with the business day of the event. The id of highest priority decides, as
    it was valid on that day. ``into`` is null where a row carries no id, or one not yet known.
    """
    known = identifiers.select(
        coded_pair(F.col("id_kind"), F.col("id_value")).alias("_known_id"),
        F.col("uid").alias(into),
        F.col("from_day").alias("_known_from"),
        F.col("until_day").alias("_known_until"),
    )
    valid = (
        (F.col("_row_id") == F.col("_known_id"))
        & (F.col("_known_from").isNull() | (F.col(day) >= F.col("_known_from")))
        & (F.col("_known_until").isNull() | (F.col(day) < F.col("_known_until")))
    )
    joined = rows.withColumn("_row_id", strongest(columns)).join(known, valid, "left")
    return joined.drop("_row_id", "_known_id", "_known_from", "_known_until")
