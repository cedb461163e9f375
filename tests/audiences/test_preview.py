"""A preview over mapped columns: the people of a build and of SQL, for every kind of condition; and what is kept of it."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from audiences.bits import flags
from audiences.compiler import compile_audience
from audiences.evaluate import evaluate
from audiences.language import Audience, read
from audiences.plan import Plan
from jobs.audiences.columns import bucket_columns, columns_of, prepared
from lake.folder_store import FolderStore
from lake.local_cache import FOLDER, LocalCache
from lake.releases import Release, release, write_release
from project.attributes import attributes
from queries.preview import ReleaseColumns, preview
from schemas.errors import ConfigurationError
from schemas.measures import COMPARED
from tests.audiences.lake_shop import D, Shop
from tests.audiences.random_shop import HEAD, UIDS, Oracle, definition, random_shop

DEFINITIONS = int(os.environ.get("HUAXIANG_DEFINITIONS", "80"))
"""How many are drawn; what was promised of a release is judged by 2,000."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return random_shop(tmp_path_factory.mktemp("preview") / "shop")


@pytest.fixture(scope="module")
def plans(shop: Shop) -> list[Plan]:
    """Random definitions that can be meant, some of which name others."""
    chance, found = random.Random(11), []
    audiences: dict[str, Audience] = {"built_before": read(shop.folder / "audiences" / "built_before.yaml")}
    catalogue = attributes(shop.project.catalogue)
    while len(found) < DEFINITIONS:
        name = f"drawn_{len(audiences)}"
        path = shop.folder / "audiences" / f"{name}.yaml"
        drawn = definition(chance, list(audiences)[1:][-5:])
        path.write_text(HEAD + yaml.safe_dump(drawn, allow_unicode=True), encoding="utf-8")
        try:
            audience = read(path)
            found.append(compile_audience(audience, audiences, catalogue, currency="CNY"))
            audiences[name] = audience
        except ConfigurationError:
            continue
        finally:
            path.unlink()
    return found


def columns_at(shop: Shop, at: Release | None = None) -> ReleaseColumns:
    lake = shop.lake
    return ReleaseColumns(lake, at or release(lake), LocalCache(lake.store, 1 << 30))


def of_a_build(shop: Shop, plan: Plan, scratch: Path) -> tuple[list[int], dict[int, list[int]]]:
    """Members as a build judges them, and how many have each truth of each condition."""
    project = shop.project
    members: list[int] = []
    counted: dict[int, list[int]] = {}
    for _, item in sorted(prepared(project, release(project.lake), plan, scratch).buckets.items()):
        table = bucket_columns(item)
        outcome = evaluate(plan, columns_of(table), len(table))
        members += table["uid"].to_numpy()[outcome.members].tolist()
        for number, truth in outcome.truth.items():
            here = [int((truth == 1).sum()), int((truth == 0).sum()), int((truth == -1).sum())]
            counted[number] = [a + b for a, b in zip(counted.get(number, [0, 0, 0]), here, strict=True)]
    return members, counted


def test_random_definitions_have_the_people_of_a_build_and_of_sql(
    shop: Shop, plans: list[Plan], tmp_path: Path
) -> None:
    columns, oracle, sizes = columns_at(shop), Oracle(shop), []
    for plan in plans:
        tally, _ = columns.judged(plan)
        mine = columns.profile.uid[flags(tally.members, tally.users)].tolist()
        built, counted = of_a_build(shop, plan, tmp_path)
        assert mine == built, plan.root
        assert mine == oracle.members(plan), plan.root
        assert {s.number: [s.true, s.unknown, s.false] for s in tally.steps} == counted, plan.root
        sizes.append(len(mine))
    assert sum(0 < n < len(UIDS) for n in sizes) > len(sizes) / 2, "most definitions tell people apart"


def test_the_random_definitions_have_every_kind_of_condition(plans: list[Plan]) -> None:
    said = " ".join(str(plan.model_dump()) for plan in plans)
    facts = [fact for plan in plans for fact in plan.facts.values()]
    assert any(plan.alerts for plan in plans) and "'kind': 'member', 'audience': 'drawn_1'" in said
    assert all(f"'column': '{name}'" in said for name in ("user_id", "uid", "as_of", "was_invited", "mean_gap"))
    assert len({fact["measure"] for fact in facts}) > len(COMPARED) / 2
    assert {s.without for plan in plans for s in plan.sequences.values()} == {True, False}
    listed = {listing.kind for plan in plans for listing in plan.listings.values()}
    assert listed == {"changed", "ids", "top", "sample", "below", "before"}
    assert {fact.get("view") for fact in facts} == {"cash", None} and any("where" in fact for fact in facts)
    assert all(any(key in fact for fact in facts) for key in ("window", "ago", "days"))


def files(shop: Shop) -> dict[str, tuple[int, int]]:
    """Every file that is kept of previews, with what tells whether it was written again."""
    found = [p for p in (shop.lake.root / FOLDER).rglob("*") if p.is_file()]
    return {str(p.relative_to(shop.lake.root)): (p.stat().st_ino, p.stat().st_size) for p in found}


def test_a_second_reader_maps_what_the_first_has_made(shop: Shop) -> None:
    sequence = {"first": {"event": "view"}, "then": {"event": "pay"}, "within_days": 3}
    conditions = [{"tag": "register_city", "is": "北京"}, {"event": "view"}, {"sequence": sequence}]
    plan = _plan(shop, {"include": {"any": conditions}})
    first = columns_at(shop).judged(plan)[0]
    made = files(shop)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pyarrow.parquet.ParquetFile.read", None)
        second = columns_at(shop).judged(plan)[0]
    assert np.array_equal(second.members, first.members)
    assert files(shop) == made


def test_another_release_of_the_same_rows_makes_no_events_again(tmp_path: Path) -> None:
    shop = random_shop(tmp_path / "shop", rows=50)
    plan = _plan(shop, {"include": {"event": ["view"], "at_least": 1}})
    columns_at(shop).judged(plan)
    events = {name: found for name, found in files(shop).items() if "/bucket-" in name}
    assert events
    later = write_release(shop.lake, D, "again", shop.lake.versions())
    columns_at(shop, later).judged(plan)
    assert {n: f for n, f in files(shop).items() if "/bucket-" in n} == events
    assert len({Path(n).parts[1] for n in files(shop) if "/release-" in n}) == 2


def _plan(shop: Shop, drawn: dict[str, Any]) -> Plan:
    path = shop.folder / "one.yaml"
    path.write_text(HEAD + yaml.safe_dump(drawn, allow_unicode=True), encoding="utf-8")
    return compile_audience(read(path), {}, attributes(shop.project.catalogue), currency="CNY")


def test_what_is_kept_stays_within_its_bound_and_goes_when_nobody_uses_it(tmp_path: Path) -> None:
    def numbers(n: int) -> pa.Table:
        return pa.table({"n": np.arange(n)})

    cache = LocalCache(FolderStore(tmp_path), most_bytes=100_000)
    for i, name in enumerate(("a/old", "a/less", "b/more")):
        cache.put(name, numbers(5_000))
        os.utime(cache.folder / name, (1e9 + i, 1e9 + i) if name == "a/old" else None)
    cache.trim()
    assert cache.table("a/old") is None, "nobody used it for years"
    os.utime(cache.folder / "a/less", (time.time() - 60,) * 2)
    cache.put("b/newest", numbers(5_000))
    cache.trim()
    assert [cache.table(n) is not None for n in ("a/less", "b/more", "b/newest")] == [False, True, True]
    assert not (cache.folder / "a").exists()


def test_a_table_that_is_removed_while_it_is_mapped_can_be_read_to_its_end(tmp_path: Path) -> None:
    cache = LocalCache(FolderStore(tmp_path), most_bytes=0)
    mapped = cache.put("a", pa.table({"n": np.arange(100_000)}))
    cache.trim()
    assert cache.table("a") is None
    assert mapped["n"].to_numpy().sum() == sum(range(100_000))


def test_what_was_not_written_to_its_end_is_made_again(tmp_path: Path) -> None:
    cache = LocalCache(FolderStore(tmp_path), most_bytes=1 << 20)
    cache.put("a", pa.table({"n": np.arange(100)}))
    (cache.folder / "a").write_bytes((cache.folder / "a").read_bytes()[:300])
    assert cache.made("a", lambda: pa.table({"n": np.arange(7)})).num_rows == 7


def test_a_lake_that_cannot_be_written_is_previewed_all_the_same_and_said(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.define("women", HEAD + "include: {tag: gender, is: female}\n")
    expected = preview(shop.project, "women")
    placed = LocalCache._placed

    def refused(self: LocalCache, name: str, table: pa.Table, at_once: int | None) -> None:
        if self.folder.is_relative_to(shop.lake.root):
            raise PermissionError(13, "Permission denied", str(self.folder))
        placed(self, name, table, at_once)

    monkeypatch.setattr(LocalCache, "_placed", refused)
    shutil.rmtree(shop.lake.root / FOLDER)
    found = preview(shop.project, "women")
    assert (found.users, found.steps, found.sample) == (expected.users, expected.steps, expected.sample)
    assert any("cannot be written" in said for said in found.warnings)
    assert not any("cannot be written" in said for said in expected.warnings)


def test_the_sample_is_the_first_by_user_id_whatever_their_length(shop: Shop) -> None:
    columns = columns_at(shop)
    rows = np.arange(len(UIDS))
    first = columns.profile.first_by_user_id(rows, 7, ["is_member"])
    assert [row["user_id"] for row in first] == sorted(f"m{u:06d}" for u in UIDS)[:7]
    assert columns.profile.first_by_user_id(rows[:0], 7, []) == []
    assert columns.profile.first_by_user_id(rows, 0, []) == []
