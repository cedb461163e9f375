"""Frozen numbers and models of a profile run: stored ones that are kept (project/frozen.py), estimates, and those made from users' values.

What is made from users' values comes from a task per bucket that collects them. A break that says ``keep`` is made once
and re-used while its declaration stays the same, as models are; ``refit`` names those to make anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.breaks import Counted, merged, quantiles, statistic
from features.catalogue import Catalogue, Node
from features.frozen_numbers import Break
from features.tagging import FIXED, expression_sql
from jobs.profile.run import ProfileRun
from jobs.profile.tasks import mixed
from models.lifecycle import Cut
from project.frozen import NOT_KEPT, Frozen, break_hash, kept_cards, kept_numbers, model_hash
from schemas.configuration import nearest
from schemas.errors import NotThereError


def checked_refit(catalogue: Catalogue, names: Iterable[str]) -> tuple[str, ...]:
    """Names of breaks and models to fit anew; NotThereError names the nearest to one that is neither."""
    known = sorted({*catalogue.breaks, *catalogue.models})
    for name in names:
        if name not in known:
            raise NotThereError(f"--refit: no break or model {name!r}; {nearest(name, known)}")
    return tuple(names)


def before_facts(run: ProfileRun, refit: Sequence[str]) -> Frozen:
    """What is there before anything is computed: kept numbers and cards that were stored, and estimates."""
    catalogue = run.catalogue
    specs = {name: break_hash(b.spec) for name, b in catalogue.breaks.items()}
    wanted = {n: specs[n] for n, b in catalogue.breaks.items() if b.spec.keep and n not in refit}
    kept = kept_numbers(run.lake, wanted, run.as_of)
    numbers, cuts = kept.numbers | catalogue.fixed, dict(kept.cuts)
    estimates = {n: spec for n, spec in catalogue.estimates.items() if n not in numbers}
    if estimates:
        from jobs.profile.estimates import estimated

        given = estimated(run, estimates, numbers)
        for name, made in given.items():
            numbers[name], cuts[name] = tuple(c.number for c in made), made
            if all(c.basis.startswith(("default_few_cases", "default_short")) for c in made):
                specs[name] += NOT_KEPT
    cards = kept_cards(
        run.lake, {n: model_hash(m.spec) for n, m in catalogue.models.items() if n not in refit}, run.as_of
    )
    return Frozen(numbers, cuts, kept.fitted_on, specs, cards)


def frozen(run: ProfileRun, items: list[dict[str, Any]], start: Frozen) -> Frozen:
    """``start`` with all other breaks and models, from the values that the run's recipe gives.

    Round by round: what a break is made of may itself use breaks of an earlier round. What is made from a held tag counts
    for this run only.
    """
    catalogue = run.catalogue
    found = replace(
        start,
        numbers=dict(start.numbers),
        cuts=dict(start.cuts),
        specs=dict(start.specs),
        cards=dict(start.cards),
        fitted={},
    )
    passing = catalogue.made_from(run.held)
    waiting: list[Node] = [("break", n) for n in catalogue.breaks if n not in start.numbers]
    waiting += [("model", n) for n in catalogue.models if n not in start.cards]
    for number in sorted({catalogue.rounds[n] for n in waiting}):
        here = [n for n in waiting if catalogue.rounds[n] == number]
        parts = run.map("jobs.profile.tasks:values_of_bucket", _value_items(run, items, here, found, number))
        for kind, name in here:
            if kind == "break":
                spec = catalogue.breaks[name].spec
                values = merged(_counted_file(p) for p in run.lake.local(_files(parts, "breaks", name)))
                found.numbers[name] = numbers = _numbers_of(spec, values)
                found.cuts[name] = tuple(Cut(n, "users", int(values[1].sum())) for n in numbers)
                if int(values[1].sum()) < max(spec.min_users, 1) or ("break", name) in passing:
                    found.specs[name] += NOT_KEPT
            elif (card := _fit(run, name, _files(parts, "models", name))) is not None:
                found.cards[name] = {**card, "spec": model_hash(catalogue.models[name].spec)}
                if ("model", name) not in passing:
                    found.fitted[name] = found.cards[name]
    return found


def depends_on(catalogue: Catalogue, start: Frozen, tags: Iterable[str]) -> bool:
    """Whether any number or model that a run makes itself is made from one of these tags."""
    made: list[Node] = [("break", n) for n in catalogue.breaks if n not in start.numbers]
    made += [("model", n) for n in catalogue.models if n not in start.cards]
    return bool({("tag", n) for n in tags} & catalogue.closure(made))


def _files(parts: Sequence[Mapping[str, Any]], kind: str, name: str) -> list[str]:
    return [p[kind][name] for p in parts if name in p[kind]]


def _value_items(
    run: ProfileRun, items: list[dict[str, Any]], nodes: Sequence[Node], found: Frozen, number: int
) -> list[dict[str, Any]]:
    catalogue, numbers = run.catalogue, found.numbers
    tags = sorted(n for kind, n in catalogue.closure(nodes) if kind == "tag")
    breaks, models = {}, {}
    for kind, name in nodes:
        if kind == "break":
            b = catalogue.breaks[name]
            assert b.of is not None, f"break {name} comes from activity, not from users' values"
            where = None if b.where is None else expression_sql(catalogue, b.where, numbers)
            breaks[name] = {"of": expression_sql(catalogue, b.of, numbers), "where": where}
        else:
            m = catalogue.models[name]
            models[name] = {
                "inputs": [expression_sql(catalogue, e, numbers) for e in m.inputs],
                "where": expression_sql(catalogue, m.where, numbers),
                "sample": m.spec.sample,
            }
    recipe = run.recipe(numbers, found.cards, tags)
    content = {"recipe": recipe, "breaks": breaks, "models": models, "reads": _read_by(catalogue, nodes)}
    shared = run.shared_file(f"values-{number}", content, nodes)
    out = run.scratch / f"values-{number}"
    return [{**item, "shared": shared, "out": str(out / f"bucket-{item['bucket']}")} for item in items]


def _read_by(catalogue: Catalogue, nodes: Sequence[Node]) -> list[str]:
    """Columns (features/tagging.py) that expressions of breaks and models may name."""
    below = sorted({n for node in nodes for n in catalogue.needs[node]})
    column = {"tag": "{}", "fact": "fact.{}", "attribute": "attribute.{}"}
    return [*FIXED, "as_of", *(column[kind].format(n) for kind, n in below if kind in column)]


def _numbers_of(spec: Break, values: Counted) -> tuple[float, ...]:
    if spec.quantiles is not None:
        return quantiles(values, spec.quantiles)
    assert spec.statistic is not None
    return statistic(values, spec.statistic)


def _counted_file(path: str) -> Counted:
    table = pq.read_table(path, partitioning=None)
    return table["value"].to_numpy(), table["users"].to_numpy()


def _fit(run: ProfileRun, name: str, files: Sequence[str]) -> dict[str, Any] | None:
    """Fit a model on the sample of all buckets; None while there are too few users, or too few unlike ones."""
    from models.clusters import fit

    spec = run.catalogue.models[name].spec
    read = (pq.read_table(p, partitioning=None) for p in run.lake.local(files))
    sample = pa.concat_tables(read) if files else None
    if sample is None or len(sample) < spec.min_users:
        return None
    uid = sample["uid"].to_numpy()
    first = np.lexsort((uid, mixed(uid)))[: spec.sample]
    values = np.stack([sample[f"v{i}"].to_numpy()[first] for i in range(len(spec.inputs))], axis=1)
    try:
        card = fit(
            values,
            spec.inputs,
            version=run.as_of.isoformat(),
            k_range=spec.k,
            bootstraps=spec.bootstraps,
            seed=spec.seed,
        )
    except ValueError:
        return None
    return card.to_json()
