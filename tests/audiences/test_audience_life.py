"""Versions of a definition, what a change does to its people, and what uses an audience."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobs.audiences.step import build
from project.audience_standing import audiences_using
from project.audience_tables import definitions_of
from queries.audience_life import compared_versions, history_of
from schemas.errors import NotThereError
from tests.audiences.lake_shop import BEIJING, D, Shop, people
from tests.audiences.test_audience_verbs import as_json, typed

WIDER = BEIJING.replace("at_least: 3", "at_least: 2")
ON_IT = """\
name: {zh: 复用, en: Uses it}
description: {zh: 复用, en: Uses it}
owner: crm
include: {audience: beijing}
"""


def test_a_build_notes_a_version_only_where_the_definition_changed(shop: Shop) -> None:
    build(shop.project, "beijing", requested_by="li", reason="spring")
    shop.release(D + timedelta(days=1), people())
    build(shop.project, "beijing", requested_by="wang")
    assert [(v.version, v.requested_by, v.reason) for v in definitions_of(shop.lake)] == [(1, "li", "spring")]
    shop.define("beijing", WIDER)
    build(shop.project, "beijing", requested_by="wang", reason=" ")
    newest, first = history_of(shop.project, "beijing")
    assert (newest.version, newest.requested_by, newest.reason, newest.is_current) == (2, "wang", None, True)
    assert (newest.users, first.users, first.is_current) == (4, 3, False)
    # the second build of the day took the place of the first
    assert (first.built_as_of, newest.built_as_of) == (D, D + timedelta(days=1))


def test_going_back_to_an_older_definition_is_a_version_of_its_own(shop: Shop) -> None:
    for text in (BEIJING, WIDER, BEIJING):
        shop.define("beijing", text)
        build(shop.project, "beijing")
    found = definitions_of(shop.lake, "beijing")
    assert [v.version for v in found] == [1, 2, 3]
    assert found[0].definition_hash == found[2].definition_hash != found[1].definition_hash
    assert [v.is_current for v in history_of(shop.project, "beijing")] == [True, False, False]


def test_a_change_is_told_by_the_people_whom_it_brings_and_loses(shop: Shop) -> None:
    build(shop.project, "beijing")
    shop.define(
        "beijing", WIDER.replace("is: 北京", "is: [北京, 上海]").replace("{event: pay}", "{tag: gender, is: male}")
    )
    found = compared_versions(shop.project, "beijing")
    assert (found.users_before, found.users_after, found.stayed, found.gained, found.lost) == (3, 0, 0, 0, 3)
    assert found.sample_lost == ("m000001", "m000002", "m100001")
    shop.define("beijing", WIDER)
    found = compared_versions(shop.project, "beijing", older=1)
    assert (found.users_before, found.users_after, found.gained, found.lost) == (3, 4, 1, 0)
    assert found.sample_gained == ("m000005",)
    assert found.changed == ("beijing.include.all[1].at_least: 3 -> 2",)
    # what the comparison says is what a build finds
    shop.release(D + timedelta(days=1), people())
    built = build(shop.project, "beijing")
    assert (built.users, built.enters, built.exits) == (4, 1, 0)
    again = compared_versions(shop.project, "beijing", older=2, newer=1)
    assert (again.gained, again.lost) == (0, 1)


def test_a_version_remembers_the_audiences_that_it_was_made_from(shop: Shop) -> None:
    shop.define("reuse", ON_IT)
    build(shop.project, "reuse")
    shop.define("beijing", WIDER)
    found = compared_versions(shop.project, "reuse")
    assert (found.users_before, found.users_after) == (3, 4)
    assert found.changed == ("beijing.include.all[1].at_least: 3 -> 2",)


def test_versions_that_there_are_not_are_named_with_those_that_are(shop: Shop) -> None:
    with pytest.raises(NotThereError, match="none yet; a build notes the first"):
        compared_versions(shop.project, "beijing", older=1)
    build(shop.project, "beijing")
    with pytest.raises(NotThereError, match="no version 7; there are: 1"):
        compared_versions(shop.project, "beijing", older=7)
    with pytest.raises(NotThereError, match="no version that differs"):
        compared_versions(shop.project, "beijing")


def test_what_is_in_use_is_not_deleted(shop: Shop) -> None:
    shop.define("reuse", ON_IT)
    shop.define("further", ON_IT.replace("beijing", "reuse"))
    assert audiences_using(shop.project, "beijing") == ["further", "reuse"]
    refused = typed(shop, "audience", "delete", "beijing", "--yes", "--json", code=1)
    assert "is used by audience further, audience reuse" in refused
    path = shop.folder / "audiences" / "further.yaml"
    assert "--yes does it" in typed(shop, "audience", "delete", "further") and path.exists()
    assert as_json(shop, "audience", "delete", "further", "--yes")["deleted"] and not path.exists()
    assert as_json(shop, "audience", "used-by", "reuse") == []


def test_the_verbs_say_it_in_words(shop: Shop) -> None:
    assert "no versions yet" in typed(shop, "audience", "versions", "beijing")
    typed(shop, "audience", "build", "beijing", "--by", "li", "--reason", "spring")
    shop.define("beijing", WIDER)
    shown = typed(shop, "audience", "versions", "beijing")
    assert "spring" in shown and "li" in shown and "The file says something else" in shown
    said = typed(shop, "audience", "compare", "beijing")
    assert "version 1 -> now" in said and "3 -> 4 users; 3 stay, 1 come, 0 go" in said and "at_least: 3 -> 2" in said
