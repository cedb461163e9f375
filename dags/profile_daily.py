"""Airflow DAG: profiles of a day, once all of the feeds of that day are in."""

from __future__ import annotations

from airflow.sdk import AssetAll
from shop import DAY, PROFILE, STEPS, TAKEN, after, verb

STEPS_SAID = "\n".join(f"    - {name}: {what}" for name, what in STEPS.items())

with after(
    "profile_daily",
    f"""### Profile
    The steps of a run and a release for one business day, after the feeds of that day ({", ".join(TAKEN)}). Running a day
    again that nothing has changed for says so and does nothing.

{STEPS_SAID}
    """,
    assets=AssetAll(*TAKEN.values()),
    tags=["profile"],
):
    verb("run", f"run --as-of {DAY}", outlets=[PROFILE])
