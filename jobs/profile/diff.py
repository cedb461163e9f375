"""What a change of the catalogue would do, before it is published: which tags, and how many users of each.

Declarations are compared first. Tags that would be made differently, by themselves or through what they build on, are
then computed for the day of the release with the catalogue as it is now, in scratch, and held against what is
published. Nothing is written that a reader could see.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from features.catalogue import Catalogue, Node
from lake import journal, releases
from lake.budget import in_memory
from lake.lake import Lake
from lake.releases import Release
from project.catalogue_store import PROFILE, Declared, remembered
from project.check import audience_uses
from project.folder import Project
from project.loading import load_catalogue
from schemas.errors import NotThereError

if TYPE_CHECKING:
    from lake.engine import Engine, Progress

MAKING = ("type", "values", "empty", "scale", "fact", "attribute", "expression", "rules", "else", "layering", "model")
"""Keys of a tag that decide its values; the others are words and how it is kept."""
PAIRS = 10
COMPARED = """
select count(*) as users, count(*) filter (where {a} is distinct from {b}) as changed,
       count(*) filter (where {a_known}) as known_before, count(*) filter (where {b_known}) as known_after
from old join new using (uid)
"""
MOVES = """
select cast({a} as varchar) as value_before, cast({b} as varchar) as value_after, count(*) as users
from old join new using (uid) where {a} is distinct from {b}
group by all order by users desc, value_before, value_after limit {limit}
"""
MEANS = "select avg({a}) as mean_before, avg({b}) as mean_after from old join new using (uid)"


@dataclass(frozen=True)
class Effect:
    """Users of the release's day whose value would change; ``known``: users with a value other than unknown."""

    users: int
    changed: int
    known_before: int | None
    known_after: int | None
    mean_before: float | None = None
    mean_after: float | None = None
    moves: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Change:
    """One tag that differs. ``keys``: what its entry says differently; ``because``: what it builds on that changed."""

    tag: str
    kind: str
    keys: tuple[str, ...] = ()
    because: tuple[str, ...] = ()
    used_by: tuple[str, ...] = ()
    effect: Effect | None = None


@dataclass(frozen=True)
class TagDiff:
    """Tags added, removed, changed, dependent (changed through others) and worded differently, in declared order."""

    against: str
    as_of: date | None
    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()

    def of(self, kind: str) -> list[Change]:
        return [c for c in self.changes if c.kind == kind]


def tag_diff(
    project: Project,
    against: str | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> TagDiff:
    """Compare the project's tags with those of a folder, or of a release (the latest if absent).

    Without ``engine`` only declarations are compared. NotThereError if there is nothing to compare with.
    """
    new = project.catalogue
    if against is not None and Path(against).is_dir():
        old = _of_folder(Path(against), project.currency)
        found = TagDiff(str(Path(against)), None, tuple(changes(project, old.declared, new)))
        release = releases.latest(project.lake)
        return found if engine is None or release is None else _with_effects(project, engine, found, release, old)
    known = remembered(project.lake, against)
    if known is None:
        raise NotThereError(
            "no release has a catalogue to compare with yet; `huaxiang run --as-of DAY` makes one, "
            "or name a folder: --against FOLDER"
        )
    release = known.release
    found = TagDiff(
        f"release {release.number} ({release.as_of})", release.as_of, tuple(changes(project, known.declared, new))
    )
    return found if engine is None else _with_effects(project, engine, found, release, None, progress)


def _of_folder(folder: Path, currency: str) -> Catalogue:
    paths = sorted((folder / "tags").glob("*.yaml")) or sorted(folder.glob("*.yaml"))
    if not paths:
        raise NotThereError(f"{folder} holds no tags/*.yaml")
    return load_catalogue(paths, currency)


# --- declarations ---


def changes(project: Project, before: Declared, catalogue: Catalogue) -> list[Change]:
    """What differs between declarations and a catalogue, in the catalogue's order; removed tags last."""
    after: Declared = json.loads(json.dumps(catalogue.declared))
    before = json.loads(json.dumps(before))
    own = {n: _differing(before["tags"].get(n), entry) for n, entry in after["tags"].items()}
    changed: set[Node] = {("tag", n) for n, keys in own.items() if keys is None or set(keys) & set(MAKING)}
    for kind in ("facts", "breaks", "models"):
        changed |= {
            (kind.removesuffix("s"), n) for n, e in after[kind].items() if _differing(before[kind].get(n), e) != ()
        }
    found = []
    for name in after["tags"]:
        keys = own[name]
        because = [f"{k} {n}" for k, n in sorted(catalogue.closure([("tag", name)]) & changed) if n != name]
        if keys is None:
            found.append(Change(name, "added"))
        elif ("tag", name) in changed:
            found.append(Change(name, "changed", keys, tuple(because)))
        elif because:
            found.append(Change(name, "dependent", keys, tuple(because)))
        elif keys:
            found.append(Change(name, "worded", keys))
    for name in before["tags"]:
        if name not in after["tags"]:
            used = tuple(str(u) for u in audience_uses(project, name))
            found.append(Change(name, "removed", used_by=used))
    return found


def _differing(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Keys said differently; None if it was not there. A key that an older version did not know is no change."""
    if before is None:
        return None
    return tuple(k for k in after if k in before and before[k] != after[k])


# --- effects ---


def _with_effects(
    project: Project,
    engine: Engine,
    found: TagDiff,
    release: Release,
    old: Catalogue | None,
    progress: Progress | None = None,
) -> TagDiff:
    """Effects of every added, changed and dependent tag; ``old`` is computed as well where it was never published."""
    computed = [c for c in found.changes if c.kind in ("added", "changed", "dependent")]
    if not computed and not found.of("removed"):
        return replace(found, as_of=release.as_of)
    lake = releases.lake_at(project.lake, release)
    project = project.over(lake)
    run_id = f"diff-{uuid.uuid4().hex[:10]}"
    try:
        with in_memory() as con:
            con.execute("set enable_progress_bar = false")
            if computed:
                _view(con, "new", _computed(project, engine, project.catalogue, release.as_of, run_id, progress))
            if old is not None:
                _view(con, "old", _computed(project, engine, old, release.as_of, f"{run_id}-old", progress))
            else:
                _published(con, lake, release)
            effects = {c.tag: _effect(con, project.catalogue, c) for c in found.changes if c.kind != "worded"}
    finally:
        for one in (run_id, f"{run_id}-old"):
            journal.finish(lake, one)
    given = tuple(replace(c, effect=effects.get(c.tag)) for c in found.changes)
    return replace(found, as_of=release.as_of, changes=given)


def _computed(
    project: Project, engine: Engine, catalogue: Catalogue, day: date, run_id: str, progress: Progress | None
) -> list[str]:
    """Files of the profile of a day as the catalogue has it, in folders that no reader sees.

    Nothing is held: a tag that would be shows what it was made to be.
    """
    from features.gaps import LifecycleSettings
    from jobs.profile.step import update_profile

    told = {n: t.model_copy(update={"on_break": "tell"}) for n, t in catalogue.tags.items()}
    report = update_profile(
        project.lake,
        engine,
        replace(catalogue, tags=told),
        day,
        run_id=run_id,
        progress=progress,
        lifecycle=project.method("lifecycle", LifecycleSettings),
        declared_valid_days=project.settings.declared_valid_days,
        publish=False,
    )
    return project.lake.local(project.lake.store.below(report.staged[PROFILE]))


def _view(con: duckdb.DuckDBPyConnection, name: str, files: list[str]) -> None:
    listed = ", ".join("'" + f.replace("'", "''") + "'" for f in files)
    con.execute(f"create view {name} as select * from read_parquet([{listed}], hive_partitioning = false)")


def _published(con: duckdb.DuckDBPyConnection, lake: Lake, release: Release) -> None:
    files = lake.local(lake.files(PROFILE, where={"as_of": release.as_of}))
    _view(con, "old", files)


def _effect(con: duckdb.DuckDBPyConnection, catalogue: Catalogue, change: Change) -> Effect | None:
    name = change.tag
    if change.kind in ("added", "removed"):
        view = "new" if change.kind == "added" else "old"
        if name not in _columns(con, view):
            return None
        known = _known(con, view, name)
        ((users, with_value),) = con.execute(f"select count(*), count(*) filter (where {known}) from {view}").fetchall()
        before, after = (None, with_value) if change.kind == "added" else (with_value, None)
        listed = con.execute(
            f'select cast({view}."{name}" as varchar) as value, count(*) as users from {view} '
            f"group by all order by users desc, value limit {PAIRS}"
        ).fetchall()
        key = "value_after" if change.kind == "added" else "value_before"
        return Effect(users, with_value, before, after, moves=tuple({key: v, "users": n} for v, n in listed))
    if name not in _columns(con, "old"):
        return None
    a, b = f'old."{name}"', f'new."{name}"'
    if _columns(con, "old")[name] != _columns(con, "new")[name]:
        a, b = f"cast({a} as varchar)", f"cast({b} as varchar)"
    sql = COMPARED.format(a=a, b=b, a_known=_known(con, "old", name), b_known=_known(con, "new", name))
    ((users, changed, before, after),) = con.execute(sql).fetchall()
    if catalogue.tags[name].type in ("int32", "int64", "float64") and "varchar" not in a:
        ((mean_before, mean_after),) = con.execute(MEANS.format(a=a, b=b)).fetchall()
        return Effect(users, changed, before, after, mean_before, mean_after)
    moves = con.execute(MOVES.format(a=a, b=b, limit=PAIRS)).fetchall()
    keys = ("value_before", "value_after", "users")
    return Effect(users, changed, before, after, moves=tuple(dict(zip(keys, m, strict=True)) for m in moves))


def _columns(con: duckdb.DuckDBPyConnection, view: str) -> dict[str, str]:
    return {row[0]: row[1] for row in con.execute(f"describe {view}").fetchall()}


def _known(con: duckdb.DuckDBPyConnection, view: str, name: str) -> str:
    text = _columns(con, view)[name] == "VARCHAR"
    return f'{view}."{name}" is not null' + (f" and {view}.\"{name}\" <> 'unknown'" if text else "")
