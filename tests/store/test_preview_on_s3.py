"""A preview of a lake on a store: the same people, and columns that lie on this machine and ask the store for nothing."""

from __future__ import annotations

from pathlib import Path

import obstore

from lake.local_cache import FOLDER
from queries.preview import preview
from tests.audiences.lake_shop import beijing_shop
from tests.store.options import store_at
from tests.stores import Bucket


def test_a_preview_over_a_store_is_that_of_the_folder_and_asks_for_the_columns_files_once(
    bucket: Bucket, tmp_path: Path
) -> None:
    shop = beijing_shop(tmp_path / "shop")
    expected = preview(shop.project, "beijing")
    objects = store_at(bucket.uri)
    root = shop.lake.root
    for path in (p for p in root.rglob("*") if p.is_file() and FOLDER not in p.relative_to(root).parts):
        obstore.put(objects, path.relative_to(root).as_posix(), path.read_bytes())
    settings = shop.folder / "huaxiang.yaml"
    where = f"lake: {bucket.uri}\nstore: {{cache: {tmp_path / 'cache'}}}\n"
    settings.write_text(settings.read_text(encoding="utf-8") + where, encoding="utf-8")
    there = len(objects.list().collect())
    assert preview(shop.project, "beijing") == expected
    assert len(objects.list().collect()) == there, "what a preview keeps is local"
    assert list((tmp_path / "cache").rglob(f"{FOLDER}/release-*/register_city"))
    asked = fetched(bucket)
    assert preview(shop.project, "beijing") == expected
    assert fetched(bucket) == asked > 0


def fetched(bucket: Bucket) -> int:
    """How often a file of activity was asked for."""
    return sum(r.verb == "GET" and "/activity/activity/d-" in r.key for r in bucket.requests)
