"""An audience of the project at a release: its plan, what the names in it mean there, and what of it must be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audiences.compiler import compile_audience
from audiences.language import Audience, named
from audiences.plan import Leaf, Plan, walk
from features.facts import Fact, needs
from features.kernel import Followed
from features.kernel.arrays import text_array
from lake.lake import Lake
from lake.releases import Release, lake_at
from project.attributes import attributes
from project.folder import Project
from project.held import Marks, held_in_words, marks_of, remedy, tags_of
from project.products import CODES
from schemas.configuration import nearest
from schemas.errors import NotThereError
from schemas.measures import CATEGORY_KEYS, CODED_KEYS, MAX_WINDOW_DAYS, PRODUCT_CONDITIONS

PROFILE = "profile.profile"
ALERT_USERS = "segments.alert_users"
USERS = "identity.users"
COMPARED_AT_MOST = 5_000
"""Names that a wrong one is compared with: it takes a tenth of a second."""


def plan_of(project: Project, name: str) -> tuple[Audience, Plan]:
    """The audience of that name, compiled against the project's catalogue."""
    audience = named(project.audiences, name)
    return audience, planned(project, audience)


def planned(project: Project, audience: Audience) -> Plan:
    """An audience compiled against the project's catalogue, also one that is still being written."""
    others = {**project.audiences, audience.id: audience}
    return compile_audience(audience, others, attributes(project.catalogue), currency=project.currency)


def with_elders(lake: Lake, release: Release, plan: Plan) -> Plan:
    """The plan with whom its lists of users name also under the user_id of the person they were merged into.

    A list is kept for long: who is on it to be left out must stay so after a merge. The definition's hash is as it was.
    """
    listed = {v for _, node in walk(plan.root) if isinstance(node, Leaf) for v in _users_named(node.model_dump())}
    files = lake.local(lake_at(lake, release).files(USERS)) if listed else []
    if not files:
        return plan
    merged = _read(files, ["user_id", "merged_into_uid"], "user_id", text_array(sorted(listed)))
    merged = merged.filter(pc.is_valid(merged["merged_into_uid"]))
    if not len(merged):
        return plan
    into = _read(files, ["uid", "user_id"], "uid", merged["merged_into_uid"].unique())
    name_of = dict(zip(into["uid"].to_pylist(), into["user_id"].to_pylist(), strict=True))
    elders = {r["user_id"]: name_of[r["merged_into_uid"]] for r in merged.to_pylist()}
    whole = plan.model_dump(mode="json")
    _add_elders(whole["root"], elders)
    return Plan.model_validate(whole)


def _read(files: Sequence[str], columns: list[str], key: str, wanted: pa.Array) -> pa.Table:
    """Rows of the files whose key is among those wanted."""
    parts = (pq.ParquetFile(path).read(columns) for path in files)
    return pa.concat_tables([part.filter(pc.is_in(part[key], value_set=wanted)) for part in parts])


def _users_named(leaf: dict[str, Any]) -> list[str]:
    return [v for test in leaf["tests"] for v in test["values"]] if leaf["column"] == "user_id" else []


def _add_elders(part: Any, elders: dict[str, str]) -> None:
    if isinstance(part, list):
        for one in part:
            _add_elders(one, elders)
    elif isinstance(part, dict) and part.get("kind") == "leaf":
        for test in part["tests"] if _users_named(part) else ():
            test["values"] += sorted({elders[v] for v in test["values"] if v in elders} - {*test["values"]})
    elif isinstance(part, dict):
        for one in part.values():
            _add_elders(one, elders)


def facts_of(plan: Plan, as_of: date) -> list[Fact]:
    """The plan's event conditions as facts of the kernel, under their ids."""
    return [Fact.model_validate({**on_the_day(fact, as_of), "id": name}) for name, fact in plan.facts.items()]


def sequences_of(plan: Plan, as_of: date) -> dict[str, Followed]:
    """The plan's sequences by column."""

    def fact(declared: dict[str, Any]) -> Fact:
        return Fact.model_validate(on_the_day(declared, as_of))

    found = {}
    for name, planned in plan.sequences.items():
        first = fact(planned.first)
        # what follows a row of the first lies in the first's days, or after them
        second = fact(planned.second | ({} if first.window is None else {"window": first.window}))
        found[name] = Followed(first, second, planned.within_days, planned.without)
    return found


def on_the_day(fact: dict[str, Any], as_of: date) -> dict[str, Any]:
    """A fact whose two dates, if it has any, are a window that ends on the day, or some days before it."""
    if "days" not in fact:
        return fact
    first, last = (date.fromisoformat(day) for day in fact["days"])
    window, ago = (as_of - first).days + 1, min(max(0, (as_of - last).days), MAX_WINDOW_DAYS)
    if window < 1:
        # all of it is to come: no day is in the last one and before it
        window, ago = 1, 1
    plain = {k: v for k, v in fact.items() if k != "days"}
    return plain | ({"window": window} if window <= MAX_WINDOW_DAYS else {}) | {"ago": ago}


def days_to_come(plan: Plan, as_of: date) -> tuple[str, ...]:
    """Notes on dates of the plan that lie after the day."""
    facts = [*plan.facts.values(), *(sequence.first for sequence in plan.sequences.values())]
    named = sorted({day for fact in facts for day in fact.get("days", ())})
    return tuple(
        f"on_days names {day}, which is after {as_of}, the day of the release"
        for day in named
        if day > as_of.isoformat()
    )


def refuse_missing(release: Release, have: Sequence[str], wanted: Sequence[str]) -> None:
    """NotThereError if the columns that a day's profile has lack one: the tag is newer than the release."""
    missing = [c for c in wanted if c not in have]
    if missing:
        raise NotThereError(
            f"tag {missing[0]!r} is not in release {release.number} ({release.as_of}), which is older than the tag; "
            f"run that day again: `huaxiang run --as-of {release.as_of}`"
        )


def alert_files(lake: Lake, release: Release, alerts: Sequence[str]) -> dict[str, list[str]]:
    """Files that list the users of each alert on the release's day; NotThereError if the release knows no alerts."""
    if alerts and ALERT_USERS not in release.tables:
        raise NotThereError(
            f"alert {alerts[0]!r} is not in release {release.number} ({release.as_of}), which is older than alerts; "
            f"run that day again: `huaxiang run --as-of {release.as_of}`"
        )
    return {name: sorted(f.path for f in lake.files(ALERT_USERS, where={"as_of": release.as_of})) for name in alerts}


@dataclass(frozen=True)
class Meanings:
    """Numbers of the names in conditions, products as of the day (None: nothing asks), and names that never occur."""

    codes: dict[str, dict[str, int | Sequence[int]]]
    products: pa.Table | None
    warnings: tuple[str, ...]


def meanings_of(
    facts: Sequence[Fact],
    as_of: date,
    codes: Callable[[], pa.Table],
    products: Callable[[], pa.Table],
    skus: Callable[[Sequence[str]], Mapping[str, Sequence[int]]],
) -> Meanings:
    """What the names in the facts' conditions mean; ``codes`` and ``products`` give the release's, if something asks.

    A sku is named by its number or, where no sku has that, by the name of its product: ``skus`` gives those of names.
    """
    asked = {k: {n for f in facts for n in getattr(f.where, k) or ()} for k in (*CODED_KEYS, *PRODUCT_CONDITIONS)}
    numbers: dict[str, dict[str, int | Sequence[int]]] = {}
    warnings = []
    for kind in (k for k in CODED_KEYS if asked[k]):
        of_kind = _of_kind(codes(), kind)
        numbers[kind] = _numbers(of_kind, asked[kind])
        lacking = sorted(asked[kind] - set(numbers[kind]))
        if kind == "sku" and lacking:
            numbers[kind] |= skus(lacking)
        warnings += [
            f"{kind} {name!r} never occurs{_like(of_kind, name)}" for name in lacking if name not in numbers[kind]
        ]
    if not needs(facts).products:
        return Meanings(numbers, None, tuple(warnings))
    found = products()
    for key in (k for k in PRODUCT_CONDITIONS if asked[k]):
        levels = CATEGORY_KEYS if key == "in_category" else (key,)
        there = sorted({t for level in levels for t in pc.unique(found[level]).to_pylist() if t})
        for name in sorted(asked[key]):
            if name not in there:
                warnings.append(f"{key} {name!r} is of no product on {as_of}; {nearest(name, there)}")
    return Meanings(numbers, found, tuple(warnings))


def codes_of(lake: Lake) -> pa.Table:
    """What the codes of ``activity`` stand for, as the lake has it."""
    columns = ["code_kind", "code_value", "code"]
    parts = [pq.ParquetFile(path).read(columns) for path in lake.local(lake.files(CODES))]
    return pa.concat_tables(parts) if parts else lake.schema(CODES).empty_table().select(columns)


def _of_kind(codes: pa.Table, kind: str) -> pa.Table:
    return codes.filter(pc.equal(codes["code_kind"], kind))


def _like(of_kind: pa.Table, name: str) -> str:
    """The most similar that occurs, for a message; among many only of those that begin alike."""
    there = of_kind["code_value"]
    if len(there) > COMPARED_AT_MOST:
        there = there.filter(pc.starts_with(there, name[:2]))
    close = nearest(name, there.slice(0, COMPARED_AT_MOST).to_pylist())
    return f"; {close}" if close.startswith("did you mean") else ""


def _numbers(of_kind: pa.Table, names: set[str]) -> dict[str, int | Sequence[int]]:
    found = of_kind.filter(pc.is_in(of_kind["code_value"], value_set=text_array(sorted(names))))
    return dict(zip(found["code_value"].to_pylist(), found["code"].to_pylist(), strict=True))


def held_notes(
    project: Project, audience: Audience, plan: Plan, at: Release, marks: Marks | None = None
) -> tuple[str, ...]:
    """That the audience is made from held tags, if it is; ``marks`` are the release's, where somebody has them already."""
    marks = marks or marks_of(project.lake, project.catalogue, at)
    held = marks.of(tags_of(project.catalogue, audience, plan))
    if not held:
        return ()
    return (
        f"it is made from {held_in_words(held)}, that is from older values; an export needs --force. "
        f"{remedy(project.catalogue, held)}",
    )


def switched_off_notes(audience: Audience) -> tuple[str, ...]:
    """That conditions of the audience are switched off, if some are."""
    places = audience.switched_off()
    if not places:
        return ()
    return (f"switched off (disabled: true), and counted as if not there: {', '.join(places)}",)
