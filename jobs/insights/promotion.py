"""Topic promotion: users and mean terms of every class of promotion sensitivity."""

from __future__ import annotations

from jobs.insights.step import Insight, InsightRun, Row

CLASS = "promotion_class"
MEANS = {
    "promotion_order_ratio": "promotion_order_ratio",
    "discount_depth_ratio": "discount_depth_ratio",
    "discount_amount_ratio": "discount_amount_ratio",
    "score": "promotion_score",
}
"""Figure and the tag whose mean over the users who have it it is; the sample are these users."""
MILLION = 1_000_000


def insight(run: InsightRun) -> Insight:
    tags = run.catalogue.tags
    if run.as_of not in run.snapshots or CLASS not in tags:
        return Insight()
    means = {figure: tag for figure, tag in MEANS.items() if tag in tags}
    # ratios are rounded to millionths: sums of whole numbers are the same in any order of rows
    columns = "".join(f', count("{tag}"), sum(round("{tag}" * {MILLION})::hugeint)::double' for tag in means.values())
    with run.sql() as con:
        rows = con.execute(
            f'select "{CLASS}", count(*){columns} from profile.profile where as_of = ? group by 1', [run.as_of]
        ).fetchall()
    counted = {row[0]: row[1:] for row in rows}
    base = sum(users for users, *_ in counted.values())
    figures: list[Row] = []
    for value in tags[CLASS].finite or ():
        users, *sums = counted.get(value, (0, *([0, None] * len(means))))
        figures.append({"figure": "users", "item": value, "number": users, "sample_users": base})
        for figure, known, total in zip(means, sums[::2], sums[1::2], strict=True):
            mean = total / MILLION / known if known else None
            figures.append({"figure": figure, "item": value, "number": mean, "sample_users": known})
    return Insight(figures=figures)
