"""In which time zone a lake cuts its days and in which currency it counts: kept with the lake from its first write.

Days and amounts are stored without saying so. In another zone a day is another day, and amounts of two currencies would
be added up: a lake keeps both for ever, in one small file.
"""

from __future__ import annotations

import json

from lake.lake import Lake
from schemas.errors import ConfigurationError

SETTINGS = ("time_zone", "currency")
KEPT = "ops/lake.json"


def keep(lake: Lake, currency: str) -> tuple[str, ...]:
    """Keep zone and currency with the lake if it does not say them; ConfigurationError if it says others.

    Gives a remark where a lake that holds something already is only told now: what it was filled in is not known.
    """
    if lake.store.is_there(KEPT):
        refuse_other(lake, currency)
        return ()
    filled = bool(lake.versions())
    lake.store.create(KEPT, json.dumps({"time_zone": lake.zone, "currency": currency}).encode())
    refuse_other(lake, currency)
    if not filled:
        return ()
    return (
        f"this lake did not say yet in which time zone and currency it is kept; {lake.zone} and {currency} of "
        "huaxiang.yaml are kept with it from now on: if it was filled under others, begin a new lake",
    )


def refuse_other(lake: Lake, currency: str) -> None:
    """ConfigurationError where the project asks for another zone or currency than the lake is kept in."""
    text = lake.store.read(KEPT)
    if text is None:
        return
    kept = json.loads(text)
    wanted = {"time_zone": lake.zone, "currency": currency}
    if differ := [name for name in SETTINGS if kept[name] != wanted[name]]:
        said = " and ".join(f"{name}: {wanted[name]}" for name in differ)
        held = " and ".join(f"{name}: {kept[name]}" for name in differ)
        raise ConfigurationError(
            f"huaxiang.yaml says {said}, and the lake {lake.address} is kept in {held}, which cannot change: its days and "
            f"amounts would no longer mean the same. Set {held} again; or begin a new lake: name an empty folder as "
            "`lake:` in huaxiang.yaml, then `huaxiang ingest` and `huaxiang run` (or `backfill`) make everything anew "
            f"from the inbox (files that left it lie below {lake.address}/landing)"
        )
