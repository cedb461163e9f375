"""Two snapshots side by side: changes, flows and quality hold for any users and values."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.changes import LOST, NEW, TwoSnapshots, as_kept, as_text

STAGES = ["a", "b", "none", "unknown"]
user = st.tuples(st.booleans(), st.sampled_from(STAGES), st.one_of(st.none(), st.integers(0, 40)))
snapshot = st.dictionaries(st.integers(0, 30), user, max_size=20)


def table(users: dict[int, Any]) -> pa.Table:
    rows = sorted(users.items())
    return pa.table(
        {
            "uid": pa.array([u for u, _ in rows], pa.int64()),
            "is_member": pa.array([v[0] for _, v in rows], pa.bool_()),
            "stage": pa.array([v[1] for _, v in rows], pa.string()),
            "age": pa.array([v[2] for _, v in rows], pa.int64()),
        }
    )


@given(snapshot, snapshot)
def test_flows_conserve_users_whatever_comes_and_goes(before: dict[int, Any], after: dict[int, Any]) -> None:
    flows = TwoSnapshots(table(after), table(before)).flows("stage")
    starts, ends = Counter(), Counter()  # type: ignore[var-annotated]
    for f in flows:
        assert f["users"] > 0
        starts[f["from_segment"]] += f["users"]
        ends[f["to_segment"]] += f["users"]
    assert starts.pop(NEW, 0) == len(set(after) - set(before))
    assert ends.pop(LOST, 0) == len(set(before) - set(after))
    assert starts == Counter(v[1] for v in before.values())
    assert ends == Counter(v[1] for v in after.values())
    members = sum(f["users"] for f in flows if f["is_member"])
    assert members == sum((after.get(u) or before[u])[0] for u in set(after) | set(before))


@given(st.lists(snapshot, min_size=1, max_size=5), st.sampled_from([None, (7, 30)]))
def test_changes_played_back_give_every_snapshot(days: list[dict[int, Any]], bands: Any) -> None:
    known: dict[tuple[str, int], str | None] = {}
    previous: pa.Table | None = None
    for users in days:
        current = table(users)
        found = TwoSnapshots(current, previous)
        for tag, cut, kind in (("stage", None, pa.string()), ("age", bands, pa.int64())):
            changes = found.changes(tag, cut, kind).to_pylist()
            for c in changes:
                assert known.get((tag, c["uid"])) != c["value"]
                known[(tag, c["uid"])] = c["value"]
            shown = as_text(as_kept(current[tag].combine_chunks(), cut)).to_pylist()
            for uid, value in zip(current["uid"].to_pylist(), shown, strict=True):
                assert known.get((tag, uid)) == value
            for (name, uid), value in known.items():
                assert name != tag or uid in users or value is None
        previous = current


@given(snapshot, snapshot)
def test_quality_counts_members_and_visitors_apart(before: dict[int, Any], after: dict[int, Any]) -> None:
    for row in TwoSnapshots(table(after), table(before)).quality("stage", None, pa.string()):
        base = {u: v for u, v in after.items() if v[0] == row["is_member"]}
        assert row["base_users"] == len(base)
        assert row["known_users"] == sum(v[1] != "unknown" for v in base.values())
        assert row["changed_users"] == sum(u in before and before[u][1] != v[1] for u, v in base.items())


@given(snapshot, snapshot, snapshot)
def test_a_log_stands_in_for_a_snapshot_that_is_gone(a: dict[int, Any], b: dict[int, Any], c: dict[int, Any]) -> None:
    logged = TwoSnapshots(table(b), table(a)).changes("stage", None, pa.string())
    whole = TwoSnapshots(table(c), table(b)).changes("stage", None, pa.string()).to_pylist()
    patched = TwoSnapshots(table(c), table(a), log=logged).changes("stage", None, pa.string()).to_pylist()
    assert sorted(map(str, patched)) == sorted(map(str, whole))


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "<7"), (6, "<7"), (7, "7..29"), (29, "7..29"), (30, ">=30"), (None, None)]
)
def test_numbers_that_age_are_kept_by_band(value: int | None, expected: str | None) -> None:
    assert as_kept(pa.array([value], pa.int64()), (7, 30)).to_pylist() == [expected]


def test_a_tag_that_the_earlier_snapshot_lacks_was_unknown() -> None:
    now = table({1: (True, "a", 3)})
    found = TwoSnapshots(now, now.drop_columns(["stage"]))
    assert found.changes("stage", None, pa.string()).to_pylist() == [{"uid": 1, "tag": "stage", "value": "a"}]


def test_floats_are_written_as_short_as_is_exact() -> None:
    assert as_text(pa.array([0.1, 3.0, None])).to_pylist() == ["0.1", "3.0", None]
