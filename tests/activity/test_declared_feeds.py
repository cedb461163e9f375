"""What the contract of a feed may say of its rows in ``activity``, and what it is refused for."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from schemas.behaviours import ACTIVE_FEEDS, BEHAVIOURS, BROWSE, DECLARED_FEEDS, given_by
from schemas.contracts import Column, Contract, FieldEntry, contracts, feeds, fields, taken_together
from schemas.errors import NotThereError


def of(**said: Any) -> Contract:
    """A feed of live rooms with one thing said otherwise."""
    columns = {"event_id": True, "occurred_at": True, "behaviour": True, "member_id": False, "order_id": False}
    plain: dict[str, Any] = {
        "layer": "silver",
        "table": "live_rooms",
        "description": {"zh": "直播间", "en": "Live rooms"},
        "label": {"zh": "直播间", "en": "Live rooms"},
        "grain": "event_id x version",
        "key": ("event_id",),
        "event_time": ("occurred_at",),
        "persons": {"member": "member_id"},
        "becomes": {"behaviour": "live"},
        "columns": tuple(
            Column(field=fields()[n], required=needed, values=("live", "video") if n == "behaviour" else ())
            for n, needed in columns.items()
        ),
    }
    return Contract(**plain | said)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"becomes": {"behaviour": "lives"}}, "'lives' is no code of behaviour_code"),
        ({"becomes": {"behaviour": "live", "shows_visit": ["lives"]}}, "'lives' is no code of behaviour_code"),
        ({"becomes": {"behaviour": "live", "order": "orders_id"}}, "has no column 'orders_id'"),
        ({"becomes": {"behaviour": "live", "column": "behaviour"}}, "either what every row is"),
        ({"becomes": {"on_site": True}}, "either what every row is"),
        ({"becomes": {"column": "order_id"}}, "is required and has a list of values"),
        (
            {"becomes": {"behaviour": "live", "details": [{"of": "live", "column": "order_id", "named": "best"}]}},
            "'best' is no code of detail_code",
        ),
        ({"event_time": ("occurred_at", "event_id")}, "event_time is one required column"),
        ({"persons": {}}, "somebody's, so persons names"),
        ({"label": {"zh": "直播间"}}, "what it is called: label"),
        ({"taken_with": "order"}, "taken_with 'order' is no feed"),
    ],
)
def test_a_contract_that_cannot_be_meant_is_refused(said: dict[str, Any], why: str) -> None:
    assert of().behaviours == ("live",)
    with pytest.raises((ValidationError, NotThereError), match=why):
        of(**said)


def test_a_number_stands_for_one_name() -> None:
    codes = {"live": {"code": 9, "zh": "直播", "en": "live"}, "video": {"code": 9, "zh": "视频", "en": "video"}}
    with pytest.raises(ValidationError, match="the number 9 is given to two names"):
        FieldEntry(name="behaviour_code", type="int32", zh="行为", en="Behaviour", codes=codes)


def test_every_behaviour_comes_from_a_feed() -> None:
    assert [b for b in BEHAVIOURS if not given_by(b)] == []
    assert set(DECLARED_FEEDS) < set(ACTIVE_FEEDS) < {c.table for c in feeds()}
    of_browse = {b for b in BROWSE if "browse" in given_by(b)}
    assert of_browse == set(contracts()["silver.browse"].column("behaviour").values)
    on_site = {c.table for c in feeds() if c.becomes is not None and c.becomes.on_site}
    assert {feed for b in set(BROWSE) - of_browse for feed in given_by(b)} == on_site - {"browse"}


def test_every_feed_arrives_once() -> None:
    taken = [feed for together in taken_together().values() for feed in together]
    assert sorted(taken) == sorted(c.table for c in feeds())
    assert taken_together()["orders"] == ("orders", "order_lines", "refunds", "coupons")
