"""Airflow DAGs: files of the inbox into silver, every morning; one DAG for the feeds that arrive together."""

from __future__ import annotations

from shop import FEEDS, REFERENCE, TAKEN, early_every_day, verb

for name, feeds in FEEDS.items():
    with early_every_day(
        f"ingest_{name}",
        f"""### {name.capitalize()}
        Takes new files of {", ".join(feeds)}. Files that were taken before are skipped, so a second run of a day adds
        nothing. Exit code 4: a file was refused, the others were taken; `huaxiang status` says which.
        """,
        at="04:30" if name == REFERENCE else "05:00",
        tags=["ingest"],
    ):
        verb(f"ingest_{name}", f"ingest {' '.join(feeds)}", outlets=[TAKEN[name]])
