"""Arrays that tasks of one step hand on to the next, as files in the run's scratch folder.

A task reads the arrays that it wants, and maps large ones into memory: workers of one machine then share them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lake.spans import span


@span("write", "arrays")
def save_arrays(folder: Path | str, **arrays: np.ndarray) -> None:
    """Write each array to ``folder/NAME.npy``."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        np.save(place / f"{name}.npy", values, allow_pickle=False)


@span("read", "arrays")
def load_arrays(folder: Path | str, *names: str) -> list[np.ndarray]:
    """The named arrays, mapped read-only."""
    return [np.asarray(np.load(Path(folder) / f"{name}.npy", mmap_mode="r", allow_pickle=False)) for name in names]


def joined(folders: Sequence[str], name: str) -> np.ndarray:
    """One array of all folders, one after the other, in memory; there is at least one folder."""
    return np.concatenate([np.load(Path(f) / f"{name}.npy", allow_pickle=False) for f in folders])
