"""Versions never change, aliases remember what they stood for, and two that add at once get two numbers."""

import threading

import pytest

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.store.team import registry
from pennyweight.store.team.opened import opened
from pennyweight.store.team.registry import Move, Version

ANN = Move("ann", "because")


@pytest.fixture
def link(store):
    with opened(store) as engine, engine.begin() as link:
        yield link


def added(link, number):
    return registry.add(link, Version("digits", 0, f"{number:064x}", "/artifacts", {"job": "digits"}, None, 0, "ann"))


def test_numbers_go_up_and_the_same_content_keeps_its_own(link):
    assert [added(link, n).number for n in (7, 8, 7, 9)] == [1, 2, 1, 3]
    assert registry.get(link, "digits@2").digest == f"{8:064x}"
    assert registry.get(link, "digits@2").lineage == {"job": "digits"}


def test_production_is_what_was_promoted_last_and_goes_back_to_what_it_was(link):
    for n in (1, 2, 3):
        added(link, n)
        registry.promote(link, f"digits@{n}", "production", ANN)
    assert registry.get(link, "digits").number == 3
    assert registry.rollback(link, "digits", "production", ANN).number == 2
    assert registry.get(link, "digits@production").number == 2
    assert registry.rollback(link, "digits", "production", ANN).number == 1
    kinds = [(each.kind, each.number, each.before) for each in registry.history(link, "digits") if each.alias]
    assert kinds == [("promote", 1, 0), ("promote", 2, 1), ("promote", 3, 2), ("rollback", 2, 3), ("rollback", 1, 2)]
    with pytest.raises(BadInputError, match="nothing else before"):
        registry.rollback(link, "digits", "production", ANN)


def test_what_is_in_use_cannot_be_retired_and_what_was_retired_not_promoted(link):
    added(link, 1), added(link, 2)
    registry.promote(link, "digits@1", "production", ANN)
    with pytest.raises(BadInputError, match="digits@1 is production now"):
        registry.retire(link, "digits@1", ANN)
    registry.promote(link, "digits@2", "production", ANN)
    registry.retire(link, "digits@1", ANN)
    with pytest.raises(BadInputError, match="was retired"):
        registry.promote(link, "digits@1", "production", ANN)
    with pytest.raises(BadInputError, match="nothing else before"):
        registry.rollback(link, "digits", "production", ANN)


@pytest.mark.parametrize(
    ("asked", "said"),
    [("digits@9", "version of digits"), ("digits@staging", "version of digits"), ("digit", "digits"),
     ("../digits", "model"), ("digits@'; DROP TABLE version; --", "version of digits")],
)  # fmt: skip
def test_what_is_not_there_is_said_with_what_is(link, asked, said):
    added(link, 1)
    with pytest.raises(UnknownNameError, match=said):
        registry.get(link, asked)


@pytest.mark.parametrize("name", ["../up", "A", "", "a" * 65, "a/b", "a\n", "{{7*7}}", "é"])
def test_a_name_that_could_be_something_else_is_refused(link, name):
    with pytest.raises(BadInputError, match="cannot be named"):
        registry.add(link, Version(name, 0, "0" * 64, ""))


def test_two_that_add_at_once_get_two_numbers(store):
    got = []
    with opened(store) as engine:

        def add(number):
            with engine.begin() as link:
                got.append(added(link, number).number)

        threads = [threading.Thread(target=add, args=(n,)) for n in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert sorted(got) == list(range(1, 9))
