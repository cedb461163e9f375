"""Twenty audiences as a marketer asks for them: each in our language, and as the condition that a specialist writes in SQL.

The SQL is over ``people``, with ``acts`` and ``money`` for what no column says. Unknown is no match on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb


@dataclass(frozen=True)
class Audience:
    """``include`` and ``exclude`` in our language, ``sql`` the same in SQL."""

    include: str
    sql: str
    exclude: str = ""


_BRAND_LATELY = "uid IN (SELECT uid FROM money WHERE behaviour = 'pay' AND NOT void AND NOT flagged AND brand = '资生堂' AND day > as_of() - {})"

TWENTY: dict[str, Audience] = {
    "beijing_without_the_brand": Audience(
        "{all: [{tag: register_city, is: 北京}, {event: browse, measure: visits, within_days: 90, at_least: 3}, "
        "{event: pay, measure: orders, at_least: 1}, {event: pay, did: false, within_days: 7, where: {brand: 资生堂}}]}",
        "register_city = '北京' AND visits_90d >= 3 AND purchase_days_ever > 0 AND NOT " + _BRAND_LATELY.format(7),
    ),
    "sharers_who_never_bought": Audience(
        "{all: [{tag: is_member, is: true}, {tag: shares_opened_30d, at_least: 1}, {tag: lifecycle, is: prospect}]}",
        "is_member AND shares_opened_30d >= 1 AND lifecycle = 'prospect' AND coalesce(distributor_level, 0) < 1",
        "{tag: distributor_level, at_least: 1}",
    ),
    "super_users_going_dormant": Audience(
        "{all: [{tag: net_amount_365d, at_least: 500000}, {any: [{tag: lifecycle, is: dormant}, "
        "{all: [{tag: days_since_last_purchase, at_least: 30}, {event: browse, did: false, measure: visits, within_days: 7}]}]}]}",
        "net_amount_365d >= 500000 AND (lifecycle = 'dormant' OR (days_since_last_purchase >= 30 AND visits_7d = 0)) "
        "AND lifecycle <> 'churned'",
        "{tag: lifecycle, is: churned}",
    ),
    "champions": Audience("{tag: rfm_segment, is: [champions, loyal]}", "rfm_segment IN ('champions', 'loyal')"),
    "at_risk_with_consent": Audience(
        "{all: [{tag: rfm_segment, is: [at_risk, cannot_lose]}, {tag: marketing_consent, is: true}]}",
        "rfm_segment IN ('at_risk', 'cannot_lose') AND marketing_consent",
    ),
    "interested_without_purchase": Audience(
        "{all: [{tag: aipl_stage, is: interest}, {tag: carts_30d, at_least: 1}]}",
        "aipl_stage = 'interest' AND carts_30d >= 1",
    ),
    "loyal_of_the_brand": Audience(
        "{all: [{tag: aipl_stage, is: loyalty}, {event: pay, within_days: 180, where: {brand: 资生堂}}]}",
        "aipl_stage = 'loyalty' AND " + _BRAND_LATELY.format(180),
    ),
    "new_this_month": Audience(
        "{all: [{tag: lifecycle, is: new}, {tag: last_purchase_day, at_least: 2026-03-01}]}",
        "lifecycle = 'new' AND last_purchase_day >= DATE '2026-03-01'",
    ),
    "cart_without_order": Audience(
        "{all: [{event: cart, within_days: 14}, {event: pay, did: false, within_days: 14}]}",
        "uid IN (SELECT uid FROM acts WHERE behaviour = 'cart' AND day > as_of() - 14) "
        "AND coalesce(days_since_last_purchase >= 14, true)",
    ),
    "watchers_of_live": Audience(
        "{all: [{event: live, measure: days, within_days: 60, at_least: 2}, {tag: is_member, is: true}]}",
        "is_member AND uid IN (SELECT uid FROM acts WHERE behaviour = 'live' AND day > as_of() - 60 GROUP BY uid "
        "HAVING count(DISTINCT day) >= 2)",
    ),
    "mothers_and_children": Audience(
        "{all: [{event: [view, cart, favourite], within_days: 30, where: {category_parent: 母婴}, at_least: 3}, "
        "{tag: gender, is_not: male}]}",
        "gender = 'female' AND uid IN (SELECT uid FROM acts WHERE behaviour IN ('view', 'cart', 'favourite') "
        "AND category_parent = '母婴' AND day > as_of() - 30 GROUP BY uid HAVING count(*) >= 3)",
    ),
    "hunters_of_promotions": Audience(
        "{event: pay, measure: orders, within_days: 180, where: {on_promotion: true}, at_least: 3}",
        "uid IN (SELECT uid FROM money WHERE behaviour = 'pay' AND NOT void AND NOT flagged AND on_promotion "
        "AND day > as_of() - 180 GROUP BY uid HAVING count(DISTINCT order_key) >= 3)",
    ),
    "coupons_not_used": Audience(
        "{all: [{tag: coupons_got_30d, at_least: 1}, {tag: coupons_used_30d, is: 0}]}",
        "coupons_got_30d >= 1 AND coupons_used_30d = 0",
    ),
    "big_spenders_of_two_categories": Audience(
        "{all: [{tag: net_amount_90d, at_least: 100000}, {tag: categories_bought_365d, at_most: 2}]}",
        "net_amount_90d >= 100000 AND categories_bought_365d <= 2",
    ),
    "readers_by_night": Audience(
        "{all: [{tag: active_hour, at_least: 21}, {tag: views_30d, at_least: 5}]}",
        "active_hour >= 21 AND views_30d >= 5",
    ),
    "who_bring_others": Audience(
        "{any: [{tag: buyers_brought_365d, at_least: 1}, {tag: registrations_brought_365d, at_least: 1}]}",
        "buyers_brought_365d >= 1 OR registrations_brought_365d >= 1",
    ),
    "visitors_who_come_back": Audience(
        "{all: [{not: {tag: is_member, is: true}}, {tag: active_days_30d, at_least: 2}]}",
        "NOT is_member AND active_days_30d >= 2",
    ),
    "app_buyers_gone_quiet": Audience(
        "{all: [{event: pay, measure: orders, within_days: 180, where: {channel: app}, at_least: 1}, "
        "{event: browse, did: false, within_days: 21}]}",
        "uid IN (SELECT uid FROM money WHERE behaviour = 'pay' AND NOT void AND NOT flagged AND channel = 'app' "
        "AND day > as_of() - 180) AND uid NOT IN (SELECT uid FROM acts WHERE behaviour IN ('exposure', 'click', 'view', 'search', "
        "'favourite', 'cart', 'sample', 'video', 'live', 'join_group', 'register', 'review') AND day > as_of() - 21)",
    ),
    "fans_of_the_brand": Audience(
        "{all: [{tag: preferred_brand, is: 资生堂}, {tag: brands_viewed_90d, at_most: 6}]}",
        "preferred_brand = '资生堂' AND brands_viewed_90d <= 6",
    ),
    "two_of_the_above": Audience(
        "{any: [{audience: champions}, {audience: fans_of_the_brand}]}",
        "(rfm_segment IN ('champions', 'loyal') OR (preferred_brand = '资生堂' AND brands_viewed_90d <= 6)) "
        "AND NOT (coupons_got_30d >= 1 AND coupons_used_30d = 0)",
        "{audience: coupons_not_used}",
    ),
}


def build(con: duckdb.DuckDBPyConnection) -> None:
    """Table ``membership`` (audience, uid)."""
    con.execute("CREATE TABLE membership (audience VARCHAR, uid BIGINT)")
    for name, audience in TWENTY.items():
        con.execute(f"INSERT INTO membership SELECT '{name}', uid FROM people WHERE {audience.sql}")


def as_files() -> dict[str, str]:
    """The same twenty as files of a project's folder ``audiences/``."""
    head = "name: {{zh: {0}, en: {0}}}\ndescription: {{zh: {0}, en: {0}}}\nowner: crm\n"
    found = {}
    for name, a in TWENTY.items():
        body = f"include: {a.include}\n" + (f"exclude: {a.exclude}\n" if a.exclude else "")
        found[f"{name}.yaml"] = head.format(name) + body
    return found
