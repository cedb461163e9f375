"""Where a lake lies: a folder, or a prefix of an object store. Nothing else opens, lists, renames, links or locks its paths.

Whatever the store, the house handles paths below ``folder``: the lake itself, or the local copy that an object store is
read through. Data files never change once published, so a copy is right for ever. Small state (releases, journals,
intents, leases) goes by name and by four verbs: create if absent, replace, read, list.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

_ADDRESS = re.compile(r"^([a-z][a-z0-9+.-]*)://")


@dataclass(frozen=True)
class StoreOptions:
    """How an object store is reached, as far as its own environment variables do not say it; never a secret.

    ``cache`` is the folder of local copies and ``cache_gb`` their bound; ``lease_seconds`` is how long a holder that is
    gone is waited for, ``clock_skew_seconds`` how far apart the clocks of two hosts may be.
    """

    endpoint: str | None = None
    region: str | None = None
    cache: str | None = None
    cache_gb: float = 20.0
    lease_seconds: float = 60.0
    clock_skew_seconds: float = 90.0


@dataclass(frozen=True)
class Holding:
    """Who holds a name: process, host and since when, as far as its note says; ``own``: this process."""

    name: str
    process: int | None = None
    host: str | None = None
    since: str | None = None
    own: bool = False


class HeldByAnotherError(Exception):
    """A name is held; ``holding`` says by whom."""

    def __init__(self, holding: Holding):
        super().__init__(holding.name)
        self.holding = holding


class Lease(ABC):
    """A name that this process holds until ``release``."""

    @abstractmethod
    def is_ours(self) -> bool:
        """Whether it is still held: asked of the store, not of memory."""

    @abstractmethod
    def release(self) -> None: ...


@dataclass
class Store(ABC):
    """One lake's place. ``folder`` is where its paths lie for this process, ``address`` what a user calls it."""

    folder: Path
    address: str
    is_remote: bool = False
    described: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What tasks that ran elsewhere wrote, by path: what ``lake/staged.py`` tells of a file."""

    # --- small state, by name below the root ---

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """The whole of it; None where there is none."""

    @abstractmethod
    def create(self, name: str, data: bytes, *, private: bool = False) -> bool:
        """Write it whole, unless the name is taken: then False. ``private``: for the owner's eyes only, on a folder."""

    @abstractmethod
    def replace(self, name: str, data: bytes) -> None:
        """Write it whole, whatever was there."""

    @abstractmethod
    def names(self, prefix: str) -> list[str]:
        """Names below a prefix (a folder's name with its slash), in order."""

    @abstractmethod
    def sizes(self, prefix: str) -> dict[str, int]:
        """Bytes of what lies below a prefix, by name."""

    @abstractmethod
    def is_there(self, name: str) -> bool: ...

    @abstractmethod
    def delete(self, names: Iterable[str]) -> None:
        """Names that are not there are passed over."""

    @abstractmethod
    def hold(self, name: str) -> Lease:
        """Hold a name; HeldByAnotherError where somebody does."""

    @abstractmethod
    def holdings(self) -> list[Holding]:
        """Every name that is held now, by whomever."""

    # --- data files, by path below ``folder`` ---

    @abstractmethod
    def local(self, paths: Iterable[str]) -> list[str]:
        """The same paths, each of them a local file now."""

    @abstractmethod
    def share(self, paths: Iterable[str]) -> None:
        """Put local files into the store under their names; those that are there stay."""

    @abstractmethod
    def url(self, path: str | Path) -> str:
        """The path as an engine of another machine opens it."""

    @abstractmethod
    def delta_options(self) -> dict[str, str]:
        """What ``deltalake`` is given to open the lake's tables."""

    def table_properties(self) -> dict[str, str]:
        """Of tables that are made here, beside what every table has."""
        return {}

    @abstractmethod
    def delta_address(self, path: Path) -> str:
        """A table's folder as ``deltalake`` opens it."""

    @property
    def arrow_reads(self) -> bool:
        """Whether Arrow opens the store itself, and fetches of a file only what it needs; else files are made local first."""
        return True

    @abstractmethod
    def arrow_files(self, table: Path) -> pafs.FileSystem:
        """The files of a table for Arrow and DuckDB, by their names below it."""

    @abstractmethod
    def newest_version(self, table: Path) -> int | None:
        """The greatest version in a table's log; None where there is no log."""

    @abstractmethod
    def remove_below(self, folder: Path) -> None:
        """Remove every file below a folder that no table refers to."""

    def trim(self) -> None:  # noqa: B027  a folder has no copies
        """Keep local copies within their bound."""

    def remove(self, names: Iterable[str]) -> None:
        """Data files that nothing names any more, local copies of them, and folders that are empty without them."""
        gone = list(names)
        self.delete(gone)
        for path in map(self.path, gone):
            path.unlink(missing_ok=True)
            for folder in takewhile(lambda p: p != self.folder, path.parents):
                try:
                    folder.rmdir()
                except OSError:
                    break

    def remove_empty(self, name: str) -> None:
        """A folder's name below which nothing is any more."""
        with suppress(OSError):
            (self.folder / name).rmdir()

    def is_known(self, path: str) -> bool:
        """Whether a file is there, as far as this process knows without asking: the others are still to be written."""
        return path in self.described or os.path.isfile(path)  # noqa: PTH113  asked for thousands of paths

    def note_there(self, paths: Iterable[str]) -> None:  # noqa: B027  a folder is asked itself
        """Take note of files that a table or the manifest names."""

    # --- what both share ---

    def name(self, path: str | Path) -> str:
        """A path's name below the root."""
        return Path(path).relative_to(self.folder).as_posix()

    def path(self, name: str) -> Path:
        return self.folder / name

    def describe(self, described: Mapping[str, dict[str, Any]]) -> None:
        """Take up what a task that ran elsewhere wrote: from now on its files are there."""
        self.described.update(described)

    def below(self, folder: Path, suffix: str = ".parquet") -> list[str]:
        """Files below a folder, in order: what this process wrote and what counts of the tasks that ran elsewhere.

        Of a task that ran twice, the files of the attempt whose result was taken count, and no others.
        """
        here = (str(p) for p in folder.rglob(f"*{suffix}") if not is_of_attempt(p.name)) if folder.is_dir() else ()
        start = f"{folder}{os.sep}"
        there = (p for p in self.described if p.startswith(start) and p.endswith(suffix))
        return sorted({*here, *there})

    def forget(self, path: str | Path) -> None:
        """A staged or scratch file is not wanted any more."""
        self.described.pop(str(path), None)
        Path(path).unlink(missing_ok=True)

    def sweep(self, folder: Path) -> None:
        """Remove what attempts left below a staging folder whose results were not taken: of lost machines, of second tries."""
        start = f"{folder}{os.sep}"
        if not any(p.startswith(start) for p in self.described):
            return
        names = self.names(f"{self.name(folder)}/")
        self.delete(n for n in names if is_of_attempt(n) and str(self.path(n)) not in self.described)

    def drop_parts(self, name: str) -> None:
        """Remove files of a folder that a dead process copied in part; the caller holds its lock."""
        for part in (self.folder / name).glob(".*.part"):
            part.unlink(missing_ok=True)

    def forget_below(self, folder: Path) -> None:
        """The same for every file below a folder."""
        for path in [p for p in self.described if p.startswith(f"{folder}{os.sep}")]:
            del self.described[path]
        shutil.rmtree(folder, ignore_errors=True)


ATTEMPT = re.compile(r"--[0-9a-f]{12}(?=\.[a-z]+$)")
"""How the name of a file says which attempt of a task wrote it."""


def of_attempt(name: str, attempt: str) -> str:
    """``part-0.parquet`` of an attempt: ``part-0--3f2a....parquet``."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}--{attempt}{dot}{suffix}"


def is_of_attempt(name: str) -> bool:
    return ATTEMPT.search(name) is not None


def plain_name(name: str) -> str:
    """A file's name before an attempt named it."""
    return ATTEMPT.sub("", name)


def new_attempt() -> str:
    return uuid.uuid4().hex[:12]


def scheme(address: str) -> str | None:
    """``s3`` of ``s3://bucket/prefix``; None for a folder."""
    found = _ADDRESS.match(address)
    return found.group(1) if found else None


def in_one_line(e: BaseException) -> str:
    """A library's own words, without line ends and colours."""
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(e)).split())
    return text if len(text) <= 400 else f"{text[:400]} ..."
