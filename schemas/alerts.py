"""Alerts that list users in ``segments.alert_users``, in words: what an audience may name."""

from __future__ import annotations

from schemas.tag_roles import TagRole

MOVING_TO_RARE_LOW = "moving_to_rare_low"
ALERTS: dict[str, tuple[str, str]] = {
    MOVING_TO_RARE_LOW: ("近一期移向低频低价的用户", "users who moved to rare, low value in the last period"),
}
"""Name -> what its users are called in Chinese and English."""

SEGMENTED_BY = {MOVING_TO_RARE_LOW: TagRole.QUADRANT}
"""Name -> the role of the segmentation between whose values its users moved."""

TAGS_MOVED, FEED_ROWS = "tags_moved", "feed_rows."
"""Alerts that list nobody: tags that moved far further than usual, and, before the name of a feed, rows out of step."""
