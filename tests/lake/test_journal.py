"""Journals: a living run keeps what it staged, whatever happens between two of its steps; a dead or failed one nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import pytest

from lake import journal
from lake.folder_store import FolderStore
from lake.lake import Lake
from lake.publish import publish
from lake.run_notes import WARNINGS, remember_warnings
from lake.store import Lease

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


def test_recover_between_the_start_of_a_run_and_its_first_note_takes_nothing_from_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    create = FolderStore.create

    def after_others_looked(self: FolderStore, name: str, data: bytes, *, private: bool = False) -> bool:
        seen.append(recovered_elsewhere(lake))
        done = create(self, name, data, private=private)
        seen.append(recovered_elsewhere(lake))
        return done

    monkeypatch.setattr(FolderStore, "create", after_others_looked)
    path = staged_file(lake, "r1")
    assert seen == [[], []]
    assert path.is_file()
    journal.finish(lake, "r1")


def test_recover_between_the_end_of_a_run_and_its_journal_takes_nothing_from_what_was_published(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = staged_file(lake, "r1")
    seen: list[list[str]] = []
    delete = FolderStore.delete

    def then_recover(self: FolderStore, names: Iterable[str]) -> None:
        delete(self, names)
        seen.append(recovered_elsewhere(lake))

    monkeypatch.setattr(FolderStore, "delete", then_recover)
    before = recovered_elsewhere(lake)
    journal.finish(lake, "r1")
    # a table whose newest version has the file no more, since a later run replaced it: releases still need it
    assert (before, seen) == ([], [[]])
    assert path.is_file()


def test_a_journal_that_is_taken_away_while_recover_reaches_for_it_is_no_dead_run(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = staged_file(lake, "r1")
    hold = FolderStore.hold

    def ended_meanwhile(self: FolderStore, name: str) -> Lease:
        monkeypatch.setattr(FolderStore, "hold", hold)
        journal.finish(lake, "r1")
        return hold(self, name)

    monkeypatch.setattr(FolderStore, "hold", ended_meanwhile)
    assert journal.recover(lake) == []
    assert path.is_file()


def test_files_of_a_dead_run_stay_where_any_version_since_has_them(lake: Lake) -> None:
    """Found late, after a later run replaced them: releases still name the version that has them."""
    remember_warnings(lake, "r1", date(2026, 3, 1), ["kept"])
    [first] = [f.path for f in lake.files(WARNINGS)]
    lease = journal._held.pop((lake.store.address, "r1")).lease
    lease.release()
    lake.ensure(WARNINGS)
    publish(lake, WARNINGS, [], replace="all", read_version=lake.version(WARNINGS), run_id="r2", key="r2")
    assert lake.files(WARNINGS) == []
    assert journal.recover(lake) == ["r1"]
    assert Path(first).is_file()


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
    assert lake.store.names(journal.JOURNALS) == []
    assert not any((lake.root / "ops" / "scratch").iterdir())


def test_a_run_that_is_done_leaves_its_files_and_no_empty_folders(lake: Lake) -> None:
    with journal.kept(lake, "r1"):
        path = staged_file(lake, "r1")
        empty = lake.stage("profile.breaks", "r1")
    assert path.is_file()
    assert not empty.exists()
    assert lake.store.names(journal.JOURNALS) == []
