"""A shop made by hand for the step: activity, members and identity published as the steps before would."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.fission.settings import FissionSettings
from features.kernel.rows import USERS_PER_BUCKET
from jobs.fission.step import update_fission
from lake import journal
from lake.engine import Engine, Progress, run_task
from lake.lake import Lake, partition_path
from lake.publish import publish
from lake.sql import connect
from schemas.arrow import arrow_schema, file_schema
from schemas.contracts import contract
from tests.kernel.shop import row
from tests.silver import at as stamp
from tests.silver import write_silver

AS_OF = date(2026, 3, 31)


class Here(Engine):
    """Map tasks one after the other in this process."""

    name = "embedded"

    def map(self, task: str, items: Sequence[dict[str, Any]], progress: Progress | None = None) -> list[dict[str, Any]]:
        return [json.loads(run_task(task, json.dumps(item))) for item in items]

    def close(self) -> None:
        pass


class ShareShop:
    """Say what happened, then ``run`` the step. Stamps are local text such as ``2026-03-01 10:00``."""

    def __init__(self, lake: Lake):
        self.lake = lake
        self.activity: list[dict[str, Any]] = []
        self.members: list[dict[str, Any]] = []
        self.users: dict[int, int | None] = {}
        self.written = False

    def _add(self, uid: int, behaviour: str, at: str, **columns: Any) -> None:
        self.users.setdefault(uid, None)
        self.activity.append(row(uid, behaviour, at, **{"bucket": uid // USERS_PER_BUCKET, **columns}))

    def view(self, uid: int, at: str, **columns: Any) -> None:
        self._add(uid, "view", at, **columns)

    def share(self, uid: int, at: str, sku: int = 0) -> None:
        self._add(uid, "share", at, sku_code=sku)

    def open(self, person: int, sharer: int, at: str, sku: int = 0, **columns: Any) -> None:
        self._add(person, "share_open", at, sku_code=sku, peer_uid=sharer, **columns)
        if sharer >= 0 and sharer != person:
            self._add(sharer, "share_opened", at, sku_code=sku, peer_uid=person, **columns)

    def join_group(self, person: int, sharer: int, at: str) -> None:
        self._add(person, "join_group", at, peer_uid=sharer)
        if sharer >= 0 and sharer != person:
            self._add(sharer, "brought_join", at, peer_uid=person)

    def register(self, person: int, at: str, sharer: int = -1) -> None:
        self._add(person, "register", at, peer_uid=sharer)

    def member(self, uid: int, registered: str, level: int | None = None, inviter: int | None = None) -> None:
        self.users.setdefault(uid, None)
        self.members.append(
            {
                "member_id": f"m{uid}",
                "registered_at": stamp(registered),
                "distributor_level": level,
                "inviter_member_id": None if inviter is None else f"m{inviter}",
                "source_time": stamp(registered),
            }
        )

    def buy(self, uid: int, at: str, amount: int, key: int, through: int | None = None, **columns: Any) -> None:
        self._add(uid, "order", at, order_key=key, **columns)
        self._add(uid, "pay", at, order_key=key, amount_minor=amount, list_amount_minor=amount, **columns)
        if through is not None:
            self._add(through, "brought_order", at, order_key=key, peer_uid=uid, **columns)

    def refund(self, uid: int, at: str, amount: int, key: int, on: str) -> None:
        self._add(uid, "refund_of_order", at, order_key=key, amount_minor=amount, valid_from_day=on)

    def retire(self, uid: int, elder: int | None) -> None:
        self.users[uid] = -1 if elder is None else elder

    def write(self) -> None:
        parts: dict[tuple[int, int], list[dict[str, Any]]] = {}
        for r in self.activity:
            parts.setdefault((r["bucket"], r["period"]), []).append(r)
        for (bucket, period), rows in parts.items():
            rows.sort(key=lambda r: (r["uid"], r["occurred_at"], r["behaviour_code"]))
            _publish(self.lake, "activity.activity", {"bucket": bucket, "period": period}, rows)
        long_ago = datetime(2020, 1, 1, tzinfo=UTC)
        users, identifiers = [], []
        for uid, elder in sorted(self.users.items()):
            users.append(
                {
                    "uid": uid,
                    "user_id": f"u{uid}",
                    "person_kind": "member",
                    "first_seen_at": long_ago,
                    "retired_day": None if elder is None else AS_OF,
                    "merged_into_uid": None if elder in (None, -1) else elder,
                }
            )
            if elder is None:
                identifiers.append({"id_kind": "member", "id_value": f"m{uid}", "uid": uid, "first_seen_at": long_ago})
        for bucket in sorted({u // USERS_PER_BUCKET for u in self.users}):
            own = [u for u in users if u["uid"] // USERS_PER_BUCKET == bucket]
            _publish(self.lake, "identity.users", {"bucket": bucket}, own)
        _publish(self.lake, "identity.identifiers", {}, identifiers)
        if self.members:
            write_silver(self.lake, "members", self.members)
        self.written = True

    def run(
        self,
        engine: Engine | None = None,
        as_of: date = AS_OF,
        settings: FissionSettings | None = None,
        known_at: datetime | None = None,
        keep_days: int = 35,
    ) -> int:
        if not self.written:
            self.write()
        run_id = f"fission-{uuid.uuid4().hex[:8]}"
        found = update_fission(
            self.lake,
            engine or Here(),
            as_of,
            settings or FissionSettings(),
            run_id=run_id,
            known_at=known_at,
            keep_days=keep_days,
        )
        journal.finish(self.lake, run_id)
        return found

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with connect(self.lake, None) as con:
            return con.execute(query).fetchall()

    def rows(self, table: str) -> list[dict[str, Any]]:
        key = contract(f"fission.{table}").key
        found = self.lake.dataset(f"fission.{table}").to_table().to_pylist()
        found.sort(key=lambda r: tuple(r[k] for k in key))
        return [{name: value for name, value in r.items() if name != "as_of"} for r in found]

    def role(self, uid: int) -> dict[str, Any]:
        return next(r for r in self.rows("roles") if r["uid"] == uid)

    def edges(self) -> dict[int, tuple[int, int, int]]:
        """Parent, root and level by person."""
        return {r["uid"]: (r["parent_uid"], r["root_uid"], r["level"]) for r in self.rows("share_edges")}

    def touches(self) -> dict[tuple[str, str], int]:
        """How often each kind of touch ended how, where it did."""
        return {(r["touch_kind"], r["touch_outcome"]): r["touches"] for r in self.rows("touches") if r["touches"]}

    def outcomes(self) -> dict[str, int]:
        """The same over all kinds."""
        found: dict[str, int] = {}
        for (_, outcome), n in self.touches().items():
            found[outcome] = found.get(outcome, 0) + n
        return found


def _publish(lake: Lake, table: str, partition: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    c = contract(table)
    lake.ensure(table)
    run_id = f"{table}-{uuid.uuid4().hex[:8]}"
    folder = lake.stage(table, run_id)
    place = folder / partition_path(partition)
    place.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), file_schema(arrow_schema(c), c.partitions)), place / "rows.parquet")
    publish(lake, table, folder, replace=None, read_version=None, run_id=run_id, key=run_id)
    journal.finish(lake, run_id)
