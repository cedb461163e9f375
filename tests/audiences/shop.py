"""A hand-made catalogue and audiences folder for the tests of this area."""

from __future__ import annotations

from pathlib import Path

from audiences.operands import Attribute
from schemas.configuration import Words


def attribute(
    name: str, kind: str, values: tuple[str, ...] = (), minimum: float | None = None, unit: str | None = None
) -> Attribute:
    words = Words(zh=name, en=name)
    return Attribute(name, kind, words, words, values, minimum, None, unit)  # type: ignore[arg-type]


CATALOGUE = {
    a.id: a
    for a in (
        attribute("register_city", "string"),
        attribute("gender", "string", ("female", "male", "unknown")),
        attribute("orders_ever", "int64", minimum=0),
        attribute("paid_amount_90d", "int64", minimum=0, unit="minor"),
        attribute("mean_gap", "float64"),
        attribute("is_follower", "bool"),
        attribute("last_purchase_day", "date"),
    )
}

HEAD = """\
name: {zh: 试, en: Trial}
description: {zh: 试, en: Trial}
owner: crm
"""


def write(folder: Path, name: str, body: str) -> Path:
    """An audience file with the usual head."""
    path = folder / f"{name}.yaml"
    path.write_text(HEAD + body, encoding="utf-8")
    return path
