"""What a text looks like: a number, money, a time, a phone; how many values of a column look so."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from features.cleaning_texts import is_id
from features.sources import HASHED
from features.text_forms import ABSENT_VALUES, NO, YES
from schemas.contracts import Column

_MARK = r"(?:[¥￥$€£]|us\$|hk\$|nt\$|cny|rmb|usd|eur|gbp|jpy)?"
_AMOUNT = re.compile(rf"{_MARK}\s*[+-]?\s*{_MARK}\s*(?:\d[\d,]*)?(?:\.\d+)?\s*(?:元|万|万元)?\s*{_MARK}", re.IGNORECASE)
_COMMA = re.compile(rf"{_MARK}\s*-?(?:\d{{1,3}}(?:\.\d{{3}})+|\d+),\d{{1,2}}\s*{_MARK}", re.IGNORECASE)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_TIME = re.compile(
    r"(?:19|20)\d{2}\s*[-/.年]\s*\d{1,2}(?!\d)|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})\b|(?:19|20)\d{6}(?:\d{4}|\d{6})?$"
    rf"|1\d{{9}}(?:\.\d+)?$|1\d{{12}}$|1\d{{15}}$|{_MONTH}[ \-]\d{{1,2}}\b|\d{{1,2}}[ \-]{_MONTH}[ \-]|[a-z]{{3}} {_MONTH} \d",
    re.IGNORECASE,
)
PHONE = re.compile(r"(?<!\d)(?:\+?86|0086)?1[3-9]\d{9}(?!\d)")
_FOREIGN_PHONE = re.compile(r"\+?\d{7,15}")
EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.\w+")
IP = re.compile(r"\d{1,3}(\.\d{1,3}){3}|[0-9a-f:]*:[0-9a-f:]+:[0-9a-f:]*", re.IGNORECASE)
HASH = re.compile(r"[0-9a-fA-F]{32,128}")
_CHINESE_NAME = re.compile(r"[\u4e00-\u9fff]{2,4}")
MASKED = re.compile(r"\*{1,}")


def as_typed(text: str) -> str:
    """A cell without what exports put around it to keep it text: ``="123"``, ``'123``."""
    return re.sub(r'^="+(.*?)"+$', r"\1", text.strip()).lstrip("'").strip().strip('"').strip()


def is_amount(text: str) -> bool:
    return any(ch.isdigit() for ch in text) and bool(_AMOUNT.fullmatch(text) or _COMMA.fullmatch(text))


def has_decimal_comma(text: str) -> bool:
    return bool(_COMMA.fullmatch(text))


def is_rate(values: Sequence[str]) -> bool:
    """Are they shares, such as 0.2 or 20 %, and no amounts?"""
    there = without_blanks(values)
    parts = [v for v in there if re.fullmatch(r"0?[.,]\d+|\d+([.,]\d+)?\s*%", v) and set(v) & set("123456789")]
    return bool(parts) and all(v in parts or re.fullmatch(r"[01]?([.,]0+)?", v) for v in there)


def is_time(text: str) -> bool:
    return bool(_TIME.match(text))


def is_serial(text: str) -> bool:
    """May it be a day as a spreadsheet counts them, from 1954 to 2091? Only under the name of a time."""
    return bool(re.fullmatch(r"[2-6]\d{4}(\.\d+)?", text))


def is_moment(text: str) -> bool:
    return is_time(text) or is_serial(text)


def is_phone(text: str) -> bool:
    digits = re.sub(r"[\s()\-\u2010-\u2015\u202a-\u202e]", "", as_typed(text)).removeprefix("tel:")
    return bool(_FOREIGN_PHONE.fullmatch(digits))


def is_mobile(text: str) -> bool:
    return bool(PHONE.fullmatch(re.sub(r"[\s()\-]", "", as_typed(text))))


def is_name(text: str) -> bool:
    """Whether it looks like a person's name: two to four Chinese signs and nothing else."""
    return bool(_CHINESE_NAME.fullmatch(as_typed(text)))


def is_email(text: str) -> bool:
    return bool(EMAIL.fullmatch(as_typed(text)))


def is_masked(text: str) -> bool:
    """Did the shop's platform blank a part of it (138****0001)? Such a value tells nobody apart."""
    return bool(MASKED.search(text))


def _is_id(text: str) -> bool:
    return not is_masked(text) and len(text) <= 128


def _is_person_id(text: str) -> bool:
    # A blank parts the words of a name, not the signs of an id.
    return _is_id(text) and not re.search(r"\S\s+\S", text)


def _is_day(text: str) -> bool:
    return is_moment(text) or bool(re.fullmatch(r"(19|20)\d\d", text))


def _is_yes_or_no(text: str) -> bool:
    return text.lower() in (*YES, *NO)


def _any(text: str) -> bool:
    return bool(text)


def test_of(col: Column) -> Callable[[str], bool]:
    """What a value of a field has to look like."""
    kinds: dict[str, Callable[[str], bool]] = {
        "timestamp": is_moment,
        "date": _is_day,
        "int32": is_amount,
        "int64": is_amount,
        "float64": is_amount,
        "bool": _is_yes_or_no,
    }
    named = {"phone": is_phone, "email": is_email, "ip_key": lambda v: bool(IP.search(v) or HASH.fullmatch(v))}
    if col.name in named:
        return named[col.name]
    if col.field.type in kinds:
        return kinds[col.field.type]
    if col.field.personal == "identifier" and col.name not in HASHED:
        return _is_person_id
    return _is_id if is_id(col) else _any


def is_money(col: Column) -> bool:
    return col.field.unit == "minor"


def without_blanks(values: Sequence[str]) -> list[str]:
    """Without the words that files write for nothing."""
    return [v for v in values if as_typed(v).lower() not in ABSENT_VALUES]


def fitting(col: Column, values: Sequence[str]) -> tuple[int, int]:
    """(values that look like the field, values there)."""
    test, there = test_of(col), without_blanks(values)
    return sum(test(as_typed(v)) for v in there), len(there)
