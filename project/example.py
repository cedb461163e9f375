"""The example shop's project folder, which comes with the code, and where its tags hold each role."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from schemas.configuration import read_yaml
from schemas.tag_roles import TagRole, no_tag_has

if TYPE_CHECKING:
    from features.catalogue import Catalogue

EXAMPLE = Path(__file__).resolve().parent.parent / "conf"
"""What ``huaxiang init`` copies."""


def unfilled_roles(catalogue: Catalogue) -> list[str]:
    """A line per role that no tag has: what goes without, how to give it, and the tag that has it in the example shop.

    Folders that were copied from the example before there were roles have that tag, without the role.
    """
    without = catalogue.without(TagRole)
    shipped = _shipped_roles() if without else {}
    found = []
    for role in without:
        own = catalogue.places.get(("tag", shipped.get(role, "")))
        like = "" if own is None else f" In the example shop tag {shipped[role]!r} has it, which stands here at {own}."
        found.append(no_tag_has(role).en + like)
    return found


def _shipped_roles() -> dict[str, str]:
    """Ids of the example's tags by role."""
    contents = (read_yaml(path)[0] for path in sorted((EXAMPLE / "tags").glob("*.yaml")))
    return {t["role"]: t["id"] for content in contents for t in content["tags"] if "role" in t}
