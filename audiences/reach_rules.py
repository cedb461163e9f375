"""``reach:`` of ``huaxiang.yaml``: who may not be written to whatever they agreed to, how often, and when."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Self

from pydantic import Field, model_validator

from audiences.conditions import IdList
from schemas.configuration import Settings

LOOKED_AHEAD_DAYS = 400
"""How far the end of quiet days is looked for."""


class MessageCap(Settings):
    """At most so many ``messages`` to a person in ``within_days`` business days, all campaigns and channels together."""

    messages: int = Field(ge=1)
    within_days: int = Field(ge=1, le=365)

    @property
    def words(self) -> str:
        return f"{self.messages} in {self.within_days} days"


class ReachRules(Settings):
    """``do_not_contact`` are lists of ids in the project folder; ``quiet_hours`` [from, to] may go over midnight.

    The lists hold for every delivery with contacts or ids, one that ignores consent too. Hours and days are of the shop's
    time zone.
    """

    do_not_contact: tuple[IdList, ...] = ()
    caps: tuple[MessageCap, ...] = ()
    quiet_days: tuple[date, ...] = ()
    quiet_hours: tuple[time, time] | None = None

    @model_validator(mode="after")
    def _hours_leave_some(self) -> Self:
        if self.quiet_hours is not None and self.quiet_hours[0] == self.quiet_hours[1]:
            raise ValueError(
                "quiet_hours begin when they end, which is either never or always; leave them out for never"
            )
        return self

    def is_quiet(self, now: datetime) -> bool:
        """Whether nothing may be delivered at this local time."""
        if now.date() in self.quiet_days:
            return True
        if self.quiet_hours is None:
            return False
        first, end = self.quiet_hours
        clock = now.time().replace(tzinfo=None)
        return first <= clock < end if first < end else clock >= first or clock < end

    def quiet_until(self, now: datetime) -> datetime | None:
        """When deliveries may go on; None where they may now."""
        if not self.is_quiet(now):
            return None
        midnights = [
            datetime.combine(now.date() + timedelta(days=n), time(), now.tzinfo) for n in range(1, LOOKED_AHEAD_DAYS)
        ]
        ends = []
        if self.quiet_hours is not None:
            days = (now.date() + timedelta(days=n) for n in range(LOOKED_AHEAD_DAYS))
            ends = [datetime.combine(day, self.quiet_hours[1], now.tzinfo) for day in days]
        return min((t for t in (*midnights, *ends) if t > now and not self.is_quiet(t)), default=None)
