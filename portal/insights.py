"""What is asked of an audience's people on demand: overlap, profile, people masked, sizes over time."""

from __future__ import annotations

from typing import Any

from audiences.funnel import IN_CHINESE
from audiences.language import Audience
from portal.shop import OpenShop
from queries.audience_draft import DraftCounts
from queries.audience_insight import overlaps_of, profile_of_people
from queries.audience_people import masked_sample
from queries.audience_sizes import sizes_over_releases
from queries.preview import PlatformReach, ReleaseColumns
from schemas.text import Text

MOST_TRAITS = 40


def insight_of(
    shop: OpenShop, columns: ReleaseColumns, audience: Audience, counts: DraftCounts, show: str
) -> dict[str, Any]:
    """What the template ``_insight.html.j2`` shows; ``found`` is nothing for a question that there is not."""
    project = shop.project()
    found: Any = None
    if show == "reach":
        found = reach_said(shop, audience, counts)
    elif show == "overlap":
        found = overlaps_of(project, columns, audience.id, counts.people).others
    elif show == "profile":
        found = profile_of_people(project, columns, audience.id, counts.people).traits[:MOST_TRAITS]
    elif show == "sample":
        found = masked_sample(project, columns, counts.people)
    elif show == "trend":
        found = sizes_over_releases(project, audience)
    columns.cache.trim()
    return {"show": show, "found": found}


def reach_said(
    shop: OpenShop, audience: Audience, counts: DraftCounts
) -> list[tuple[PlatformReach, list[tuple[Text, int]]]]:
    """Whom each platform's file would reach, the audience's own first, and why not the others, most of them first."""
    return [
        (one, sorted(((Text(IN_CHINESE[why], why), n) for why, n in one.left_out.items()), key=lambda w: -w[1]))
        for one in shop.reach().of(audience, counts.people)
    ]
