"""The truth agrees with the logs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from simulator import Shop


def _feed(shop: Shop, name: str) -> pd.DataFrame:
    """The rows as they are, without the spoilt ones and without second deliveries."""
    feed = shop.feeds[name]
    frame = feed.rows.to_pandas()
    for column in frame.columns:
        if isinstance(frame[column].dtype, pd.CategoricalDtype):
            frame[column] = frame[column].astype(object)
    frame["arrived"] = feed.arrived
    frame = frame[feed.fault == 0]
    return frame.drop_duplicates([c for c in frame.columns if c != "arrived"])


def _truth(shop: Shop, name: str) -> pd.DataFrame:
    return shop.truth[name].to_pandas()


def _members(shop: Shop) -> pd.Series:
    """person by member id"""
    ids = _truth(shop, "person_ids")
    return ids[ids.id_kind == "member"].set_index("id_value").person_id


def test_sizes_are_those_of_a_social_shop(town: Shop) -> None:
    a_user = {name: len(feed) / town.users for name, feed in town.feeds.items()}
    assert 25 < a_user["browse"] < 45
    assert 3 < a_user["orders"] < 5
    assert 2 < a_user["shares"] < 3.5
    assert 0.6 < _truth(town, "persons").is_member.mean() < 0.72
    assert _truth(town, "persons").city.eq("北京").sum() > 200
    assert town.feeds["products"].rows.to_pandas().brand.eq("资生堂").sum() > 20


def test_every_edge_of_the_tree_has_an_open_before_the_registration(town: Shop) -> None:
    tree = _truth(town, "invitations").merge(_truth(town, "persons"), on="person_id")
    assert len(tree) > 200
    assert (tree.opened_at < tree.converted_at).all()
    assert (tree.person_id != tree.parent_person_id).all()
    shares = _feed(town, "shares")
    shares_only = shares[shares.behaviour == "share"]
    shared = dict(zip(shares_only.share_id, shares_only.occurred_at, strict=True))
    opens = shares[shares.behaviour == "open"]
    opened = set(zip(opens.share_id, opens.occurred_at, strict=True))
    for edge in tree.itertuples():
        card = edge.share_id
        assert shared[card] < edge.opened_at
        assert (card, edge.opened_at) in opened
    joined = tree[tree.is_member]
    assert (joined.converted_at == joined.registered_at).all()


def test_the_tree_is_a_forest_of_several_levels(town: Shop) -> None:
    tree = _truth(town, "invitations")
    parent = dict(zip(tree.person_id, tree.parent_person_id, strict=True))
    for edge in tree.itertuples():
        person, depth = edge.person_id, 0
        while person in parent:
            person, depth = parent[person], depth + 1
            assert depth < 100, "a cycle"
        assert (depth, person) == (edge.depth, edge.root_person_id)
    assert tree.depth.max() >= 3


def test_the_inviter_on_a_members_record_is_the_parent_in_the_tree(town: Shop) -> None:
    members, person = _feed(town, "members"), _members(town)
    told = members.dropna(subset=["inviter_member_id"]).drop_duplicates("member_id")
    parent = _truth(town, "invitations").set_index("person_id").parent_person_id
    assert len(told) > 200
    assert (parent[person[told.member_id]].to_numpy() == person[told.inviter_member_id].to_numpy()).all()


def test_the_traps_of_the_tree_are_there(town: Shop) -> None:
    shares, person = _feed(town, "shares"), _members(town)
    opens = shares[(shares.behaviour == "open") & shares.member_id.notna() & shares.sharer_member_id.notna()]
    self_opened = person[opens.member_id].to_numpy() == person[opens.sharer_member_id].to_numpy()
    assert self_opened.sum() > 5, "self-invites"
    registered = _truth(town, "persons").registered_at
    late = opens.occurred_at.to_numpy() > registered[person[opens.member_id]].to_numpy()
    assert late.sum() > 100, "touches after the registration"
    assert (shares.behaviour == "share").sum() > (shares.sharer_member_id.notna() & (shares.behaviour == "share")).sum()
    assert shares.parent_share_id.notna().sum() > 20, "cards passed on"


def test_a_person_has_a_stage_from_the_first_day_and_prospects_bought_nothing(town: Shop) -> None:
    stages = _truth(town, "lifecycle")
    assert set(stages.person_id) == set(range(town.users))
    assert set(stages.stage) == {"prospect", "new", "growing", "mature", "loyal", "dormant", "churned", "recovered"}
    assert not stages.duplicated(["person_id", "from_day"]).any()
    only = stages.groupby("person_id").stage.agg(["size", "first"])
    never = only[(only["size"] == 1) & (only["first"] == "prospect")].index
    orders, refunds = _truth(town, "orders"), _truth(town, "refunds")
    guests = _truth(town, "guest_checkouts")
    orders = orders[orders.paid_at.notna() & orders.cancelled_at.isna() & ~orders.is_brushed]
    orders = orders[~orders.order_id.isin(refunds[refunds.whole_order].order_id)]
    orders = orders[~orders.order_id.isin(guests[guests.cookie_id.isna()].order_id)]
    assert not orders.person_id.isin(never).any()
    assert set(range(town.users)) - set(never) == set(orders.person_id)


def test_a_new_customer_became_one_on_the_day_of_the_first_purchase(town: Shop) -> None:
    new = _truth(town, "lifecycle").query("stage == 'new'").groupby("person_id").from_day.min()
    orders, refunds, guests = (_truth(town, n) for n in ("orders", "refunds", "guest_checkouts"))
    orders = orders[orders.paid_at.notna() & orders.cancelled_at.isna() & ~orders.is_brushed]
    orders = orders[~orders.order_id.isin(refunds[refunds.whole_order].order_id)]
    orders = orders[~orders.order_id.isin(guests[guests.cookie_id.isna()].order_id)]
    first = orders.groupby("person_id").paid_at.min().dt.date
    assert (first[new.index] == new).mean() > 0.97, "save for who was silent before the first purchase was paid"


def test_silent_phases_are_silent(town: Shop) -> None:
    stages = _truth(town, "lifecycle").sort_values(["person_id", "from_day"])
    end = pd.Timestamp(town.season.last_day) + pd.Timedelta(days=1)
    stages["from_day"] = pd.to_datetime(stages.from_day)
    until = stages.groupby("person_id").from_day.shift(-1).fillna(end)
    silent = stages.assign(until=until)[stages.stage.isin(["dormant", "churned"])]
    orders = _truth(town, "orders")
    orders = orders[orders.paid_at.notna() & ~orders.is_brushed]
    within = silent.merge(orders, on="person_id")
    within = within[(within.ordered_at > within.from_day + pd.Timedelta(days=1)) & (within.ordered_at < within.until)]
    assert len(within) < 0.01 * len(orders)


def test_money_adds_up(town: Shop) -> None:
    lines = _feed(town, "order_lines")
    assert (lines.list_amount_minor == lines.discount_amount_minor + lines.net_amount_minor).all()
    assert (lines.net_amount_minor >= 0).all()
    orders = _feed(town, "orders").drop_duplicates("order_id").set_index("order_id")
    truth = _truth(town, "orders").set_index("order_id")
    raw = town.feeds["order_lines"]
    kept = raw.rows.to_pandas()[raw.fault == 0]
    twice = _truth(town, "duplicates").query("feed == 'order_lines'").key.tolist()
    total = kept[~kept.order_id.isin(twice)].groupby("order_id", observed=True).net_amount_minor.sum()
    assert (total == truth.net_amount_minor[total.index]).all()
    written = orders.total_amount_minor - orders.freight_amount_minor
    assert (written == truth.net_amount_minor[written.index]).all()


def test_refunds_never_exceed_the_order_and_whole_ones_equal_it(town: Shop) -> None:
    refunds = _truth(town, "refunds").merge(_truth(town, "orders"), on="order_id")
    assert set(refunds.whole_order) == {True, False}
    assert (refunds.refunded_at > refunds.paid_at).all()
    whole = refunds[refunds.whole_order]
    assert (whole.refund_amount_minor == whole.net_amount_minor).all()
    part = refunds[~refunds.whole_order].groupby("order_id")
    assert (part["refund_amount_minor"].sum() < part["net_amount_minor"].first()).all()


def test_guests_show_a_null_or_a_zero_and_no_other_id_than_a_cookie(town: Shop) -> None:
    guests = _truth(town, "guest_checkouts")
    orders = _feed(town, "orders").drop_duplicates("order_id").set_index("order_id").loc[guests.order_id]
    assert set(orders.member_id.fillna("null")) == {"null", "0"}
    assert orders[["openid", "unionid", "device_id"]].isna().all().all()
    assert orders.cookie_id.fillna("").to_list() == guests.cookie_id.fillna("").to_list()
    assert 0.2 < guests.cookie_id.notna().mean() < 0.8


def test_brushed_orders_are_paid_in_seconds_but_for_careful_ones_after_no_visit(town: Shop) -> None:
    orders = _truth(town, "orders").merge(_truth(town, "brushing_orders"), on=["order_id", "person_id"])
    assert len(orders) > 20
    assert 0.7 < ((orders.paid_at - orders.ordered_at).dt.total_seconds() < 10).mean() < 1
    assert set(orders.person_id) <= set(_truth(town, "brushing_users").person_id)
    browse, person = _feed(town, "browse"), _members(town)
    browse = browse[browse.member_id.notna()]
    acts = browse[person[browse.member_id].isin(orders.person_id).to_numpy()].behaviour
    assert set(acts) == {"register", "review"}
    full = _feed(town, "orders").drop_duplicates("order_id").set_index("order_id").loc[orders.order_id]
    assert (full.groupby(orders.ring.to_numpy()).device_id.nunique() <= 2).all()
    assert (full.groupby(orders.ring.to_numpy()).ship_city.nunique() == 1).all()
    for key, most in (("address", 1), ("ip", 2)):
        usual = full.groupby(orders.ring.to_numpy())[key].apply(lambda c, n=most: c.value_counts()[:n].sum() / len(c))
        assert (usual > 0.7).all(), f"a ring shares {key}"


def test_ordinary_people_share_homes_and_networks_too(town: Shop) -> None:
    orders = _feed(town, "orders").drop_duplicates("order_id").merge(_truth(town, "orders"), on="order_id")
    plain = orders[~orders.is_brushed]
    at_home = plain.groupby("address").person_id.nunique()
    assert 1 < at_home.max() <= 4
    assert plain.groupby("ip").person_id.nunique().max() > 4
    assert plain.ip.str.startswith("10.").all()


def test_two_accounts_of_one_person_share_a_verified_phone_or_were_merged(town: Shop) -> None:
    members, person = _feed(town, "members"), _members(town)
    several = person.groupby(person).size()
    twofold = several[several == 2].index
    assert len(twofold) > 10
    last = members.sort_values("source_time").drop_duplicates("member_id", keep="last").set_index("member_id")
    kinds = set()
    for who in twofold:
        pair = last.loc[person[person == who].index]
        merged = pair.merged_into_member_id.isin(pair.index).sum() == 1
        same_phone = pair.phone.nunique() == 1 and pair.phone.notna().all() and pair.phone_verified.all()
        assert merged != same_phone
        kinds.add("merged" if merged else "phone")
    assert kinds == {"merged", "phone"}


def test_the_same_unverified_phone_makes_nobody_one(town: Shop) -> None:
    members, person = _feed(town, "members"), _members(town)
    verified = members[members.phone_verified & members.phone.notna()]
    holders = pd.Series(person[verified.member_id].to_numpy()).groupby(verified.phone.to_numpy()).nunique()
    assert (holders == 1).all(), "two persons never have the same verified phone"
    anybody = members[members.phone.notna()]
    holders = pd.Series(person[anybody.member_id].to_numpy()).groupby(anybody.phone.to_numpy()).nunique()
    assert (holders > 1).any(), "but some typed somebody else's"


def test_shared_devices_are_shared_from_the_day_of_the_second_member(town: Shop) -> None:
    person = _members(town)
    seen = [
        _feed(town, "browse")[["occurred_at", "member_id", "device_id"]],
        _feed(town, "shares")[["occurred_at", "member_id", "device_id"]],
        _feed(town, "orders")[["ordered_at", "member_id", "device_id"]].rename(columns={"ordered_at": "occurred_at"}),
        _feed(town, "members")[["source_time", "member_id", "device_id"]].rename(
            columns={"source_time": "occurred_at"}
        ),
    ]
    rows = pd.concat(seen).dropna()
    rows = rows[rows.member_id != "0"]
    rows = rows.assign(person=person[rows.member_id].to_numpy(), day=rows.occurred_at.dt.date)
    first = rows.groupby(["device_id", "person"]).day.min().reset_index().sort_values("day", kind="stable")
    second = first.groupby("device_id").day.nth(1)
    expected = first.loc[second.index].set_index("device_id").day.sort_index()
    shared = _truth(town, "shared_ids").query("id_kind == 'device'").set_index("id_value").shared_from_day.sort_index()
    pd.testing.assert_series_equal(shared, expected, check_names=False)
    assert len(shared) > 10


def test_every_id_in_the_logs_has_its_person(town: Shop) -> None:
    ids = _truth(town, "person_ids")
    for name in ("browse", "orders", "shares", "surveys"):
        feed = _feed(town, name)
        kinds = {"member": "member_id", "openid": "openid", "device": "device_id", "cookie": "cookie_id"}
        for kind, column in kinds.items():
            shown = set(feed[column].dropna()) - {"0"} if column in feed else set()
            assert shown <= set(ids[ids.id_kind == kind].id_value), (name, kind)
    assert ids[ids.id_kind == "phone"].id_value.str.match("^160[0-9]{8}$").all(), "no number of a real person"
    assert not ids.duplicated(["person_id", "id_kind", "id_value"]).any()


def test_duplicates_are_the_same_row_again(town: Shop) -> None:
    twice = _truth(town, "duplicates")
    for name in ("browse", "orders", "shares", "refunds", "members"):
        feed = town.feeds[name]
        good = feed.rows.to_pandas()[feed.fault == 0]
        assert good.duplicated().sum() == (twice.feed == name).sum(), name
    assert set(twice.same_delivery) == {True, False}
    without_ids = twice[twice.feed.isin(["order_lines", "coupons", "manual_tags"])]
    week = town.season.last_day - pd.Timedelta(days=6)
    assert (without_ids.delivered_again_day >= week).all(), "rows without ids come again in a later file only"
    assert not without_ids.same_delivery.any()


def test_late_rows_come_days_later_and_a_few_very_late(town: Shop) -> None:
    late = _truth(town, "late_rows")
    assert set(late.feed) == {"orders", "order_lines", "refunds", "browse", "shares", "coupons", "surveys"}
    assert (late.late_days > 0).all()
    assert late.late_days.median() <= 3
    assert (late.late_days >= 10).sum() > 5
    made = pd.to_datetime(late.made_day) + pd.to_timedelta(late.late_days, unit="D")
    assert (made == pd.to_datetime(late.delivered_day)).all()


def test_every_feed_has_rows_that_cannot_be_taken(town: Shop) -> None:
    bad = _truth(town, "bad_rows")
    assert set(bad.feed) == set(town.feeds)
    assert set(bad.fault) == {
        "unparseable_time", "negative_amount", "unknown_behaviour", "missing_key", "missing_person", "missing_tag"
    }  # fmt: skip
    for name, feed in town.feeds.items():
        assert np.count_nonzero(feed.fault) == (bad.feed == name).sum()


def test_the_price_sensitive_buy_on_promotion(town: Shop) -> None:
    lines = _feed(town, "order_lines").merge(_truth(town, "orders")[["order_id", "person_id"]], on="order_id")
    lines = lines.merge(_truth(town, "price_sensitivity"), on="person_id")
    share = lines.promotion_id.notna().groupby(lines.sensitivity).mean()
    assert share["fanatic"] > share["sensitive"] > share["neutral"] > share["cold"]


def test_roles_show_in_what_people_share(town: Shop) -> None:
    shares, person = _feed(town, "shares"), _members(town)
    role = _truth(town, "roles").role
    told = shares[shares.sharer_member_id.notna()]
    by = role[person[told.sharer_member_id]].to_numpy()
    orders = pd.Series((told.behaviour == "order").to_numpy()).groupby(by).sum()
    opens = pd.Series((told.behaviour == "open").to_numpy()).groupby(by).sum()
    rate = orders / opens
    assert rate["salesman"] > 1.5 * rate["connector"]
    reach = opens / role.value_counts()
    assert reach["connector"] > 3 * reach["none"]


@pytest.mark.parametrize(
    "name", ["orders", "browse", "shares", "refunds", "coupons", "order_lines", "surveys", "manual_tags"]
)
def test_nothing_happens_outside_the_season_or_arrives_before_it_happens(town: Shop, name: str) -> None:
    feed = town.feeds[name]
    times = {
        "orders": "source_time", "order_lines": "ordered_at", "refunds": "refunded_at",
        "surveys": "answered_at", "manual_tags": "noted_at",
    }  # fmt: skip
    time = feed.rows[times.get(name, "occurred_at")]
    day = (pd.to_datetime(time.to_pandas()) - pd.Timestamp(town.season.first_day)).dt.days.to_numpy()
    assert day.min() >= 0
    assert (feed.arrived >= day).all()
    assert feed.arrived.max() < town.season.days
    assert (np.diff(feed.arrived) >= 0).all()


def test_nobody_acts_as_a_member_before_registering(town: Shop) -> None:
    registered = _feed(town, "members").drop_duplicates("member_id").set_index("member_id").registered_at
    times = {
        "browse": "occurred_at", "orders": "ordered_at", "shares": "occurred_at",
        "surveys": "answered_at", "manual_tags": "noted_at",
    }  # fmt: skip
    for name, time in times.items():
        rows = _feed(town, name)
        rows = rows[rows.member_id.notna() & (rows.member_id != "0")]
        assert (rows[time].to_numpy() >= registered[rows.member_id].to_numpy()).all(), name


def test_some_orders_have_two_equal_lines(town: Shop) -> None:
    feed = town.feeds["order_lines"]
    lines = feed.rows.to_pandas().assign(arrived=feed.arrived)[feed.fault == 0]
    assert 10 < lines.duplicated().sum() < 0.02 * len(lines)
