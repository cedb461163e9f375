"""What columns are called: how well a column's name fits a field, from the words in ``words.yaml``."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from schemas.contracts import fields

REMARK, DISCOUNT, ADDRESS, OTHER = "remark", "discount", "address", "other"
ABOUT_DISCOUNTS = ("discount_amount_minor", "face_value_minor", "coupon_id", "promotion_id", "campaign_id")
"""The only fields that a name of a discount may mean."""
SHORTEST = {True: 4, False: 2}
"""Letters that a word needs to count as a part of a name; Chinese words say as much in two."""


@dataclass(frozen=True)
class Likeness:
    """How a column's name fits a field: by its whole name, or by ``word`` with nothing but qualifiers around it."""

    kind: Literal["whole", "part"]
    word: str
    rank: int
    """Place of the word in the field's list; the first is preferred."""


@cache
def words() -> dict[str, Any]:
    text = (Path(__file__).parent / "words.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.load(text, Loader=yaml.CSafeLoader)
    return found


@cache
def bare(name: str) -> str:
    """A name without case, blanks, signs and bracketed units: ``邮费(元)`` is ``邮费``, ``Ship-to City`` ``shiptocity``."""
    units = "|".join(re.escape(str(u)) for u in words()["units"])
    bare = re.sub(rf"[（(\[【]\s*(?:{units})\s*[)）\]】]", "", str(name).lower()).translate(_simplified())
    bare = re.sub(rf"^(?:(?:{'|'.join(words()['containers'])})\.)+(?=.)", "", bare)
    return re.sub(r"[\s_\-()（）\[\]【】:：./\\*#?？&]+", "", bare)


@cache
def _simplified() -> dict[int, str]:
    pairs = words()["traditional"]
    return {ord(pairs[k]): pairs[k + 1] for k in range(0, len(pairs), 2)}


@cache
def _listed(name: str) -> dict[str, int]:
    """Plain words of a field with their rank; its own name and label come first."""
    own = [name, name.removesuffix("_minor"), fields()[name].zh]
    found: dict[str, int] = {}
    for word in [*own, *map(str, words()["fields"].get(name, []))]:
        found.setdefault(bare(word), len(found))
    return found


@cache
def _set_of(key: str) -> frozenset[str]:
    return frozenset(bare(str(w)) for w in words()[key])


@cache
def has_word(key: str, column: str) -> bool:
    """Does a word of the list ``key`` stand in the column's name?"""
    return any(_stands_in(w, column) for w in _set_of(key))


@cache
def never(column: str) -> frozenset[str]:
    """What else a name says that it is about: remarks, discounts, addresses, others than the buyer."""
    kinds = words()["never"].items()
    return frozenset(kind for kind, ws in kinds if any(_stands_in(bare(str(w)), column) for w in ws))


def _stands_in(word: str, column: str) -> bool:
    # Three letters stand in too many words (`ip` in `shipping`) to count but as a word of their own.
    if word.isascii() and len(word) < SHORTEST[True]:
        return word in re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column).lower())
    return word in bare(column)


@cache
def _around(kind: str) -> re.Pattern[str]:
    """What may stand around a word: qualifiers of any field, and those of its kind (id, time, amount)."""
    found = _set_of("qualifiers") | (_set_of(f"{kind}_qualifiers") if kind else frozenset())
    return re.compile(f"(?:{'|'.join(sorted(map(re.escape, found), key=len, reverse=True))})*")


@cache
def _kind(name: str) -> str:
    entry = fields()[name]
    if entry.type in ("timestamp", "date"):
        return "time"
    if entry.unit == "minor":
        return "amount"
    return "id" if entry.personal in ("identifier", "contact") or name.endswith("_id") else ""


def likeness(name: str, column: str, columns: Collection[str] = ()) -> Likeness | None:
    """How ``column`` fits the field ``name``, None if not. Some names count only beside others of ``columns``."""
    beside = words()["beside"].get(name, {}).get(bare(column))
    if beside is not None and {bare(c) for c in columns} & {bare(b) for b in beside}:
        return Likeness("whole", column, 0)
    return _alone(name, column)


@cache
def _alone(name: str, column: str) -> Likeness | None:
    text, listed = bare(column), _listed(name)
    if text in listed:
        return Likeness("whole", column, listed[text])
    kinds = never(column)
    about_discounts = DISCOUNT in kinds and name not in ABOUT_DISCOUNTS
    about_addresses = ADDRESS in kinds and name not in ("address_key", "ship_province", "ship_city", "phone")
    # A bill goes elsewhere than the parcel.
    billed = "billing" in text and name in ("address_key", "ship_province", "ship_city")
    if kinds & {REMARK, OTHER} or about_discounts or about_addresses or billed:
        return None
    parts = [(-len(w), rank, w) for w, rank in listed.items() if _is_part(w, text, _kind(name))]
    return Likeness("part", min(parts)[2], 100 + min(parts)[1]) if parts else None


def _is_part(word: str, text: str, kind: str) -> bool:
    if len(word) < SHORTEST[word.isascii()] or word in _set_of("generic") or word not in text:
        return False
    before, _, after = text.partition(word)
    around = _around(kind)
    return bool(around.fullmatch(before) and around.fullmatch(after))


def of_list(key: str, columns: Sequence[str]) -> list[str]:
    """The columns whose whole name, or all but its qualifiers, is a word of the list ``key``; the preferred first."""
    order = [bare(str(w)) for w in words()[key]]
    found = []
    for column in columns:
        text = bare(column)
        ranks = [k for k, w in enumerate(order) if w == text]
        if not ranks and not never(column):
            ranks = [100 + k for k, w in enumerate(order) if _is_part(w, text, "amount")]
        if ranks:
            found.append((ranks[0], column))
    return [column for _, column in sorted(found, key=lambda f: f[0])]


def known_values(name: str) -> dict[str, str]:
    """Words of files for the values that a field may hold."""
    return {bare(w): value for value, ws in words()["values"].get(name, {}).items() for w in [value, *map(str, ws)]}


def is_generic(column: str) -> bool:
    """Is the name a word of little meaning of its own (``customer``), which may head ids as well as names?"""
    return bare(column) in _set_of("generic")


def is_login(column: str) -> bool:
    """May the name head logins in one shop and people's names in another?"""
    return bare(column) in _set_of("logins")


def is_known(column: str) -> bool:
    """Does any field know this name as a whole?"""
    return any(bare(column) in _listed(n) for n in words()["fields"])
