"""A run that dies anywhere and is started again ends with the tables of a run that did not die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import jobs.ingest.execution
import jobs.ingest.step
from lake import journal
from lake.file_locks import FileLease
from lake.refused import refused
from tests.ingest.shop import BROWSE, LINES, ORDERS, RECEIVED, Shop, csv
from tests.ingest.test_ingest import H, L, an_order

TABLES = [f"{layer}.{feed}" for layer in ("silver", "bronze", "quarantine") for feed in ("orders", "order_lines")]


class Killed(BaseException):
    """Stands for the death of the process: nothing of ours catches it."""


def died(*_: Any, **__: Any) -> None:
    raise Killed


def make(folder: Path) -> Shop:
    """A shop whose second delivery is new files, a file that replaces an older one, duplicates and bad rows."""
    shop = Shop(folder, {"orders": ORDERS, "lines": LINES, "browse": BROWSE})
    shop.deliver("orders/1.csv", csv(H, an_order(1), an_order(2, "2026-01-02"), ["torn"]))
    shop.deliver("lines/1.csv", csv(L, ["o1", "2026-03-01", "a", 1, "5"], ["o1", "2026-03-01", "a", 1, "5"]))
    shop.ingest()
    shop.deliver("orders/1.csv", csv(H, an_order(1), an_order(3), ["torn2"]))
    shop.deliver("orders/2.csv", csv(H, an_order(3), an_order(4, "2026-02-02"), ["o5", "bad", "", ""]))
    shop.deliver("lines/2.csv", csv(L, ["o1", "2026-03-01", "a", 1, "5"], ["o4", "2026-02-02", "a", 1, "x"]))
    return shop


def state(shop: Shop) -> dict[str, Any]:
    """All that readers may depend on; batch ids come from the intent, so they are the same too."""
    found: dict[str, Any] = {t: shop.rows(t) for t in TABLES}
    found["landing.manifest"] = shop.rows("landing.manifest")
    return found


def orphans(shop: Shop) -> set[str]:
    tables = [*TABLES, "landing.manifest", "ops.runs"]
    known = {f.path for t in tables for v in range((shop.lake.version(t) or -1) + 1) for f in shop.lake.files(t, v)}
    return {str(p) for p in shop.lake.root.rglob("*.parquet") if "_delta_log" not in p.parts} - known


def second(shop: Shop) -> None:
    shop.ingest(RECEIVED + timedelta(days=1), replace=True)


def die_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> list[str]:
    """Die before the n-th step that changes something on disk; gives the list of steps that were reached."""
    reached: list[str] = []

    def wrapped(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            reached.append(name)
            if len(reached) == moment:
                raise Killed(name)
            return real(*args, **kwargs)

        return step

    import jobs.ingest.landing
    import jobs.ingest.settling
    import jobs.ingest.step
    import lake.manifest
    from lake.lake import Lake

    for module, name in (
        (jobs.ingest.execution, "publish"),
        (jobs.ingest.execution, "write_intent"),
        (jobs.ingest.step, "write_intent"),
        (jobs.ingest.execution, "publish_manifest"),
        (jobs.ingest.execution, "forget_intent"),
        (lake.manifest, "publish"),
        (jobs.ingest.landing, "copy_with_checksum"),
        (jobs.ingest.settling, "settle"),
        (Lake, "stage"),
    ):
        monkeypatch.setattr(module, name, wrapped(name, getattr(module, name)))
    return reached


def bury() -> None:
    """What the operating system does for a dead process: its locks are gone."""
    for run in journal._held.values():
        lease = run.lease
        assert isinstance(lease, FileLease)
        lease._file.close()
    journal._held.clear()


@pytest.mark.slow
@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_that_dies_before_any_step_is_gone_on_with_to_the_same_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    whole = make(tmp_path / "whole")
    with monkeypatch.context() as m:
        steps = die_at(m, 0)
        second(whole)
    wanted = state(whole)
    assert len(steps) > 15
    for moment in range(every, len(steps) + 1, every):
        shop = make(tmp_path / str(moment))
        with monkeypatch.context() as m:
            reached = die_at(m, moment)
            with pytest.raises(Killed):
                second(shop)
        bury()
        second(shop)
        assert state(shop) == wanted, f"died before step {moment}, {reached[-1]}"
        assert orphans(shop) == set(), f"died before step {moment}, {reached[-1]}"
        assert [p.name for p in (shop.lake.root / "ops").rglob("*.json*") if "_delta_log" not in p.parts] == [
            "lake.json"
        ]


@pytest.mark.parametrize(
    ("module", "left"),
    [
        (jobs.ingest.execution, "publish_manifest"),
        (jobs.ingest.execution, "remember"),
        (jobs.ingest.execution, "forget_intent"),
        (jobs.ingest.step, "_fail_twins"),
    ],
)
def test_a_file_that_a_killed_run_refused_is_not_forgotten_though_it_left_the_inbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, left: str
) -> None:
    shop = Shop(tmp_path, {"orders": ORDERS})
    shop.deliver("orders/1.csv", csv(H, an_order(1)))
    path = shop.deliver("orders/2.csv", "x,y\n1,2\n")
    with monkeypatch.context() as m:
        m.setattr(module, left, died)
        with pytest.raises(Killed):
            shop.ingest()
    bury()
    path.unlink()
    report = shop.ingest(RECEIVED + timedelta(days=1))
    assert report.failed == 1
    assert "none of the columns" in report.text()
    assert [r.file for r in refused(shop.lake)] == ["orders/2.csv"]
    assert shop.count("silver.orders") == 1
    assert [p.name[17:] for p in (shop.lake.root / "landing" / "orders").iterdir()] == ["1.csv"]


def test_a_file_that_is_not_even_tried_is_remembered_before_the_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, {"orders": ORDERS})
    shop.deliver("orders/1.csv", csv(H, an_order(1)))
    shop.ingest()
    path = shop.deliver("orders/1.csv", csv(H, an_order(2)))
    shop.deliver("orders/2.csv", csv(H, an_order(3)))
    with monkeypatch.context() as m:
        m.setattr(jobs.ingest.execution, "_publish", died)
        with pytest.raises(Killed):
            shop.ingest()
    bury()
    path.unlink()
    assert shop.ingest(RECEIVED + timedelta(days=1)).failed == 1
    assert [r.file for r in refused(shop.lake)] == ["orders/1.csv"]


def test_a_file_that_a_killed_run_refused_and_that_is_mended_meanwhile_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, {"orders": ORDERS})
    shop.deliver("orders/1.csv", "x,y\n1,2\n")
    with monkeypatch.context() as m:
        m.setattr(jobs.ingest.execution, "forget_intent", died)
        with pytest.raises(Killed):
            shop.ingest()
    bury()
    shop.deliver("orders/1.csv", csv(H, an_order(1)))
    report = shop.ingest(RECEIVED + timedelta(days=1))
    assert (report.taken, report.failed, refused(shop.lake)) == (1, 0, [])


@pytest.mark.slow
@pytest.mark.parametrize("every", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_a_replay_that_dies_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    good_zone = {
        **ORDERS,
        "fields": {**ORDERS["fields"], "ordered_at": {"column": "下单时间", "time": ["auto", "%d.%m.%Y"]}},
    }

    def prepared(folder: Path) -> Shop:
        shop = Shop(folder, {"orders": ORDERS})
        shop.deliver("orders/1.csv", csv(H, an_order(1), ["o2", "01.03.2026", "", ""], ["o3", "bad", "", ""]))
        shop.ingest()
        shop.map("orders", good_zone)
        return shop

    whole = prepared(tmp_path / "whole")
    with monkeypatch.context() as m:
        steps = die_at(m, 0)
        whole.replay(RECEIVED + timedelta(days=1))
    wanted = {t: whole.content(t) for t in ("silver.orders", "quarantine.orders")}
    assert len(wanted["silver.orders"]) == 2
    for moment in range(every, len(steps) + 1, every):
        shop = prepared(tmp_path / str(moment))
        with monkeypatch.context() as m:
            die_at(m, moment)
            with pytest.raises(Killed):
                shop.replay(RECEIVED + timedelta(days=1))
        bury()
        shop.replay(RECEIVED + timedelta(days=1))
        assert shop.content("silver.orders") == wanted["silver.orders"], moment
        rows = "replayed_batch_id is null, reasons, raw"
        assert shop.rows("quarantine.orders", rows) == whole.rows("quarantine.orders", rows), moment
        assert shop.count("silver.orders") == sum(n for (n,) in shop.rows("landing.manifest", "rows_silver"))


def test_the_time_of_receipt_of_a_dead_run_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(tmp_path, {"orders": ORDERS})
    shop.deliver("orders/1.csv", csv(H, an_order(1)))
    with monkeypatch.context() as m:
        m.setattr(jobs.ingest.execution, "publish", lambda *a, **k: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            shop.ingest()
    bury()
    shop.deliver("orders/2.csv", csv(H, an_order(2)))
    report = shop.ingest(RECEIVED + timedelta(days=5))
    assert report.recovered == ["orders"]
    assert shop.rows("silver.orders", "order_id, _ingested_at") == [
        ("o1", RECEIVED),
        ("o2", RECEIVED + timedelta(days=5)),
    ]


def test_a_mapping_that_changes_after_the_death_does_not_mix_into_the_dead_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, {"orders": ORDERS})
    shop.deliver("orders/1.csv", csv(H, an_order(1)))
    real = jobs.ingest.execution.publish
    calls = []

    def second_dies(*args: Any, **kwargs: Any) -> int:
        calls.append(args)
        if len(calls) == 2:
            raise Killed
        return real(*args, **kwargs)

    with monkeypatch.context() as m:
        m.setattr(jobs.ingest.execution, "publish", second_dies)
        with pytest.raises(Killed):
            shop.ingest()
    bury()
    shop.map("orders", {**ORDERS, "fields": {**ORDERS["fields"], "member_id": {"constant": "other"}}})
    shop.ingest()
    assert shop.rows("silver.orders", "member_id") == [("m1",)]


SCRIPT = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
from jobs.ingest import execution
from lake import manifest as deliveries
from lake.lake import Lake
from tests.ingest.shop import RECEIVED, Shop
count, moment = 0, int(sys.argv[2])
def wrap(module, name):
    real = getattr(module, name)
    def step(*args, **kwargs):
        global count
        count += 1
        if count == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    setattr(module, name, step)
for module, name in ((execution, "publish"), (deliveries, "publish"), (Lake, "stage"), (execution, "write_intent"), (execution, "forget_intent")):
    wrap(module, name)
Shop(Path(sys.argv[1])).ingest(RECEIVED + timedelta(days=1), replace=True)
"""


@pytest.mark.slow
def test_kill_9_at_ten_moments(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole")
    second(whole)
    wanted = state(whole)
    killed = 0
    for moment in range(1, 20, 2):
        shop = make(tmp_path / str(moment))
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "RUST_LOG": "error"}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(shop.folder), str(moment)], env=env, capture_output=True
        )
        killed += done.returncode == -signal.SIGKILL
        second(shop)
        assert state(shop) == wanted, f"killed at {moment}: {done.stderr.decode()[-500:]}"
        assert orphans(shop) == set()
    assert killed >= 8
