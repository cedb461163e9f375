"""What readers see, and that nothing but a rollback moves it back."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest

from lake import journal, releases
from lake.lake import Lake
from lake.locks import lock
from schemas.errors import LockedError, NotThereError

DAYS = [date(2026, 3, d) for d in (1, 2, 3)]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", "Asia/Shanghai")


def released(lake: Lake, day: date, run_id: str) -> releases.Release:
    return releases.write_release(lake, day, run_id, {"profile.profile": len(releases.entries(lake))})


def test_the_latest_is_the_newest_day_even_when_an_older_day_is_run_again(lake: Lake) -> None:
    released(lake, DAYS[0], "a")
    newest = released(lake, DAYS[1], "b")
    again = released(lake, DAYS[0], "c")
    assert releases.release(lake) == newest
    assert releases.release(lake, "2026-03-01") == again


def test_a_rollback_holds_until_a_newer_day_comes(lake: Lake) -> None:
    first, _ = released(lake, DAYS[0], "a"), released(lake, DAYS[1], "b")
    releases.rollback(lake, None, "back", "me")
    assert releases.release(lake) == first
    newest = released(lake, DAYS[2], "c")
    assert releases.release(lake) == newest
    assert [e.rollback_to for e in releases.entries(lake)] == [None, None, 1, None]


def test_the_oldest_release_has_none_to_go_back_to(lake: Lake) -> None:
    released(lake, DAYS[0], "a")
    with pytest.raises(NotThereError, match="the oldest"):
        releases.rollback(lake, None, "back", "me")


def test_the_same_run_releases_once(lake: Lake) -> None:
    assert released(lake, DAYS[0], "a") == released(lake, DAYS[0], "a")


def test_an_unknown_release_names_those_there_are(lake: Lake) -> None:
    released(lake, DAYS[0], "a")
    with pytest.raises(NotThereError, match=r"1 \(2026-03-01\)"):
        releases.release(lake, "9")


def _write(root: str, n: int) -> None:
    for i in range(5):
        releases.write_release(Lake(Path(root), "UTC"), DAYS[0], f"{n}-{i}", {})


@pytest.mark.slow
def test_writers_at_the_same_time_get_numbers_of_their_own(lake: Lake) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write, args=(str(lake.root), n)) for n in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert sorted(r.number for r in releases.releases(lake)) == list(range(1, 16))


HOLD = """
import sys, time
from pathlib import Path
from lake.lake import Lake
from lake.locks import lock
lake = Lake(Path(sys.argv[1]), "UTC")
lake.stage("segments.segments", "dead")
(lake.scratch("dead") / "facts").mkdir()
with lock(lake, "run"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_is_refused_while_its_holder_lives_and_free_when_it_is_killed(lake: Lake) -> None:
    held = subprocess.Popen([sys.executable, "-c", HOLD, str(lake.root)], stdout=subprocess.PIPE, cwd=os.getcwd())
    assert held.stdout is not None and held.stdout.readline() == b"held\n"
    with pytest.raises(LockedError, match=str(held.pid)), lock(lake, "run"):
        pass
    assert journal.recover(lake) == []
    held.send_signal(signal.SIGKILL)
    held.wait()
    with lock(lake, "run", wait_seconds=5):
        assert journal.recover(lake) == ["dead"]
    assert list((lake.root / "segments" / "segments").glob("d-*")) == []
    assert not (lake.root / "ops" / "scratch" / "dead").exists()


def test_a_held_lock_says_in_words_who_holds_it_since_when_and_what_to_do(lake: Lake) -> None:
    me = f"process {os.getpid()} on {re.escape(socket.gethostname())}"
    words = rf"run is held by {me} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC; wait .*`kill {os.getpid()}` on "
    with lock(lake, "run"), pytest.raises(LockedError, match=words), lock(lake, "run"):
        pass


@pytest.mark.parametrize(
    "note", ["", "{", "[]", '{"process": null}', '{"process": 7, "since": "?"}', '{"process": 7, "since": 5}']
)
def test_a_held_lock_with_an_unreadable_note_is_held_all_the_same(lake: Lake, note: str) -> None:
    with lock(lake, "run"):
        (lake.root / "_locks" / "run.lock").write_text(note, encoding="utf-8")
        with pytest.raises(LockedError, match="run is held by another process; wait"), lock(lake, "run"):
            pass


def test_a_lock_of_an_older_version_names_its_process(lake: Lake) -> None:
    with lock(lake, "run"):
        (lake.root / "_locks" / "run.lock").write_text('{"process": 7}', encoding="utf-8")
        with pytest.raises(LockedError, match="run is held by process 7; wait"), lock(lake, "run"):
            pass


def test_waiting_for_a_lock_ends(lake: Lake) -> None:
    with lock(lake, "run"):
        started = time.monotonic()
        with pytest.raises(LockedError), lock(lake, "run", wait_seconds=0.5):
            pass
    assert 0.4 < time.monotonic() - started < 5
