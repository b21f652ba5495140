"""A floor that is broken is noticed, and production goes back to the last version that was certified, once."""

import asyncio

import numpy as np
import pytest
from scipy.stats import binom

from pennyweight.errors import BadInputError
from pennyweight.serve.money.book import Book
from pennyweight.serve.watch.floor import Terms, Watched, carry_out, decide, last_certified, least
from pennyweight.store.team import registry
from pennyweight.store.team.alerts import alerts
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.registry import Move, Version

ANN = Move("ann")
SURE = {"held": True, "floor": "accuracy at least 0.97, 95% sure", "text": "holds"}
TERMS = Terms(horizon=2000)


def versions(link, certificates):
    for n, certificate in enumerate(certificates, 1):
        registry.add(link, Version("digits", 0, f"{n:064x}", "/artifacts", {}, certificate, 0, "ann"))
        registry.promote(link, f"digits@{n}", "production", ANN)


def broken():
    return Watched.begin(0.97, TERMS).saw(np.array([1.0] * 300 + [1.0, 0.0] * 60))


def test_at_the_floor_weeks_of_labels_seldom_raise_an_alarm():
    watched = Watched.begin(0.97, TERMS, (400,)).saw(np.random.default_rng(0).random((400, 2000)) < 0.97)
    assert watched.broken.sum() <= binom.ppf(0.999, 400, 0.05)


def test_two_points_below_the_floor_is_found_soon_after_a_good_time():
    right = np.random.default_rng(1).random((50, 4000)) < np.where(np.arange(4000) < 2000, 0.985, 0.95)
    watched = Watched.begin(0.97, TERMS, (50,)).saw(right[:, :2000])
    assert watched.broken.mean() <= 0.04
    assert watched.saw(right[:, 2000:]).broken.mean() >= 0.9


@pytest.mark.parametrize("floor", [0.0, 1.2, -1.0])
def test_a_floor_that_nothing_can_break_is_refused(floor):
    with pytest.raises(BadInputError, match="cannot be watched"):
        Watched.begin(floor)


def test_a_floor_is_read_from_a_certificate():
    control = {"control": {"mean": 0.98}, "passed": True}
    assert least(SURE) == 0.97
    points = {
        "held": True,
        "floor": "accuracy at most 1.5 points worse than the control, 95% sure",
        "trials": [control],
    }
    assert least(points) == pytest.approx(0.965)
    assert least(SURE | {"held": False}) is None
    assert least(None) is None
    assert least({"held": True, "floor": "rmse at most 3, 95% sure"}) is None


def test_the_floor_of_the_core_is_the_text_that_is_read():
    from pennyweight.core import Floor

    assert least({"held": True, "floor": str(Floor.parse("accuracy=98.5%"))}) == 0.985
    text = str(Floor("accuracy", 0.01))
    assert least({"floor": text, "trials": [{"control": {"mean": 0.9}, "passed": True}]}) == pytest.approx(0.89)


def test_the_last_certified_is_neither_the_present_nor_one_that_was_retired_or_never_stood(store):
    with opened(store) as engine, engine.begin() as link:
        versions(link, [SURE, SURE, None, SURE])
        registry.add(link, Version("digits", 0, f"{9:064x}", "/artifacts", {}, SURE, 0, "ann"))
        assert last_certified(link, "digits", 4) == 2
        registry.retire(link, "digits@2", ANN)
        assert last_certified(link, "digits", 4) == 1
        assert last_certified(link, "digits", 1) == 4


def test_what_broke_there_itself_is_no_refuge_until_somebody_promotes_it_again(store):
    with opened(store) as engine, engine.begin() as link:
        versions(link, [SURE, SURE, SURE])
        registry.promote(link, "digits@2", "production", Move("watch", "its floor broke"), "rollback")
        assert last_certified(link, "digits", 2) == 1
        registry.promote(link, "digits@3", "production", ANN)
        registry.promote(link, "digits@2", "production", ANN)
        assert last_certified(link, "digits", 2) == 3


def test_while_the_floor_holds_nothing_is_done(store):
    with opened(store) as engine, engine.begin() as link:
        versions(link, [SURE, SURE])
        fine = Watched.begin(0.97, TERMS).saw(np.ones(500))
        assert decide(fine, link, registry.get(link, "digits")).kind == "keep"


def test_a_broken_floor_rolls_back_with_an_alert_and_only_one_process_does_it(store):
    async def act():
        with opened(store) as engine:
            with engine.begin() as link:
                versions(link, [SURE, None, SURE])
                decision = decide(broken(), link, registry.get(link, "digits"))
            assert (decision.kind, decision.number, decision.to) == ("rollback", 3, 1)
            book = Book(engine)
            try:
                done = [await carry_out(book, decision) for _ in range(2)]
            finally:
                book.close()
            assert done == [True, False]
            with reading(engine) as link:
                assert registry.pointed(link, "digits") == 1
                last = registry.history(link, "digits")[-1]
                assert (last.who, last.kind, last.number, last.before) == ("watch", "rollback", 1, 3)
                told = alerts(link)
                assert [(each.kind, each.number) for each in told] == [("floor", 3)]
                assert "digits@3 is below its floor of 97.00% right" in told[0].text
                assert "back to version 1" in last.why

    asyncio.run(act())


def test_with_no_other_certified_version_it_is_only_said_and_once_a_day(store):
    async def act():
        with opened(store) as engine:
            with engine.begin() as link:
                versions(link, [None, SURE])
                decision = decide(broken(), link, registry.get(link, "digits"))
            assert decision.kind == "alert"
            book = Book(engine)
            try:
                assert [await carry_out(book, decision) for _ in range(2)] == [True, False]
            finally:
                book.close()
            with reading(engine) as link:
                assert registry.pointed(link, "digits") == 2
                assert "no other version is certified" in alerts(link)[0].text

    asyncio.run(act())
