"""Persons of all links, or of those only that new links can change: the same rows either way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from features.identity import crowded_persons, member_labels, persons_of, persons_of_placed, placed_ids
from features.links import Keep, coded_pair, links_for_table, links_from_table, merged_links, number_of
from features.uids import Numbered, number_persons
from features.within_reach import Reach, edges_of, number_of_id, told, within_reach

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

WIDEST_REACH = 0.5
"""Share of the ids above which all are worked out (docs/decisions/identity.md)."""


@dataclass(frozen=True)
class Numbering:
    """How persons are numbered: what ``number_persons`` takes beside them."""

    next_uid: int
    as_of: date
    run_id: str
    salt: str


@dataclass(frozen=True)
class Persons:
    """What is to be said of persons, and of which.

    ``numbered`` has the users in reach and new ones, ``identifiers`` are all. ``crowded`` are all ``crowded_persons``.
    Nothing is said where no link matters: both are None.
    """

    numbered: Numbered | None
    identifiers: DataFrame | None
    crowded: DataFrame | None


@dataclass(frozen=True)
class LastRun:
    """Its tables as frames, and how many ``ids`` it had. Of ``links`` there may be several rows of one pair."""

    links: DataFrame
    identifiers: DataFrame
    users: DataFrame
    ids: int


def persons_of_all(
    links: DataFrame, before: LastRun | None, by: Numbering, zone: str, most: int, keep: Keep
) -> Persons:
    """Persons of ``links``, which are all of them, merged."""
    labels = member_labels(links, keep)
    persons = keep(persons_of(links, labels, zone, keep), "persons")
    numbered = _numbered(persons, by, keep, before)
    return Persons(numbered, numbered.identifiers, crowded_persons(labels, links, most))


class WithinReach:
    """What new links, merged and kept, say that was not known, and the persons whom that can change."""

    def __init__(self, new: DataFrame, before: LastRun, zone: str, keep: Keep):
        self.new, self.before, self.zone, self.keep = new, before, zone, keep
        rows = links_for_table(new, zone)
        self.edges_before = keep(edges_of(before.links), "edges")
        came = keep(edges_of(rows), "new-edges")
        known = before.identifiers.select(
            number_of("id_kind", "id_value").alias("number"),
            "uid",
            F.coalesce("from_day", "until_day").isNotNull().alias("is_cut"),
        )
        self.known = keep(known, "known-ids")
        cut = keep(self.known.where("is_cut").select("number").distinct(), "cut-ids")
        self.told = keep(told(came, self.edges_before, cut), "told")
        self.edges = self.edges_before.unionByName(came)

    def patch(self) -> DataFrame:
        """Rows to add to ``identity.links``."""
        numbers = number_of_id("a").alias("na"), number_of_id("b").alias("nb")
        rows = self.new.select("*", *numbers)
        said = self.told.select(F.col("a").alias("na"), F.col("b").alias("nb"))
        return links_for_table(rows.join(said, ["na", "nb"], "left_semi"), self.zone)

    def persons(self, by: Numbering, most: int) -> Persons | None:
        """The persons within reach; None where that are so many that all are worked out."""
        changed = self.keep(self.told.where("matters"), "changed")
        if changed.limit(1).count() == 0:
            return Persons(None, None, None)
        reach = within_reach(changed, self.edges, self.known.select("number", "uid"), self.keep, most)
        if reach.ids.count() > WIDEST_REACH * self.before.ids:
            return None
        return self._worked_out(reach, by, most)

    def _worked_out(self, reach: Reach, by: Numbering, most: int) -> Persons:
        keep, before = self.keep, self.before
        links = keep(self._links_of(keep(reach.pairs, "pairs")), "links")
        labels = member_labels(links, keep)
        placed = keep(placed_ids(links, labels, self.zone, keep, is_part=True), "placed")
        joined = keep(self._joined(placed), "joined")
        uids = self.known.join(reach.ids, "number", "left_semi").select("uid")
        uids = keep(uids.unionByName(joined.select("uid")).distinct(), "uids")
        identifiers = keep(before.identifiers.join(uids, "uid", "left_semi"), "identifiers-in-reach")
        users = before.users.join(uids, "uid", "left_semi").unionByName(
            before.users.join(
                uids.select(F.col("uid").alias("merged_into_uid")), "merged_into_uid", "left_semi"
            ).select(*before.users.columns)
        )
        users = keep(users.distinct(), "users-in-reach")
        persons = keep(self._persons(placed, joined, identifiers, users), "persons")
        numbered = _numbered(
            persons, by, keep, LastRun(before.links, identifiers, users, before.ids), before.users.select("user_id")
        )
        columns = before.identifiers.columns
        others = before.identifiers.join(uids, "uid", "left_anti").select(*columns)
        return Persons(
            numbered,
            others.unionByName(numbered.identifiers.select(*columns)),
            crowded_persons(labels, links, most),
        )

    def _links_of(self, pairs: DataFrame) -> DataFrame:
        """All links of these pairs of numbers, merged."""
        a, b = number_of("id_kind", "id_value"), number_of("other_kind", "other_value")
        stored = self.before.links.withColumn("na", a).withColumn("nb", b)
        asked = pairs.select(F.col("a").alias("na"), F.col("b").alias("nb"))
        new = self.new.select("*", number_of_id("a").alias("na"), number_of_id("b").alias("nb"))
        return merged_links(
            [
                links_from_table(stored.join(asked, ["na", "nb"], "left_semi")),
                new.join(asked, ["na", "nb"], "left_semi").select(*self.new.columns),
            ]
        )

    def _joined(self, placed: DataFrame) -> DataFrame:
        """Persons of the last run outside the reach whom ids in it join: person, as ``placed`` names it, uid, and ``name``.

        What these persons are is not worked out anew: ``name`` is one of the names by which ids in reach call them.
        """
        inside = placed.select(F.col("id").alias("person"))
        outside = self.keep(placed.select("person").distinct().join(inside, "person", "left_anti"), "outside")
        numbers = outside.select("person", number_of_id("person").alias("number"))
        found = self.keep(numbers.join(self.known, "number").select("person", "uid"), "joined-uids")
        names = found.groupBy("uid").agg(F.min("person").alias("name"))
        return found.join(names, "uid").select("person", "uid", "name")

    def _persons(self, placed: DataFrame, joined: DataFrame, identifiers: DataFrame, users: DataFrame) -> DataFrame:
        """``persons_of`` of the ids in reach and of the persons that they join, who are first known when they were."""
        named = placed.join(joined.select("person", "name"), "person", "left").withColumn(
            "person", F.coalesce("name", "person")
        )
        named = self.keep(named.drop("name"), "named")
        somebody = (
            named.where("own_last is not null")
            .select("person")
            .unionByName(joined.select(F.col("name").alias("person")))
        )
        of_joined = (
            identifiers.join(joined.select("uid", F.col("name").alias("person")).distinct(), "uid")
            .join(users.select("uid", F.col("first_seen_at").alias("known_at")), "uid")
            .select(
                coded_pair(F.col("id_kind"), F.col("id_value")).alias("id"),
                "person",
                "from_day",
                "until_day",
                "first_seen_at",
                "known_at",
            )
        )
        return persons_of_placed(named, somebody, self.zone).unionByName(of_joined)


def _numbered(
    persons: DataFrame, by: Numbering, keep: Keep, before: LastRun | None, every_user: DataFrame | None = None
) -> Numbered:
    return number_persons(
        persons,
        None if before is None else before.identifiers,
        None if before is None else before.users,
        next_uid=by.next_uid,
        as_of=by.as_of,
        run_id=by.run_id,
        salt=by.salt,
        keep=keep,
        every_user=every_user,
    )
