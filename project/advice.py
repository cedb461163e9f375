"""One voice for one person: what the shop does with their segments, in the order in which these count.

Segmentations look at different spans of time, so one person can be churned by one and loyal by another, each with its
own strategy. The settings' ``advice`` says which counts first; the others stay beside it with what they look at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from features.catalogue import Catalogue
from features.tags import Tag
from schemas.configuration import nearest
from schemas.text import Text

WHOLE_HISTORY = Text("看全部历史", "looks at the whole history")


@dataclass(frozen=True)
class Advice:
    """A segment of one person: the segmentation, its value, what the owner declared to do, and what it looks at."""

    scheme: str
    value: str
    name: Text
    label: Text
    strategy: Text
    window_days: int | None
    window: Text
    description: Text


def order_of(catalogue: Catalogue, declared: Sequence[str]) -> tuple[str, ...]:
    """Segmentations that declare strategies: those of the settings in their order, then the catalogue's others."""
    with_strategies = [n for n in catalogue.schemes if catalogue.tags[n].strategies]
    named = [n for n in declared if n in with_strategies]
    return (*named, *(n for n in with_strategies if n not in named))


def advised(catalogue: Catalogue, declared: Sequence[str], values: Mapping[str, Any]) -> tuple[Advice, ...]:
    """What a person's segments advise, the one that counts first; where two say the same, the first of them.

    ``values`` are the person's tags; a segmentation without a value, or of a value without a strategy, says nothing.
    """
    found: dict[Text, Advice] = {}
    for name in order_of(catalogue, declared):
        tag, value = catalogue.tags[name], values.get(name)
        strategy = tag.strategies.get(value) if isinstance(value, str) else None
        if strategy is not None:
            said = _advice(tag, str(value), Text(strategy.zh, strategy.en))
            found.setdefault(said.strategy, said)
    return tuple(found.values())


def order_mistakes(catalogue: Catalogue, declared: Sequence[str]) -> list[str]:
    """What of the settings' ``advice`` counts for nothing: names of no segmentation with strategies, and repeated ones."""
    known = [n for n in catalogue.schemes if catalogue.tags[n].strategies]
    lacking = [n for n in dict.fromkeys(declared) if n not in known]
    twice = sorted({n for n in declared if declared.count(n) > 1})
    found = []
    if lacking:
        meant = f"; {nearest(lacking[0], known)}" if len(lacking) == 1 else ""
        found.append(f"advice: {', '.join(map(repr, lacking))}: no segmentation with strategies{meant}")
    if twice:
        found.append(f"advice: {', '.join(map(repr, twice))}: named twice, the first place counts")
    return found


def _advice(tag: Tag, value: str, strategy: Text) -> Advice:
    label = tag.labels.get(value)
    days = tag.window
    return Advice(
        scheme=tag.id,
        value=value,
        name=Text(tag.name.zh, tag.name.en),
        label=Text(value, value) if label is None else Text(label.zh, label.en),
        strategy=strategy,
        window_days=days,
        window=WHOLE_HISTORY if days is None else Text(f"看近 {days} 天", f"looks back {days} days"),
        description=Text(tag.description.zh, tag.description.en),
    )
