"""Where deliveries of an audience go: a folder, or a prefix of an object store. All files of a delivery, or none."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from audiences import delivery

if TYPE_CHECKING:
    from lake.object_store import ObjectStore


class Outbox(ABC):
    """Deliveries of one audience by their labels."""

    @abstractmethod
    def clear(self) -> None:
        """Remove what killed deliveries left; call it only while no other delivery of the audience is running."""

    @abstractmethod
    def is_there(self, label: str) -> bool: ...

    @abstractmethod
    def manifest(self, label: str) -> dict[str, Any]:
        """HuaxiangError if the files beside it are not those that it describes."""

    @abstractmethod
    def opened(self, label: str) -> AbstractContextManager[Path]:
        """A folder to write a delivery into, its manifest last; when the block ends well all of it is there.

        DeliveryExistsError if the label is taken: nothing is ever overwritten.
        """

    @abstractmethod
    def local(self, label: str, file: str, scratch: Path) -> Path:
        """A file of a delivery as a local one, itself or a copy in ``scratch``."""

    @abstractmethod
    def note(self, label: str, name: str) -> bytes | None:
        """What was noted beside a delivery under that name."""

    @abstractmethod
    def write_note(self, label: str, name: str, content: bytes) -> None:
        """Note it, in the place of what was noted before."""

    @abstractmethod
    def place(self, label: str) -> str:
        """Path or address of the delivery, below which its files lie."""


class FolderOutbox(Outbox):
    def __init__(self, home: Path):
        self.home = home

    def clear(self) -> None:
        delivery.clear_partials(self.home)

    def is_there(self, label: str) -> bool:
        return (self.home / label).exists()

    def manifest(self, label: str) -> dict[str, Any]:
        return delivery.read_manifest(self.home / label)

    def opened(self, label: str) -> AbstractContextManager[Path]:
        return delivery.delivery_folder(self.home / label)

    def local(self, label: str, file: str, scratch: Path) -> Path:
        return self.home / label / file

    def note(self, label: str, name: str) -> bytes | None:
        path = self.home / label / name
        return path.read_bytes() if path.is_file() else None

    def write_note(self, label: str, name: str, content: bytes) -> None:
        delivery.write_beside(self.home / label, name, content)

    def place(self, label: str) -> str:
        return str(self.home / label)


class StoreOutbox(Outbox):
    """The manifest is put last and only if absent: a delivery without one is none, and is put anew."""

    def __init__(self, store: ObjectStore, audience: str):
        self.store, self.audience = store, audience

    def clear(self) -> None:
        """Files without a manifest are replaced by the next delivery of their label."""

    def is_there(self, label: str) -> bool:
        return self.store.is_there(self._name(label, delivery.MANIFEST))

    def manifest(self, label: str) -> dict[str, Any]:
        text = self.store.read(self._name(label, delivery.MANIFEST))
        assert text is not None, label
        found: dict[str, Any] = json.loads(text)

        def pieces(file: str) -> Iterator[bytes] | None:
            name = self._name(label, file)
            return self.store.chunks(name) if self.store.is_there(name) else None

        delivery.refuse_changed(found, pieces, self.place(label))
        return found

    @contextmanager
    def opened(self, label: str) -> Iterator[Path]:
        if self.is_there(label):
            raise delivery.DeliveryExistsError(
                f"{self.place(label)} is there already; deliveries are never overwritten"
            )
        with TemporaryDirectory(prefix="huaxiang-") as scratch:
            folder = Path(scratch)
            yield folder
            text = (folder / delivery.MANIFEST).read_bytes()
            for listed in delivery.listed_files(json.loads(text)):
                self.store.put_file(self._name(label, listed["file"]), folder / listed["file"])
            if not self.store.create(self._name(label, delivery.MANIFEST), text):
                raise delivery.DeliveryExistsError(
                    f"{self.place(label)} appeared meanwhile; deliveries are never overwritten"
                )

    def local(self, label: str, file: str, scratch: Path) -> Path:
        copy = scratch / file
        with copy.open("wb") as out:
            for piece in self.store.chunks(self._name(label, file)):
                out.write(piece)
        return copy

    def note(self, label: str, name: str) -> bytes | None:
        return self.store.read(self._name(label, name))

    def write_note(self, label: str, name: str, content: bytes) -> None:
        self.store.replace(self._name(label, name), content)

    def place(self, label: str) -> str:
        return f"{self.store.address}/{self.audience}/{label}"

    def _name(self, label: str, file: str) -> str:
        return f"{self.audience}/{label}/{file}"
