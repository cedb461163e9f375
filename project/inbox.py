"""Which files of the inbox a project's mappings name, and which none does."""

from __future__ import annotations

import fnmatch
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from features.sources import Mapping
from lake.manifest import ManifestRow

if TYPE_CHECKING:
    from lake.object_store import ObjectStore

CHUNK = 1 << 20

HIDDEN = ".*"
"""Names of files that are no arrivals at all; nobody is told of them."""
UNFINISHED = ("_*", "*~", "*.part", "*.tmp", "*.filepart", "*.crdownload")
"""Names of files that are still being written, as far as a name tells."""


@dataclass(frozen=True)
class Waiting:
    """One file of the inbox: its name below it, its bytes, and marks that change whenever its content may have changed."""

    name: str
    bytes: int
    marks: tuple[Any, ...]


class Inbox(ABC):
    """Where files wait: a folder, or a prefix of an object store, so that who uploads them needs no shared disk."""

    address: str

    @abstractmethod
    def files(self) -> list[Waiting]:
        """Every file, in order of name."""

    @abstractmethod
    def matching(self, pattern: str) -> list[Waiting]:
        """Files whose name below the inbox matches a pattern as ``Path.glob`` has them, in order of name."""

    @abstractmethod
    def marked(self, name: str) -> Waiting:
        """One file as it is now; OSError where it cannot be looked at."""

    @abstractmethod
    def chunks(self, name: str) -> Iterator[bytes]:
        """Its content; OSError where it cannot be read."""


class FolderInbox(Inbox):
    def __init__(self, folder: Path):
        self.folder, self.address = folder, str(folder)

    def files(self) -> list[Waiting]:
        return self._of(self.folder.rglob("*"))

    def matching(self, pattern: str) -> list[Waiting]:
        return self._of(self.folder.glob(pattern))

    def _of(self, paths: Iterable[Path]) -> list[Waiting]:
        names = sorted(p.relative_to(self.folder).as_posix() for p in paths if p.is_file())
        return [Waiting(name, 0, ()) for name in names]

    def marked(self, name: str) -> Waiting:
        stat = (self.folder / name).stat()
        return Waiting(name, stat.st_size, (stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_ctime_ns))

    def chunks(self, name: str) -> Iterator[bytes]:
        with (self.folder / name).open("rb") as source:
            while chunk := source.read(CHUNK):
                yield chunk


class StoreInbox(Inbox):
    """What a list shows is taken: a file that is put while it is listed comes with the next ingest."""

    def __init__(self, store: ObjectStore):
        self.store, self.address = store, store.address

    def files(self) -> list[Waiting]:
        return [Waiting(f.name, f.bytes, (f.bytes, f.mark)) for f in self.store.objects()]

    def matching(self, pattern: str) -> list[Waiting]:
        return [f for f in self.files() if is_matched(f.name, pattern)]

    def marked(self, name: str) -> Waiting:
        found = self.store.object(name)
        if found is None:
            raise FileNotFoundError(2, "it is gone")
        return Waiting(name, found.bytes, (found.bytes, found.mark))

    def chunks(self, name: str) -> Iterator[bytes]:
        return self.store.chunks(name)


def is_matched(name: str, pattern: str) -> bool:
    """Whether a name with slashes matches a pattern as ``Path.glob`` has them: ``*`` stays within a part, ``**`` spans parts."""
    return _parts_match(name.split("/"), pattern.split("/"))


def _parts_match(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    if not wanted:
        return not parts
    first, further = wanted[0], wanted[1:]
    if first == "**":
        return any(_parts_match(parts[n:], further) for n in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], first) and _parts_match(parts[1:], further)


def matches(inbox: Inbox, mappings: Iterable[Mapping]) -> list[tuple[Mapping, Waiting]]:
    """Every file of the inbox that a mapping names, in order of mapping and name."""
    return [(m, f) for m in mappings for f in inbox.matching(m.files) if _is_arrival(f.name)]


def unmatched(inbox: Inbox, mappings: Sequence[Mapping]) -> list[str]:
    """Files of the inbox that no mapping names: a new kind of file, or a mapping whose pattern is wrong."""
    named = {f.name for _, f in matches(inbox, mappings)}
    return [f.name for f in inbox.files() if _is_arrival(f.name) and f.name not in named]


def unfinished(inbox: Inbox) -> list[str]:
    """Files of the inbox that wait because their names say that they are still being written, whatever a mapping names."""
    return [f.name for f in inbox.files() if is_unfinished(f.name)]


def unfinished_in_words(names: Sequence[str], shown: int) -> str:
    """How many wait and why, with the first names."""
    listed = ", ".join(names[:shown]) + (f" and {len(names) - shown:,} more" if len(names) > shown else "")
    what = f"{len(names):,} files wait" if len(names) > 1 else "1 file waits"
    patterns = " ".join(UNFINISHED)
    return f"{what} as unfinished: {listed} (names like {patterns}; rename what is whole)"


def without_files(
    mappings: Sequence[Mapping], found: Sequence[tuple[Mapping, Waiting]], rows: Sequence[ManifestRow]
) -> list[str]:
    """What to say of mappings that no file was ever for: their pattern is wrong, or the feed is still to come."""
    seen = {m.name for m, _ in found} | {r.source for r in rows}
    return [
        f"sources/{m.name}.yaml ({m.feed}) names {m.files}: the inbox has no such file, and none was taken before"
        for m in mappings
        if m.name not in seen
    ]


def is_unfinished(name: str) -> bool:
    last = PurePosixPath(name).name
    return not _is_hidden(last) and any(fnmatch.fnmatch(last, pattern) for pattern in UNFINISHED)


def _is_hidden(last: str) -> bool:
    return fnmatch.fnmatch(last, HIDDEN)


def _is_arrival(name: str) -> bool:
    return not _is_hidden(PurePosixPath(name).name) and not is_unfinished(name)
