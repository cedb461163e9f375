"""Topic ``layering``: who is in each layer, and how much each input lifts or lowers it (definitions.md section 14)."""

from __future__ import annotations

from typing import Any

import duckdb

from features.catalogue import Catalogue
from features.expansion import normalised
from features.expressions import parse
from features.layering import Layering
from features.tagging import expression_sql
from features.tags import Tag
from jobs.insights.step import Insight, InsightRun, Row
from project.frozen import break_rows, numbers_of


def insight(run: InsightRun) -> Insight:
    layered = [t for t in run.catalogue.tags.values() if t.layering is not None]
    figures: list[Row] = []
    if not layered or run.as_of not in run.snapshots:
        return Insight()
    with run.sql() as con:
        numbers = numbers_of(break_rows(run.lake, [run.as_of]))
        con.execute(
            f"create or replace temp view day as select * from profile.profile where as_of = date '{run.as_of}'"
        )
        for tag in layered:
            assert tag.layering is not None
            figures += [
                {"figure": "weight", "item": f"{tag.id}/{one.of}", "number": one.weight} for one in tag.layering.inputs
            ]
            figures += _users(con, tag)
            figures += _contributions(con, run.catalogue, tag, tag.layering, numbers)
    return Insight(figures=figures)


def _users(con: duckdb.DuckDBPyConnection, tag: Tag) -> list[dict[str, Any]]:
    rows = con.execute(f'select "{tag.id}", count(*), sum(count(*)) over () from day group by all').fetchall()
    found = {layer: (users, base) for layer, users, base in rows}
    return [
        {"figure": "layer_users", "item": f"{tag.id}/{v}", "number": found[v][0], "sample_users": int(found[v][1])}
        for v in tag.finite or ()
        if v in found
    ]


def _contributions(
    con: duckdb.DuckDBPyConnection,
    catalogue: Catalogue,
    tag: Tag,
    layering: Layering,
    numbers: dict[str, tuple[float, ...]],
) -> list[dict[str, Any]]:
    """Mean of ``weight x (normalised - its mean over all layered users)`` in each layer.

    Given where every input builds on published tags: facts that no tag publishes are not in the profile.
    """
    inputs = [parse(text, catalogue.scope()) for text in normalised(tag.id, layering)]
    where = parse(layering.where, catalogue.scope())
    if any(column not in catalogue.tags for e in (*inputs, where) for column in e.columns):
        return []
    values = ", ".join(f"{expression_sql(catalogue, e, numbers)} as n{i}" for i, e in enumerate(inputs))
    centred = ", ".join(f"avg({one.weight} * (n{i} - m{i})) as c{i}" for i, one in enumerate(layering.inputs))
    means = ", ".join(f"avg(n{i}) over () as m{i}" for i in range(len(inputs)))
    rows = con.execute(
        f"""
        with normal as (select "{tag.id}" as layer, {values} from day where {expression_sql(catalogue, where, numbers)}),
             centred as (select *, {means} from normal)
        select layer, count(*), {centred} from centred group by layer order by layer
        """
    ).fetchall()
    return [
        {
            "figure": "contribution",
            "item": f"{tag.id}/{layer}/{one.of}",
            "number": round(value, 6),
            "sample_users": users,
        }
        for layer, users, *found in rows
        for one, value in zip(layering.inputs, found, strict=True)
    ]
