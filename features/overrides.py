"""Values that people say, by hand or in a survey, as values of a tag: read from text, checked, written one way."""

from __future__ import annotations

import datetime as dt
import math

from features.tags import UNKNOWN, Tag
from schemas.configuration import nearest

_TRUE, _FALSE = ("true", "yes", "1", "是"), ("false", "no", "0", "否")


def stated(tag: Tag, text: str) -> str:
    """``text`` as the tag's value in its one written form (``true``, ``42``, ``2026-03-01``).

    ValueError says what was expected. ``unknown`` is no value: an override says what is known.
    """
    value = text.strip()
    if not value or value == UNKNOWN:
        raise ValueError("a value is expected")
    if tag.type == "string":
        if tag.finite is not None and value not in tag.finite:
            raise ValueError(f"is none of the tag's values; {nearest(value, list(tag.finite))}")
        return value
    if tag.type == "bool":
        if value.lower() not in (*_TRUE, *_FALSE):
            raise ValueError("true or false is expected")
        return "true" if value.lower() in _TRUE else "false"
    if tag.type == "date":
        try:
            return dt.date.fromisoformat(value).isoformat()
        except ValueError:
            raise ValueError("a day such as 2026-03-01 is expected") from None
    return _number(tag, value)


def _number(tag: Tag, text: str) -> str:
    whole = tag.type in ("int32", "int64")
    try:
        value: float = int(text) if whole else float(text)
    except ValueError:
        raise ValueError("a whole number is expected" if whole else "a number is expected") from None
    if not math.isfinite(value) or (whole and abs(value) >= 2 ** (31 if tag.type == "int32" else 63)):
        raise ValueError("the number is too large")
    low, high = tag.bounds
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(
            f"lies outside the tag's values ({'any' if low is None else f'{low:g}'} to {'any' if high is None else f'{high:g}'})"
        )
    if isinstance(tag.values, tuple) and value not in tag.values:
        raise ValueError(f"is none of the tag's values; known are {', '.join(map(str, tag.values))}")
    return repr(value if whole or tag.scale is None else round(value, tag.scale))
