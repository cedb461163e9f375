"""Rows of a log with the uid of the person who acted."""

from __future__ import annotations

from datetime import date
from typing import Any

from features.identity import resolve
from features.links import links_for_table, links_of, merged_links
from lake.engine import Engine
from schemas.contracts import contract
from tests.silver import at

IDS = "id_kind string, id_value string, uid bigint, from_day date, until_day date, first_seen_at timestamp"
CUT = date(2026, 3, 4)
KNOWN = [
    ("member", "a", 0, None, None, None),
    ("device", "d", 0, None, CUT, None),
    ("device", "d", 1, CUT, None, None),
    ("cookie", "c", 2, None, None, None),
    ("guest", "o1", 3, None, None, None),
]
ROWS = "n int, day date, member_id string, device_id string, cookie_id string, order_id string"
COLUMNS = {"cookie": "cookie_id", "device": "device_id", "member": "member_id"}


def resolved(engine: Engine, rows: list[tuple[Any, ...]], columns: dict[str, str]) -> list[int | None]:
    identifiers = engine.spark.createDataFrame(KNOWN, IDS)
    numbered = [(n, *r) for n, r in enumerate(rows)]
    found = resolve(engine.spark.createDataFrame(numbered, ROWS), identifiers, columns, "day").orderBy("n").collect()
    assert [r["n"] for r in found] == list(range(len(rows)))
    return [r["uid"] for r in found]


def test_the_strongest_id_of_a_row_decides_as_it_was_on_that_day(engine: Engine) -> None:
    day = date(2026, 3, 3)
    rows = [
        (day, "a", "d", "c", "o"),
        (day, None, "d", "c", "o"),
        (CUT, None, "d", "c", "o"),
        (CUT, None, None, "c", "o"),
        (CUT, "a", "d", None, "o"),
    ]
    assert resolved(engine, rows, COLUMNS) == [0, 0, 1, 2, 0]


def test_a_row_without_an_id_is_its_guest_only_where_guests_are_asked_for(engine: Engine) -> None:
    rows = [(CUT, None, None, None, "o1"), (CUT, None, None, "c", "o1")]
    assert resolved(engine, rows, {**COLUMNS, "guest": "order_id"}) == [3, 2]
    assert resolved(engine, rows, COLUMNS) == [None, 2]


def test_an_id_that_is_not_known_gives_no_person(engine: Engine) -> None:
    assert resolved(engine, [(CUT, "new", "d", "c", "o")], COLUMNS) == [None]


def test_links_of_a_row_are_dated_in_the_business_zone(engine: Engine) -> None:
    c = contract("silver.browse")
    schema = "occurred_at timestamp, _ingested_at timestamp, " + ", ".join(f"{v} string" for v in c.persons.values())
    stamp = at("2026-03-02 00:30")
    order = list(c.persons)
    ids = [{"device": "d", "cookie": "c"}.get(kind) for kind in order]
    rows = engine.spark.createDataFrame([(stamp, stamp, *ids)] * 3, schema)
    links = merged_links([links_of(rows, c, lambda df, _: df)])
    found = links_for_table(links, "Asia/Shanghai").collect()
    assert {(r["id_kind"], r["other_kind"], r["from_day"]) for r in found} == {
        ("device", "device", date(2026, 3, 2)),
        ("device", "cookie", date(2026, 3, 2)),
        ("cookie", "cookie", date(2026, 3, 2)),
    }
    assert len(found) == 3
