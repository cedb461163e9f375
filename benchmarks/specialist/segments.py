"""RFM, AIPL and lifecycle of everybody: table ``people``, the facts and what a marketer asks of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb

from features.rfm import EIGHT, ELEVEN

Cuts = Mapping[str, Sequence[float]]
"""``purchase_day_cuts``, ``dormant_after``, ``churned_after``: numbers that a shop makes once and keeps."""
SCORES = {
    "recency": "days_since_last_purchase",
    "frequency": "purchase_days_365d",
    "monetary": "net_amount_365d",
}


def build(con: duckdb.DuckDBPyConnection, cuts: Cuts) -> None:
    _records(con)
    marks = ", ".join(
        f"quantile_cont({of}, [.2, .4, .6, .8]) AS {name}_cuts, avg({of}) AS {name}_mean" for name, of in SCORES.items()
    )
    below = {
        name: " + ".join(f"CAST({of} > round({name}_cuts[{i}], 6) AS INTEGER)" for i in range(1, 5))
        for name, of in SCORES.items()
    }
    con.execute(f"""
        CREATE TABLE people AS
        WITH known AS (
            SELECT f.* REPLACE (coalesce(n.value, f.preferred_brand) AS preferred_brand),
                as_of() - last_purchase_day AS days_since_last_purchase,
                coalesce(coalesce(r.registered_on, m.member_seen_day) <= as_of(), false) AS is_member,
                CASE WHEN r.registered_on <= as_of() THEN r.registered_on END AS register_day,
                CASE WHEN r.followed_on <= as_of() THEN r.followed_on END AS follow_day,
                r.city AS register_city, r.gender, r.tier AS member_tier, r.distributor_level,
                coalesce(r.marketing_consent, false) AS marketing_consent
            FROM facts f LEFT JOIN records_of r USING (uid) LEFT JOIN members_of m USING (uid)
            LEFT JOIN notes_of n ON n.uid = f.uid AND n.tag = 'preferred_brand'
        ), marks AS (SELECT {marks} FROM known WHERE purchase_days_365d > 0),
        scored AS (
            SELECT k.*, m.*, CASE WHEN bought THEN 5 - ({below["recency"]}) END AS rfm_recency,
                CASE WHEN bought THEN 1 + {below["frequency"]} END AS rfm_frequency,
                CASE WHEN bought THEN 1 + {below["monetary"]} END AS rfm_monetary
            FROM (SELECT *, purchase_days_365d > 0 AS bought FROM known) k, marks m
        )
        SELECT * EXCLUDE (bought, recency_cuts, recency_mean, frequency_cuts, frequency_mean, monetary_cuts, monetary_mean),
            CASE WHEN NOT bought THEN 'no_purchase' ELSE CASE 100 * rfm_recency + 10 * rfm_frequency + rfm_monetary {_eleven()} END
                END AS rfm_segment,
            CASE WHEN NOT bought THEN 'no_purchase' ELSE {_eight()} END AS rfm_value_segment,
            CASE WHEN purchase_days_540d >= 2 THEN 'loyalty'
                 WHEN purchase_days_540d >= 1 AND (good_reviews_540d > 0 OR buyers_brought_540d > 0) THEN 'loyalty'
                 WHEN purchase_days_730d >= 1 THEN 'purchase'
                 WHEN view_days_15d >= 2 OR brand_searches_15d > 0 OR interests_15d > 0 THEN 'interest'
                 WHEN as_of() - register_day < 180 OR as_of() - follow_day < 180 THEN 'interest'
                 WHEN touches_15d > 0 THEN 'awareness' ELSE 'none' END AS aipl_stage,
            {_lifecycle(cuts)} AS lifecycle
        FROM scored""")


def _records(con: duckdb.DuckDBPyConnection) -> None:
    """What member records and notes by hand say of a person by the day."""
    con.execute("""
        CREATE TEMP TABLE members_of AS
        SELECT uid, min(CAST(first_seen_at AS DATE)) AS member_seen_day FROM identifiers WHERE id[1] = '0' GROUP BY uid""")
    con.execute("""
        CREATE TEMP TABLE records_of AS
        WITH ids AS (SELECT id[2:] AS member_id, uid FROM identifiers WHERE id[1] = '0'),
        registered AS (
            SELECT uid, min(CAST(registered_at AS DATE)) AS registered_on FROM members JOIN ids USING (member_id)
            GROUP BY uid
        ), latest AS (
            SELECT ids.uid, m.* EXCLUDE (row), CAST(followed_at AS DATE) AS followed_on FROM members m JOIN ids USING (member_id)
            WHERE CAST(source_time AS DATE) <= as_of()
            QUALIFY row_number() OVER (PARTITION BY uid ORDER BY source_time DESC, file DESC, row DESC) = 1
        )
        SELECT * FROM registered FULL JOIN latest USING (uid)""")
    con.execute("""
        CREATE TEMP TABLE notes_of AS
        SELECT i.uid, n.tag, n.value FROM manual_tags n JOIN identifiers i ON i.id = '0' || n.member_id
        WHERE CAST(n.noted_at AS DATE) <= as_of()
        QUALIFY row_number() OVER (PARTITION BY i.uid, n.tag ORDER BY n.noted_at DESC) = 1
            AND (n.expires_on IS NULL OR n.expires_on >= as_of())""")


def _eleven() -> str:
    return " ".join(f"WHEN {code} THEN '{name}'" for name, codes in ELEVEN.items() for code in codes)


def _eight() -> str:
    high = (
        "days_since_last_purchase < recency_mean",
        "purchase_days_365d > frequency_mean",
        "net_amount_365d > monetary_mean",
    )
    told = [" AND ".join(c if h else f"NOT ({c})" for c, h in zip(high, highs, strict=True)) for highs in EIGHT]
    return f"CASE {' '.join(f'WHEN {when} THEN {name!r}' for when, name in zip(told, EIGHT.values(), strict=True))} END"


def _lifecycle(cuts: Cuts) -> str:
    def of_class(name: str) -> str:
        numbers = cuts[name]
        return f"[{', '.join(str(n) for n in numbers)}][least(purchase_days_ever, {len(numbers)})]"

    new, growing, mature = cuts["purchase_day_cuts"]
    return f"""
        CASE WHEN purchase_days_ever = 0 THEN 'prospect'
             WHEN days_since_last_purchase >= {of_class("churned_after")} THEN 'churned'
             WHEN days_since_last_purchase >= {of_class("dormant_after")} THEN 'dormant'
             WHEN as_of() - returned_after_churn < 30 THEN 'recovered'
             WHEN purchase_days_ever <= {new} THEN 'new' WHEN purchase_days_ever <= {growing} THEN 'growing'
             WHEN purchase_days_ever <= {mature} THEN 'mature' ELSE 'loyal' END"""
