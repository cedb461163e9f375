"""The behaviours of ``activity`` as numbers (definitions.md section 14), as fields and contracts of feeds say them.

Some are credited to a sharer for what another person did, and one is the correction that a refund makes to its order's
own day.
"""

from __future__ import annotations

from schemas.contracts import feeds, fields

_CODES = fields()["behaviour_code"].codes
BEHAVIOURS: dict[str, int] = {name: c.code for name, c in _CODES.items()}
BEHAVIOURS_ZH: dict[str, str] = {name: c.zh for name, c in _CODES.items()}
DETAILS: dict[str, int] = {name: c.code for name, c in fields()["detail_code"].codes.items()}
"""Values of ``detail_code``: brand searches and kinds of review; 0 is none."""

ACTIVE_FEEDS: tuple[str, ...] = tuple(c.table for c in feeds() if c.becomes is not None)
"""Feeds whose rows are in ``activity``, or decide what is."""
DECLARED_FEEDS: tuple[str, ...] = tuple(c.table for c in feeds() if c.becomes is not None and not c.becomes.by_rule)
"""Those whose contract alone says what a row becomes; the others need rules (features/activity.py)."""
BROWSE: tuple[str, ...] = tuple(
    dict.fromkeys(b for c in feeds() if c.becomes is not None and c.becomes.on_site for b in c.behaviours)
)
"""On-site behaviours: what makes a visit."""
CARRIES_MONEY: tuple[str, ...] = (
    *("order", "pay", "refund", "refund_of_order"),
    *(b for c in feeds() if c.becomes is not None and (c.becomes.amount or c.becomes.quantity) for b in c.behaviours),
)
"""Behaviours whose units and money a condition can ask for: those made by rules, and of feeds that say a column of one."""


def given_by(behaviour: str) -> tuple[str, ...]:
    """Feeds whose rows give a behaviour, or decide of it."""
    return tuple(c.table for c in feeds() if behaviour in c.behaviours)
