"""Rows of ``activity`` for tests: made by hand, drawn at random, or drawn by Hypothesis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from features.facts import Fact, needs
from features.kernel import Products, Rows, compute, merge_files
from schemas.arrow import arrow_schema
from schemas.behaviours import BEHAVIOURS, DETAILS
from schemas.contracts import contract
from tests.kernel.oracle import oracle

SCHEMA = arrow_schema(contract("activity.activity"))
ZONE = "Asia/Shanghai"
USERS = 6
CODES = {
    "sku": {f"SKU-{n}": n for n in range(1, 9)},
    "seller": {"旗舰店": 1, "O'Hara": 2},
    "channel": {"app": 1, "miniprogram": 2, "web": 3},
}
# sku 7 has no brand, sku 8 stands in no product file
PRODUCTS = pa.table(
    {
        "sku_code": pa.array(range(1, 8), pa.int32()),
        "brand": ["资生堂", "资生堂", "Lancôme", "Lancôme", "O'Brand", "O'Brand", None],
        "category": ["serum", "cream", "cream", "lipstick", "lipstick", "", "cream"],
        "category_parent": ["skin", "skin", "skin", "make-up", "make-up", None, "skin"],
    }
)


def local_day(at: datetime, zone: str = ZONE) -> date:
    return at.astimezone(ZoneInfo(zone)).date()


def row(uid: int, behaviour: str, at: str | datetime, zone: str = ZONE, **columns: Any) -> dict[str, Any]:
    """One row; ``at`` as text is local time in the zone. Days not given follow from ``at``."""
    stamp = (
        at if isinstance(at, datetime) else datetime.fromisoformat(at).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    )
    day = local_day(stamp, zone)
    detail = columns.pop("detail", None)
    found = {
        "bucket": 0,
        "period": day.year * 100 + day.month,
        "uid": uid,
        "occurred_at": stamp,
        "day": day,
        "behaviour_code": BEHAVIOURS[behaviour],
        "sku_code": 0,
        "seller_code": 0,
        "channel_code": 0,
        "order_key": 0,
        "quantity": 0,
        "list_amount_minor": 0,
        "amount_minor": 0,
        "on_promotion": False,
        "detail_code": DETAILS[detail] if detail else 0,
        "peer_uid": -1,
        "valid_from_day": day,
        "void_day": None,
        "void_known_day": None,
        "flagged_day": None,
        "known_day": day,
        **columns,
    }
    return {
        name: date.fromisoformat(value) if name.endswith("day") and isinstance(value, str) else value
        for name, value in found.items()
    }


def table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """As a file holds it: sorted as the contract says."""
    order = contract("activity.activity").sort
    return pa.Table.from_pylist(sorted(rows, key=lambda r: [r[c] for c in order]), SCHEMA)


def merged(files: Sequence[pa.Table], facts: Sequence[Fact], users: int = USERS, base: int = 0) -> Rows:
    return merge_files(files, needs(facts, known_at=True).columns, base=base, users=users)


def values(
    files: Sequence[pa.Table],
    facts: Sequence[Fact],
    as_of: date,
    *,
    users: int = USERS,
    base: int = 0,
    known_at_day: date | None = None,
    zone: str = ZONE,
) -> dict[str, dict[int, Any]]:
    """Per fact the kernel's value by uid, codes as texts."""
    products, texts = Products.from_texts(PRODUCTS)
    found = compute(
        merged(files, facts, users, base),
        facts,
        as_of,
        known_at_day=known_at_day,
        products=products,
        codes=CODES | {key: {t: n for n, t in enumerate(words)} for key, words in texts.items()},
        zone=zone,
    )
    by_number = {kind: {n: text for text, n in known.items()} for kind, known in CODES.items()}
    by_number |= {key: dict(enumerate(words)) for key, words in texts.items()}
    out = {}
    for fact in facts:
        column = found[fact.column]
        assert column.type == fact.kernel_type
        plain = column.to_pylist()
        if fact.is_text:
            plain = [None if v is None else by_number[fact.measure][v] for v in plain]
        out[fact.column] = dict(zip(found["uid"].to_pylist(), plain, strict=True))
    return out


def one(rows: Iterable[Mapping[str, Any]], as_of: str, uid: int = 1, **fact: Any) -> Any:
    """The value of one fact for one user of hand-made rows."""
    declared = Fact.model_validate(fact)
    return values([table(rows)], [declared], date.fromisoformat(as_of))[declared.column][uid]


def connect(rows: pa.Table) -> duckdb.DuckDBPyConnection:
    """The oracle's relations over the rows."""
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'; SET threads = 1")
    con.register("activity_arrow", rows)
    con.execute("CREATE TABLE activity AS SELECT * FROM activity_arrow")
    con.register("products_arrow", PRODUCTS)
    con.execute("CREATE TABLE products AS SELECT * FROM products_arrow")
    con.execute("CREATE TABLE codes (code_kind VARCHAR, code INTEGER, code_value VARCHAR)")
    for kind, known in CODES.items():
        con.executemany("INSERT INTO codes VALUES (?, ?, ?)", [[kind, n, text] for text, n in known.items()])
    return con


def differences(
    con: duckdb.DuckDBPyConnection,
    found: Mapping[str, Mapping[int, Any]],
    facts: Sequence[Fact],
    as_of: date,
    *,
    known_at_day: date | None = None,
    zone: str = ZONE,
) -> list[str]:
    """Every cell in which the kernel and the oracle differ, as text."""
    out = []
    for fact in facts:
        expected = oracle(con, fact, as_of, known_at_day=known_at_day, zone=zone)
        for uid, value in found[fact.column].items():
            wanted = expected.get(uid, fact.absent)
            if value != wanted:
                out.append(f"{fact.key} uid {uid} as of {as_of}: kernel {value!r}, oracle {wanted!r}")
        assert not set(expected) - set(found[fact.column])
    return out


def moments(first: date, days: int, per_day: int) -> list[datetime]:
    """Instants spread over days so that several users and rows share one, with gaps around half an hour."""
    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    steps = (0, 600, 1800, 1801, 3600, 15 * 3600, 16 * 3600 - 1, 16 * 3600, 23 * 3600)[:per_day]
    return [start + timedelta(days=d, seconds=s) for d in range(days) for s in steps]
