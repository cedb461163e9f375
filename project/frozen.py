"""Frozen numbers and models as the lake keeps them: ``profile.breaks`` and ``profile.models``, written and read here only.

A run of the profile makes them (jobs/profile/frozen.py) and keeps them with a hash of the declaration that they come from
(``spec``) and the day whose data they were fitted on. A later run re-uses what is kept of the same declaration; topics,
checks and answers read those of a day.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from features.catalogue import Catalogue, Node
from features.frozen_numbers import Break, Model
from lake.lake import Lake
from models.lifecycle import Cut
from schemas.contracts import contract

BREAKS, MODELS = "profile.breaks", "profile.models"
OBSERVED_DAYS = "observed_days"
"""Name under which ``profile.breaks`` keeps how many days of data a run could see."""
NOT_KEPT = "-provisional"
"""Ends the ``spec`` of numbers that no later run may re-use: made from too few users or held tags, or an estimate's default."""
KNEES = ("purchase_day_knees", "recovery_knee")
KNEE_TEST = 2
"""Raised when knees are found otherwise: numbers of the way before are not re-used."""

Row = dict[str, Any]
Numbers = dict[str, tuple[float, ...]]
"""Frozen numbers by break."""
Cards = dict[str, dict[str, Any]]
"""Fitted models by name."""


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

    def rows(self, as_of: dt.date, observed_days: int) -> list[Row]:
        """What ``profile.breaks`` keeps of the day, the days of data that the run could see with it."""
        rows = [
            _row(
                name,
                i,
                value,
                self.specs[name],
                self.fitted_on.get(name, as_of),
                **({} if name not in self.cuts else _basis(self.cuts[name][i - 1])),
            )
            for name, values in self.numbers.items()
            for i, value in enumerate(values, start=1)
        ]
        return [*rows, _row(OBSERVED_DAYS, 1, float(observed_days), "", as_of)]

    def card_rows(self, as_of: dt.date) -> list[Row]:
        """What ``profile.models`` keeps of the models that were fitted now."""
        return [
            {
                "name": name,
                "model_version": f"{as_of}-{_hash(card)}",
                "as_of": as_of,
                "content": json.dumps(card, ensure_ascii=False, sort_keys=True),
                "created_at": dt.datetime.now(dt.UTC),
            }
            for name, card in sorted(self.fitted.items())
        ]


def _row(name: str, position: int, number: float, spec: str, fitted_on: dt.date, **basis: Any) -> Row:
    return {"name": name, "position": position, "number": number, "spec": spec, "fitted_on": fitted_on, **basis}


def _basis(cut: Cut) -> Row:
    return {
        "basis": cut.basis,
        "sample_users": cut.sample,
        "share_beyond_horizon": cut.share_beyond,
        "horizon_to_try_days": cut.horizon_to_try,
    }


def _cut(row: Mapping[str, Any]) -> Cut:
    return Cut(
        float(row["number"]), row["basis"], row["sample_users"], row["share_beyond_horizon"], row["horizon_to_try_days"]
    )


# --- declarations ---


def _hash(plain: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def break_hash(spec: Break) -> str:
    """Of what the numbers come from; whether and when they are kept changes no number."""
    plain = spec.content("keep", "min_users")
    return _hash(plain | {"knee_test": KNEE_TEST} if spec.estimate in KNEES else plain)


def model_hash(spec: Model) -> str:
    """Of the whole declaration of a model."""
    return _hash(spec.model_dump(mode="json"))


# --- of a day ---


def break_rows(
    lake: Lake, days: Iterable[dt.date], names: Iterable[str] | None = None, version: int | None = None
) -> list[Row]:
    """Rows of the days' breaks (all names if absent), in order of day, name and position; what an older lake has not is None."""
    wanted = pc.field("as_of").isin(list(days))
    if names is not None:
        wanted &= pc.field("name").isin(pa.array(list(names), pa.string()))
    return sorted(_rows(lake, BREAKS, wanted, version), key=lambda r: (r["as_of"], r["name"], r["position"]))


def numbers_of(rows: Iterable[Mapping[str, Any]]) -> Numbers:
    """The numbers of one day's rows, by break."""
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["name"], []).append(row["number"])
    return {name: tuple(numbers) for name, numbers in found.items()}


def days_seen(lake: Lake, version: int | None = None) -> int | None:
    """Days of data that the run of the newest day could see; None without one."""
    rows = _rows(lake, BREAKS, pc.field("name") == OBSERVED_DAYS, version)
    return int(max(rows, key=lambda r: r["as_of"])["number"]) if rows else None


def _rows(lake: Lake, table: str, wanted: pc.Expression, version: int | None = None) -> list[Row]:
    rows = lake.dataset(table, version).to_table(filter=wanted).to_pylist()
    return [{name: row.get(name) for name in contract(table).column_names} for row in rows]


# --- to use again ---


def kept_numbers(lake: Lake, specs: Mapping[str, str], as_of: dt.date) -> Frozen:
    """Numbers that ``as_of`` uses again of the breaks with these hashes: the newest fitted by then, else the oldest fitted after it.

    A back-filled day keeps the numbers of the days around it; a day that was run before there were any makes its own
    again, so that repeating it changes nothing. Numbers of another declaration do not count.
    """
    found = Frozen()
    if not specs:
        return found
    wanted = pa.array(sorted(s + end for s in specs.values() for end in ("", NOT_KEPT)), pa.string())
    rows = _rows(lake, BREAKS, pc.field("spec").isin(wanted))
    own = {r["name"] for r in rows if r["as_of"] == as_of and r["spec"] == specs.get(r["name"], "") + NOT_KEPT}
    for name, spec in specs.items():
        mine = [r for r in rows if (r["name"], r["spec"]) == (name, spec)]
        fitted = _fitted_for(as_of, (r["fitted_on"] for r in mine))
        if fitted is None or (fitted > as_of and name in own):
            continue
        days = {r["as_of"] for r in mine if r["fitted_on"] == fitted}
        # the day of fitting itself says it best: a re-run of it may have given others than later days still hold
        day = fitted if fitted in days else max(days) if fitted <= as_of else min(days)
        best = [r for r in mine if (r["fitted_on"], r["as_of"]) == (fitted, day)]
        best.sort(key=lambda r: int(r["position"]))
        found.numbers[name] = tuple(float(r["number"]) for r in best)
        found.fitted_on[name] = fitted
        if best[0]["basis"]:
            found.cuts[name] = tuple(_cut(r) for r in best)
    return found


def kept_cards(lake: Lake, specs: Mapping[str, str], as_of: dt.date) -> Cards:
    """The card that each model with its hash scores ``as_of`` with: the newest fitted by then, else the oldest fitted after it.

    A back-filled day keeps the labels of the days around it. Cards of another declaration do not count.
    """
    found: Cards = {}
    rows = _rows(lake, MODELS, pc.field("name").isin(pa.array(list(specs), pa.string())))
    for name, spec in specs.items():
        mine = [(r, card) for r in rows if r["name"] == name and (card := json.loads(r["content"]))["spec"] == spec]
        fitted = _fitted_for(as_of, (r["as_of"] for r, _ in mine))
        if fitted is not None:
            best = max if fitted <= as_of else min
            of_day = (f for f in mine if f[0]["as_of"] == fitted)
            found[name] = best(of_day, key=lambda f: (f[0]["created_at"], f[0]["model_version"]))[1]
    return found


def _fitted_for(as_of: dt.date, days: Iterable[dt.date]) -> dt.date | None:
    """The newest of the days up to ``as_of``, else the oldest after it."""
    days = list(days)
    return max((d for d in days if d <= as_of), default=None) or min(days, default=None)
