"""What a tag is made from, down to facts, attributes, frozen numbers and feeds, and what is made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.catalogue import Catalogue, Node, user_tables
from project.check import Use, audience_uses
from project.folder import Project
from schemas.behaviours import given_by
from schemas.measures import PRODUCT_CONDITIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from features.facts import Fact
    from features.tags import Tag

WIDEST = 160
"""Characters of a node's words in the printed tree; the whole stands in the JSON."""


@dataclass(frozen=True)
class Branch:
    """A node of the tree. ``seen``: its own branches stand higher up in the tree already."""

    kind: str
    name: str
    text: str
    place: str | None
    branches: tuple[Branch, ...] = ()
    seen: bool = False

    def lines(self, indent: int = 0) -> list[str]:
        where = f"  [{self.place}]" if self.place else ""
        again = "  (see above)" if self.seen else ""
        text = self.text if len(self.text) <= WIDEST else self.text[: WIDEST - 3] + "..."
        said = f": {text}" if text and not self.seen else ""
        own = f"{'  ' * indent}{self.kind} {self.name}{said}{again}{where}"
        return [own, *(line for b in self.branches for line in b.lines(indent + 1))]


@dataclass(frozen=True)
class Lineage:
    """The tree down, the tree up (tags, breaks, models), and audiences that name the tag or a tag made from it."""

    tag: str
    made_from: Branch
    feeds: tuple[str, ...]
    used_by: tuple[Branch, ...]
    audiences: tuple[Use, ...]

    def text(self) -> str:
        lines = ["Made from", *self.made_from.lines(1), f"  feeds: {', '.join(self.feeds)}", "", "Used by"]
        lines += [line for b in self.used_by for line in b.lines(1)]
        lines += [f"  {use}" for use in self.audiences]
        return "\n".join(lines if self.used_by or self.audiences else [*lines, "  nothing"])


def lineage(project: Project, name: str) -> Lineage:
    """NotThereError names the nearest tag."""
    catalogue = project.catalogue
    catalogue.tag(name)
    node = ("tag", name)
    above: dict[Node, list[Node]] = {}
    for n, needs in catalogue.needs.items():
        for below in needs:
            above.setdefault(below, []).append(n)
    seen: set[Node] = set()
    used = [_up(catalogue, n, above, seen) for n in sorted(above.get(node, []), key=catalogue.order.index)]
    audiences = {(u.name): u for t in [name, *catalogue.users_of(name)] for u in audience_uses(project, t)}
    feeds = {f for n in catalogue.closure([node]) for f in _feeds(catalogue, n)}
    return Lineage(name, _down(catalogue, node, set()), tuple(sorted(feeds)), tuple(used), tuple(audiences.values()))


def _down(catalogue: Catalogue, node: Node, seen: set[Node]) -> Branch:
    below = set(catalogue.needs.get(node, ()))
    own_fact = ("fact", node[1])
    if node[0] == "tag" and own_fact in below:
        # the tag is the fact: its words are the tag's
        below = (below - {own_fact}) | catalogue.needs[own_fact]
    if node in seen:
        return _branch(catalogue, node, (), bool(below))
    seen.add(node)
    ordered = sorted(below, key=catalogue.order.index)
    return _branch(catalogue, node, tuple(_down(catalogue, n, seen) for n in ordered), False)


def _up(catalogue: Catalogue, node: Node, above: dict[Node, list[Node]], seen: set[Node]) -> Branch:
    users = sorted(above.get(node, []), key=catalogue.order.index)
    if node in seen:
        return _branch(catalogue, node, (), bool(users))
    seen.add(node)
    return _branch(catalogue, node, tuple(_up(catalogue, n, above, seen) for n in users), False)


def _branch(catalogue: Catalogue, node: Node, branches: tuple[Branch, ...], seen: bool) -> Branch:
    place = catalogue.places.get(node)
    return Branch(node[0], node[1], _text(catalogue, node), str(place) if place else None, branches, seen)


def _text(catalogue: Catalogue, node: Node) -> str:
    kind, name = node
    if kind == "tag":
        tag = catalogue.tags[name]
        return f"{tag.name.zh} {tag.name.en}, {_made(tag)}"
    if kind == "fact":
        return _fact(catalogue.facts[name])
    if kind == "attribute":
        return next((f"column of {t}" for t, columns in user_tables().items() if name in columns), "of silver.members")
    if kind == "break":
        spec = catalogue.breaks[name].spec
        if spec.estimate is not None:
            return f"{spec.estimate} from curves over activity"
        if spec.fixed is not None:
            return f"fixed at {', '.join(f'{n:g}' for n in spec.fixed)}"
        what = f"{len(spec.quantiles)} quantiles" if spec.quantiles else str(spec.statistic)
        return f"{what} of {spec.of}" + (f" where {spec.where}" if spec.where else "")
    model = catalogue.models[name].spec
    return f"{model.kind} of {', '.join(model.inputs)} where {model.where}"


def _made(tag: Tag) -> str:
    if tag.fact is not None:
        return _fact(tag.fact)
    if tag.layering is not None:
        return f"layers of {len(tag.layering.inputs)} weighted inputs"
    if tag.rules is not None:
        return f"{len(tag.rules)} rules"
    return " ".join(tag.expression.split()) if tag.expression else (tag.attribute or f"model {tag.model}")


def _fact(fact: Fact) -> str:
    window = "ever" if fact.window is None else f"{fact.window} days"
    where = "".join(
        f", {k} {' or '.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in fact.where.conditions().items()
    )
    return f"{fact.agg} of {fact.measure} from {', '.join(fact.behaviours)}, {window}{where}"


def _feeds(catalogue: Catalogue, node: Node) -> Iterable[str]:
    if node[0] == "attribute":
        table = next((t for t, columns in user_tables().items() if node[1] in columns), None)
        return ("members",) if table is None else (table,)
    if node[0] != "fact":
        return ()
    fact = catalogue.facts[node[1]]
    return _feeds_of(fact)


def _feeds_of(fact: Fact) -> Iterator[str]:
    for behaviour in fact.reads:
        yield from given_by(behaviour)
    if {fact.measure, *fact.where.conditions()} & set(PRODUCT_CONDITIONS):
        yield "products"
