"""Which kind of store an address means."""

from __future__ import annotations

from pathlib import Path

from lake.folder_store import FolderStore
from lake.store import Store, StoreOptions, scheme
from schemas.errors import ConfigurationError

SCHEMES = ("s3", "gs", "abfss", "az")
"""What an address may begin with, besides being a folder."""


def open_store(address: str | Path, options: StoreOptions | None = None) -> Store:
    """The store at an address: a folder's path, or ``s3://``, ``gs://`` or ``abfss://`` with bucket and prefix."""
    if isinstance(address, Path) or scheme(address) is None:
        return FolderStore(Path(address))
    if scheme(address) not in SCHEMES:
        known = ", ".join(f"{s}://" for s in SCHEMES)
        raise ConfigurationError(f"{address}: a lake lies in a folder or at {known}")
    # Only who uses an object store pays for its client.
    from lake.object_store import ObjectStore

    return ObjectStore(address, options or StoreOptions())
