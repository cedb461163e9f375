"""Frozen numbers and models of a profile run: stored ones that are kept, estimates, and those made from users' values.

What is made from users' values comes from a task per bucket that collects them. A break that says ``keep`` is made once
and re-used while its declaration stays the same, as models are; ``refit`` names those to make anew.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from features.breaks import Counted, merged, quantiles, statistic
from features.catalogue import Catalogue, Node
from features.frozen_numbers import Break
from features.tagging import expression_sql
from jobs.profile.run import Cards, Numbers, ProfileRun
from jobs.profile.tasks import hashed
from lake.lake import Lake
from models.lifecycle import Cut
from schemas.configuration import nearest
from schemas.errors import NotThereError

BREAKS, MODELS = "profile.breaks", "profile.models"
NOT_KEPT = "-provisional"
"""Ends the ``spec`` of numbers that no later run may re-use: made from too few users or held tags, or an estimate's default."""
KNEES = ("purchase_day_knees", "recovery_knee")
KNEE_TEST = 2
"""Raised when knees are found otherwise: numbers of the way before are not re-used."""


@dataclass(frozen=True)
class Frozen:
    """Numbers of breaks with the day they were fitted on (absent: this run) and their spec; cards, and which are new.

    ``cuts`` say number by number what it rests on, as it was when it was fitted; of what older versions stored nothing is known.
    """

    numbers: Numbers = field(default_factory=dict)
    cuts: dict[str, tuple[Cut, ...]] = field(default_factory=dict)
    fitted_on: dict[str, dt.date] = field(default_factory=dict)
    specs: dict[str, str] = field(default_factory=dict)
    cards: Cards = field(default_factory=dict)
    fitted: Cards = field(default_factory=dict)

    def fits(self, catalogue: Catalogue, as_of: dt.date) -> dict[Node, str]:
        """When what is kept was made: numbers that later runs re-use, and models."""
        found: dict[Node, str] = {("model", n): card["version"] for n, card in self.cards.items()}
        for name, values in self.numbers.items():
            if catalogue.breaks[name].spec.keep and values and not self.specs[name].endswith(NOT_KEPT):
                found[("break", name)] = self.fitted_on.get(name, as_of).isoformat()
        return found

    def rows(self, as_of: dt.date) -> list[dict[str, Any]]:
        """What ``profile.breaks`` keeps of the day."""
        return [
            {
                "name": name,
                "position": i,
                "number": value,
                "spec": self.specs[name],
                "fitted_on": self.fitted_on.get(name, as_of),
                **({} if name not in self.cuts else _basis(self.cuts[name][i - 1])),
            }
            for name, values in self.numbers.items()
            for i, value in enumerate(values, start=1)
        ]


def _basis(cut: Cut) -> dict[str, Any]:
    return {
        "basis": cut.basis,
        "sample_users": cut.sample,
        "share_beyond_horizon": cut.share_beyond,
        "horizon_to_try_days": cut.horizon_to_try,
    }


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
    found = _stored_numbers(run.lake, wanted, run.as_of)
    numbers = {n: tuple(float(r["number"]) for r in rows) for n, (rows, _) in found.items()}
    cuts = {n: tuple(_stored_cut(r) for r in rows) for n, (rows, _) in found.items() if rows[0].get("basis")}
    fitted_on = {n: day for n, (_, day) in found.items()}
    numbers |= catalogue.fixed
    estimates = {n: spec for n, spec in catalogue.estimates.items() if n not in numbers}
    if estimates:
        from jobs.profile.estimates import estimated

        given = estimated(run, estimates, numbers)
        for name, made in given.items():
            numbers[name], cuts[name] = tuple(c.number for c in made), made
            if all(c.basis.startswith(("default_few_cases", "default_short")) for c in made):
                specs[name] += NOT_KEPT
    models = {name: spec_hash(m.spec.model_dump(mode="json")) for name, m in catalogue.models.items()}
    cards = {n: c for n, c in _stored_cards(run.lake, models, run.as_of).items() if n not in refit}
    return Frozen(numbers, cuts, fitted_on, specs, cards)


def _stored_cut(row: Mapping[str, Any]) -> Cut:
    return Cut(
        float(row["number"]), row["basis"], row["sample_users"], row["share_beyond_horizon"], row["horizon_to_try_days"]
    )


def frozen(run: ProfileRun, items: list[dict[str, Any]], start: Frozen) -> Frozen:
    """``start`` with all other breaks and models, from the values that the run's plan gives.

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
    models = {name: spec_hash(m.spec.model_dump(mode="json")) for name, m in catalogue.models.items()}
    passing = catalogue.made_from(run.held)
    waiting: list[Node] = [("break", n) for n in catalogue.breaks if n not in start.numbers]
    waiting += [("model", n) for n in catalogue.models if n not in start.cards]
    for number in sorted({catalogue.rounds[n] for n in waiting}):
        here = [n for n in waiting if catalogue.rounds[n] == number]
        parts = run.map("jobs.profile.tasks:values_of_bucket", _value_items(run, items, here, found, number))
        for kind, name in here:
            if kind == "break":
                spec = catalogue.breaks[name].spec
                values = merged(_counted_file(p) for p in _files(parts, "breaks", name))
                found.numbers[name] = numbers = _numbers_of(spec, values)
                found.cuts[name] = tuple(Cut(n, "users", int(values[1].sum())) for n in numbers)
                if int(values[1].sum()) < max(spec.min_users, 1) or ("break", name) in passing:
                    found.specs[name] += NOT_KEPT
            elif (card := _fit(run, name, _files(parts, "models", name))) is not None:
                found.cards[name] = {**card, "spec": models[name]}
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
    plan = run.plan(numbers, found.cards, tags)
    shared = run.shared_file(f"values-{number}", {"plan": plan, "breaks": breaks, "models": models})
    out = run.scratch / f"values-{number}"
    return [{**item, "shared": shared, "out": str(out / f"bucket-{item['bucket']}")} for item in items]


def _numbers_of(spec: Break, values: Counted) -> tuple[float, ...]:
    if spec.quantiles is not None:
        return quantiles(values, spec.quantiles)
    assert spec.statistic is not None
    return statistic(values, spec.statistic)


def _counted_file(path: str) -> Counted:
    table = pq.read_table(path, partitioning=None)
    return table["value"].to_numpy(), table["users"].to_numpy()


def spec_hash(spec: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:12]


def break_hash(spec: Break) -> str:
    """Of what the numbers come from; whether and when they are kept changes no number."""
    plain = spec.content("keep", "min_users")
    return spec_hash(plain | {"knee_test": KNEE_TEST} if spec.estimate in KNEES else plain)


def _stored_numbers(
    lake: Lake, specs: Mapping[str, str], as_of: dt.date
) -> dict[str, tuple[list[dict[str, Any]], dt.date]]:
    """Stored numbers, as rows in order, and the day they were fitted on: the newest fitted by ``as_of``, else the oldest fitted after it.

    A back-filled day keeps the numbers of the days around it; a day that was run before there were any makes its own
    again, so that repeating it changes nothing. Numbers of another declaration do not count.
    """
    if not specs:
        return {}
    wanted = pa.array(sorted(s + end for s in specs.values() for end in ("", NOT_KEPT)), pa.string())
    rows = lake.dataset(BREAKS).to_table(filter=pads.field("spec").isin(wanted)).to_pylist()
    fits: dict[tuple[str, dt.date, dt.date], list[dict[str, Any]]] = {}
    for r in rows:
        if specs.get(r["name"]) == r["spec"]:
            fits.setdefault((r["name"], r["fitted_on"], r["as_of"]), []).append(r)
    own = {r["name"] for r in rows if r["as_of"] == as_of and r["spec"] == specs.get(r["name"], "") + NOT_KEPT}
    found = {}
    for name in specs:
        days = [(fitted, day) for n, fitted, day in fits if n == name]
        by_then = [d for d in days if d[0] <= as_of]
        if not days or (not by_then and name in own):
            continue
        # the day of fitting itself says it best: a re-run of it may have given others than later days still hold
        best = (
            max(by_then, key=lambda d: (d[0], d[0] == d[1], d[1]))
            if by_then
            else min(days, key=lambda d: (d[0], d[0] != d[1], d[1]))
        )
        found[name] = (sorted(fits[(name, *best)], key=lambda r: int(r["position"])), best[0])
    return found


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
