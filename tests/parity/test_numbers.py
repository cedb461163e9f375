"""Numbers made of values, as keys of the kernel and of the search for versions."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.activity import key_of
from features.links import number_of
from lake.engine import Engine

SCHEMA = pa.schema([("order_id", pa.string()), ("line_no", pa.int32())])
SEVERAL = [("o1", 1), ("o2", 1), ("o1", 2)]


@pytest.mark.parametrize("rows", [[("o1", 1)] * 3, [("o1", 1), ("o1", 2)], [("o1", 1)]])
def test_a_file_with_one_value_only_has_the_numbers_of_that_value(
    engine: Engine, tmp_path: Path, rows: list[tuple[str, int]]
) -> None:
    found = []
    for name, written in (("alone", rows), ("several", SEVERAL)):
        folder = tmp_path / name
        folder.mkdir()
        values = dict(zip(SCHEMA.names, zip(*written, strict=True), strict=True))
        pq.write_table(pa.table({k: list(v) for k, v in values.items()}, SCHEMA), folder / "rows.parquet")
        frame = engine.folder(folder, SCHEMA)
        numbers = frame.select(key_of("order_id").alias("key"), number_of("order_id", "line_no").alias("number"))
        found.append({w: tuple(r) for w, r in zip(written, numbers.collect(), strict=True)})
    alone, several = found
    assert all(alone[w] == several[w] for w in set(rows) & set(SEVERAL))
    assert len(set(several.values())) == 3
