"""A full disk ends in one sentence that names it and says what is published; the next run goes on."""

from __future__ import annotations

import errno
import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import jobs.ingest.execution
from lake.disk import is_full, pass_over_writers
from lake.engine import _unwrapped, run_task
from lake.refused import refused
from schemas.errors import DiskFullError
from tests.ingest.shop import LINES, ORDERS, Shop, csv

GOOD = csv(["订单号", "下单时间", "支付时间", "会员号"], ["o1", "2026-03-01 10:00:00", "2026-03-01 10:01:00", "m1"])
LINE = csv(["order", "at", "sku", "qty", "paid"], ["o1", "2026-03-01", "s", 1, "5"])


def full(path: str = "silver/part.parquet") -> OSError:
    return OSError(errno.ENOSPC, "No space left on device", path)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path / "shop", {"orders": ORDERS, "lines": LINES})
    made.deliver("orders/1.csv", GOOD)
    made.deliver("lines/1.csv", LINE)
    return made


@pytest.mark.parametrize("failing", ["silver.orders", "quarantine.orders", "bronze.order_lines"])
def test_what_is_taken_and_what_is_not_is_said_and_the_next_ingest_goes_on(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    real = jobs.ingest.execution.publish

    def publish(lake: Any, table: str, *args: Any, **options: Any) -> int:
        if table == failing:
            raise full()
        return real(lake, table, *args, **options)

    monkeypatch.setattr(jobs.ingest.execution, "publish", publish)
    with pytest.raises(DiskFullError) as e:
        shop.ingest()
    # Mappings are taken in order of name: lines before orders.
    said = "new files of order_lines are taken, those of orders not yet"
    if failing == "bronze.order_lines":
        said = "new files of no feed are taken, those of order_lines, orders not yet"
    assert str(e.value) == (
        f"the disk is full (silver/part.parquet): {said}; free space and run the same command again, it goes on"
    )
    monkeypatch.undo()
    shop.ingest()
    assert (shop.count("silver.orders"), shop.count("silver.order_lines"), shop.count("bronze.orders")) == (1, 1, 1)
    assert shop.ingest().known == 2


def test_a_disk_that_is_full_while_files_land_refuses_no_file_and_keeps_no_half_a_copy(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    opened = Path.open

    def open_(self: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        return Full(self, mode) if self.suffix == ".part" and mode == "wb" else opened(self, mode, *args, **options)

    monkeypatch.setattr(Path, "open", open_)
    with pytest.raises(DiskFullError, match="new files are not taken yet; free space and run the same command again"):
        shop.ingest()
    monkeypatch.undo()
    assert refused(shop.lake) == []
    assert parts(shop) == []
    assert shop.ingest().taken == 2


def test_a_copy_that_a_killed_run_left_half_made_is_removed(shop: Shop) -> None:
    (shop.lake.root / "landing/orders").mkdir(parents=True)
    (shop.lake.root / "landing/orders/.0123.part").write_bytes(b"half")
    assert shop.ingest().taken == 2
    assert parts(shop) == []


def parts(shop: Shop) -> list[str]:
    return [p.name for p in (shop.lake.root / "landing").rglob("*.part")]


@pytest.mark.parametrize(
    "said",
    [
        'IO Error: Could not write file "/l/x.parquet": No space left on device',
        "Generic LocalFileSystem error: Unable to copy data to file: No space left on device (os error 28)",
        "[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device",
        "Resources exhausted: Disk quota exceeded (os error 122)",
    ],
)
def test_everybodys_words_for_it_are_known(said: str) -> None:
    error = RuntimeError("query failed")
    error.__cause__ = Exception(said)
    assert is_full(error)
    assert not is_full(RuntimeError("no such file"))


def fill(item: dict[str, Any]) -> dict[str, Any]:
    raise full(item["path"])


def test_a_task_says_it_in_one_line_on_either_engine() -> None:
    with pytest.raises(DiskFullError, match="No space left on device"):
        _unwrapped(run_task("tests.ingest.test_full_disk:fill", '{"path": "p"}'))


def test_a_writer_that_is_thrown_away_on_a_full_disk_says_nothing_more(capsys: pytest.CaptureFixture[str]) -> None:
    thrown: Any = SimpleNamespace(exc_type=OSError, exc_value=full(), exc_traceback=None, err_msg=None, object=None)
    pass_over_writers(thrown)
    assert capsys.readouterr().err == ""
    other = OSError("closed twice")
    thrown.exc_value = other
    called: list[Any] = []
    before, sys.__unraisablehook__ = sys.__unraisablehook__, called.append  # type: ignore[misc]
    try:
        pass_over_writers(thrown)
    finally:
        sys.__unraisablehook__ = before  # type: ignore[misc]
    assert called == [thrown]


def test_pages_of_the_audit_that_cannot_be_written_are_one_line(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwritable(self: Any) -> None:
        raise full("index.html")

    monkeypatch.setattr("lake.audit.Auditor.write_docs", unwritable)
    with shop.project.audited(None):  # type: ignore[arg-type]
        pass
    said = capsys.readouterr().err
    assert said.startswith("huaxiang: pages of the audit could not be written to ")
    assert said.endswith(": No space left on device\n")
    assert said.count("\n") == 1


def test_a_run_on_a_full_disk_says_what_readers_see(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(DiskFullError, match="nothing is released, nothing half-made is published"),
        shop.project.audited(None),
    ):  # type: ignore[arg-type]
        raise RuntimeError("SparkException: No space left on device (os error 28)")
