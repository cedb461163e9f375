"""What readers make of a lake's data files once and read many times: on this machine, below the lake's local folder.

It belongs to no table and can be made again from the lake at any time. A file appears whole under its name or not at all,
never changes, and is shared by every process that maps it. What was not used for longest goes first.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
import time
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lake.store import Store

FOLDER = "_made"
UNUSED_DAYS = 14
"""Files that nobody used for so long are removed, however much room there is."""
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
ABANDONED_SECONDS = 3600
"""After which a file in the making is a dead process's."""


class SingleRows:
    """A mapped table of which single rows are asked for: it lies in batches, and a row unpacks one of them.

    Rows are in order of an integer key; ``first`` is the key of each batch's first row.
    """

    def __init__(self, reader: pa.ipc.RecordBatchFileReader):
        self._reader = reader
        self._first: list[int] = json.loads(reader.schema.metadata[b"first"])

    def of(self, column: str, key: int) -> dict[str, Any] | None:
        """The row of a key; None if there is none."""
        place = bisect_right(self._first, key) - 1
        if place < 0:
            return None
        batch = self._reader.get_batch(place)
        row = pc.index(batch[column], key).as_py()
        return None if row < 0 else batch.slice(row, 1).to_pylist()[0]


class LocalCache:
    """Files by name, at most ``most_bytes`` of them together.

    Where the lake's folder cannot be written, the files are this process's own; ``is_shared`` says which.
    """

    def __init__(self, store: Store, most_bytes: int):
        self.folder = store.path(FOLDER)
        self.most_bytes = most_bytes
        self._own: tempfile.TemporaryDirectory[str] | None = None
        self._grew = False

    @property
    def is_shared(self) -> bool:
        return self._own is None

    def table(self, name: str) -> pa.Table | None:
        """The table of that name, mapped and not read; None if it was not made, or was removed."""
        path = self.folder / name
        try:
            # What was mapped stays so; the file itself need not stay open, or a large shop would have too many.
            with pa.memory_map(str(path)) as source:
                found = pa.ipc.open_file(source).read_all()
        except (FileNotFoundError, pa.ArrowInvalid):
            # Invalid is what a machine left that went down before it had written everything.
            return None
        with suppress(OSError):
            os.utime(path)
        return found

    def put(self, name: str, table: pa.Table) -> pa.Table:
        """Write a table under its name and give it as it is mapped; one that another wrote meanwhile is as good."""
        self._write(name, table)
        mapped = self.table(name)
        return table if mapped is None else mapped

    def rows(self, name: str, key: str, at_once: int, make: Callable[[], pa.Table]) -> SingleRows:
        """The rows of that name, of which single ones are asked for; written now if they are not there.

        ``make`` gives them in order of ``key``. They are compressed in batches of ``at_once`` rows.
        """
        found = self._opened(name)
        if found is None:
            table = make().combine_chunks()
            first = [table[key][i].as_py() for i in range(0, len(table), at_once)]
            table = table.replace_schema_metadata({"first": json.dumps(first)})
            self._write(name, table, at_once)
            found = self._opened(name)
            assert found is not None, name
        return found

    def _opened(self, name: str) -> SingleRows | None:
        path = self.folder / name
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
        except (FileNotFoundError, pa.ArrowInvalid):
            return None
        with suppress(OSError):
            os.utime(path)
        return SingleRows(reader)

    def _write(self, name: str, table: pa.Table, at_once: int | None = None) -> None:
        try:
            self._placed(name, table, at_once)
        except FileNotFoundError:
            # Another process has just removed the folder, which was empty.
            self._placed(name, table, at_once)
        except OSError as e:
            if e.errno not in UNWRITABLE or not self.is_shared:
                raise
            self._keep_to_itself()
            self._placed(name, table, at_once)

    def _keep_to_itself(self) -> None:
        self._own = tempfile.TemporaryDirectory(prefix="huaxiang-")
        self.folder = Path(self._own.name)

    def _placed(self, name: str, table: pa.Table, at_once: int | None) -> None:
        self._grew = True
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{uuid.uuid4().hex}.part")
        try:
            how = pa.ipc.IpcWriteOptions(compression=None if at_once is None else "lz4")
            with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, table.schema, options=how) as writer:
                writer.write_table(table, max_chunksize=at_once)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def trim(self) -> None:
        """If something was added: remove what was not used for long, and of the rest the least recently used until they fit."""
        if not self._grew:
            return
        self._grew = False
        files = sorted(self._files(), reverse=True)
        now, kept = time.time(), 0
        for used, size, path in files:
            kept += size
            dead = path.suffix == ".part"
            allowed = ABANDONED_SECONDS if dead else UNUSED_DAYS * 86_400
            if now - used > allowed or (kept > self.most_bytes and not dead):
                with suppress(OSError):
                    path.unlink()
                with suppress(OSError):
                    path.parent.rmdir()

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Last use, bytes and path of every file; what vanishes meanwhile is passed over."""
        for path in self.folder.rglob("*"):
            with suppress(FileNotFoundError):
                found = path.stat()
                if path.is_file():
                    yield found.st_mtime, found.st_size, path

    def made(self, name: str, make: Callable[[], pa.Table]) -> pa.Table:
        """The table of that name, made now if it is not there."""
        found = self.table(name)
        return self.put(name, make()) if found is None else found
