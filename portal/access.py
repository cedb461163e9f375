"""Who looked at whose data, what was downloaded and why; and how often tags, segments and audiences are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from fastapi import Request
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite

from portal.parts import address_of, state_of
from portal.sign_in.roles import Person
from portal.state.opened import State
from portal.state.tables import AccessRow, LookRow

LONGEST_PURPOSE = 500


@dataclass(frozen=True)
class Access:
    """An entry of the log."""

    at: datetime
    login: str
    address: str
    what: str
    subject: str
    purpose: str


def log_access(request: Request, person: Person, what: str, subject: str, purpose: str = "") -> None:
    """Note a personal read or a download before it is given. ``subject`` is a number or a file's name, never an id or contact."""
    note_access(state_of(request), person.login, what, subject, purpose, address_of(request))


def note_access(state: State, login: str, what: str, subject: str, purpose: str = "", address: str = "") -> None:
    row = AccessRow(
        login=login, address=address[:60], what=what, subject=subject[:200], purpose=purpose[:LONGEST_PURPOSE]
    )
    row.at = state.now()
    with state.writing() as session:
        session.add(row)


def accesses(
    state: State, *, login: str | None = None, before: int | None = None, most: int = 100
) -> list[tuple[int, Access]]:
    """The newest entries with their numbers; ``before``: those with a smaller one."""
    asked = select(AccessRow).order_by(AccessRow.id.desc()).limit(most)
    if login:
        asked = asked.where(AccessRow.login == login)
    if before is not None:
        asked = asked.where(AccessRow.id < before)
    with state.reading() as session:
        rows = list(session.scalars(asked))
    return [(r.id, Access(r.at, r.login, r.address, r.what, r.subject, r.purpose)) for r in rows]


def looked_at(state: State, kind: str, name: str) -> None:
    """Count one look at a tag, a segment or an audience, today."""
    values = {"kind": kind, "name": name, "day": state.now().date().isoformat(), "looks": 1}
    on = sqlite.insert if state.is_sqlite else postgresql.insert
    counted: Any = on(LookRow).values(values)
    counted = counted.on_conflict_do_update(index_elements=["kind", "name", "day"], set_={"looks": LookRow.looks + 1})
    with state.writing() as session:
        session.execute(counted)


def looks_since(state: State, kind: str, days: int, until: date | None = None) -> dict[str, int]:
    """How often each was looked at in so many days."""
    last = until or state.now().date()
    first = (last - timedelta(days=days - 1)).isoformat()
    asked = (
        select(LookRow.name, func.sum(LookRow.looks))
        .where(LookRow.kind == kind, LookRow.day >= first, LookRow.day <= last.isoformat())
        .group_by(LookRow.name)
    )
    with state.reading() as session:
        return {name: int(n) for name, n in session.execute(asked)}
