"""Which ids are one person. Hand-made shops share one run of the engine: their ids are kept apart by a prefix."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake.engine import Engine
from lake.lake import Lake
from tests.identity import oracle
from tests.identity.oracle import Interval, Row
from tests.identity.tables import published, run
from tests.identity.worlds import ZONE, apart, deliver, worlds

Test = TypeVar("Test", bound=Callable[..., None])
Persons = set[frozenset[Interval]]
SHOPS: dict[str, list[Row]] = {}


def shop(*rows: Row) -> Callable[[Test], Test]:
    def of(test: Test) -> Test:
        SHOPS[test.__name__] = list(rows)
        return test

    return of


def march(day: int) -> date:
    return date(2026, 3, day)


def row(day: int, feed: str = "browse", **ids: str) -> Row:
    return Row(march(day), ids, feed)


def always(*ids: str) -> frozenset[Interval]:
    """A person to whom ids such as ``member a`` belong on all days."""
    return frozenset((*i.split(" "), None, None) for i in ids)  # type: ignore[misc]


@pytest.fixture(scope="module")
def judged(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Persons]:
    lake = Lake(tmp_path_factory.mktemp("shops") / "lake", ZONE)
    deliver(lake, apart(list(SHOPS.values())))
    run(lake, engine, "r1")
    found: dict[str, Persons] = {name: set() for name in SHOPS}
    for person in published(lake).persons.values():
        ((n, _),) = {(value[:3], None) for _, value, _, _ in person}
        found[list(SHOPS)[int(n)]].add(frozenset((k, v[4:], f, u) for k, v, f, u in person))
    return found


@pytest.fixture
def persons(request: pytest.FixtureRequest, judged: dict[str, Persons]) -> Persons:
    return judged[request.node.originalname]


@shop(row(1, device="d"), row(2, member="a", device="d"))
def test_a_device_seen_before_its_member_is_the_members_from_the_beginning(persons: Persons) -> None:
    assert persons == {always("member a", "device d")}


@shop(
    row(1, member="a", device="d"), row(4, member="b", device="d"), row(9, member="c", device="d"), row(9, device="d")
)
def test_a_device_of_two_members_is_its_own_person_from_the_day_of_the_second(persons: Persons) -> None:
    cut = march(4)
    assert persons == {
        frozenset({("member", "a", None, None), ("device", "d", None, cut)}),
        always("member b"),
        always("member c"),
        frozenset({("device", "d", cut, None)}),
    }


@shop(row(3, member="b", device="d"), row(3, member="a", device="d"))
def test_of_two_members_on_one_day_the_smaller_id_is_the_first(persons: Persons) -> None:
    assert frozenset({("member", "a", None, None), ("device", "d", None, march(3))}) in persons


@shop(
    Row(march(1), {"member": "a", "device": "d"}, "members", merged_into="b"),
    row(5, member="b", device="d"),
    row(6, member="b", cookie="c"),
)
def test_a_merge_row_makes_two_members_one_and_shares_nothing(persons: Persons) -> None:
    assert persons == {always("member a", "member b", "device d", "cookie c")}


@shop(
    Row(march(1), {"member": "a", "phone": "p"}, "members", phone_verified=True),
    Row(march(2), {"member": "b", "phone": "p"}, "members", phone_verified=True),
)
def test_the_same_verified_phone_makes_two_members_one(persons: Persons) -> None:
    assert persons == {always("member a", "member b", "phone p")}


@shop(
    Row(march(1), {"member": "b", "phone": "p"}, "members"),
    Row(march(2), {"member": "a", "phone": "p"}, "members", phone_verified=True),
    row(3, "orders", member="c", phone="p"),
    row(4, phone="p"),
)
def test_a_phone_is_the_members_who_verified_it_whoever_else_typed_it(persons: Persons) -> None:
    assert persons == {always("member a", "phone p"), always("member b"), always("member c")}


@shop(*(Row(march(n), {"member": m, "phone": "p", "email": "e"}, "members") for n, m in enumerate("abc", 1)))
def test_an_id_that_only_stands_in_the_records_of_several_members_is_no_person(persons: Persons) -> None:
    first = frozenset({("member", "a", None, None), ("phone", "p", None, march(2)), ("email", "e", None, march(2))})
    assert persons == {first, always("member b"), always("member c")}


@shop(row(1, device="d"), row(2, member="a", device="d"), row(4, member="b", device="d"))
def test_an_id_whose_every_event_is_some_members_is_no_person_beside_them(persons: Persons) -> None:
    first = frozenset({("member", "a", None, None), ("device", "d", None, march(4))})
    assert persons == {first, always("member b")}


@shop(
    Row(march(1), {"member": "a", "phone": "p"}, "members"),
    row(2, phone="p", device="d"),
    row(3, device="d", cookie="c"),
)
def test_a_cookie_that_never_came_alone_is_no_person_behind_a_members_device(persons: Persons) -> None:
    assert persons == {always("member a", "phone p", "device d")}


@shop(*(Row(march(1), {"member": f"{n:03}"}, "members", merged_into=f"{n + 1:03}") for n in range(199)))
def test_a_long_chain_of_merges_is_one_person(persons: Persons) -> None:
    assert persons == {always(*(f"member {n:03}" for n in range(200)))}


@shop(Row(march(1), {"member": "a"}, "members", merged_into="a"))
def test_a_member_merged_into_itself_stays(persons: Persons) -> None:
    assert persons == {always("member a")}


@shop(row(1, cookie="c", device="d"), row(2, member="a", device="d"), row(3, cookie="c", openid="o"))
def test_an_id_belongs_to_the_member_that_it_reaches_through_one_id_and_no_further(persons: Persons) -> None:
    assert persons == {always("member a", "device d", "cookie c"), always("openid o")}


@shop(
    row(1, cookie="c", device="d"),
    row(1, cookie="c", unionid="u"),
    row(2, member="a", device="d"),
    row(5, member="b", unionid="u"),
    row(6, cookie="c"),
)
def test_an_id_that_reaches_two_members_is_its_own_person_from_the_second(persons: Persons) -> None:
    assert persons == {
        frozenset({("member", "a", None, None), ("device", "d", None, None), ("cookie", "c", None, march(5))}),
        always("member b", "unionid u"),
        frozenset({("cookie", "c", march(5), None)}),
    }


@shop(
    row(1, member="a", device="d"),
    row(2, cookie="c", device="d"),
    row(4, member="b", device="d"),
    row(5, device="d"),
    row(6, cookie="c"),
)
def test_a_split_takes_no_earlier_days_from_what_followed_the_shared_id(persons: Persons) -> None:
    assert persons == {
        frozenset({("member", "a", None, None), ("device", "d", None, march(4)), ("cookie", "c", None, march(4))}),
        always("member b"),
        frozenset({("device", "d", march(4), None)}),
        frozenset({("cookie", "c", march(4), None)}),
    }


@shop(
    row(1, member="a", device="d"),
    row(2, member="b", device="d"),
    row(3, member="b", unionid="u"),
    row(4, openid="o", device="d"),
    row(5, openid="o", unionid="u"),
)
def test_an_id_with_exactly_one_member_counts_before_a_shared_one(persons: Persons) -> None:
    assert always("member b", "unionid u", "openid o") in persons


@shop(
    row(1, cookie="c1", device="d1"),
    row(2, cookie="c2", device="d1"),
    row(3, device="d1", openid="o"),
    row(4, openid="o", phone="p"),
    row(5, device="d2", phone="p"),
    row(6, cookie="c2", device="d0"),
)
def test_ids_without_a_member_gather_under_the_strongest(persons: Persons) -> None:
    together = always("phone p", "openid o", "device d1", "device d2", "cookie c1", "cookie c2")
    assert persons == {together, always("device d0")}


@shop(
    Row(march(1), {}, "orders", order_id="1"),
    Row(march(1), {}, "orders", order_id="2"),
    Row(march(2), {"member": "a"}, "orders", order_id="3"),
)
def test_orders_without_ids_are_each_a_guest_of_their_own(persons: Persons) -> None:
    assert persons == {always("guest 1"), always("guest 2"), always("member a")}


@shop(
    Row(march(1), {"device": "d"}, "shares", sharer="a"),
    Row(march(2), {"member": "b"}, "members", inviter="c"),
)
def test_a_sharer_is_known_but_linked_to_nobody_and_who_only_stands_as_an_inviter_is_no_person(
    persons: Persons,
) -> None:
    assert persons == {always("device d"), always("member a"), always("member b")}


@shop(Row(march(2), {"member": "b"}, "members", inviter="c"), row(5, member="c"))
def test_an_inviter_with_an_event_of_its_own_is_a_person(persons: Persons) -> None:
    assert persons == {always("member b"), always("member c")}


@shop(Row(march(2), {"member": "b"}, "members", merged_into="c"))
def test_a_member_that_a_record_is_merged_into_is_one_person_with_it(persons: Persons) -> None:
    assert persons == {always("member b", "member c")}


@pytest.mark.parametrize("name", sorted(SHOPS))
def test_the_oracle_agrees_with_the_hand_made_shops(name: str, judged: dict[str, Persons]) -> None:
    assert judged[name] == oracle.persons(SHOPS[name])


@pytest.mark.slow
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(shops=worlds)
def test_persons_of_random_shops_are_those_of_the_oracle(
    embedded: Engine, tmp_path_factory: pytest.TempPathFactory, shops: list[list[Row]]
) -> None:
    rows = apart(shops)
    found = _persons_after(embedded, tmp_path_factory.mktemp("shop"), [rows])
    assert found == oracle.persons(rows)


@pytest.mark.slow
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(shops=worlds, data=st.data())
def test_any_order_and_any_pieces_of_delivery_give_the_same_persons(
    embedded: Engine, tmp_path_factory: pytest.TempPathFactory, shops: list[list[Row]], data: st.DataObject
) -> None:
    rows = apart(shops)
    shuffled = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(1, len(rows)))
    pieces = [shuffled[:cut], shuffled[cut // 2 :]]
    assert _persons_after(embedded, tmp_path_factory.mktemp("shop"), pieces) == oracle.persons(rows)


def _persons_after(engine: Engine, folder: Path, deliveries: list[list[Row]]) -> Persons:
    lake = Lake(folder / "lake", ZONE)
    for n, rows in enumerate(deliveries):
        deliver(lake, rows, f"b{n}")
        run(lake, engine, f"r{n}", march(20) + timedelta(days=n))
    return set(published(lake).persons.values())
