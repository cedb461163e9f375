"""Topic brushing."""

from __future__ import annotations

from jobs.insights.step import Insight, InsightRun


def insight(run: InsightRun) -> Insight:
    return Insight()
