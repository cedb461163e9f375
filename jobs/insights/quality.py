"""Topic quality: an alert for tags that moved far further than usual, and one for each of their feeds that is out of step.

``tags_moved``: ``number`` of such tags among enough members or visitors, raised above ``limit_number`` 0. ``feed_rows.FEED``:
rows a day since the run before (``number``) against its usual ones (``limit_number``), with the reason short or long;
there where a tag that moved comes from the feed.
"""

from __future__ import annotations

from jobs.insights.step import Insight, InsightRun, Row
from jobs.profile.feed_rows import feed_rows
from jobs.profile.quality import broken_rows
from project.held import QUALITY, quality_rows
from schemas.alerts import FEED_ROWS, TAGS_MOVED


def insight(run: InsightRun) -> Insight:
    """Nothing on a day without rows of quality."""
    if run.lake.version(QUALITY) is None or not (rows := quality_rows(run.lake, run.as_of)):
        return Insight()
    settings = run.project.settings.quality
    act = broken_rows(rows, "act", settings.min_users)
    judged = any(r["verdict"] not in ("first", "no_reference") for r in rows)
    since = max((r["compared_with"] for r in rows if r["compared_with"] is not None), default=None)
    moved: Row = {
        "from_as_of": since,
        "alert": TAGS_MOVED,
        "number": float(len({r["tag"] for r in act})),
        "limit_number": 0.0 if judged else None,
        "is_raised": bool(act),
        "alert_reason": "judged" if judged else "no_earlier_day" if since is None else "no_reference",
    }
    if not act or since is None:
        return Insight(alerts=[moved])
    feeds = sorted({f for r in act for f in run.catalogue.tags[r["tag"]].sources if r["tag"] in run.catalogue.tags})
    days = settings.history_days
    counted = feed_rows(run.lake, feeds, since, run.as_of, history_days=days, known_at=run.known_at)
    off: list[Row] = [
        {
            "from_as_of": since,
            "alert": f"{FEED_ROWS}{f.feed}",
            "number": f.rows,
            "limit_number": f.usual,
            "is_raised": True,
            "alert_reason": how,
        }
        for f in counted
        if (how := f.off(settings.feed_short))
    ]
    return Insight(alerts=[moved, *off])
