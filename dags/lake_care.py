"""Airflow DAG: the lake's care, once a week."""

from __future__ import annotations

from shop import every_sunday, verb

with every_sunday(
    "lake_care",
    """### Care of the lake
    Lets old releases expire, writes small files together and frees the space of what nothing names; then proves that every
    kept release can be read. While a run, an ingest or an export writes, tidying ends with exit code 6 and is tried
    again. Exit code 7 of the second task: a file is missing or damaged; its log names the release and the remedy.
    """,
    # Long after the morning's DAGs: tidying and writing exclude each other.
    at="15:00",
    tags=["care"],
):
    verb("tidy", "lake tidy") >> verb("verify", "lake verify")
