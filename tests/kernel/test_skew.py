"""Rows that lie together on one user and one day give every fact its own value: the kernel against plain SQL."""

from __future__ import annotations

import random
from datetime import date

from schemas.measures import MEASURES
from tests.kernel.shop import connect, differences, table, values
from tests.kernel.test_against_the_oracle import drawn_row, every_fact

HUB, AS_OF = 3, date(2026, 3, 12)


def test_every_kind_of_fact_equals_its_sql_where_one_user_and_one_day_have_most_rows() -> None:
    r = random.Random(20260312)
    rows = [drawn_row(r) for _ in range(500)]
    festival = [row for row in rows if row["day"] == date(2026, 3, 3)]
    rows = [row | {"uid": HUB} if r.random() < 0.8 else row for row in [*rows, *festival * 20]]
    assert sum(row["uid"] == HUB for row in rows) > 0.7 * len(rows)
    assert sum(row["day"] == date(2026, 3, 3) for row in rows) > 0.4 * len(rows)
    kinds = [[f for f in every_fact() if (f.measure, f.agg) == (m, a)] for m, s in MEASURES.items() for a in s.aggs]
    sample = [r.choice(kind) for kind in kinds]
    assert differences(connect(table(rows)), values([table(rows)], sample, AS_OF), sample, AS_OF) == []
