"""Who looked at whose personal data and who took which file, when and what for; and how often things are looked at."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from fastapi import Request
from sqlalchemy import func, select

from portal.parts import state_of
from portal.state.opened import State
from portal.state.tables import AccessRow, LookRow

HEAT_DAYS = (7, 30, 90)


def log_access(request: Request, what: str, subject: str, purpose: str) -> None:
    """One line of the access log; ``subject`` is a number or a name of ours, never an id of a person."""
    state, person = state_of(request), request.state.person
    with state.writing() as session:
        session.add(
            AccessRow(
                at=state.now(),
                login=person.login,
                address=request.client.host if request.client else "",
                what=what,
                subject=subject[:300],
                purpose=purpose[:300],
            )
        )


def count_look(request: Request, kind: str, name: str) -> None:
    """One more look at a tag, segment or audience today."""
    state = state_of(request)
    day = state.now().date().isoformat()
    with state.writing() as session:
        found = session.get(LookRow, (kind, name, day), with_for_update=True)
        if found is None:
            session.add(LookRow(kind=kind, name=name, day=day, looks=1))
        else:
            found.looks += 1


def looks_at(state: State, kind: str, days: Iterable[int] = HEAT_DAYS) -> dict[int, dict[str, int]]:
    """Looks by name over the last so many days each."""
    today = state.now().date()
    found: dict[int, dict[str, int]] = {}
    with state.reading() as session:
        for many in days:
            since = (today - timedelta(days=many - 1)).isoformat()
            asked = select(LookRow.name, func.sum(LookRow.looks)).where(LookRow.kind == kind, LookRow.day >= since)
            found[many] = {name: int(n) for name, n in session.execute(asked.group_by(LookRow.name))}
    return found
