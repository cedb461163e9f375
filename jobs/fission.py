"""Step ``fission``: who brought whom, as of a day (definitions.md section 7)."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from jobs.activity import Audit

if TYPE_CHECKING:
    from jobs.project import Project
    from lake.engine import Engine


def run_fission(
    project: Project,
    engine: Engine,
    as_of: dt.date,
    *,
    run_id: str,
    known_at: dt.datetime | None = None,
    audit: Audit | None = None,
) -> int:
    """Rows written."""
    return 0
