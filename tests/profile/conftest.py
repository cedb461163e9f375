"""A small shop in a lake, and what ``profile`` makes of it, day after day."""

from __future__ import annotations

import json
import random
import uuid
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from features.catalogue import Catalogue
from jobs.activity.step import run_activity
from jobs.identity.step import update_identity
from jobs.profile.step import ProfileReport, update_profile
from lake.engine import Engine
from lake.lake import Lake
from lake.sql import connect
from project.loading import load_catalogue
from tests import shipped
from tests.silver import at, write_silver

ZONE = "Asia/Shanghai"
TAGS = Path(__file__).parents[2] / "conf" / "tags"


M = TypeVar("M")


class Shop:
    """A lake with silver rows; ``run`` brings it to a day."""

    def __init__(self, folder: Path, engine: Engine, catalogue: Catalogue):
        self.lake = Lake(folder, ZONE)
        self.zone = ZONE
        self.engine = engine
        self.catalogue = catalogue
        self._con: Any = None

    def write(self, feed: str, *rows: dict[str, Any], ingested: str = "2026-03-31 06:00") -> None:
        write_silver(self.lake, feed, rows, ingested=ingested, batch=uuid.uuid4().hex[:6])

    def method(self, _name: str, kind: type[M]) -> M:
        """The method's own defaults."""
        return kind()

    def learn(self, as_of: str = "2026-03-31") -> None:
        """Identity and activity from the newest silver."""
        self.changed()
        key = uuid.uuid4().hex[:8]
        update_identity(self.lake, self.engine, date.fromisoformat(as_of), f"i{key}", "salt")
        run_activity(self, self.engine, f"a{key}")  # type: ignore[arg-type]

    def profile(self, as_of: str, catalogue: Catalogue | None = None, **more: Any) -> ProfileReport:
        self.changed()
        run_id = f"p{uuid.uuid4().hex[:8]}"
        day = date.fromisoformat(as_of)
        return update_profile(self.lake, self.engine, catalogue or self.catalogue, day, run_id=run_id, **more)

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """What SQL gives; the connection is kept until the next run."""
        if self._con is None:
            self._con = connect(self.lake, None)
        cursor = self._con.execute(sql, list(values))
        names = [d[0] for d in cursor.description]
        return [dict(zip(names, r, strict=True)) for r in cursor.fetchall()]

    def changed(self) -> None:
        if self._con is not None:
            self._con.close()
        self._con = None

    def user(self, member_id: str, as_of: str) -> dict[str, Any]:
        (row,) = self.rows(
            "select p.* from profile.profile p join identity.identifiers i on i.uid = p.uid "
            "where i.id_kind = 'member' and i.id_value = ? and p.as_of = ?",
            member_id,
            as_of,
        )
        return row


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return shipped.catalogue()


@pytest.fixture(scope="session")
def few_tags(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """Purchases, lifecycle and three tags of members: a quarter of the catalogue, for tests that need no more."""
    member = yaml.safe_load((TAGS / "member.yaml").read_text(encoding="utf-8"))
    member["tags"] = [t for t in member["tags"] if t["id"] in ("member_tier", "register_city", "user_kind")]
    path = tmp_path_factory.mktemp("tags") / "member.yaml"
    path.write_text(json.dumps({k: member[k] for k in ("defaults", "tags")}, ensure_ascii=False), encoding="utf-8")
    return load_catalogue([TAGS / "purchase.yaml", TAGS / "lifecycle.yaml", path])


@pytest.fixture
def shop(tmp_path: Path, embedded: Engine, catalogue: Catalogue) -> Shop:
    return Shop(tmp_path / "lake", embedded, catalogue)


@pytest.fixture(scope="session")
def busy(tmp_path_factory: pytest.TempPathFactory, embedded: Engine, catalogue: Catalogue) -> Shop:
    """A random shop of 400 people over 120 days, profiled on four days in order."""
    shop = Shop(tmp_path_factory.mktemp("busy") / "lake", embedded, catalogue)
    fill(shop, random.Random(7))
    shop.learn()
    for day in DAYS:
        shop.profile(day)
    return shop


DAYS = ("2026-03-26", "2026-03-27", "2026-03-28", "2026-03-30")


def fill(shop: Shop, draw: random.Random, people: int = 400) -> None:
    """Members and visitors who browse, share, order and send back."""
    start = date(2025, 12, 1)

    def moment(low: int = 0) -> str:
        day = start + timedelta(days=draw.randint(low, 120))
        return f"{day} {draw.randint(0, 23):02d}:{draw.randint(0, 59):02d}"

    products = [
        {
            "sku_id": f"s{i}",
            "brand": draw.choice(["资生堂", "青禾", "云朵"]),
            "category": f"c{i % 7}",
            "category_parent": f"p{i % 3}",
            "source_time": at("2025-11-01 00:00"),
        }
        for i in range(30)
    ]
    members, browse, orders, lines, refunds, shares, coupons = [], [], [], [], [], [], []
    for n in range(people):
        is_member = n % 4 != 0
        who = {"member_id": f"m{n}"} if is_member else {"cookie_id": f"k{n}"}
        if is_member:
            registered = at(moment())
            members.append(
                {
                    **who,
                    "registered_at": registered,
                    "source_time": registered,
                    "gender": draw.choice(["female", "male", None, "x"]),
                    "city": draw.choice(["北京", "上海", None]),
                    "points": draw.choice([None, 0, 120]),
                    "is_follower": draw.choice([True, False, None]),
                }
            )
        for _ in range(draw.randint(0, 12)):
            act = draw.choice(["view", "view", "view", "cart", "favourite", "search", "exposure", "review"])
            event = {**who, "event_id": uuid.UUID(int=draw.getrandbits(128)).hex, "behaviour": act}
            browse.append({**event, "occurred_at": at(moment()), "sku_id": f"s{draw.randint(0, 29)}", "channel": "app"})
        for k in range(draw.choice([0, 0, 1, 1, 2, 3, 5])):
            order, when = f"o{n}-{k}", at(moment())
            orders.append({**who, "order_id": order, "ordered_at": when, "paid_at": when, "channel": "app"})
            amount = draw.choice([100, 100, 9900, 25000, 400000])
            line = {"order_id": order, "line_id": "1", "ordered_at": when, "sku_id": f"s{draw.randint(0, 29)}"}
            lines.append({**line, "quantity": 1, "list_amount_minor": amount + 50, "net_amount_minor": amount})
            if draw.random() < 0.15:
                back = draw.choice([amount, amount // 2])
                refund = {**who, "refund_id": f"r{order}", "order_id": order, "refund_amount_minor": back}
                refunds.append({**refund, "refunded_at": when + timedelta(days=draw.randint(1, 9))})
        if is_member and draw.random() < 0.3:
            share = {"event_id": f"e{n}", "occurred_at": at(moment()), "behaviour": "share", "share_id": f"c{n}"}
            shares.append({**who, **share})
            coupons.append({**who, "event_id": f"q{n}", "occurred_at": at(moment()), "behaviour": "coupon_use"})
    for feed, rows in {
        "products": products,
        "members": members,
        "browse": browse,
        "orders": orders,
        "order_lines": lines,
        "refunds": refunds,
        "shares": shares,
        "coupons": coupons,
    }.items():
        shop.write(feed, *rows)
