"""Where deliveries of an audience go: a folder, or a prefix of an object store. Both files of a delivery, or none."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiences import delivery
from lake.store import Store


class Outbox(ABC):
    """Deliveries of one audience by their labels."""

    @abstractmethod
    def clear(self) -> None:
        """Remove what killed deliveries left; call it only while no other delivery of the audience is running."""

    @abstractmethod
    def is_there(self, label: str) -> bool: ...

    @abstractmethod
    def manifest(self, label: str) -> dict[str, Any]:
        """HuaxiangError if the file beside it is not the one that it describes."""

    @abstractmethod
    def deliver(self, label: str, file: str, content: bytes, manifest: Mapping[str, Any]) -> None:
        """DeliveryExistsError if the label is taken: nothing is ever overwritten."""

    @abstractmethod
    def place(self, label: str) -> str:
        """Path or address of the delivery, below which both files lie."""


class FolderOutbox(Outbox):
    def __init__(self, home: Path):
        self.home = home

    def clear(self) -> None:
        delivery.clear_partials(self.home)

    def is_there(self, label: str) -> bool:
        return (self.home / label).exists()

    def manifest(self, label: str) -> dict[str, Any]:
        return delivery.read_manifest(self.home / label)

    def deliver(self, label: str, file: str, content: bytes, manifest: Mapping[str, Any]) -> None:
        delivery.deliver(self.home / label, file, content, manifest)

    def place(self, label: str) -> str:
        return str(self.home / label)


class StoreOutbox(Outbox):
    """The manifest is put last and only if absent: a delivery without one is none, and is put anew."""

    def __init__(self, store: Store, audience: str):
        self.store, self.audience = store, audience

    def clear(self) -> None:
        """A file without a manifest is replaced by the next delivery of its label."""

    def is_there(self, label: str) -> bool:
        return self.store.is_there(self._name(label, delivery.MANIFEST))

    def manifest(self, label: str) -> dict[str, Any]:
        text = self.store.read(self._name(label, delivery.MANIFEST))
        assert text is not None, label
        found: dict[str, Any] = json.loads(text)
        delivery.refuse_changed(found, self.store.read(self._name(label, found["file"])), self.place(label))
        return found

    def deliver(self, label: str, file: str, content: bytes, manifest: Mapping[str, Any]) -> None:
        if self.is_there(label):
            raise delivery.DeliveryExistsError(
                f"{self.place(label)} is there already; deliveries are never overwritten"
            )
        self.store.replace(self._name(label, file), content)
        text = json.dumps(delivery.with_checksum(manifest, file, content), ensure_ascii=False, indent=2) + "\n"
        if not self.store.create(self._name(label, delivery.MANIFEST), text.encode()):
            raise delivery.DeliveryExistsError(
                f"{self.place(label)} appeared meanwhile; deliveries are never overwritten"
            )

    def place(self, label: str) -> str:
        return f"{self.store.address}/{self.audience}/{label}"

    def _name(self, label: str, file: str) -> str:
        return f"{self.audience}/{label}/{file}"
