"""Which column fills which field: by name and by values, each column once, the surest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from cli.drafting.forms import (
    fitting,
    is_email,
    is_masked,
    is_mobile,
    is_money,
    is_name,
    is_rate,
    is_time,
    without_blanks,
)
from cli.drafting.lines import amounts_of
from cli.drafting.sample import Sample
from cli.drafting.words import (
    ADDRESS,
    OTHER,
    REMARK,
    Likeness,
    bare,
    has_word,
    is_generic,
    is_login,
    known_values,
    likeness,
    never,
    words,
)
from features.cleaning_texts import is_id
from schemas.contracts import FEEDS, Column, Contract, contract, feeds

ENOUGH = 0.5
"""Share of the values that has to look like a field."""
CERTAIN = 0.9
"""Share above which a whole name is no guess."""
MANY, FEW = 100, 0.02
"""From so many values on, an id of a person or an order has more different ones than this share; a kind of device has not."""
KNOWN_EVENTS = 4.0
"""Weight of values that are known as names of events of the feed."""
PAID = 2.0
"""Weight for orders of an amount of money, of which the feed itself holds none."""
OWN, OF_SEVERAL = 4.0, 1.0
"""Weight of a field for a feed of which words.yaml says nothing: one that no other feed has, one that others have too."""
CLEAR, LEAST = 0.8, 4.0
"""A feed is unsure where another has this share of its weight, or where it has less weight than this."""


@dataclass(frozen=True)
class Match:
    """A column for a field. ``why`` is empty where it is certain, else the evidence."""

    column: str
    why: str = ""
    also: tuple[str, ...] = ()

    @property
    def sure(self) -> bool:
        return not self.why


@dataclass
class Matches:
    """Columns by field, and why columns whose names would fit were left out."""

    of: dict[str, Match] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def column(self, name: str) -> str | None:
        return self.of[name].column if name in self.of else None


def match(sample: Sample, c: Contract, of_order: Collection[str] = ()) -> Matches:
    """Fields of ``c`` to columns of the sample. ``of_order`` are amounts of an order, which are no line's."""
    found, scored = Matches(), []
    once = [n for n, k in Counter(sample.columns).items() if k == 1]
    for place, col in enumerate(c.feed_columns):
        for column in once:
            like = likeness(col.name, column, once)
            if like is None or (is_money(col) and column in of_order):
                continue
            fit, there = fitting(col, sample.values(column))
            # `customer` heads ids as well as names; what has no figure in it is taken for a name.
            if col.field.personal == "identifier" and is_generic(column):
                fit = sum(any(ch.isdigit() for ch in v) for v in sample.values(column))
            elif col.field.personal == "identifier" and has_word("logins", column):
                fit = sum(not is_name(v) for v in sample.values(column))
            if col.name == "discount_amount_minor" and is_rate(sample.values(column)):
                found.left_out.setdefault(column, "between 0 and 1: a rate, no amount")
                continue
            if not there and like.kind == "part":
                continue
            if there and fit < ENOUGH * there:
                why = _unlike(col, sample.values(column), fit, there)
                if like.kind == "whole" or why.startswith("masked"):
                    found.left_out.setdefault(column, why)
                continue
            scored.append(
                ((not there, like.kind == "part", like.rank, not col.required, place), col, column, like, fit, there)
            )
    taken: set[str] = set()
    for _, col, column, like, fit, _ in sorted(scored, key=lambda s: s[0]):
        if col.name in found.of or column in taken:
            continue
        also = [s[2] for s in scored if s[1] is col and s[2] not in {column, *taken} and s[3].kind == "whole" and s[5]]
        found.of[col.name] = Match(
            column, _why(col, column, like, sample.values(column), fit), tuple(dict.fromkeys(also))
        )
        taken.add(column)
    _by_values(sample, c, found, [n for n in once if n not in taken])
    found.left_out = {n: why for n, why in found.left_out.items() if n not in {m.column for m in found.of.values()}}
    return found


def _why(col: Column, column: str, like: Likeness, values: Sequence[str], fit: int) -> str:
    there, different = len(without_blanks(values)), len(set(values))
    share = f"{fit:,} of {there:,} values look like it" if there else "no value to go by"
    if col.name == "phone" and ADDRESS in never(column):
        return f"the recipient's, who need not be the buyer; {share}"
    if like.kind == "part":
        return f"{like.word!r} in {column!r}; {share}"
    if col.field.personal == "identifier" and is_login(column):
        return f"a login or a person's name: an id only if no two people can have the same; {share}"
    if there and fit < CERTAIN * there:
        return f"by its name; but {share}"
    if (col.field.personal in ("identifier", "contact") or col.name == "order_id") and there >= MANY:
        return f"by its name; but only {different:,} different values in {there:,}" if different < FEW * there else ""
    return ""


def _unlike(col: Column, values: Sequence[str], fit: int, there: int) -> str:
    if is_id(col) and sum(map(is_masked, values)) > ENOUGH * there:
        return f"masked at the source, so no {col.name}"
    return f"named like {col.name}, but {fit:,} of {there:,} values look like it"


def _by_values(sample: Sample, c: Contract, found: Matches, columns: Sequence[str]) -> None:
    """What no name tells: mobile numbers, addresses of e-mail that speak of nobody else, events; times without a header."""
    names = [col.name for col in c.feed_columns]
    if "behaviour" in names and "behaviour" not in found.of:
        for column in columns:
            values = sample.values(column)
            fit = _events(c, values)
            if values and fit >= ENOUGH * len(values):
                found.of["behaviour"] = Match(column, f"{fit:,} of {len(values):,} values are known events")
                break
    if not sample.header and c.event_time and c.event_time[-1] not in found.of:
        for column in columns:
            values = sample.values(column)
            fit = sum(map(is_time, values))
            if values and fit >= CERTAIN * len(values):
                found.of[c.event_time[-1]] = Match(column, f"{fit:,} of {len(values):,} values are times")
                break
    for name, test, what in (("phone", is_mobile, "mobile numbers"), ("email", is_email, "addresses of e-mail")):
        if name in found.of or name not in c.persons.values():
            continue
        for column in columns:
            values = sample.values(column)
            if not values or never(column) & {REMARK, OTHER}:
                continue
            fit = sum(map(test, values))
            if fit >= CERTAIN * len(values):
                found.of[name] = Match(
                    column, f"{fit:,} of {len(values):,} values are {what}; whose, the name does not say"
                )
                break


@dataclass(frozen=True)
class Guess:
    """A feed, its weight, and the columns that speak for it."""

    feed: str
    weight: float
    by: tuple[str, ...]


def guess_feeds(sample: Sample) -> list[Guess]:
    """Every feed by the weight of its telling fields, the heaviest first; the file's own name helps."""
    found, buyers = [], match(sample, contract("silver.orders"))
    buyers_ids = contract("silver.orders").persons.values()
    for c in feeds():
        feed, weights, matches = c.table, _telling(c), match(sample, c)
        # A column that is only guessed tells half as much.
        by = {m.column: weights[n] * (1 if m.sure else 0.5) for n, m in matches.of.items() if n in weights}
        weight = sum(by.values()) + (KNOWN_EVENTS if _names_events(sample, c, matches) else 0)
        if feed == "orders" and weight and amounts_of(sample):
            weight += PAID
        if feed == "products" and any(n in buyers.of for n in buyers_ids):
            weight *= 0.5
        # What a feed cannot be without is missing from most files of other feeds.
        needed = [col.name for col in c.feed_columns if col.required and col.name != c.generated]
        weight *= 0.5 + 0.5 * sum(n in matches.of for n in needed) / len(needed)
        named = feed.rstrip("s") in sample.file.name.lower() or c.description["zh"][:2] in sample.file.name
        telling = sorted(by, key=lambda n: -by[n])
        found.append(Guess(feed, weight + (2 if named and weight else 0), tuple(telling[:5])))
    return sorted(found, key=lambda g: (-g.weight, FEEDS.index(g.feed)))


def _telling(c: Contract) -> dict[str, float]:
    """How much each field speaks for the feed: from words.yaml, else more for what no other feed has."""
    listed: dict[str, float] | None = words()["feeds"].get(c.table)
    if listed is not None:
        return listed
    others = {n for other in feeds() if other.table != c.table for n in other.column_names}
    own = [n.name for n in c.feed_columns if n.name not in (c.generated, "source_time")]
    return {n: OF_SEVERAL if n in others else OWN for n in own}


def _names_events(sample: Sample, c: Contract, matches: Matches) -> bool:
    column = matches.column("behaviour")
    if column is None:
        return False
    values = sample.values(column)
    return bool(values) and _events(c, values) >= ENOUGH * len(values)


def _events(c: Contract, values: Sequence[str]) -> int:
    """How many values are known as names of events of the feed."""
    known = known_values("behaviour")
    return sum(known.get(bare(v)) in c.column("behaviour").values for v in values)


def is_clear(guesses: Sequence[Guess]) -> bool:
    """Is the first feed meant? Orders and their lines often stand in one file, so they do not contend."""
    first = guesses[0]
    together = {"orders", "order_lines"}
    rivals = [g for g in guesses[1:] if not {first.feed, g.feed} <= together]
    return first.weight >= LEAST and rivals[0].weight < CLEAR * first.weight
