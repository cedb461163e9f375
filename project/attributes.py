"""The tag catalogue as the compiler of audiences wants it."""

from __future__ import annotations

from audiences.operands import Attribute
from features.catalogue import Catalogue
from features.changes import band_names

MOST_KEPT = 4
_KEPT: list[tuple[Catalogue, dict[str, Attribute]]] = []
"""Of the catalogues that were asked for last: a page asks dozens of times."""


def attributes(catalogue: Catalogue) -> dict[str, Attribute]:
    """The tag catalogue as the compiler of audiences wants it; made once for a catalogue, which never changes."""
    for kept, found in tuple(_KEPT):
        if kept is catalogue:
            return dict(found)
    made = _made(catalogue)
    _KEPT.append((catalogue, made))
    del _KEPT[:-MOST_KEPT]
    return dict(made)


def _made(catalogue: Catalogue) -> dict[str, Attribute]:
    found = {}
    for tag in catalogue.tags.values():
        low, high = tag.bounds
        found[tag.id] = Attribute(
            id=tag.id,
            type=tag.type,
            name=tag.name,
            description=tag.description,
            values=tag.finite or (),
            minimum=low,
            maximum=high,
            unit=tag.unit,
            labels=tag.labels,
            is_dynamic=tag.kind == "dynamic",
            bands=tuple(band_names(tag.log_bands)) if tag.log_bands else (),
        )
    return found
