"""A shop whose lake, inbox and exports are on an object store gives, killed twice, the tables and files of a folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.audiences.export import export
from jobs.audiences.step import build, why
from jobs.ingest.step import ingest
from lake import journal, releases
from lake.object_store import ObjectStore
from lake.sql import connect
from project.audience_tables import deliveries
from project.folder import SETTINGS_FILE, Project
from project.inbox import is_matched
from queries.preview import preview
from queries.status import status
from queries.user import card, find_uid
from report.page import report
from schemas.errors import ConfigurationError, HuaxiangError
from simulator import shop as simulator
from tests.pipeline import shop
from tests.pipeline.conftest import SALT
from tests.store.options import store_at
from tests.stores import Bucket, S3Server

LEASE_SECONDS = 20
"""Long enough for a command to start and to meet a dead one's lease, however busy the machine."""
FIRST, SECOND = shop.last_days(2)
NAME = "sharers_without_purchase"


@dataclass(frozen=True)
class Shops:
    """The same two days, on a folder and on a store. ``said`` is what an ingest said while a killed one still held."""

    folder: Project
    store: Project
    bucket: Bucket
    said: str

    def on_another_machine(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
        """Nothing but the project's files, and not a single copy."""
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another-cache"))
        return Project.load(self.store.folder)


@pytest.fixture(scope="module")
def shops(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shops]:
    home = tmp_path_factory.mktemp("shops")
    bucket = s3_server.bucket()
    with pytest.MonkeyPatch.context() as patched:
        for name, value in bucket.environment.items():
            patched.setenv(name, value)
        patched.setenv("XDG_CACHE_HOME", str(home / "cache"))
        patched.setenv("HUAXIANG_ID_SALT", SALT)
        folder = shop.new_project(home / "folder")
        store = on_store(shop.new_project(home / "store"), bucket)
        with folder.open_engine() as engine:
            for day in (FIRST, SECOND):
                shop.one_day(folder, engine, day)
        upload(bucket, FIRST, home / "arrived")
        with store.open_engine() as engine:
            ingest(store, engine, received_at=shop.received(store, FIRST))
        finished(store, "run", "--as-of", FIRST.isoformat())
        upload(bucket, SECOND, home / "arrived")
        arguments = ("ingest", "--received-at", shop.received(store, SECOND).isoformat())
        killed_at_a_put(bucket, "*/bronze/orders/*.json", store, *arguments)
        said = refused(store, *arguments)
        wait_for_the_lease()
        finished(store, *arguments)
        killed_at_a_put(bucket, "*/profile/*/_delta_log/*.json", store, "run", "--as-of", SECOND.isoformat())
        wait_for_the_lease()
        finished(store, "run", "--as-of", SECOND.isoformat())
        yield Shops(folder, store, bucket, said)
    bucket.remove()


def on_store(project: Project, bucket: Bucket) -> Project:
    """The same project with lake, inbox and exports on a store, and leases that end soon."""
    path = project.folder / SETTINGS_FILE
    lines = path.read_text(encoding="utf-8").splitlines()
    places = {name: f"s3://{bucket.name}/shop/{name}" for name in ("lake", "inbox", "exports")}
    kept = [line for line in lines if line.split(":")[0] not in places]
    kept += [f"{name}: {place}" for name, place in places.items()]
    kept.append(f"store: {{lease_seconds: {LEASE_SECONDS}, clock_skew_seconds: 0}}")
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return Project.load(project.folder)


def upload(bucket: Bucket, day: date, scratch: Path) -> None:
    """What has arrived by the morning after a day; a file that is there already stays as it is."""
    there = store_at(f"s3://{bucket.name}/shop/inbox")
    present = {m["path"] for page in obstore.list(there) for m in page}
    simulator.write_arrivals(shop.simulated(), scratch, last_day=day)
    for path in (p for p in scratch.rglob("*") if p.is_file()):
        name = path.relative_to(scratch).as_posix()
        if name not in present:
            obstore.put(there, name, path)


def begun(project: Project, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cli.main", *arguments, "--project", str(project.folder), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(project: Project, *arguments: str) -> None:
    process = begun(project, *arguments)
    said, _ = process.communicate(timeout=300)
    assert process.returncode in (0, 4), said


def refused(project: Project, *arguments: str) -> str:
    """What a command says that ends because another holds what it needs."""
    process = begun(project, *arguments)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 6, said
    return said


def killed_at_a_put(bucket: Bucket, keys: str, project: Project, *arguments: str) -> None:
    """``kill -9`` once the store has such an object and before it says so; then until the dead one's leases are over."""
    process = begun(project, *arguments)
    bucket.on_put(keys, lambda: os.kill(process.pid, signal.SIGKILL))
    said, _ = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, said


def wait_for_the_lease() -> None:
    time.sleep(LEASE_SECONDS + 1)


@pytest.mark.slow
def test_killed_and_run_again_a_store_has_the_tables_of_a_folder(shops: Shops) -> None:
    assert f" on {socket.gethostname()} since" in shops.said
    shop.assert_same(shop.tables(shops.folder), shop.tables(shops.store), ("folder", "store"))
    assert [r.as_of for r in releases.releases(shops.store.lake)] == [FIRST, SECOND]
    store = shops.store.lake.store
    assert store.names(journal.JOURNALS) + store.names(f"{journal.SCRATCH}/") + store.names("_locks/") == []


@pytest.mark.slow
def test_another_machine_without_a_single_copy_reads_the_same(
    shops: Shops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = shops.on_another_machine(tmp_path, monkeypatch)
    shop.assert_same(shop.tables(shops.folder), shop.tables(there), ("folder", "another machine"))
    shown = status(there)
    assert (shown["latest"]["as_of"], shown["held"], shown["unmatched"]) == (SECOND, [], [])
    assert {"orders", "browse", "shares"} <= {f["feed"] for f in shown["feeds"]}


@pytest.mark.slow
def test_files_of_the_inbox_are_taken_once_and_a_changed_one_is_refused(shops: Shops, tmp_path: Path) -> None:
    inbox = store_at(f"s3://{shops.bucket.name}/shop/inbox")
    name = next(m["path"] for page in obstore.list(inbox) for m in page if "order" in m["path"])
    content = bytes(obstore.get(inbox, name).bytes())
    shops.bucket.forget()
    with shops.store.open_engine() as engine:
        seen = ingest(shops.store, engine, received_at=shop.received(shops.store, SECOND))
        assert {f.state for f in seen.files} == {"known"}
        assert shops.bucket.count("GET", keys="shop/inbox/*") == 0, "what was taken is not fetched again"
        obstore.put(inbox, name, content + b"\n")
        try:
            again = ingest(shops.store, engine, received_at=shop.received(shops.store, SECOND))
            assert [(f.file, f.state) for f in again.files if f.state != "known"] == [(name, "failed")]
        finally:
            obstore.put(inbox, name, content)


@pytest.mark.slow
def test_audience_card_report_and_sql_are_those_of_a_folder(shops: Shops, tmp_path: Path) -> None:
    for project in (shops.folder, shops.store):
        build(project, NAME)
    mine, yours = preview(shops.folder, NAME), preview(shops.store, NAME)
    assert mine.users > 0 and mine == yours
    uid = int(rows(shops.store, "select min(uid) from audiences.membership")[0][0])
    assert why(shops.store, NAME, uid) == why(shops.folder, NAME, uid)
    cards = [card(p, find_uid(p, str(uid), releases.release(p.lake))) for p in (shops.folder, shops.store)]
    assert cards[0] == cards[1]
    query = "select feed, sum(rows_read) from landing.manifest group by all order by all"
    assert rows(shops.store, query) == rows(shops.folder, query)
    with pytest.raises(ConfigurationError, match="--out"):
        report(shops.store)
    pages = [report(p, out=tmp_path / f"{i}.html").file.read_text() for i, p in enumerate((shops.folder, shops.store))]
    assert pages[1].count("</section>") == pages[0].count("</section>") > 5


@pytest.mark.slow
def test_an_export_on_a_store_is_the_file_of_a_folder_with_its_manifest_and_is_never_overwritten(shops: Shops) -> None:
    mine = export(shops.folder, NAME, requested_by="test")
    yours = export(shops.store, NAME, requested_by="test")
    there = shops.store.store_at(f"s3://{shops.bucket.name}/shop")
    assert isinstance(there, ObjectStore)
    below = yours.folder.removeprefix(f"s3://{shops.bucket.name}/shop/")
    [file] = [n for n in there.names(f"{below}/") if n.endswith(".csv")]
    manifest = json.loads(there.read(f"{below}/manifest.json") or b"")
    assert yours.rows == mine.rows > 0
    assert there.read(file) == (Path(mine.folder) / Path(file).name).read_bytes()
    assert manifest["checksum"] == yours.checksum == mine.checksum
    assert export(shops.store, NAME, requested_by="test").already_delivered
    assert [d["path"] for d in deliveries(shops.store.lake, NAME)] == [f"{yours.folder}/{Path(file).name}"]
    fresh = export(shops.store, NAME, requested_by="test", again=True)
    assert fresh.folder != yours.folder and not fresh.already_delivered
    there.replace(file, b"user_id\r\nsomebody else\r\n")
    with pytest.raises(HuaxiangError, match="was changed after it was delivered"):
        export(shops.store, NAME, requested_by="test")


@pytest.mark.slow
def test_after_a_rollback_every_machine_reads_the_day_before_until_a_newer_one(
    shops: Shops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        finished(shops.store, "release", "rollback")
        there = shops.on_another_machine(tmp_path, monkeypatch)
        assert releases.release(there.lake).as_of == FIRST
        assert status(there)["latest"]["as_of"] == FIRST
    finally:
        finished(shops.store, "release", "rollback", SECOND.isoformat())
    assert releases.release(there.lake).as_of == SECOND


def rows(project: Project, query: str) -> list[tuple[Any, ...]]:
    with connect(project.lake, None) as con:
        return con.execute(query).fetchall()


PATTERNS = ["*", "**/*", "*.csv", "orders/*", "orders/*.csv", "**/*.csv", "orders/**/*.csv", "*/[ab]?.csv", "a/b/*"]


@given(
    names=st.lists(
        st.lists(st.sampled_from(["orders", "a", "b", "ab.csv", "bc.csv", "x.CSV"]), min_size=1, max_size=3),
        max_size=5,
    ),
    pattern=st.sampled_from(PATTERNS),
)
def test_a_pattern_names_on_a_store_what_it_names_in_a_folder(
    tmp_path_factory: pytest.TempPathFactory, names: list[list[str]], pattern: str
) -> None:
    folder = tmp_path_factory.mktemp("inbox")
    for parts in names:
        path = folder.joinpath(*parts)
        with suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    there = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    in_folder = sorted(p.relative_to(folder).as_posix() for p in folder.glob(pattern) if p.is_file())
    shutil.rmtree(folder)
    assert sorted(n for n in there if is_matched(n, pattern)) == in_folder
