"""Tags of one bucket of users: the catalogue compiled to DuckDB statements, and their evaluation over Arrow.

A ``Plan`` is made once per run by the driver and travels to the tasks as JSON; a task needs neither the catalogue nor
the parser. Tags are computed level by level, each level being one projection over the one below; a model's tag is
scored between two statements.

The table that tags are made from has ``uid``, ``user_id``, ``is_member``, ``as_of``, the columns ``attribute.NAME`` and
``fact.NAME``, ``previous.TAG`` (null without one) for tags that keep their last value or are held, and ``override.TAG``
(null without one) for tags that somebody set by hand or declared.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.catalogue import Catalogue, Node
from features.expressions import Expression, compiled, stored
from features.sql_parts import DUCKDB, number_literal
from features.tags import UNKNOWN, Tag, Value
from schemas.quarantine import literal, quoted

FIXED = ("uid", "user_id", "is_member")
LONG_SQL = 2_000
"""Characters from which on a value has a column of its own, ``value.TAG``, below the tag."""
Score = Callable[[Mapping[str, Any], np.ndarray], np.ndarray]
"""Gives the cluster 1..k (0: unknown) of every row of a matrix, by a model's card."""


@dataclass(frozen=True)
class Scored:
    """A tag that a model gives: the card, SQL of its inputs and of who is in it, and values of those who are not.

    ``overridden``: what somebody said wins, and what the model gave stands in ``computed.TAG``.
    """

    tag: str
    card: dict[str, Any] | None
    inputs: tuple[str, ...]
    where: str
    outside: str
    empty: str
    overridden: bool = False


@dataclass(frozen=True)
class Stage:
    """Levels of (tag, SQL), each over the one before, then tags scored by models."""

    levels: tuple[tuple[tuple[str, str], ...], ...]
    scored: tuple[Scored, ...]


@dataclass(frozen=True)
class Recipe:
    """How to compute the wanted tags; plain data. ``overridden`` tags come with a further column ``computed.TAG``."""

    as_of: str
    stages: tuple[Stage, ...]
    tags: tuple[tuple[str, str], ...]
    overridden: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Recipe:
        stages = [
            Stage(
                tuple(tuple((t, s) for t, s in level) for level in stage["levels"]),
                tuple(Scored(**{**s, "inputs": tuple(s["inputs"])}) for s in stage["scored"]),
            )
            for stage in content["stages"]
        ]
        tags = tuple((n, t) for n, t in content["tags"])
        return cls(content["as_of"], tuple(stages), tags, tuple(content["overridden"]))


def make_recipe(
    catalogue: Catalogue,
    as_of: dt.date,
    numbers: Mapping[str, Sequence[float]],
    cards: Mapping[str, dict[str, Any]],
    tags: Iterable[str] | None = None,
    *,
    held: Collection[str] = (),
    overridden: Collection[str] = (),
) -> Recipe:
    """The recipe for ``tags`` (all if absent) and what they build on, with frozen numbers and model cards put in.

    A model without a card makes its tag unknown. A ``held`` tag is not computed: it keeps ``previous.TAG``, and its
    empty value where there is none; what builds on it sees that. An ``overridden`` tag is ``override.TAG`` where that
    is known, and ``computed.TAG`` is what it is without.
    """
    wanted = list(catalogue.tags if tags is None else tags)
    needed = catalogue.closure([("tag", n) for n in wanted])
    depth = _model_depth(catalogue)
    stages = []
    for d in range(max((depth[n] for n in needed if n[0] == "tag"), default=0) + 1):
        here = [n for n in catalogue.order if n in needed and n[0] == "tag" and depth[n] == d]
        modelled = {n for n in here if catalogue.tags[n[1]].model is not None and n[1] not in held}
        scored = [
            replace(_scored(catalogue, n[1], numbers, cards), overridden=n[1] in overridden)
            for n in here
            if n in modelled
        ]
        levels = []
        for level in _levels(catalogue, [n for n in here if n not in modelled]):
            columns: list[tuple[str, str]] = []
            long: list[tuple[str, str]] = []
            for _, name in level:
                tag = catalogue.tags[name]
                sql = held_sql(tag) if name in held else tag_sql(catalogue, tag, numbers)
                if name not in held and tag.type == "float64" and len(sql) > LONG_SQL:
                    # a score over hundreds of points is planned once: rounding names it twice
                    long.append((f"value.{name}", value_sql(catalogue, tag, numbers)))
                    sql = tag_sql(catalogue, tag, numbers, quoted(f"value.{name}"))
                if name in overridden:
                    columns.append((f"computed.{name}", sql))
                    sql = f"COALESCE({quoted(f'override.{name}')}, {sql})"
                columns.append((name, sql))
            levels += [tuple(long), tuple(columns)] if long else [tuple(columns)]
        stages.append(Stage(tuple(levels), tuple(scored)))
    tags_of_recipe = tuple((n, catalogue.tags[n].type) for n in wanted)
    said = tuple(n for n in catalogue.tags if n in overridden and ("tag", n) in needed)
    return Recipe(as_of.isoformat(), tuple(stages), tags_of_recipe, said)


def expression_sql(
    catalogue: Catalogue, expression: Expression, numbers: Mapping[str, Sequence[float]], within: str | None = None
) -> str:
    """DuckDB SQL of a checked expression of the catalogue."""
    return compiled(expression, catalogue.scope(within), numbers)


def value_sql(catalogue: Catalogue, tag: Tag, numbers: Mapping[str, Sequence[float]]) -> str:
    """DuckDB SQL of what a tag declares over the columns below it, before it is stored as its type."""
    if tag.fact is not None:
        return quoted(f"fact.{tag.id}")
    if tag.attribute is not None:
        return quoted(f"attribute.{tag.attribute}")
    if tag.expression is not None:
        return expression_sql(catalogue, catalogue.expressions[tag.id][0], numbers, tag.id)
    arms = [
        f"WHEN {expression_sql(catalogue, e, numbers, tag.id)} THEN {constant(r.value, tag.type)}"
        for e, r in zip(catalogue.expressions[tag.id], tag.rules or (), strict=True)
    ]
    assert tag.otherwise is not None
    return f"CASE {' '.join(arms)} ELSE {constant(tag.otherwise, tag.type)} END"


def tag_sql(catalogue: Catalogue, tag: Tag, numbers: Mapping[str, Sequence[float]], declared: str | None = None) -> str:
    """DuckDB SQL of a tag over the columns below it, empty-result policy included; ``declared`` stands for its value."""
    value = stored(f"({declared or value_sql(catalogue, tag, numbers)})", tag.type, tag.scale)
    if tag.type == "string" and tag.rules is None:
        value = f"NULLIF(trim({value}), '')"
        if tag.finite is not None:
            inside = ", ".join(literal(v) for v in tag.finite)
            value = f"CASE WHEN {value} IN ({inside}) THEN {value} END"
    fallbacks = [quoted(f"previous.{tag.id}")] if tag.empty == "keep_last" else []
    if tag.empty not in ("keep_last", UNKNOWN):
        fallbacks.append(constant(tag.empty, tag.type))
    elif tag.type == "string":
        fallbacks.append(literal(UNKNOWN))
    return f"COALESCE({', '.join([value, *fallbacks])})" if fallbacks else value


def held_sql(tag: Tag) -> str:
    """DuckDB SQL of a tag that keeps its last good values: users without one have its empty value."""
    fallbacks = [quoted(f"previous.{tag.id}")]
    if tag.empty not in ("keep_last", UNKNOWN):
        fallbacks.append(constant(tag.empty, tag.type))
    elif tag.type == "string":
        fallbacks.append(literal(UNKNOWN))
    return f"COALESCE({', '.join(fallbacks)})" if len(fallbacks) > 1 else fallbacks[0]


def constant(value: Value, kind: str) -> str:
    """A constant of a tag's type for DuckDB."""
    if kind == "string":
        return literal(str(value))
    if kind == "bool":
        return "TRUE" if value else "FALSE"
    return number_literal(float(value)) if kind == "float64" else f"CAST({int(value)} AS {DUCKDB[kind]})"


def kept_tags(catalogue: Catalogue, held: Collection[str] = ()) -> tuple[tuple[str, str], ...]:
    """Tags (with types) whose last value is kept or held, so that tasks know which earlier columns they need."""
    return tuple((n, t.type) for n, t in catalogue.tags.items() if t.empty == "keep_last" or n in held)


def apply_recipe(
    con: duckdb.DuckDBPyConnection, base: pa.Table, recipe: Recipe, score: Score, keep: Sequence[str] | None = None
) -> pa.Table:
    """The columns named by ``keep`` (every column of ``base`` and every tag if absent), a row per row of ``base``."""
    table = base
    for i, stage in enumerate(recipe.stages):
        con.register("base", table)
        source = "base"
        for level in stage.levels:
            columns = ", ".join(f"{sql} AS {quoted(name)}" for name, sql in level)
            source = f"(SELECT *, {columns} FROM {source})"
        listed = ["*"]
        scored = {n for s in stage.scored for n in (s.tag, f"computed.{s.tag}")}
        if keep is not None and i == len(recipe.stages) - 1:
            said = [f"override.{s.tag}" for s in stage.scored if s.overridden]
            listed = [quoted(n) for n in dict.fromkeys([*keep, *said]) if n not in scored]
        for j, s in enumerate(stage.scored):
            listed.append(f"COALESCE({s.where}, FALSE) AS {quoted(f'score.{j}')}")
            listed += [f"CAST({sql} AS DOUBLE) AS {quoted(f'score.{j}.{n}')}" for n, sql in enumerate(s.inputs)]
        table = _fetched(con, f"SELECT {', '.join(listed)} FROM {source}")
        con.unregister("base")
        for j, s in enumerate(stage.scored):
            labels = _labels(table, j, s, score)
            if s.overridden:
                table = table.append_column(f"computed.{s.tag}", labels)
                labels = pc.coalesce(table[f"override.{s.tag}"], labels)
            table = table.append_column(s.tag, labels)
    names = table.column_names if keep is None else keep
    return table.select([n for n in names if not n.startswith(("score.", "value."))])


def profile_columns(recipe: Recipe) -> list[str]:
    """Fixed columns and the recipe's tags, in the profile's order."""
    return [*FIXED, *(n for n, _ in recipe.tags)]


def values_of(con: duckdb.DuckDBPyConnection, table: pa.Table, columns: Sequence[str], where: str | None) -> pa.Table:
    """SQL values as float64 columns ``v0``, ``v1`` ... of the rows where a condition holds, with their ``uid``."""
    con.register("base", table)
    listed = ", ".join(f"CAST({sql} AS DOUBLE) AS v{i}" for i, sql in enumerate(columns))
    found = _fetched(con, f"SELECT uid, {listed} FROM base" + (f" WHERE {where}" if where else ""))
    con.unregister("base")
    return found


def numpy_columns(table: pa.Table) -> np.ndarray:
    """Columns ``v0`` ... as a matrix, unknown as NaN."""
    names = [n for n in table.column_names if n != "uid"]
    return np.stack([table[n].to_numpy(zero_copy_only=False).astype(float) for n in names], axis=1)


def _fetched(con: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    table = con.sql(sql).to_arrow_table()
    return table.cast(pa.schema([pa.field(f.name, _plain(f.type)) for f in table.schema]))


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind


def _labels(table: pa.Table, position: int, scored: Scored, score: Score) -> pa.Array:
    inside = table[f"score.{position}"].to_numpy(zero_copy_only=False)
    names = np.array([scored.empty], dtype=object)
    labels = np.zeros(len(table), dtype=np.int64)
    if scored.card is not None:
        inputs = [f"score.{position}.{n}" for n in range(len(scored.inputs))]
        labels = score(scored.card, numpy_columns(table.select(inputs)))
        names = np.array([scored.empty, *(f"cluster_{i}" for i in range(1, scored.card["k"] + 1))], dtype=object)
    return pa.array(np.where(inside, names[labels], scored.outside), pa.string())


def _scored(
    catalogue: Catalogue, name: str, numbers: Mapping[str, Sequence[float]], cards: Mapping[str, dict[str, Any]]
) -> Scored:
    tag = catalogue.tags[name]
    assert tag.model is not None
    model = catalogue.models[tag.model]
    return Scored(
        tag=name,
        card=cards.get(tag.model),
        inputs=tuple(expression_sql(catalogue, e, numbers) for e in model.inputs),
        where=expression_sql(catalogue, model.where, numbers),
        outside=str(tag.otherwise),
        empty=UNKNOWN,
    )


def _model_depth(catalogue: Catalogue) -> dict[Node, int]:
    """How many models lie below a node: a tag over a model's tag waits until that is scored."""
    depth: dict[Node, int] = {}
    for node in catalogue.order:
        below = []
        for n in catalogue.needs.get(node, ()):
            scored = n[0] == "tag" and catalogue.tags[n[1]].model is not None
            below.append(depth.get(n, 0) + (1 if scored else 0))
        depth[node] = max(below, default=0)
    return depth


def _levels(catalogue: Catalogue, nodes: Sequence[Node]) -> list[list[Node]]:
    """Nodes in layers such that each needs only earlier layers."""
    level: dict[Node, int] = {}
    for node in nodes:
        level[node] = max((level[n] + 1 for n in catalogue.needs[node] if n in level), default=0)
    found: list[list[Node]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
    for node in nodes:
        found[level[node]].append(node)
    return found
