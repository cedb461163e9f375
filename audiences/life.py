"""The life of a definition: whether it is in use on a day, and when its rhythm asks for it again."""

from __future__ import annotations

import calendar
import re
from datetime import date, timedelta
from typing import Literal, TypeAlias

from schemas.text import Text

State: TypeAlias = Literal["draft", "active", "paused"]
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
LIFE_KEYS = ("state", "folder", "expires", "refresh")
"""What a definition says of its life. It changes nothing about who is in it, and so not the definition's hash."""
EXPLAINED = "daily, weekly on monday, or monthly on 1"
_RHYTHM = re.compile(rf"daily|weekly on ({'|'.join(WEEKDAYS)})|monthly on ([1-9]|[12]\d|3[01])")


def refuse_unknown_rhythm(text: str) -> str:
    """The rhythm; ValueError for what is none."""
    if not _RHYTHM.fullmatch(text):
        raise ValueError(f"refresh is {EXPLAINED} (a weekday, a day of the month), not {text!r}")
    return text


def due_since(rhythm: str | None, day: date) -> date:
    """The last day up to ``day`` on which the rhythm asks for a build; without one, or daily, that is the day itself.

    A day of the month that a month does not have is its last.
    """
    of_week, of_month = _parts(rhythm)
    if of_week is not None:
        return day - timedelta(days=(day.weekday() - of_week) % 7)
    if of_month is None:
        return day
    here = _of_month(day, of_month)
    return here if here <= day else _of_month(day.replace(day=1) - timedelta(days=1), of_month)


def next_due(rhythm: str | None, day: date) -> date:
    """The first day after ``day`` on which the rhythm asks for a build."""
    after = day + timedelta(days=1)
    while due_since(rhythm, after) < after:
        after += timedelta(days=1)
    return after


def longest_gap(rhythm: str | None) -> int:
    """The most days that lie between two builds of the rhythm."""
    of_week, of_month = _parts(rhythm)
    return 7 if of_week is not None else 31 if of_month is not None else 1


def out_of_use(state: State | None, expires: date | None, day: date) -> Text | None:
    """Why nothing is built or delivered on the day; None where it is in use. On the day that it expires it still is."""
    if state == "draft":
        return Text("草稿", "it is a draft")
    if state == "paused":
        return Text("已暂停", "it is paused")
    if expires is not None and day > expires:
        return Text(f"已于 {expires} 到期", f"it expired on {expires}")
    return None


def not_due(rhythm: str | None, day: date, done: date | None) -> Text | None:
    """Why its rhythm does not ask for it on the day, where it was ``done`` last; None where it does.

    Who missed their day are due until they are done. What was done on the day itself is due: doing it again does no harm.
    """
    if done is None or not due_since(rhythm, day) <= done < day:
        return None
    again = next_due(rhythm, day)
    return Text(f"上次 {done}，下次 {again}（{rhythm}）", f"not due: {rhythm}, last on {done}, next on {again}")


def _parts(rhythm: str | None) -> tuple[int | None, int | None]:
    """The day of the week (Monday is 0), or of the month."""
    found = None if rhythm is None else _RHYTHM.fullmatch(rhythm)
    of_week, of_month = (None, None) if found is None else found.groups()
    return None if of_week is None else WEEKDAYS.index(of_week), None if of_month is None else int(of_month)


def _of_month(day: date, number: int) -> date:
    return day.replace(day=min(number, calendar.monthrange(day.year, day.month)[1]))
