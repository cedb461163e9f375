"""The map task: what it reads, what it may leave on disk, and what it writes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import jobs.activity.bucket_files
from features.facts import Fact, first_day
from features.kernel.plan import _Column
from jobs.activity.bucket_files import BucketFiles, Wanted
from jobs.activity.facts import facts_of_bucket, read_facts
from tests.kernel.shop import CODES, PRODUCTS, ZONE, row, table, values
from tests.kernel.test_against_the_oracle import drawn_row, every_fact


def item(folder: Path, files: list[pa.Table], facts: list[Fact], as_of: date, **further: Any) -> dict[str, Any]:
    """Files, products and codes written as the lake has them; row groups of 20 rows."""
    paths = []
    for n, rows in enumerate(files):
        paths.append(str(folder / f"part-{n}.parquet"))
        pq.write_table(rows.drop_columns(["bucket", "period"]), paths[-1], row_group_size=20)
    pq.write_table(PRODUCTS, folder / "products.parquet")
    codes = [(kind, n, text) for kind, known in CODES.items() for text, n in known.items()]
    names = ("code_kind", "code", "code_value")
    coded = pa.table([pa.array(c) for c in zip(*codes, strict=True)], names=names)
    pq.write_table(coded.set_column(1, "code", coded["code"].cast(pa.int32())), folder / "codes.parquet")
    return {
        "bucket": 0,
        "files": paths,
        "facts": [f.model_dump(mode="json", by_alias=True, exclude_none=True) for f in facts],
        "as_of": as_of.isoformat(),
        "zone": ZONE,
        "users": 6,
        "products": str(folder / "products.parquet"),
        "codes": [str(folder / "codes.parquet")],
        "out": str(folder / "out" / "facts.parquet"),
        **further,
    }


def written(given: dict[str, Any], facts: list[Fact]) -> dict[str, dict[int, Any]]:
    done = facts_of_bucket(json.loads(json.dumps(given)))
    assert json.loads(json.dumps(done)) == done
    found = pq.read_table(done["path"])
    assert found.column_names == ["uid", *(f.column for f in facts)]
    assert [found.schema.field(f.column).type for f in facts] == [f.arrow_type for f in facts]
    assert done["rows"] == len(found) == given["users"]
    return {f.column: dict(zip(found["uid"].to_pylist(), found[f.column].to_pylist(), strict=True)) for f in facts}


@pytest.mark.parametrize("small", [True, False], ids=["read at once", "read column by column"])
@pytest.mark.parametrize("as_of", [date(2026, 2, 1), date(2026, 2, 25), date(2026, 3, 4), date(2026, 6, 1)], ids=str)
@pytest.mark.parametrize("known", [None, date(2026, 2, 27)], ids=["known now", "known then"])
def test_the_task_writes_what_the_kernel_gives_with_texts_for_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_of: date, known: date | None, small: bool
) -> None:
    monkeypatch.setattr(jobs.activity.bucket_files, "SMALL_FILE_ROWS", 10**6 if small else 0)
    r = random.Random(4)
    files = [table([drawn_row(r) for _ in range(n)]) for n in (70, 0, 45)]
    for facts in (r.sample(every_fact(), 60), [f for f in r.sample(every_fact(), 150) if f.window == 7]):
        given = item(tmp_path, files, facts, as_of, known_at_day=known and known.isoformat())
        assert written(given, facts) == values(files, facts, as_of, known_at_day=known)


def test_days_without_effect_are_left_on_disk(tmp_path: Path) -> None:
    rows = [row(1, "view", f"2026-03-{d:02d}", void_day="2026-04-01") for d in range(1, 29)]
    path = item(tmp_path, [table(rows)], [], date(2026, 3, 31))["files"][0]

    def without_effect(as_of: date, known: date | None = None) -> set[str]:
        return BucketFiles([path], Wanted(as_of, known_at_day=known)).without_effect()

    assert without_effect(date(2026, 3, 31)) == {"void_day", "flagged_day", "valid_from_day"}
    assert without_effect(date(2026, 4, 1)) == {"flagged_day", "valid_from_day"}
    assert without_effect(date(2026, 3, 27)) == {"void_day", "flagged_day"}
    assert "known_day" in without_effect(date(2026, 3, 31), date(2026, 3, 28))
    assert "known_day" not in without_effect(date(2026, 3, 31), date(2026, 3, 27))


def test_row_groups_outside_every_window_are_not_read(tmp_path: Path) -> None:
    # sorted by uid, so that each user's 20 rows of one month are a row group
    rows = [
        row(uid, "view", f"2026-{month:02d}-{d + 1:02d}") for uid, month in ((0, 1), (1, 2), (2, 3)) for d in range(20)
    ]
    views = {"from": ["view"], "measure": "rows", "agg": "count"}
    path = item(tmp_path, [table(rows)], [], date(2026, 3, 31))["files"][0]

    def groups(as_of: str, *windows: int | None) -> list[int]:
        facts = [Fact(**views, window=w) for w in windows]
        day = date.fromisoformat(as_of)
        return BucketFiles([path], Wanted(day, first=first_day(facts, day))).files[0].groups

    assert groups("2026-03-31", None, 7) == [0, 1, 2]
    assert groups("2026-02-28", None) == [0, 1]
    assert groups("2026-03-31", 7, 31) == [2]
    # the first and the last day of a group
    assert groups("2026-03-20", 1) == [2]
    assert groups("2026-03-01", None) == [0, 1, 2]


def test_a_bucket_without_files_gives_a_row_per_user(tmp_path: Path) -> None:
    facts = [
        Fact.model_validate({"id": "n", "from": ["view"], "measure": "rows", "agg": "count"}),
        Fact.model_validate({"id": "b", "from": ["view"], "measure": "brand", "agg": "preferred"}),
    ]
    given = item(tmp_path, [], facts, date(2026, 3, 31)) | {"codes": [], "products": None}
    assert written(given, facts) == {"n": dict.fromkeys(range(6), 0), "b": dict.fromkeys(range(6))}


def test_a_bucket_of_another_base_keeps_its_uids(tmp_path: Path) -> None:
    facts = [Fact.model_validate({"id": "n", "from": ["view"], "measure": "rows", "agg": "count"})]
    given = item(tmp_path, [table([row(300_004, "view", "2026-03-01")])], facts, date(2026, 3, 31), bucket=3)
    found = written(given, facts)["n"]
    assert found == {uid: int(uid == 300_004) for uid in range(300_000, 300_006)}


def test_a_worker_does_not_import_pandas(tmp_path: Path) -> None:
    declared = [
        {"from": ["view"], "measure": "rows", "agg": "count", "window": 7},
        {"from": ["view"], "measure": "brand", "agg": "preferred"},
        {"from": ["pay"], "measure": "amount", "agg": "mean"},
        {"from": ["pay"], "measure": "day", "agg": "last"},
    ]
    r = random.Random(5)
    facts = [Fact.model_validate(f) for f in declared]
    given = item(tmp_path, [table([drawn_row(r) for _ in range(80)])], facts, date(2026, 3, 10))
    (tmp_path / "item.json").write_text(json.dumps(given))
    program = (
        "import json, sys; from jobs.activity.facts import facts_of_bucket;"
        f"facts_of_bucket(json.load(open({str(tmp_path / 'item.json')!r}))); sys.exit('pandas' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_what_the_next_step_reads_is_what_a_kept_file_holds(tmp_path: Path) -> None:
    draw = random.Random(5)
    facts = draw.sample(every_fact(), 60)
    rows = table([drawn_row(draw) for _ in range(80)])
    day = date(2026, 3, 4)
    written(item(tmp_path, [rows], facts, day), facts)
    passed_on = facts_of_bucket(item(tmp_path, [rows], facts, day, out=str(tmp_path / "facts.arrow")))
    assert read_facts(passed_on["path"]).equals(pq.read_table(tmp_path / "out" / "facts.parquet"))


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [((-128, 127), "int8"), ((-129, 0), "int16"), ((1 << 31, 0), "int64"), ((-(1 << 63), 7), "int64"), ((), "int8")],
)
def test_numbers_of_any_size_survive_being_packed(tmp_path: Path, numbers: tuple[int, ...], kind: str) -> None:
    paid = Fact.model_validate({"id": "n", "from": ["pay"], "measure": "amount", "agg": "sum"})
    column = _Column(paid, len(numbers))
    for number in numbers:  # part by part
        column.put(0, (np.array([number]), None))
    packed = column.arrow(packed=True)
    assert (str(packed.type), packed.to_pylist()) == (kind, list(numbers))
    assert column.arrow(packed=False).equals(pa.array(numbers, pa.int64()))
    jobs.activity.facts._write(pa.table({"n": packed}), [paid], tmp_path / "x.arrow")
    assert read_facts(str(tmp_path / "x.arrow"))["n"].combine_chunks().equals(pa.array(numbers, pa.int64()))
