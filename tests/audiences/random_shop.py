"""A shop of random people and rows, definitions at random over every kind of condition, and their people by SQL alone."""

from __future__ import annotations

import random
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb

from audiences.plan import Plan, PlannedSequence
from lake.releases import write_release
from schemas.alerts import MOVING_TO_RARE_LOW
from schemas.behaviours import BEHAVIOURS, DETAILS
from schemas.measures import COMPARED
from tests.audiences import random_listings
from tests.audiences.definitions import sql
from tests.audiences.lake_shop import EARLY, TAGS, D, Shop, act, silver

UIDS = [*range(60), *range(70, 90), *range(100_000, 100_040)]
"""Two buckets, and uids that nobody has."""
MORE_TAGS = """\
  - id: was_invited
    name: {zh: 受邀, en: Invited}
    description: {zh: 受邀, en: Invited}
    path: [社交特征, 裂变, 受邀]
    type: bool
    attribute: has_inviter
  - id: last_purchase_day
    name: {zh: 末购日, en: Last purchase day}
    description: {zh: 末购日, en: Last purchase day}
    path: [消费特征, 消费能力和频次, 末购]
    type: date
    fact: {from: [pay], measure: day, agg: last}
  - id: mean_gap
    name: {zh: 平均间隔, en: Mean gap}
    description: {zh: 平均间隔, en: Mean gap}
    path: [消费特征, 消费能力和频次, 间隔]
    type: float64
    unit: days
    values: {min: 0}
    fact: {from: [pay], measure: gap_days, agg: mean}
  - id: active_hour
    name: {zh: 活跃时点, en: Active hour}
    description: {zh: 活跃时点, en: Active hour}
    path: [活跃特征, 线上活跃, 时段]
    type: int32
    unit: hour
    values: {min: 0, max: 23}
    fact: {from: [view], measure: hour, agg: mode}
"""
CITIES = ("北京", "上海", "unknown", None)
BRANDS = {1: "资生堂", 2: "百雀羚", 3: None, 4: "资生堂"}
CATEGORIES = {1: "面霜", 2: "面霜", 3: "口红", 4: None}
PARENTS = {1: "护肤", 2: "护肤", 3: "彩妆", 4: None}
NAMES = {1: "霜", 2: None, 3: "笔", 4: "霜"}
CODES = {"sku": ["S1", "S2", "S3", "S4"], "seller": ["甲", "乙"], "channel": ["app", "web"]}
DONE = ("view", "view", "click", "search", "pay", "pay", "order", "refund", "refund_of_order", "share_opened")
HEAD = "name: {zh: 试, en: Trial}\ndescription: {zh: 试, en: Trial}\nowner: crm\n"


def random_shop(folder: Path, seed: int = 7, rows: int = 1500) -> Shop:
    """A release of D, with rows and versions of products from after it that must not count."""
    shop, chance = Shop(folder), random.Random(seed)
    (folder / "tags" / "all.yaml").write_text(TAGS + MORE_TAGS + random_listings.DYNAMIC_TAGS, encoding="utf-8")
    codes = [(kind, i + 1, value) for kind, values in CODES.items() for i, value in enumerate(values)]
    shop.put("activity.codes", [{"code_kind": k, "code": c, "code_value": v} for k, c, v in codes])
    products = [
        silver(
            EARLY,
            c,
            sku_id=f"S{c}",
            product_name=NAMES[c],
            brand=BRANDS[c],
            category=CATEGORIES[c],
            category_parent=PARENTS[c],
        )
        for c in BRANDS
    ]
    shop.put("silver.products", [*products, silver(EARLY + timedelta(days=90), 9, sku_id="S3", brand="资生堂")])
    shop.activity(_row(chance) for _ in range(rows))
    shop.put(
        "segments.alert_users",
        [
            {"as_of": D, "alert": MOVING_TO_RARE_LOW, "uid": u, "from_segment": "a", "to_segment": "b"}
            for u in chance.sample(UIDS, 30)
        ],
    )
    random_listings.add_tables(shop, chance, UIDS)
    shop.define("built_before", HEAD + "include: {tag: is_member, is: true}\n")
    shop.release(D, [_person(chance, uid) for uid in UIDS])
    write_release(shop.lake, D, "with-alerts", shop.lake.versions())
    return shop


def _person(chance: random.Random, uid: int) -> dict[str, Any]:
    return {
        "uid": uid,
        "is_member": chance.random() < 0.7,
        "register_city": chance.choice(CITIES),
        "gender": chance.choice(["female", "male", "unknown", None]),
        "paid_amount_90d": chance.choice([0, 0, 1, 500, 2**40]),
        "was_invited": chance.choice([True, False, None]),
        "last_purchase_day": chance.choice([None, D, D - timedelta(days=chance.randrange(40))]),
        "mean_gap": chance.choice([None, 0.0, 1.5, chance.randrange(8) / 4]),
        "active_hour": chance.choice([None, chance.randrange(24)]),
    }


def _row(chance: random.Random) -> dict[str, Any]:
    day = D + timedelta(days=chance.randint(-45, 3))
    behaviour, uid = chance.choice(DONE), chance.choice([*UIDS, 65])
    money = behaviour in ("pay", "order", "refund", "refund_of_order")
    row = act(
        uid, day, behaviour, hour=chance.randrange(16), sku_code=chance.randrange(5), seller_code=chance.randrange(3),
        channel_code=chance.randrange(3), on_promotion=chance.random() < 0.3, detail_code=chance.randrange(6),
        peer_uid=chance.choice([-1, uid, *UIDS[:6]]), order_key=chance.randrange(1, 60) if money else 0,
    )  # fmt: skip
    if money:
        paid = chance.randrange(400)
        row |= {
            "amount_minor": paid,
            "list_amount_minor": paid + chance.randrange(-20, 90),
            "quantity": chance.randint(1, 3),
        }
        for name, share in (("void_day", 0.2), ("flagged_day", 0.1)):
            if chance.random() < share:
                row[name] = day + timedelta(days=chance.randint(0, 20))
    if chance.random() < 0.1:
        row["valid_from_day"] = day + timedelta(days=chance.randint(0, 9))
    return row


# --- definitions ---


def definition(chance: random.Random, others: list[str]) -> dict[str, Any]:
    """``include`` and perhaps ``exclude``; some cannot be meant and are refused by the compiler."""
    found = {"include": _condition(chance, others, 3)}
    if chance.random() < 0.4:
        found["exclude"] = _condition(chance, others, 2)
    return found


def _condition(chance: random.Random, others: list[str], depth: int) -> dict[str, Any]:
    kinds = (
        ["tag"] * 4
        + ["event"] * 4
        + ["listed"] * 3
        + ["sequence"] * 2
        + ["alert", "users"]
        + (["audience"] if others else [])
    )
    kind = chance.choice(kinds + ["all", "all", "any", "not"] * (depth > 0))
    if kind in ("all", "any"):
        return {kind: [_condition(chance, others, depth - 1) for _ in range(chance.randint(1, 3))]}
    if kind == "not":
        return {"not": _condition(chance, others, depth - 1)}
    if kind == "audience":
        return {"audience": chance.choice(others)}
    if kind == "listed":
        return random_listings.condition(chance, lambda: _condition(chance, others, max(0, depth - 2)))
    if kind == "sequence":
        return {"sequence": _sequence(chance)}
    if kind == "alert":
        return {"alert": MOVING_TO_RARE_LOW}
    if kind == "users":
        return {"users": [f"m{u:06d}" for u in chance.sample([*UIDS, 65], chance.randint(1, 30))]}
    return _tag(chance) if kind == "tag" else _event(chance)


def _tag(chance: random.Random) -> dict[str, Any]:
    def day() -> date:
        return D - timedelta(days=chance.randrange(-1, 42))

    tag = chance.choice(
        ["register_city", "gender", "paid_amount_90d", "was_invited", "last_purchase_day", "mean_gap", "active_hour",
         "is_member", "uid", "user_id", "as_of"]
    )  # fmt: skip
    if chance.random() < 0.15:
        return {"tag": tag, "known": chance.random() < 0.5}
    texts = {
        "register_city": ["北京", "上海", "广州", "unknown"],
        "gender": ["female", "male", "unknown"],
        "user_id": [f"m{u:06d}" for u in UIDS],
    }
    if tag in texts:
        return {"tag": tag, chance.choice(["is", "is_not"]): chance.sample(texts[tag], chance.randint(1, 3))}
    if tag in ("was_invited", "is_member"):
        return {"tag": tag, chance.choice(["is", "is_not"]): chance.random() < 0.5}
    values = {
        "paid_amount_90d": lambda: chance.choice([0, 1, 250, 500, 2**40]),
        "uid": lambda: chance.choice([0, 33, 80, 100_001, 99_999.5]),
        "mean_gap": lambda: chance.choice([0.0, 0.25, 0.3, 1, 1.5]),
        "active_hour": lambda: chance.randrange(24),
        "last_purchase_day": day,
        "as_of": day,
    }
    return {"tag": tag, **_compared(chance, values[tag])}


def _compared(chance: random.Random, value: Any) -> dict[str, Any]:
    op = chance.choice(["is", "is_not", "at_least", "at_most", "above", "below", "between"])
    if op == "between":
        return {op: sorted([value(), value()])}
    if op in ("is", "is_not"):
        return {
            op: [v if isinstance(v, date) else round(v * 4) / 4 for v in (value() for _ in range(chance.randint(1, 2)))]
        }
    return {op: value()}


def _event(chance: random.Random) -> dict[str, Any]:
    measure = chance.choice(list(COMPARED))
    agg = chance.choice(COMPARED[measure])
    events = chance.choice(
        [["view"], ["pay"], ["browse"], ["view", "pay"], ["order"], ["share_opened"], ["search", "click"]]
    )
    if measure in ("quantity", "amount", "list_amount", "discount"):
        events = chance.choice([["pay"], ["order"], ["pay", "order"]])
    elif measure == "net_amount":
        events = ["pay"]
    elif measure == "visits":
        events = chance.choice([["browse"], ["view", "search"]])
    found: dict[str, Any] = {
        "event": events,
        "measure": measure,
        "agg": agg,
        "view": chance.choice(["behaviour", "behaviour", "cash"]),
    }
    found |= _days(chance)
    if chance.random() < 0.4:
        found["where"] = _where(chance)
    if chance.random() < 0.3:
        found["did"] = False
    if measure == "day":
        return found | _compared(chance, lambda: D - timedelta(days=chance.randrange(0, 42)))
    money = measure in ("amount", "list_amount", "net_amount", "discount")
    return found | _compared(chance, lambda: chance.choice([0, 50, 200, 400] if money else [0, 1, 2, 3, 5]))


def _sequence(chance: random.Random) -> dict[str, Any]:
    first, second = (
        {"event": chance.choice([["view"], ["pay"], ["browse"], ["order", "click"]])}
        | ({"where": _where(chance)} if chance.random() < 0.3 else {})
        | ({"view": "cash"} if chance.random() < 0.2 else {})
        for _ in range(2)
    )
    return {
        "first": first | _days(chance),
        chance.choice(["then", "without"]): second,
        "within_days": chance.choice([0, 1, 3, 10, 40]),
    }


def _days(chance: random.Random) -> dict[str, Any]:
    kind = chance.choice(["within_days", "within_days", "days_ago", "on_days", "ever"])
    if kind == "within_days":
        return {kind: chance.choice([1, 3, 10, 30, 90])}
    if kind == "days_ago":
        return {kind: sorted(chance.choice([0, 1, 5, 12, 40]) for _ in range(2))}
    if kind == "on_days":
        return {kind: sorted(D - timedelta(days=chance.randint(-3, 45)) for _ in range(2))}
    return {}


def _where(chance: random.Random) -> dict[str, Any]:
    choices = {
        "brand": ["资生堂", "百雀羚", "无此牌"],
        "category": ["面霜", "口红"],
        "category_parent": ["护肤", "彩妆"],
        "in_category": ["护肤", "口红", "面霜"],
        "sku": [*CODES["sku"], "霜"],
        "seller": [*CODES["seller"], "丙"],
        "channel": CODES["channel"],
        "detail": list(DETAILS),
    }
    key = chance.choice([*choices, "on_promotion", "peer"])
    if key not in choices:
        return {key: chance.random() < 0.5}
    return {key: chance.sample(choices[key], chance.randint(1, 2))}


# --- the same people by SQL ---


class Oracle:
    """What a plan says, in SQL over the shop's tables: neither the kernel nor an evaluator has a part in it."""

    def __init__(self, shop: Shop):
        self.con = duckdb.connect()
        for name, table in (
            ("activity", "activity.activity"),
            ("profile", "profile.profile"),
            ("alerts", "segments.alert_users"),
            ("changes", "profile.tag_changes"),
            ("edges", "fission.share_edges"),
            ("identifiers", "identity.identifiers"),
            ("log", "audiences.membership_log"),
        ):
            self.con.execute("set timezone = 'UTC'")
            self.con.register("source", shop.lake.dataset(table))
            self.con.execute(f"create table {name} as select * from source")
        self.lists = {
            f"lists/{path.name}": path.read_text(encoding="utf-8-sig").replace(",", "\n").split("\n")
            for path in (shop.folder / "lists").iterdir()
        }
        case = {"brand": BRANDS, "category": CATEGORIES, "category_parent": PARENTS}
        keys = ", ".join(
            f"case sku_code {' '.join(f'when {c} then {_text(v)}' for c, v in of.items() if v)} end as {key}"
            for key, of in case.items()
        )
        for kind, values in CODES.items():
            numbered = " ".join(f"when {i + 1} then {_text(v)}" for i, v in enumerate(values))
            keys += f", case {kind}_code {numbered} end as {kind}"
        self.con.execute(
            f"""create table rows as select *, {keys}, case when peer_uid >= 0 and peer_uid <> uid then peer_uid end as peer,
            list_amount_minor - amount_minor as discount, nullif(order_key, 0) as an_order
            from activity where day <= {_text(D)} and valid_from_day <= {_text(D)}
            and coalesce(flagged_day, date '9999-01-01') > {_text(D)}"""
        )

    def members(self, plan: Plan) -> list[int]:
        columns = [f"({_fact(fact)}) as {name}" for name, fact in plan.facts.items()]
        columns += [
            f"exists (select 1 from alerts a where a.alert = '{alert}' and a.uid = p.uid) as \"alert.{alert}\""
            for alert in plan.alerts
        ]
        columns += [f"({_followed(sequence)}) as {name}" for name, sequence in plan.sequences.items()]
        columns += [
            f"({random_listings.sql(listing, self.members, self.lists, UIDS)}) as {name}"
            for name, listing in plan.listings.items()
        ]
        condition = sql(plan.root).replace("alert.", "alert.") if not plan.alerts else sql(plan.root)
        for alert in plan.alerts:
            condition = condition.replace(f"alert.{alert}", f'"alert.{alert}"')
        found = self.con.execute(
            f"select uid from (select p.*{''.join(', ' + c for c in columns)} from profile p) where {condition} order by uid"
        )
        return [uid for (uid,) in found.fetchall()]


def _text(value: Any) -> str:
    return f"date '{value}'" if isinstance(value, date) else "'" + str(value).replace("'", "''") + "'"


def _followed(sequence: PlannedSequence) -> str:
    """Whether one thing followed another, or of who is asked to be without whether it is known that none did."""
    which = _which(sequence.first, sequence.first["from"])
    later = [_of(condition, "s") for condition in _which(sequence.second, sequence.second["from"])]
    later += ["(s.day > r.day or (s.day = r.day and s.occurred_at > r.occurred_at))"]
    later += [f"s.day <= r.day + {sequence.within_days}"]
    came = f"exists (select 1 from rows s where {' and '.join(later)})"
    rows = f"from rows r where {' and '.join(_of(w, 'r') for w in which)}"
    if not sequence.without:
        return f"exists (select 1 {rows} and {came})"
    over = f"r.day + {sequence.within_days} <= {_text(D)}"
    return (
        f"case when exists (select 1 {rows} and not {came} and {over}) then true "
        f"when exists (select 1 {rows} and not {came}) then null else false end"
    )


def _of(condition: str, alias: str) -> str:
    """A condition on rows by their own columns, said of the rows under a name."""
    columns = r"\b(?<![.\'])(day|behaviour_code|void_day|detail_code|peer|on_promotion|brand|category|category_parent|sku|seller|channel)\b(?!\')"
    return (
        re.sub(columns, rf"{alias}.\1", condition).replace("r.uid", f"{alias}.uid").replace(f"'{alias}.day'", "'day'")
    )


def _fact(fact: dict[str, Any]) -> str:
    """One fact of the person ``p`` as a scalar subquery."""
    measure, agg, view = fact["measure"], fact["agg"], fact.get("view", "behaviour")
    behaviours = fact["from"]
    if measure == "net_amount":
        behaviours = ["pay", "refund" if view == "cash" else "refund_of_order"]
    rows = f"from rows r where {' and '.join(_which(fact, behaviours))}"
    if measure == "visits":
        return (
            f"select count(*) from (select day, occurred_at, lag(day) over w as day_before, lag(occurred_at) over w as before {rows} "
            "window w as (order by day, occurred_at)) where day_before is null or day_before <> day or occurred_at - before > interval 30 minutes"
        )
    if measure == "gap_days":
        gaps = f"select day, day - lag(day) over (order by day) as gap from (select distinct day {rows})"
        wanted = {"mean": "avg(gap)", "max": "max(gap)", "last": "arg_max(gap, day) filter (gap is not null)"}[agg]
        return f"select {wanted} from ({gaps})"
    column = {"amount": "amount_minor", "list_amount": "list_amount_minor"}.get(measure, measure)
    selected = {
        "rows": "count(*)",
        "orders": "count(distinct an_order)",
        "days": "count(distinct day)",
        "day": "max(day)" if agg == "last" else "min(day)",
        "net_amount": f"coalesce(sum(case when behaviour_code = {BEHAVIOURS['pay']} then amount_minor else -amount_minor end), 0)",
    }.get(measure)
    if selected is None:
        selected = {
            "distinct": f"count(distinct {column})",
            "sum": f"coalesce(sum({column}), 0)",
            "mean": f"avg({column})",
        }.get(agg, f"{agg}({column})")
    return f"select {selected} {rows}"


def _which(fact: dict[str, Any], behaviours: list[str]) -> list[str]:
    """What the rows of the person ``p`` must fulfil."""
    view = fact.get("view", "behaviour")
    which = [f"r.uid = p.uid and behaviour_code in ({', '.join(str(BEHAVIOURS[b]) for b in behaviours)})"]
    if view == "behaviour":
        which.append(f"coalesce(void_day, date '9999-01-01') > {_text(D)}")
    if "window" in fact:
        which.append(f"day > {_text(D)} - {fact['window']}")
    if "ago" in fact:
        which.append(f"date_diff('day', day, {_text(D)}) >= {fact['ago']}")
    if "days" in fact:
        which.append("day between " + " and ".join(f"date '{day}'" for day in fact["days"]))
    for key, value in fact.get("where", {}).items():
        if key == "detail":
            which.append(f"detail_code in ({', '.join(str(DETAILS[v]) for v in value)})")
        elif key == "peer":
            which.append("peer is not null" if value else "peer is null")
        elif key == "on_promotion":
            which.append(f"on_promotion = {str(value).lower()}")
        elif key == "in_category":
            wanted = ", ".join(map(_text, value))
            which.append(f"(coalesce(category in ({wanted}), false) or coalesce(category_parent in ({wanted}), false))")
        elif key == "sku" and "霜" in value:
            which.append(f"sku in ({', '.join(map(_text, [*value, 'S1', 'S4']))})")
        else:
            which.append(f"{key} in ({', '.join(map(_text, value))})")
    return which
