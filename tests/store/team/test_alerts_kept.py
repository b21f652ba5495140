"""Alerts are added and never changed; of two that say the same within a while, one is kept."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from pennyweight.store.team.alerts import Alert, add, alerts
from pennyweight.store.team.opened import opened

DRIFT = Alert("digits", 2, "drift", "input 0 drifted", 0.3)


def test_the_newest_comes_first_and_one_model_can_be_asked_for(store):
    with opened(store) as engine, engine.begin() as link:
        for n, model in enumerate(("digits", "faces", "digits"), 1):
            add(link, Alert(model, n, "drift", "x", 0.5, at_ns=n))
        assert [each.number for each in alerts(link)] == [3, 2, 1]
        assert [each.number for each in alerts(link, "digits")] == [3, 1]
        assert [each.number for each in alerts(link, since_ns=2)] == [3, 2]
        assert [each.number for each in alerts(link, most=1)] == [3]


def test_one_is_enough_for_a_while_but_costs_are_of_many(store):
    with opened(store) as engine, engine.begin() as link:
        assert add(link, DRIFT, 10**12) is not None
        assert add(link, DRIFT, 10**12) is None
        assert add(link, DRIFT) is not None
        assert add(link, Alert("digits", 3, "drift", "x", 0.0), 10**12) is not None
        assert add(link, Alert("digits", 0, "cost", "of acme", 2.0), 10**12) is not None
        assert add(link, Alert("digits", 0, "cost", "of umbrella", 2.0), 10**12) is not None
        assert add(link, Alert("digits", 0, "cost", "of acme", 2.0), 10**12) is None


def test_an_alert_stays_as_it_was(store):
    with opened(store) as engine:
        with engine.begin() as link:
            add(link, DRIFT)
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as link:
            link.execute(text("DELETE FROM alert"))
