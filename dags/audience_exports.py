"""Airflow DAG: audience files of a day, one task an audience."""

from __future__ import annotations

import json

from airflow.providers.standard.operators.bash import BashOperator
from shop import COMMAND, DAY, PROFILE, after, verb

NAME = "AUDIENCE"
OLDER_THAN_WHAT_IS_THERE = 8
"""Exit code of a build that would put an old day in the place of a newer one: what re-running an old day asks for."""
NOT_DUE = 10
"""Exit code for a draft, for what is paused or expired, and for what its rhythm does not ask for on the day."""


def one_environment_each(listed: str) -> list[dict[str, str]]:
    """What ``audience list --json`` prints, as one environment a mapped task."""
    return [{NAME: a["audience"]} for a in json.loads(listed)]


with after(
    "audience_exports",
    """### Audiences
    Builds and exports every audience of the project at the release of the day; an audience that fails stops no other.
    An audience that was delivered for the release is not delivered twice; one that was built for a newer day is skipped,
    and so is a draft, what is paused, expired or not due.
    """,
    assets=PROFILE,
    tags=["audiences"],
):
    # A task hands on the last line that it prints: the list has to be one line.
    names = verb(
        "list_audiences",
        "audience list --json > list.json && tr -d '\\n' < list.json",
        output_processor=one_environment_each,
    )
    BashOperator.partial(
        task_id="export",
        bash_command=f'{COMMAND} audience export "${NAME}" --release {DAY} --due',
        append_env=True,
        skip_on_exit_code=[OLDER_THAN_WHAT_IS_THERE, NOT_DUE],
        map_index_template=f"{{{{ task.env['{NAME}'] }}}}",
    ).expand(env=names.output)
