"""The tag catalogue as the compiler of audiences wants it."""

from __future__ import annotations

from audiences.compiler import Attribute
from audiences.language import Words
from features.catalogue import Catalogue


def attributes(catalogue: Catalogue) -> dict[str, Attribute]:
    """The tag catalogue as the compiler of audiences wants it."""
    found = {}
    for tag in catalogue.tags.values():
        low, high = tag.bounds
        found[tag.id] = Attribute(
            id=tag.id,
            type=tag.type,
            name=Words(zh=tag.name.zh, en=tag.name.en),
            description=Words(zh=tag.description.zh, en=tag.description.en),
            values=tag.finite or (),
            minimum=low,
            maximum=high,
            unit=tag.unit,
            labels={value: Words(zh=label.zh, en=label.en) for value, label in tag.labels.items()},
        )
    return found
