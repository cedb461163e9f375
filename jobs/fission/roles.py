"""Map tasks of reach and roles: per bucket what its users' shares reached, then percentiles among all, then the rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from features.fission import roles
from features.fission.distributors import turned_self_buyer
from features.fission.growth import k_factor, share_of_open
from features.fission.settings import FissionSettings
from features.fission.shape import STRUCTURES
from features.fission.touches import distinct_pairs
from features.fission.tree import ROOT
from features.fission.uids import place_of
from features.instants import day_number
from features.kernel.arrays import to_arrow
from features.kernel.rows import NEVER as NO_DAY
from features.kernel.rows import USERS_PER_BUCKET
from jobs.fission.array_files import joined, load_arrays, save_arrays
from jobs.fission.tasks import FISSION_KINDS, of_bucket, texts_at, write_table

SCORES = ("connector", "maven", "salesman")
HOUR = 3_600_000_000


def reach_of_bucket(item: dict[str, Any]) -> dict[str, Any]:
    """What the bucket's sharers reached and brought, invites by day, and the worth of orders brought by anybody.

    ``item``: ``bucket``, ``folder`` (of ``touches_of_bucket``), ``forest`` (of ``forest_of_touches``), ``sold`` (orders
    brought: key and sharer, sorted by key), ``products`` (folder: first day and category of each sku), ``as_of``,
    ``settings``, ``out``.
    """
    settings = FissionSettings.model_validate(item["settings"])
    as_of = day_number(dt.date.fromisoformat(item["as_of"]))
    base = item["bucket"] * USERS_PER_BUCKET
    share = _columns(item["folder"], "share", "place", "at", "day", "sku")
    opened = _columns(item["folder"], "opened", "place", "at", "day", "sku", "peer", "to_read")
    sold = _columns(item["folder"], "sold", "place", "peer", "day")
    node_uid, root_uid, parent_uid, touched, since = load_arrays(
        item["forest"], "uid", "root_uid", "parent_uid", "touched_at", "joined_at"
    )
    start = as_of - settings.role_days + 1
    late_opened, late_sold = opened["day"] >= start, sold["day"] >= start
    reached_by = distinct_pairs(opened["place"], opened["peer"])[0]
    sold_by = distinct_pairs(sold["place"], sold["peer"])[0]
    near_by, near = distinct_pairs(opened["place"][late_opened], opened["peer"][late_opened])
    near_sold_by, near_buyer = distinct_pairs(sold["place"][late_sold], sold["peer"][late_sold])
    exposed_by = distinct_pairs(np.concatenate([near_by, near_sold_by]), np.concatenate([near, near_buyer]))[0]

    tree = _of_node(node_uid, root_uid, near)
    bridged_by = distinct_pairs(near_by, tree)[0]
    count = _per_user
    products = load_arrays(item["products"], "first_day", "category")
    reads = count(opened["place"][late_opened & opened["to_read"]])
    shares, expert = _maven(share, reads, products, start, settings.early_days)
    connector = roles.connector(count(near_by), count(bridged_by))
    sharer = np.flatnonzero((shares > 0) | (count(near_by) > 0) | (count(near_sold_by) > 0))
    last_sale = np.full(USERS_PER_BUCKET, -NO_DAY, np.int32)
    np.maximum.at(last_sale, sold["place"], sold["day"])
    ever = np.bincount(share["place"], minlength=USERS_PER_BUCKET)
    breadth, conversions = count(reached_by), count(sold_by)
    part, _ = of_bucket(node_uid, item["bucket"])
    root = node_uid[part][parent_uid[part] == ROOT] - base
    save_arrays(
        item["out"],
        breadth=breadth,
        conversions=conversions,
        last_sale=last_sale,
        shared=(ever > 0) | (breadth > 0) | (last_sale > -NO_DAY),
        sharer=sharer,
        connector=connector[sharer],
        maven=expert[sharer],
        converted=count(near_sold_by)[sharer],
        exposed=count(exposed_by)[sharer],
        root_reach=breadth[root],
        root_converted=conversions[root],
    )
    _save_cohorts(item["out"], share, opened, base, (node_uid, parent_uid, touched, since), as_of, settings.cohort_days)
    _save_attributed(item)
    return {"bucket": item["bucket"], "folder": item["out"]}


def _maven(
    share: Mapping[str, np.ndarray], reads: np.ndarray, products: Sequence[np.ndarray], start: int, early_days: int
) -> tuple[np.ndarray, np.ndarray]:
    """Shares in the window and the maven's score, per user.

    A product that was there on the first days of the data may be older than it: nobody is early with it.
    """
    first_day, category = products
    inside = share["day"] >= start
    place, day, sku = (share[n][inside] for n in ("place", "day", "sku"))
    born = first_day[sku]
    known = born > int(first_day.min(initial=NO_DAY)) + early_days
    early = (sku > 0) & known & (day - born < early_days)
    return roles.maven(place, np.asarray(category[sku]), early, reads, USERS_PER_BUCKET)


def _save_cohorts(
    out: str,
    share: Mapping[str, np.ndarray],
    opened: Mapping[str, np.ndarray],
    base: int,
    tree: tuple[np.ndarray, ...],
    as_of: int,
    days: int,
) -> None:
    """By day of sharing: sharers, people reached by its shares, who of them joined under the sharer, and how soon.

    An open belongs to the day of the share that it came from; where that is not to be found, to its own day.
    """
    start = as_of - days + 1
    recent = opened["day"] >= start
    opens = {n: v[recent] for n, v in opened.items()}
    source = share_of_open((share["place"], share["sku"], share["at"]), (opens["place"], opens["sku"], opens["at"]))
    known = source >= 0
    day, sent = opens["day"].copy(), opens["at"].copy()
    day[known], sent[known] = share["day"][source[known]], share["at"][source[known]]
    node_uid, parent_uid, touched, since = tree
    peer = opens["peer"]
    node = place_of(node_uid, peer)
    accepted = node >= 0
    accepted[accepted] = (parent_uid[node[accepted]] == opens["place"][accepted] + base) & (
        touched[node[accepted]] == opens["at"][accepted]
    )
    # one person joins once, though two cards may have been opened at that moment
    first = np.flatnonzero(accepted)
    first = first[np.unique(peer[first], return_index=True)[1]]
    inside = first[day[first] >= start]
    hours = (since[node[inside]] - sent[inside]) / HOUR
    # who joined on a day, or in a second, of which no more is known has no hours
    hours = np.where(known[inside] & (hours > 0), hours, np.nan)
    of_day = np.flatnonzero(day >= start)
    person = np.unique(peer[of_day], return_inverse=True)[1]
    pairs = ((day[of_day] - np.int64(start)) * USERS_PER_BUCKET + opens["place"][of_day]) * (len(person) + 1) + person
    invited = np.unique(pairs) // ((len(person) + 1) * USERS_PER_BUCKET)
    sharing = share["day"] >= start
    sharers = np.unique((share["day"][sharing] - np.int64(start)) * USERS_PER_BUCKET + share["place"][sharing])
    save_arrays(
        out,
        invites=np.bincount(invited, minlength=days),
        sharers=np.bincount(sharers // USERS_PER_BUCKET, minlength=days),
        accepted_day=day[inside] - start,
        accepted_hours=hours,
    )


def _save_attributed(item: Mapping[str, Any]) -> None:
    """Net worth of this bucket's orders that somebody's share brought, by sharer."""
    sold_key, sold_sharer = load_arrays(item["sold"], "key", "sharer")
    key, net = load_arrays(item["folder"], "order_key", "order_net")
    at = place_of(sold_key, key)
    hit = np.flatnonzero(at >= 0)
    sharer, which = np.unique(sold_sharer[at[hit]], return_inverse=True)
    amount = np.zeros(len(sharer), np.int64)
    np.add.at(amount, which, net[hit])
    save_arrays(item["out"], attributed_sharer=sharer, attributed_net=amount)


def numbers_of_all(item: dict[str, Any]) -> dict[str, Any]:
    """What needs all sharers: the prior, sorted scores, cuts of seed users, attributed sums; writes ``share_daily``.

    ``item``: ``folders`` (of ``reach_of_bucket``), ``touches`` (of ``touches_of_bucket``), ``first_day``, ``as_of``,
    ``settings``, ``daily_out`` (a file), ``out``.
    """
    settings = FissionSettings.model_validate(item["settings"])
    folders = item["folders"]
    converted, exposed = joined(folders, "converted"), joined(folders, "exposed")
    prior = settings.salesman_prior or roles.beta_prior(
        converted, exposed, at_least=settings.prior_min_sharers, default=settings.default_prior
    )
    sharer, which = np.unique(joined(folders, "attributed_sharer"), return_inverse=True)
    amount = np.zeros(len(sharer), np.int64)
    np.add.at(amount, which, joined(folders, "attributed_net"))
    save_arrays(
        item["out"],
        connector=np.sort(joined(folders, "connector")),
        maven=np.sort(joined(folders, "maven")),
        salesman=np.sort(roles.salesman(converted, exposed, prior)),
        attributed_sharer=sharer,
        attributed_net=amount,
    )
    cuts = roles.seed_cuts(
        joined(folders, "root_reach"),
        joined(folders, "root_converted"),
        settings.seed_breadth,
        settings.seed_conversion,
    )
    days = _write_daily(item, settings.cohort_days)
    return {"prior": list(prior), "seed_cuts": [str(c) for c in cuts], "days": days}


def _write_daily(item: Mapping[str, Any], days: int) -> int:
    def summed(folders: Sequence[str], name: str) -> np.ndarray:
        return np.sum([load_arrays(f, name)[0] for f in folders], axis=0)

    start = day_number(dt.date.fromisoformat(item["as_of"])) - days + 1
    active, active_30d = summed(item["touches"], "active"), summed(item["touches"], "active_30d")
    invites, sharers = summed(item["folders"], "invites"), summed(item["folders"], "sharers")
    day, hours = joined(item["folders"], "accepted_day"), joined(item["folders"], "accepted_hours")
    accepted = np.bincount(day, minlength=days)
    first = max(0, item["first_day"] - start)
    order = np.lexsort((hours, day))
    bounds = np.searchsorted(day[order], np.arange(days + 1))
    k, cycle = np.full(days, np.nan), np.full(days, np.nan)
    for d in range(first, days):
        found = k_factor(active[d], invites[d], accepted[d])
        k[d] = np.nan if found is None else round(found, 6)
        known = hours[order[bounds[d] : bounds[d + 1]]]
        known = known[~np.isnan(known)]
        cycle[d] = round(float(np.median(known)), 6) if len(known) else np.nan
    kept = slice(first, days)
    write_table(
        "fission.share_daily",
        item["daily_out"],
        cohort_day=to_arrow(np.arange(start, start + days, dtype=np.int32)[kept], None, pa.date32()),
        active_users=active[kept],
        active_users_30d=active_30d[kept],
        sharers=sharers[kept],
        invites=invites[kept],
        accepted=accepted[kept],
        k_factor=k[kept],
        cycle_hours=cycle[kept],
    )
    return days - first


def roles_of_bucket(item: dict[str, Any]) -> dict[str, Any]:
    """Write the bucket's rows of ``roles``; gives how many.

    ``item``: ``bucket``, ``folder`` and ``reach`` (what the bucket's tasks wrote), ``forest``, ``numbers`` (folder of
    ``numbers_of_all``), ``prior``, ``seed_cuts``, ``as_of``, ``settings``, ``roles_out`` (a file).
    """
    settings = FissionSettings.model_validate(item["settings"])
    as_of = day_number(dt.date.fromisoformat(item["as_of"]))
    base = item["bucket"] * USERS_PER_BUCKET
    reach = dict(zip(_REACH, load_arrays(item["reach"], *_REACH), strict=True))
    in_tree, tree = _trees_of_bucket(item)
    level, buyer, buyer_last = load_arrays(item["folder"], "level", "buyer", "buyer_last_day")
    sells = (level >= 0) | (reach["last_sale"] > -NO_DAY)
    who = np.flatnonzero(in_tree | reach["shared"] | sells)
    if not len(who):
        return {"bucket": item["bucket"], "rows": 0}

    tree = {name: values[who] for name, values in tree.items()}
    scores, exposed = _scores(item, reach)[who], _by_user(reach["sharer"], reach["exposed"])[who]
    role = roles.primary_role(scores, exposed, threshold=settings.role_threshold, people=settings.role_people)
    breadth, conversions = reach["breadth"][who], reach["conversions"][who]
    is_root = in_tree[who] & (tree["parent_uid"] == ROOT)
    cuts = (float(item["seed_cuts"][0]), float(item["seed_cuts"][1]))
    last_purchase = _by_user(buyer, buyer_last, -NO_DAY)[who]
    turned = turned_self_buyer(reach["last_sale"][who], last_purchase, as_of, settings.silent_days)
    is_seller = sells[who]

    def seller(values: np.ndarray) -> pa.Array:
        return to_arrow(values.astype(np.int64), ~is_seller, pa.int64())

    write_table(
        "fission.roles",
        item["roles_out"],
        uid=who + base,
        share_level=to_arrow(tree["level"], ~in_tree[who], pa.int32()),
        share_breadth=breadth,
        share_children=tree["children"],
        share_descendants=tree["descendants"],
        share_depth=tree["depth"],
        share_conversions=conversions,
        connector_score=scores[:, 0],
        maven_score=scores[:, 1],
        salesman_score=scores[:, 2],
        primary_role=texts_at(roles.ROLES, role),
        is_seed_user=is_root & roles.is_seed(breadth, conversions, cuts),
        fission_kind=texts_at(FISSION_KINDS, tree["kind"]),
        community_structure=texts_at(STRUCTURES, tree["structure"]),
        is_seller=is_seller,
        downline_users=seller(tree["downline_users"]),
        downline_amount_minor=seller(tree["downline_net"]),
        attributed_amount_minor=seller(_attributed(item)[who]),
        turned_self_buyer=_booleans(turned, is_seller),
    )
    return {"bucket": item["bucket"], "rows": len(who)}


_REACH = ("breadth", "conversions", "last_sale", "shared", "sharer", "connector", "maven", "converted", "exposed")
_NODE = (
    "uid",
    "parent_uid",
    "level",
    "children",
    "descendants",
    "depth",
    "structure",
    "kind",
    "downline_users",
    "downline_net",
)


def _by_user(place: np.ndarray, values: np.ndarray, others: int = 0) -> np.ndarray:
    """The values by user of the bucket; ``others`` for whom ``place`` does not name."""
    found = np.full(USERS_PER_BUCKET, others, values.dtype)
    found[place] = values
    return found


def _trees_of_bucket(item: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Who of the bucket is in a tree, and by user what the forest says of them."""
    node = dict(zip(_NODE, load_arrays(item["forest"], *_NODE), strict=True))
    part, base = of_bucket(node["uid"], item["bucket"])
    inside = node.pop("uid")[part] - base
    in_tree = _by_user(inside, np.ones(len(inside), np.bool_))
    return in_tree, {n: _by_user(inside, v[part], ROOT if n == "parent_uid" else 0) for n, v in node.items()}


def _attributed(item: Mapping[str, Any]) -> np.ndarray:
    """Net worth of the orders that each user's shares brought."""
    sharer, amount = load_arrays(item["numbers"], "attributed_sharer", "attributed_net")
    mine, base = of_bucket(sharer, item["bucket"])
    return _by_user(sharer[mine] - base, amount[mine])


def _scores(item: Mapping[str, Any], reach: Mapping[str, np.ndarray]) -> np.ndarray:
    """Percentiles per user of the bucket, a column a role; nan for who shared nothing in the window."""
    raw = {
        "connector": reach["connector"],
        "maven": reach["maven"],
        "salesman": roles.salesman(reach["converted"], reach["exposed"], tuple(item["prior"])),
    }
    found = np.full((USERS_PER_BUCKET, len(SCORES)), np.nan)
    for i, (name, among) in enumerate(zip(SCORES, load_arrays(item["numbers"], *SCORES), strict=True)):
        found[reach["sharer"], i] = roles.place_among(among, raw[name])
    return found


def _booleans(values: np.ndarray, present: np.ndarray) -> pa.Array:
    packed = [pa.py_buffer(np.packbits(a, bitorder="little")) for a in (present, values)]
    return pa.Array.from_buffers(pa.bool_(), len(values), packed)


def _columns(folder: str, prefix: str, *names: str) -> dict[str, np.ndarray]:
    return dict(zip(names, load_arrays(folder, *(f"{prefix}_{n}" for n in names)), strict=True))


def _per_user(place: np.ndarray) -> np.ndarray:
    return np.bincount(place, minlength=USERS_PER_BUCKET)


def _of_node(node_uid: np.ndarray, values: np.ndarray, uid: np.ndarray) -> np.ndarray:
    """The value of each uid's node; -1 for who is in no tree."""
    node = place_of(node_uid, uid)
    found = np.full(len(uid), -1, np.int64)
    found[node >= 0] = values[node[node >= 0]]
    return found
