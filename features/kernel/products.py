"""What a product belongs to, as codes: brand, category and the category above it, as of the day counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.kernel.arrays import from_arrow
from schemas.measures import PRODUCT_KEYS

Codes = Mapping[str, Mapping[str, int | Sequence[int]]]
"""Kind of code -> text -> number, or numbers of all that have the name, for the names that conditions use."""

_EMPTY = pa.StringArray.from_buffers(1, pa.py_buffer(np.zeros(2, np.int32)), pa.py_buffer(b""))


@dataclass(frozen=True)
class Products:
    """For every product key an array indexed by sku code; 0 where unknown, and for any sku code beyond its end.

    ``texts`` are what the codes stand for, by code; the first is empty.
    """

    codes: Mapping[str, np.ndarray]
    texts: Mapping[str, pa.StringArray] = field(default_factory=dict)

    @classmethod
    def none(cls) -> Products:
        return cls({key: np.zeros(1, np.int32) for key in PRODUCT_KEYS})

    @classmethod
    def from_texts(cls, table: pa.Table) -> tuple[Products, dict[str, list[str]]]:
        """From rows of ``sku_code`` and the texts ``brand``, ``category``, ``category_parent``; empty is unknown.

        Also gives the texts by code (the first is of code 0). Codes follow the order of the texts, so that they are the
        same wherever they are made.
        """
        sku = from_arrow(table["sku_code"], np.dtype(np.int64), None, "sku_code")
        # The last place stays 0: it answers for sku codes that came after the products were read.
        size = int(sku.max(initial=0)) + 2
        codes, texts = {}, {}
        for key in PRODUCT_KEYS:
            column = table[key].cast(pa.string())
            known = pc.unique(column).drop_null()
            known = known.take(pc.sort_indices(known))
            known = known[1:] if len(known) and known[0].as_py() == "" else known
            codes[key] = np.zeros(size, np.int32)
            codes[key][sku] = from_arrow(pc.index_in(column, known), np.dtype(np.int32), -1, key) + 1
            codes[key][0] = 0
            texts[key] = pa.concat_arrays([_EMPTY, known])
        return cls(codes, texts), {key: words.to_pylist() for key, words in texts.items()}

    def of(self, key: str, sku_code: np.ndarray) -> np.ndarray:
        """The codes of ``key`` for every row."""
        return self.codes[key].take(sku_code, mode="clip")
