"""What of an unknown file may be shown: numbers, amounts and dates, and the texts of columns that describe no person."""

from __future__ import annotations

import re

from cli.drafting.forms import EMAIL, HASH, IP, PHONE, as_typed, is_amount, is_time
from cli.drafting.words import ADDRESS, REMARK, has_word, never
from schemas.contracts import Column

HIDDEN = "***"
LONGEST = 40
_OPENID = re.compile(r"\b[ou][A-Za-z0-9_-]{20,}\b")


def is_personal_text(text: str) -> bool:
    """Does a phone, an address of e-mail or of a network, an id card, or a hash stand in it?"""
    bare = re.sub(r"[\s()\-]", "", as_typed(text))
    by_form = PHONE.search(bare) or EMAIL.search(text) or IP.fullmatch(text) or _OPENID.search(text)
    return bool(by_form or re.fullmatch(r"\d{17}[\dXx]", bare))


def shown(value: str, column: str = "", col: Column | None = None) -> str:
    """A value as it may be shown: masked by what it says, and by what its column and its field are about.

    Times and amounts show, unless the field is a person's (a day of birth). Text shows only where the column's name
    says that it describes things, not people.
    """
    value = " ".join(value.split())
    if col is not None and col.field.is_personal:
        return HIDDEN
    if has_word("births", column) or is_personal_text(value) or (col is None and HASH.search(value)):
        return HIDDEN
    if is_time(value):
        return value[:LONGEST]
    is_money = has_word("money", column)
    if never(column) & {REMARK, ADDRESS} or (has_word("people", column) and not is_money):
        return HIDDEN
    # A whole number under an unknown name may be a customer's.
    known = col is not None or is_money or has_word("harmless", column) or _has_fraction(value)
    return value[:LONGEST] if known else HIDDEN


def _has_fraction(value: str) -> bool:
    return is_amount(value) and bool(re.search(r"\d[.,]\d{1,2}\D*$", value))
