"""Every request is recorded once, and its price is that of its units."""

import sqlite3

import psycopg
import pytest
from sqlalchemy import text

from pennyweight.errors import BadInputError, StorageError, UnknownNameError
from pennyweight.store.team.opened import brief, explained, opened, reading
from pennyweight.store.team.usage import Price, Request, Units, price_of, record, set_price


def request(number, cost=5):
    return Request(f"r{number}", 10**18, "acme", "k", "digits", 1, Units(3, 1), 200, cost)


def test_a_price_is_that_of_units_rounded_up():
    price = Price("m", request_nusd=7, in_nusd=10, out_nusd=100, cached_nusd=1, second_nusd=3)
    assert price.of(Units(fed=5, made=2, cached=3, compute_ns=1)) == 7 + 2 * 10 + 3 * 1 + 2 * 100 + 1
    assert price.of(Units(0, 0)) == 7


def test_the_price_that_was_set_last_holds_and_none_is_refused(store):
    with opened(store) as engine, engine.begin() as link:
        with pytest.raises(UnknownNameError, match="digits has no price"):
            price_of(link, "digits")
        set_price(link, Price("digits", 10))
        set_price(link, Price("digits", 20))
        assert price_of(link, "digits") == Price("digits", 20)
        with pytest.raises(BadInputError, match="less than nothing"):
            set_price(link, Price("digits", -1))


def test_a_request_that_is_there_already_takes_the_whole_batch_back(store):
    with opened(store) as engine:
        with engine.begin() as link:
            record(link, [request(1), request(2)])
        with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError)), engine.begin() as link:
            record(link, [request(3), request(2)])
        with reading(engine) as link:
            assert link.execute(text("SELECT count(*), sum(cost_nusd) FROM usage")).one() == (2, 10)


def test_more_rows_than_one_statement_takes_are_all_recorded(store):
    with opened(store) as engine:
        with engine.connect() as link, brief(link):
            record(link, [request(number) for number in range(70)])
        with reading(engine) as link:
            assert link.execute(text("SELECT count(DISTINCT request), sum(cost_nusd) FROM usage")).one() == (70, 350)


def test_a_brief_transaction_that_fails_leaves_nothing_and_says_why(store):
    with opened(store) as engine:
        with engine.connect() as link, brief(link):
            record(link, [request(1)])
        with engine.connect() as link:
            with pytest.raises(StorageError, match="cannot be used"):
                _in_two_steps(link, str(engine.url), request(2), request(1))
            with link.begin():
                assert link.execute(text("SELECT count(*) FROM usage")).scalar() == 1


def _in_two_steps(link, url, *requests):
    with explained(url), brief(link):
        for each in requests:
            record(link, [each])
