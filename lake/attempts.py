"""Tasks whose attempts have paths of their own: where a task may run on another machine, or twice.

A task names its paths as the driver sees them, below the lake's folder. A file that is there is read, and so is a scratch folder
that holds something: on the machine that runs the task they are fetched. Every other path is written: below a folder of
the attempt's own, and put into the store under a name of its own. The task's result names what counts; a second attempt
leaves files that nobody names.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from lake.addresses import open_store
from lake.journal import SCRATCH
from lake.staged import describe
from lake.store import Store, StoreOptions, new_attempt, of_attempt, plain_name

WRITTEN = "__written__"
ATTEMPTS = "ops/attempts"
"""Where attempts on a folder write before their files get their names."""
LEFT_SECONDS = 86_400
"""After which an attempt's folder is a dead one's."""


@dataclass(frozen=True)
class LakePlace:
    """What another machine needs to know of the driver's lake: its address, and the folder that paths begin with."""

    address: str
    folder: str
    options: StoreOptions | None = None


def lake_place_of(store: Store) -> LakePlace:
    return LakePlace(store.address, str(store.folder), getattr(store, "options", None))


def paths_in(value: Any, folder: str) -> Iterable[str]:
    """Every text of an item, however deep, that is a path below the folder."""
    if isinstance(value, str):
        if value.startswith(folder + os.sep):
            yield value
    elif isinstance(value, Mapping):
        for v in value.values():
            yield from paths_in(v, folder)
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from paths_in(v, folder)


def replaced(value: Any, by: Callable[[str], str], folder: str) -> Any:
    """The value with every path below the folder replaced."""
    if isinstance(value, str):
        return by(value) if value.startswith(folder + os.sep) else value
    if isinstance(value, Mapping):
        return {k: replaced(v, by, folder) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [replaced(v, by, folder) for v in value]
    return value


def fetch_inputs(store: Store, items: Sequence[Mapping[str, Any]]) -> None:
    """Bring to this machine every file that items name and that is not to be written."""
    if not store.is_remote:
        return
    named = dict.fromkeys(p for item in items for p in paths_in(item, str(store.folder)))
    store.local(p for p in named if store.is_known(p))


def inputs_of(store: Store, item: Mapping[str, Any]) -> dict[str, list[str]]:
    """Paths of an item that a task reads, with their files. The others it writes."""
    named = dict.fromkeys(paths_in(item, str(store.folder)))
    scratch = f"{store.path(SCRATCH)}{os.sep}"
    files = {p: [p] if store.is_known(p) else store.below(Path(p), "") if p.startswith(scratch) else [] for p in named}
    return {p: found for p, found in files.items() if found}


def run_attempt(
    run: Callable[[dict[str, Any]], Any], item: dict[str, Any], inputs: Mapping[str, Sequence[str]], place: LakePlace
) -> Any:
    """One attempt of a task on whatever machine; its result with what it wrote.

    ``inputs`` are the paths that it reads, with their files. All others below the driver's folder it writes.
    """
    store = _store_at(place)
    attempt, driver = new_attempt(), place.folder
    own = store.folder / ATTEMPTS / attempt
    local = {f: str(store.folder / Path(f).relative_to(driver)) for files in inputs.values() for f in files}
    store.local(local.values())
    read = store.folder / ATTEMPTS / f"{attempt}-read"
    here = {
        p: local[p] if p in local else with_plain_names(read / Path(p).relative_to(driver), Path(p), files, local)
        for p, files in inputs.items()
    }

    def mapped(path: str) -> str:
        if path in here:
            return here[path]
        # Its folder is there on the driver.
        written = own / Path(path).relative_to(driver)
        written.parent.mkdir(parents=True, exist_ok=True)
        return str(written)

    try:
        result = run(replaced(item, mapped, driver))
        written, renamed = _put(store, own, attempt, driver)
        back = {local: p for p, local in here.items()}

        def told_of(path: str) -> str:
            if path in renamed or path in back:
                return renamed.get(path) or back[path]
            start = own if path.startswith(f"{own}{os.sep}") else store.folder
            return str(Path(driver) / Path(path).relative_to(start))

        return {"result": replaced(result, told_of, str(store.folder)), WRITTEN: written}
    finally:
        shutil.rmtree(own, ignore_errors=True)
        shutil.rmtree(read, ignore_errors=True)


def _put(store: Store, own: Path, attempt: str, driver: str) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Put what an attempt wrote below ``own`` where it belongs; what each file holds by its path as the driver sees it, and
    those paths by the ones that it was written to."""
    written: dict[str, dict[str, Any]] = {}
    renamed: dict[str, str] = {}
    for made in sorted(p for p in own.rglob("*") if p.is_file()):
        name = made.relative_to(own)
        final = name.with_name(of_attempt(name.name, attempt))
        told = str(Path(driver) / final)
        written[told] = describe(made)
        renamed[str(made)] = told
        target = store.folder / final
        target.parent.mkdir(parents=True, exist_ok=True)
        made.replace(target)
        store.share([str(target)])
    return written, renamed


def write_attempt(
    batches: Iterable[pa.RecordBatch], folder: str, partition_by: Sequence[str], place: LakePlace
) -> dict[str, dict[str, Any]]:
    """Rows of one task of a frame as Parquet below ``folder``, in their order: what each file holds, by its path.

    A file for each partition, or one. Rows of a partition lie beside each other.
    """
    import pyarrow.dataset as pads

    rows = iter(batches)
    first = next((b for b in rows if b.num_rows), None)
    if first is None:
        return {}
    store = _store_at(place)
    attempt = new_attempt()
    own = store.folder / ATTEMPTS / attempt
    keys = pa.schema([first.schema.field(name) for name in partition_by])
    try:
        pads.write_dataset(
            chain([first], rows),
            own / Path(folder).relative_to(place.folder),
            schema=first.schema,
            format="parquet",
            partitioning=pads.partitioning(keys, flavor="hive") if partition_by else None,
            use_threads=False,
            existing_data_behavior="overwrite_or_ignore",
        )
        return _put(store, own, attempt, place.folder)[0]
    finally:
        shutil.rmtree(own, ignore_errors=True)


def with_plain_names(target: Path, folder: Path, files: Sequence[str], local: Mapping[str, str]) -> str:
    """A folder of links to local files under the names that they had before an attempt named them."""
    for f in files:
        place = target / Path(f).relative_to(folder)
        link = place.with_name(plain_name(place.name))
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(local[f])
    return str(target)


def local_folder(store: Store, folder: str | Path, read: Path) -> str:
    """A scratch folder as this process reads it: itself where its files were written here, else links below ``read``."""
    files = store.below(Path(folder), "")
    if not any(f in store.described for f in files):
        return str(folder)
    store.local(files)
    target = read / store.name(folder)
    if target.exists():
        shutil.rmtree(target)
    return with_plain_names(target, Path(folder), files, {f: f for f in files})


@cache
def _store_at(place: LakePlace) -> Store:
    store = open_store(place.address, place.options)
    clear_left(store)
    return store


def clear_left(store: Store) -> None:
    """Remove what attempts of processes that were killed left in their folders here, a day ago or before."""
    for left in (store.folder / ATTEMPTS).glob("*"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def taken_up(store: Store, outcome: Mapping[str, Any]) -> Any:
    """The result of the attempt that counts; its files are there from now on."""
    store.describe(outcome[WRITTEN])
    return outcome["result"]
