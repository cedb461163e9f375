"""Frozen numbers and models of a profile run, from values that a task per bucket collects."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.breaks import Counted, mean, merged, quantiles
from features.catalogue import Node
from features.tagging import expression_sql, make_plan
from features.tags import Break
from jobs.profile_tasks import hashed
from lake.lake import Lake

if TYPE_CHECKING:
    from jobs.profile import ProfileRun

MODELS = "profile.models"
Numbers = dict[str, tuple[float, ...]]
Cards = dict[str, dict[str, Any]]


def frozen(run: ProfileRun, items: list[dict[str, Any]], refit: Sequence[str]) -> tuple[Numbers, Cards, Cards]:
    """Breaks of the run, cards of every model, and those of them that were fitted now.

    Round by round: what a break is made of may itself use breaks of an earlier round.
    """
    catalogue, numbers = run.catalogue, Numbers()
    specs = {name: spec_hash(m.spec.model_dump(mode="json")) for name, m in catalogue.models.items()}
    cards = {n: c for n, c in _stored_cards(run.lake, specs, run.as_of).items() if n not in refit}
    fitted: Cards = {}
    waiting: list[Node] = [("break", n) for n in catalogue.breaks]
    waiting += [("model", n) for n in catalogue.models if n not in cards]
    for number in sorted({catalogue.rounds[n] for n in waiting}):
        here = [n for n in waiting if catalogue.rounds[n] == number]
        parts = run.map("jobs.profile_tasks:values_of_bucket", _value_items(run, items, here, numbers, cards, number))
        for kind, name in here:
            if kind == "break":
                numbers[name] = _numbers_of(catalogue.breaks[name].spec, _files(parts, "breaks", name))
            elif (card := _fit(run, name, _files(parts, "models", name))) is not None:
                cards[name] = fitted[name] = {**card, "spec": specs[name]}
    return numbers, cards, fitted


def _files(parts: Sequence[Mapping[str, Any]], kind: str, name: str) -> list[str]:
    return [p[kind][name] for p in parts if name in p[kind]]


def _value_items(
    run: ProfileRun, items: list[dict[str, Any]], nodes: Sequence[Node], numbers: Numbers, cards: Cards, number: int
) -> list[dict[str, Any]]:
    catalogue = run.catalogue
    tags = sorted(n for kind, n in catalogue.closure(nodes) if kind == "tag")
    breaks, models = {}, {}
    for kind, name in nodes:
        if kind == "break":
            b = catalogue.breaks[name]
            where = None if b.where is None else expression_sql(catalogue, b.where, numbers)
            breaks[name] = {"of": expression_sql(catalogue, b.of, numbers), "where": where}
        else:
            m = catalogue.models[name]
            models[name] = {
                "inputs": [expression_sql(catalogue, e, numbers) for e in m.inputs],
                "where": expression_sql(catalogue, m.where, numbers),
                "sample": m.spec.sample,
            }
    plan = make_plan(catalogue, run.as_of, numbers, cards, tags).to_json()
    shared = run.shared_file(f"values-{number}", {"plan": plan, "breaks": breaks, "models": models})
    out = run.scratch / f"values-{number}"
    return [{**item, "shared": shared, "out": str(out / f"bucket-{item['bucket']}")} for item in items]


def _numbers_of(spec: Break, files: Sequence[str]) -> tuple[float, ...]:
    values = merged(_counted_file(p) for p in files)
    if spec.quantiles is not None:
        return quantiles(values, spec.quantiles)
    return mean(values) if spec.statistic == "mean" else quantiles(values, (0.5,))


def _counted_file(path: str) -> Counted:
    table = pq.read_table(path, partitioning=None)
    return table["value"].to_numpy(), table["users"].to_numpy()


def spec_hash(spec: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:12]


def _stored_cards(lake: Lake, specs: Mapping[str, str], as_of: dt.date) -> Cards:
    """The card that each model scores ``as_of`` with: the newest fitted by then, else the oldest fitted after it.

    A back-filled day keeps the labels of the days around it. Cards of another declaration do not count.
    """
    files = [f.path for f in lake.files(MODELS)]
    rows = [r for p in files for r in pq.read_table(p, partitioning=None).to_pylist()]
    found: dict[str, dict[str, Any]] = {}
    for name, spec in specs.items():
        fits = [(r, json.loads(r["content"])) for r in rows if r["name"] == name]
        fits = [(r, card) for r, card in fits if card["spec"] == spec]
        by_then = [f for f in fits if f[0]["as_of"] <= as_of]
        if by_then:
            found[name] = max(by_then, key=lambda f: (f[0]["as_of"], f[0]["created_at"], f[0]["model_version"]))[1]
        elif fits:
            found[name] = min(fits, key=lambda f: (f[0]["as_of"], f[0]["created_at"], f[0]["model_version"]))[1]
    return found


def _fit(run: ProfileRun, name: str, files: Sequence[str]) -> dict[str, Any] | None:
    """Fit a model on the sample of all buckets; None while there are too few users, or too few unlike ones."""
    from models.clusters import fit

    spec = run.catalogue.models[name].spec
    sample = pa.concat_tables(pq.read_table(p, partitioning=None) for p in files) if files else None
    if sample is None or len(sample) < spec.min_users:
        return None
    uid = sample["uid"].to_numpy()
    first = np.lexsort((uid, hashed(uid)))[: spec.sample]
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
