"""Lists of ids that somebody put into the project: where one lies, what it is known by, and its ids as they stand there."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

from schemas.configuration import nearest
from schemas.contracts import feeds
from schemas.errors import ConfigurationError

MOST_BYTES = 256 << 20
"""Some ten million ids; a longer list belongs into a feed."""
USER_ID = "user_id"
HEADS = ("id", "ids")
"""First lines that are no id beside the kind itself."""


def id_kinds() -> dict[str, str]:
    """What a list may hold, by the name of the field that feeds have it under: the kind of id in ``identity``."""
    return {column: kind for feed in feeds() for kind, column in feed.persons.items()}


def list_path(project: Path, file: str) -> Path:
    """Where a list lies; ConfigurationError where that is not a file inside the project folder."""
    whole = project.resolve()
    path = (whole / file).resolve()
    if Path(file).is_absolute() or not path.is_relative_to(whole):
        raise ConfigurationError(f"{file!r} is not inside the project folder; put the list into it, as lists/NAME.csv")
    if not path.is_file():
        there = sorted(str(p.relative_to(whole)) for p in path.parent.glob("*.csv")) if path.parent.is_dir() else []
        raise ConfigurationError(
            f"there is no file {file!r} in the project folder; {nearest(file, there)}".rstrip("; ")
        )
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ConfigurationError(f"{file!r} has {size:,} bytes, more than the {MOST_BYTES:,} that a list may have")
    return path


def digest_of(project: Path, file: str) -> str:
    """What the content is known by; of a list that cannot be read, that it cannot."""
    try:
        with list_path(project, file).open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except ConfigurationError:
        return "not there"


def ids_of(path: Path, kind: str, column: str | None) -> Iterator[str]:
    """The ids of a list line by line: of the named column, else the first, whose head may be missing.

    ConfigurationError for text that is not UTF-8 and for a column that the first line does not name.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as opened:
            rows = csv.reader(opened)
            first = next(rows, [])
            place = 0
            if column is not None:
                if column not in first:
                    raise ConfigurationError(f"{path.name}:1: no column {column!r}; {nearest(column, first)}")
                place = first.index(column)
            elif first and first[0].strip().lower() not in (kind, *HEADS):
                yield first[0]
            for row in rows:
                if len(row) > place:
                    yield row[place]
    except UnicodeDecodeError as e:
        raise ConfigurationError(f"{path.name}: not UTF-8 at byte {e.start}; save the list as UTF-8") from None
    except csv.Error as e:
        raise ConfigurationError(f"{path.name}: no list of values: {e}") from None
