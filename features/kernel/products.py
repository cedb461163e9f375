"""What a product belongs to, as codes: brand, category and the category above it, as of the day counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.facts import PRODUCT_KEYS

Codes = Mapping[str, Mapping[str, int]]
"""Kind of code -> text -> number, for the names that conditions use."""


@dataclass(frozen=True)
class Products:
    """For every product key an array indexed by sku code; 0 where unknown, and for any sku code beyond its end."""

    codes: Mapping[str, np.ndarray]

    @classmethod
    def none(cls) -> Products:
        return cls({key: np.zeros(1, np.int32) for key in PRODUCT_KEYS})

    @classmethod
    def from_codes(cls, table: pa.Table) -> Products:
        """From rows of ``sku_code`` and ``brand_code``, ``category_code``, ``category_parent_code`` (null: unknown)."""
        sku = table["sku_code"].to_numpy()
        # The last place stays 0: it answers for sku codes that came after the products were read.
        size = int(sku.max(initial=0)) + 2
        found = {}
        for key in PRODUCT_KEYS:
            found[key] = np.zeros(size, np.int32)
            found[key][sku] = pc.fill_null(table[f"{key}_code"], 0).to_numpy()
            found[key][0] = 0
        return cls(found)

    @classmethod
    def from_texts(cls, table: pa.Table) -> tuple[Products, dict[str, list[str]]]:
        """From rows of ``sku_code`` and the texts ``brand``, ``category``, ``category_parent``; empty is unknown.

        Also gives the texts by code (the first is of code 0). Codes follow the order of the texts, so that they are the
        same wherever they are made.
        """
        texts: dict[str, list[str]] = {}
        coded = {"sku_code": table["sku_code"]}
        for key in PRODUCT_KEYS:
            column = table[key].cast(pa.string())
            texts[key] = ["", *sorted(t for t in pc.unique(column).to_pylist() if t)]
            coded[f"{key}_code"] = pc.index_in(column, pa.array(texts[key], pa.string()))
        return cls.from_codes(pa.table(coded)), texts

    def of(self, key: str, sku_code: np.ndarray) -> np.ndarray:
        """The codes of ``key`` for every row."""
        table = self.codes[key]
        return table.take(sku_code, mode="clip")
