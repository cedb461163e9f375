"""Which tags a figure is made of, so that it can be marked where one of them is held."""

from __future__ import annotations

from features.catalogue import Catalogue
from jobs.insights import fission, promotion, segments, value
from jobs.insights.step import Row
from schemas.tag_roles import TagRole

FAST = (TagRole.SUPER_USER, TagRole.INTERACTIONS)


def tags_of_figure(catalogue: Catalogue, row: Row) -> tuple[str, ...]:
    """Tags of a row of ``segments.figures``; none where it comes from activity alone."""
    topic, figure, item = row["topic"], row["figure"], row["item"]

    def of(*roles: TagRole) -> tuple[str, ...]:
        return tuple(tag for role in roles if (tag := catalogue.of_role(role)) is not None)

    if topic == "aipl":
        return of(TagRole.AIPL, *(FAST if figure == "fast" else ()))
    if topic == "segments":
        return (item.split("/")[0], *(() if figure.startswith("users") else of(*segments.MONEY)))
    if topic == "value":
        return of(value.USERS_OF.get(figure, TagRole.MONETARY))
    if topic == "fission":
        level = catalogue.showing(fission.LEVEL)
        return (level,) if figure == "distributors" and level is not None else ()
    return {
        "layering": (item.split("/")[0],),
        "migration": of(TagRole.QUADRANT),
        "promotion": (*of(TagRole.PROMOTION), *promotion.means_of(catalogue).values()),
    }.get(topic, ())
