"""What the DAGs of a shop share: the day, the assets, who owns them, how often a task is tried.

Airflow says what runs when, nothing else: every task is one ``huaxiang`` verb and can be run by hand the same way.
The project folder is ``HUAXIANG_PROJECT`` of the worker's environment, as on the command line; ``HUAXIANG_COMMAND``
names the command where it is not on the path.

The **partition key** of a run is the business day, ``2026-03-31``. It goes with the assets from ingest to export, so a
back-fill or a re-run of an old day touches that day only.

Which feeds there are, which of them arrive together and what the steps of a run are stands in ``derived.json``
(``make pages``).

Airflow reads only those files of this folder in which both words, airflow and dag, stand.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset, CronPartitionTimetable, CronTriggerTimetable, PartitionedAssetTimetable
from airflow.sdk.definitions.asset import BaseAsset

COMMAND = os.environ.get("HUAXIANG_COMMAND", "huaxiang")
# A key that is no day fails here: it goes into a shell command.
DAY = "{{ macros.ds_format(partition_key, '%Y-%m-%d', '%Y-%m-%d') }}"
ZONE = os.environ.get("HUAXIANG_TIME_ZONE", "Asia/Shanghai")

_DERIVED = json.loads(Path(__file__).with_name("derived.json").read_text(encoding="utf-8"))
FEEDS: dict[str, list[str]] = _DERIVED["feeds"]
"""Feeds that arrive together, by the name of their DAG and asset."""
STEPS: dict[str, str] = _DERIVED["steps"]
"""The steps of a run, and what each makes."""
REFERENCE = "reference"

TAKEN = {name: Asset(name=name, uri=f"huaxiang://silver/{feeds[0]}") for name, feeds in FEEDS.items()}
PROFILE = Asset(name="profile", uri="huaxiang://profile/profile")

OF_EVERY_TASK: dict[str, Any] = {
    "owner": "data-engineering",
    # Exit code 6 is another run holding a table: later it is free.
    "retries": 3,
    "retry_delay": timedelta(minutes=2),
    "retry_exponential_backoff": True,
    "execution_timeout": timedelta(hours=2),
}
_OF_EVERY_DAG: dict[str, Any] = {
    "default_args": OF_EVERY_TASK,
    "catchup": False,
    "max_active_runs": 1,
    "dagrun_timeout": timedelta(hours=8),
}


def early_every_day(dag_id: str, doc: str, *, at: str, tags: list[str]) -> DAG:
    """A DAG that runs every morning at ``at`` (``HH:MM`` of the shop's zone) for the day before."""
    hour, minute = at.split(":")
    # One tick back: what is run on the morning after is yesterday's business day.
    timetable = CronPartitionTimetable(
        f"{int(minute)} {int(hour)} * * *", timezone=ZONE, run_offset=-1, key_format="%Y-%m-%d"
    )
    return DAG(dag_id, schedule=timetable, doc_md=doc, tags=tags, **_OF_EVERY_DAG)


def every_sunday(dag_id: str, doc: str, *, at: str, tags: list[str]) -> DAG:
    """A DAG of no business day, that runs on Sundays at ``at`` (``HH:MM`` of the shop's zone)."""
    hour, minute = at.split(":")
    # Otherwise a first run that is late by up to a tenth of the week would be made up for at once.
    timetable = CronTriggerTimetable(f"{int(minute)} {int(hour)} * * 0", timezone=ZONE, run_immediately=timedelta())
    return DAG(dag_id, schedule=timetable, doc_md=doc, tags=tags, **_OF_EVERY_DAG)


def after(dag_id: str, doc: str, *, assets: BaseAsset, tags: list[str]) -> DAG:
    """A DAG that runs for a day when all of ``assets`` have been made for that day."""
    return DAG(dag_id, schedule=PartitionedAssetTimetable(assets=assets), doc_md=doc, tags=tags, **_OF_EVERY_DAG)


def verb(task_id: str, arguments: str, **more: Any) -> BashOperator:
    """A task that is one verb of the command line."""
    return BashOperator(task_id=task_id, bash_command=f"{COMMAND} {arguments}", **more)
