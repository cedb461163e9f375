"""A lake in a folder: its paths are its files."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

import pyarrow.fs as pafs

from lake.file_locks import held_files, hold_file
from lake.store import Holding, Lease, Store


class FolderStore(Store):
    """A lake in a folder: its paths are its files, and the kernel of the operating system frees what a dead process held."""

    def __init__(self, folder: Path):
        super().__init__(Path(folder).absolute(), str(Path(folder).absolute()))

    def read(self, name: str) -> bytes | None:
        try:
            return (self.folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def create(self, name: str, data: bytes, *, private: bool = False) -> bool:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return put_if_absent(path, data, mode=0o600 if private else 0o666)

    def replace(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{uuid.uuid4().hex}.part")
        try:
            part.write_bytes(data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def names(self, prefix: str) -> list[str]:
        start = self.folder / prefix
        found = (p for p in start.rglob("*") if p.is_file() and not p.name.startswith("."))
        return sorted(self.name(p) for p in found)

    def sizes(self, prefix: str) -> dict[str, int]:
        return {name: (self.folder / name).stat().st_size for name in self.names(prefix)}

    def is_there(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)

    def hold(self, name: str) -> Lease:
        return hold_file(self.folder / "_locks" / f"{name}.lock", name)

    def holdings(self) -> list[Holding]:
        return held_files(self.folder / "_locks")

    def local(self, paths: Iterable[str]) -> list[str]:
        return list(paths)

    def share(self, paths: Iterable[str]) -> None:
        """Every path is there already."""

    def url(self, path: str | Path) -> str:
        return str(path)

    def delta_options(self) -> dict[str, str]:
        return {}

    def delta_address(self, path: Path) -> str:
        return str(path)

    def arrow_files(self, table: Path) -> pafs.FileSystem:
        return pafs.SubTreeFileSystem(str(table), pafs.LocalFileSystem())

    def newest_version(self, table: Path) -> int | None:
        try:
            names = [f.name for f in (table / "_delta_log").iterdir()]
        except FileNotFoundError:
            return None
        return max((int(n[:20]) for n in names if n.endswith(".json") and n[:20].isdigit()), default=None)

    def remove_below(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)


def put_if_absent(path: Path, data: bytes | str, mode: int = 0o666) -> bool:
    """Write a whole small file under its name, or not at all; False if the name is taken. ``mode`` as the umask allows."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    opened = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(opened, "wb") as f:
            f.write(data.encode() if isinstance(data, str) else data)
            f.flush()
            os.fsync(f.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True
