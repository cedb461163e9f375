"""One writer a table. On a folder the operating system frees what a dead holder held; on an object store its lease expires."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime

from lake.journal import LEASE
from lake.lake import Lake
from lake.spans import span
from lake.store import HeldByAnotherError, Holding, Lease
from schemas.errors import LockedError, LostLeaseError

_held: dict[str, dict[str, Lease]] = {}
"""Leases of this process by the lake's address and name: whoever lost one cannot publish."""


@contextmanager
def lock(lake: Lake, *tables: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the locks of ``tables`` (taken in one order, so that two holders cannot wait for each other).

    LockedError names the holder.
    """
    with ExitStack() as held:
        for table in sorted(set(tables)):
            held.enter_context(_hold(lake, table, wait_seconds))
        yield


@contextmanager
def _hold(lake: Lake, table: str, wait_seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            lease = lake.store.hold(table)
            break
        except HeldByAnotherError as e:
            if time.monotonic() >= deadline:
                raise LockedError(_in_words(e.holding)) from None
            with span("waiting", table):
                time.sleep(0.2)
    mine = _held.setdefault(lake.store.address, {})
    mine[table] = lease
    try:
        yield
    finally:
        del mine[table]
        lease.release()


def refuse_lost(lake: Lake) -> None:
    """LostLeaseError where a lease that this process took on the lake is another's by now: nothing may be published."""
    for name, lease in _held.get(lake.store.address, {}).items():
        if not lease.is_ours():
            raise LostLeaseError(
                f"the lease on {name} of {lake.store.address} was lost: this process did not renew it in time and another "
                "may hold it; nothing more is published, run the same command again"
            )


def holders(lake: Lake) -> list[Holding]:
    """Who holds what of the lake now, journals left out."""
    return [h for h in lake.store.holdings() if not h.name.startswith(LEASE)]


def _in_words(holding: Holding) -> str:
    """Who holds a lock, since when, and what to do; a holder that has not yet written its note is another process."""
    if holding.process is None:
        return f"{holding.name} is held by another process; wait until it is done, or stop it, and run again"
    host = f" on {holding.host}" if holding.host else ""
    when = f" since {datetime.fromisoformat(holding.since):%Y-%m-%d %H:%M:%S} UTC" if holding.since else ""
    return (
        f"{holding.name} is held by process {holding.process}{host}{when}; wait until it is done, or stop it "
        f"(`kill {holding.process}`{host}), and run again"
    )
