"""Which tags a figure is made of, so that it can be marked where one of them is held."""

from __future__ import annotations

from features.aipl import SCHEME, AiplSettings
from jobs.insights import fission, migration, promotion, segments, value
from jobs.insights.step import InsightRun, Row

MONEY = (segments.RECENCY, segments.FREQUENCY, segments.MONETARY)


def tags_of(run: InsightRun, row: Row) -> tuple[str, ...]:
    """Tags of a row of ``segments.figures``; none where it comes from activity alone."""
    topic, figure, item = row["topic"], row["figure"], row["item"]
    if topic == "aipl":
        fast = (run.method("aipl", AiplSettings).super_scheme, "interactions_180d") if figure == "fast" else ()
        return (SCHEME, *fast)
    if topic == "segments":
        return (item.split("/")[0], *(() if figure.startswith("users") else MONEY))
    if topic == "value":
        return (value.USERS_OF.get(figure, value.SPEND),)
    if topic == "fission":
        return (fission.LEVEL,) if figure == "distributors" else ()
    return {
        "layering": (item.split("/")[0],),
        "migration": (migration.SCHEME,),
        "promotion": (promotion.CLASS, *promotion.MEANS.values()),
    }.get(topic, ())
