"""Rows that a file holds twice are left out before it is written; a large file is written once and by several threads alike."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs.ingest import parsing, settling
from jobs.ingest.parsing import connection, parse_files
from jobs.ingest.reading import read_blocks
from jobs.ingest.repeats import repeats
from jobs.ingest.side_by_side import InOrder, ahead
from tests.ingest.shop import BROWSE, Shop, csv

COUPLED = {
    "feed": "products",
    "files": "products/*",
    "format": "csv",
    "fields": {"sku_id": "sku", "brand": "brand"},
}
H = ["sku", "brand"]


def repeated(*rows: tuple[str, str, str], good: list[bool] | None = None) -> list[int]:
    """Places of repeats among (file, key, content)."""
    files, keys, contents = zip(*rows, strict=True)
    hashes = [f"{content:0>32}" for content in contents]
    names = pa.table({"_file": files, "_row": range(1, len(rows) + 1), "row_hash": hashes, "sku_id": keys})
    # In several pieces of which one is a slice, as blocks come.
    pieces = pa.concat_tables([names.slice(0, 1), names.slice(1, 1), names.slice(2)])
    found = repeats(pieces, np.array(good or [True] * len(rows)), ("sku_id",), connection())
    return sorted(found.tolist())


def test_a_row_that_says_what_its_key_said_is_a_repeat() -> None:
    assert repeated(("f", "a", "1"), ("f", "b", "2"), ("f", "a", "1"), ("f", "a", "1")) == [2, 3]


def test_rows_of_other_files_and_single_rows_are_none() -> None:
    assert repeated(("f", "a", "1"), ("g", "a", "1"), ("f", "b", "2")) == []


def test_what_goes_back_to_what_it_was_is_left_to_others() -> None:
    assert repeated(("f", "a", "1"), ("f", "a", "9"), ("f", "a", "1"), ("f", "a", "1")) == []


def test_a_row_that_is_set_aside_neither_repeats_nor_is_repeated() -> None:
    rows = (("f", "a", "1"), ("f", "a", "1"), ("f", "a", "1"))
    assert repeated(*rows, good=[False, True, True]) == [2]


def test_repeats_are_counted_and_not_written_again_in_settling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "SMALL_ROWS", 2)
    shop = Shop(tmp_path, {"products": COUPLED})
    shop.deliver("products/1.csv", csv(H, ["a", "x"], ["b", "y"], ["a", "x"], ["c", "z"], ["b", "y"]))
    [taken] = shop.ingest().files
    assert (taken.rows_read, taken.rows_silver, taken.rows_duplicate) == (5, 3, 2)
    assert shop.rows("silver.products", "sku_id, _row") == [("a", 1), ("b", 2), ("c", 4)]
    assert shop.count("bronze.products") == 5
    [file] = shop.lake.files("silver.products")
    assert Path(file.path).name.startswith("part-"), "the file that was parsed is the file that is published"


def test_a_large_file_is_not_written_again_for_what_a_later_one_repeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "SMALL_ROWS", 3)
    sources = {name: {**COUPLED, "files": f"{name}/*"} for name in ("first", "second", "third")}
    shop = Shop(tmp_path, sources)
    shop.deliver("first/1.csv", csv(H, *([f"a{n}", "x"] for n in range(4))))
    shop.deliver("second/1.csv", csv(H, ["b", "x"], ["a0", "x"]))
    shop.deliver("third/1.csv", csv(H, ["c", "x"]))
    report = shop.ingest()
    assert sorted((f.source, f.rows_silver, f.rows_duplicate) for f in report.files) == [
        ("first", 4, 0),
        ("second", 1, 1),
        ("third", 1, 0),
    ]
    files = sorted((Path(f.path).name[:2], f.rows) for f in shop.lake.files("silver.products"))
    assert files == [("m-", 2), ("pa", 4)], "the large one as it was parsed, the small ones together"


@pytest.fixture
def log(tmp_path: Path) -> Shop:
    """A log of many blocks with bad rows, torn lines and repeats in all of them."""
    shop = Shop(tmp_path, {"browse": {**BROWSE, "most_quarantined": 1}})
    lines = []
    for n in range(400):
        act = "what" if n % 31 == 7 else "pv"
        line = f'{{"ts": {1772500000000 + n * 1000}, "act": "{act}", "mid": "m{n % 13}", "did": "d{n}"}}'
        lines += ["no object" if n % 47 == 3 else line] + [line] * (n % 59 == 5)
    shop.deliver("browse/1.jsonl", "\n".join(lines) + "\n", gz=True)
    return shop


def test_a_file_gives_the_same_by_one_thread_and_by_several(
    log: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parsing, "FLUSH_ROWS", 1)
    monkeypatch.setattr(parsing, "read_blocks", partial(read_blocks, block_bytes=700))
    one = _parsed(log, tmp_path / "one", threads=1)
    several = _parsed(log, tmp_path / "several", threads=3)
    assert one == several
    assert [f["rows_quarantined"] > 9 for f in one[0]["files"]] == [True]
    assert len(one[1]) > 400


def _parsed(shop: Shop, out: Path, threads: int) -> tuple[dict[str, Any], list[Any]]:
    """What the task gives, paths apart, and every row that it wrote."""
    mapping = shop.project.sources[0].model_dump(mode="json", by_alias=True)
    found = parse_files(
        {
            "mapping": mapping,
            "zone": "Asia/Shanghai",
            "currency": "CNY",
            "guest_ids": [],
            "salt": "",
            "received_at": "2026-03-10T02:00:00+00:00",
            "batch_id": "b",
            "part": "p",
            "threads": threads,
            "folders": {layer: str(out / layer) for layer in ("bronze", "quarantine", "silver")},
            "files": [{"path": str(shop.folder / "inbox/browse/1.jsonl"), "name": "browse/1.jsonl"}],
        }
    )
    for file in found["silver"]:
        file["path"] = str(Path(file["path"]).relative_to(out))
    rows = []
    for layer in ("bronze", "quarantine", "silver"):
        listed = [str(p) for p in sorted((out / layer).rglob("*.parquet"))]
        rows += connection().execute(f"select * from read_parquet({listed}, hive_partitioning = false)").fetchall()
    return found, rows


def test_results_are_taken_in_the_order_of_the_work_whoever_is_done_first() -> None:
    second_is_done = threading.Event()

    def slow(n: int) -> int:
        assert second_is_done.wait(10)
        return n

    def quick(n: int) -> int:
        second_is_done.set()
        return n

    taken: list[int] = []
    work: InOrder[int] = InOrder([slow, quick])
    for n in range(5):
        work.give(taken.append, n)
    work.finish()
    work.close()
    assert taken == [0, 1, 2, 3, 4]


def test_an_error_comes_where_its_item_would() -> None:
    def items() -> Any:
        yield 1
        raise ValueError("the second")

    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="the second"):
        next(found)
