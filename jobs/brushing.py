"""Step ``brushing``: keep ``activity.order_flags`` current: orders held for brushing, with score and reasons (definitions.md section 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.activity import Audit

if TYPE_CHECKING:
    from jobs.project import Project
    from lake.engine import Engine


def run_brushing(project: Project, engine: Engine, run_id: str, audit: Audit | None = None) -> int:
    """Rows written."""
    return 0
