"""Topic promotion: users and mean terms of every class of promotion sensitivity."""

from __future__ import annotations

from features.catalogue import Catalogue
from jobs.insights.step import Insight, InsightRun, Row
from schemas.tag_roles import TagRole

TERMS = ("promotion_order_ratio", "discount_depth_ratio", "discount_amount_ratio")
"""Columns of profile.offers, and the figures that are the means of the tags that show them."""
MILLION = 1_000_000


def means_of(catalogue: Catalogue) -> dict[str, str]:
    """Figure, and the tag whose mean over the users who have it it is; the sample are these users."""
    found = {**{term: catalogue.showing(term) for term in TERMS}, "score": catalogue.of_role(TagRole.PROMOTION_SCORE)}
    return {figure: tag for figure, tag in found.items() if tag is not None}


def insight(run: InsightRun) -> Insight:
    tags, of_class = run.catalogue.tags, run.catalogue.of_role(TagRole.PROMOTION)
    if run.as_of not in run.snapshots or of_class is None:
        return Insight()
    means = means_of(run.catalogue)
    # ratios are rounded to millionths: sums of whole numbers are the same in any order of rows
    columns = "".join(f', count("{tag}"), sum(round("{tag}" * {MILLION})::hugeint)::double' for tag in means.values())
    with run.sql() as con:
        rows = con.execute(
            f'select "{of_class}", count(*){columns} from profile.profile where as_of = ? group by 1', [run.as_of]
        ).fetchall()
    counted = {row[0]: row[1:] for row in rows}
    base = sum(users for users, *_ in counted.values())
    figures: list[Row] = []
    for value in tags[of_class].finite or ():
        users, *sums = counted.get(value, (0, *([0, None] * len(means))))
        figures.append({"figure": "users", "item": value, "number": users, "sample_users": base})
        for figure, known, total in zip(means, sums[::2], sums[1::2], strict=True):
            mean = total / MILLION / known if known else None
            figures.append({"figure": figure, "item": value, "number": mean, "sample_users": known})
    return Insight(figures=figures)
