"""Journals: a living run keeps what it staged, whatever happens between two of its steps; a dead or failed one nothing."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lake import journal
from lake.lake import Lake

ELSEWHERE = """
import sys
from pathlib import Path
from lake import journal
from lake.lake import Lake
print(*journal.recover(Lake(Path(sys.argv[1]), "UTC")))
"""


def recovered_elsewhere(lake: Lake) -> list[str]:
    """What another process takes for dead runs and clears away."""
    done = subprocess.run([sys.executable, "-c", ELSEWHERE, str(lake.root)], capture_output=True, text=True, check=True)
    return done.stdout.split()


def staged_file(lake: Lake, run_id: str) -> Path:
    path = lake.stage("profile.breaks", run_id) / "part.parquet"
    path.write_bytes(b"rows")
    return path


def beside(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_recover_between_the_opening_of_a_journal_and_its_lock_takes_nothing_from_the_run(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, go_on = threading.Event(), threading.Event()
    lock = fcntl.flock

    def later(f: Any, operation: int) -> None:
        if threading.current_thread() is not threading.main_thread() and not opened.is_set():
            opened.set()
            assert go_on.wait(30)
        lock(f, operation)

    monkeypatch.setattr("lake.journal.fcntl.flock", later)
    found: list[Path] = []
    run = beside(lambda: found.append(staged_file(lake, "r1")))
    assert opened.wait(30)
    journal.recover(lake)
    go_on.set()
    run.join(30)
    assert journal.journal_path(lake, "r1").is_file(), "the run is known to who comes later"
    assert recovered_elsewhere(lake) == []
    assert found[0].is_file()
    journal.finish(lake, "r1")


def test_recover_between_the_end_of_a_run_and_its_journal_takes_nothing_from_what_was_published(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = staged_file(lake, "r1")
    seen: list[list[str]] = []
    unlink = Path.unlink

    def then_recover(self: Path, missing_ok: bool = False) -> None:
        unlink(self, missing_ok=missing_ok)
        if self == journal.journal_path(lake, "r1"):
            seen.append(recovered_elsewhere(lake))

    monkeypatch.setattr(Path, "unlink", then_recover)
    before = recovered_elsewhere(lake)
    journal.finish(lake, "r1")
    # a table whose newest version has the file no more, since a later run replaced it: releases still need it
    assert (before, seen) == ([], [[]])
    assert path.is_file()


def test_a_journal_that_is_taken_away_while_recover_waits_for_it_is_no_dead_run(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = staged_file(lake, "r1")
    lock = fcntl.flock

    def ended_meanwhile(f: Any, operation: int) -> None:
        monkeypatch.setattr("lake.journal.fcntl.flock", lock)
        journal.finish(lake, "r1")
        lock(f, operation)

    # as another process would see it: the journal is not this one's
    own = dict(journal._held)
    monkeypatch.setattr(journal, "_held", {})
    monkeypatch.setattr("lake.journal.fcntl.flock", ended_meanwhile)
    assert journal.recover(lake) == []
    assert path.is_file()
    for f in own.values():
        f.close()


def test_a_dead_runs_files_go(lake: Lake) -> None:
    code = (
        "import sys; from pathlib import Path; from lake.lake import Lake; lake = Lake(Path(sys.argv[1]), 'UTC')\n"
        "(lake.stage('profile.breaks', 'r1') / 'part.parquet').write_bytes(b'rows'); print('staged', flush=True)\n"
        "sys.stdin.read()"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code, str(lake.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None and run.stdout.readline() == "staged\n"
    (path,) = lake.root.rglob("*.parquet")
    assert journal.recover(lake) == [], "while it lives"
    assert path.is_file()
    run.kill()
    run.wait(30)
    run.stdout.close()
    assert run.stdin is not None
    run.stdin.close()
    assert journal.recover(lake) == ["r1"]
    assert not path.exists()


def test_a_run_that_fails_leaves_neither_journal_nor_staged_files(lake: Lake) -> None:
    with pytest.raises(RuntimeError), journal.kept(lake, "r1"):
        path = staged_file(lake, "r1")
        (lake.scratch("r1") / "some").write_bytes(b"rows")
        raise RuntimeError
    assert not path.parent.exists()
    assert not any((lake.root / "ops" / "journal").iterdir())
    assert not any((lake.root / "ops" / "scratch").iterdir())


def test_a_run_that_is_done_leaves_its_files_and_no_empty_folders(lake: Lake) -> None:
    with journal.kept(lake, "r1"):
        path = staged_file(lake, "r1")
        empty = lake.stage("profile.breaks", "r1")
    assert path.is_file()
    assert not empty.exists()
    assert not any((lake.root / "ops" / "journal").iterdir())
