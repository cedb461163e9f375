"""Airflow DAG: profiles of a day, once all of the feeds of that day are in."""

from __future__ import annotations

from shop import BROWSE, DAY, ORDERS, PROFILE, REFERENCE, SHARES, after, verb

with after(
    "profile_daily",
    """### Profile
    Identity, activity, profile, segments and a release for one business day, after orders, browse, shares and reference
    of that day. Running a day again that nothing has changed for says so and does nothing.
    """,
    assets=ORDERS & BROWSE & SHARES & REFERENCE,
    tags=["profile"],
):
    verb("run", f"run --as-of {DAY}", outlets=[PROFILE])
