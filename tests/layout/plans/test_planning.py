"""A plan is a front within its limits, agrees with trying everything, and says why where it is empty."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pennyweight.catalog.models import model
from pennyweight.catalog.offers import offers
from pennyweight.core.dims import Dims
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.layout.plans.estimating import estimate
from pennyweight.layout.plans.lots import Lot, Points
from pennyweight.layout.plans.planning import Limits, plan_train
from pennyweight.layout.plans.renting import Rented, Terms, kept_alive
from pennyweight.layout.plans.searching import Field, Site
from pennyweight.layout.plans.training import TrainWork

WORK = TrainWork(model("llama-3-8b"), 1e12)
DAY = 86400.0


@pytest.fixture(scope="module")
def free():
    return plan_train(WORK)


def test_no_way_on_the_front_beats_another(free):
    assert len(free.front) > 3
    for cheaper, faster in pairwise(free.front):
        assert cheaper.usd < faster.usd
        assert cheaper.seconds > faster.seconds
    assert free.cheapest is free.front[0]
    assert free.fastest is free.front[-1]


def test_the_front_is_that_of_everything_tried_one_by_one():
    """Without bounds and lots: each offer, number of devices and layout by itself."""
    limits = Limits(most_devices=64)
    plan = plan_train(WORK, limits, on=("h100", "a100-80gb"), terms=Terms(cloud="azure"))
    points = []
    for name in ("h100", "a100-80gb"):
        for offer in offers(name, cloud="azure"):
            site = Site.of(offer)
            for machines in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64):
                devices = machines * offer.devices
                if devices > 64:
                    continue
                best = Field.of(WORK, [devices], site.domain).best(site, "megatron")
                for spare in (False, True):
                    rent = Rented(offer, devices, spare)
                    seconds = best.step_s[0] * WORK.steps * float(kept_alive(WORK, rent, Terms().care).factor)
                    if np.isfinite(seconds * rent.usd_hour):
                        points.append((seconds, seconds / 3600 * rent.usd_hour))
    front = {p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)}
    found = {(each.seconds, each.usd) for each in plan.front}
    assert np.allclose(sorted(found), sorted(front), rtol=1e-9)


@settings(max_examples=12)
@given(days=st.floats(0.5, 400), more=st.floats(1.0, 5.0))
def test_limits_are_kept_and_more_time_never_costs_more(days, more):
    tight = plan_train(WORK, Limits(deadline_s=days * DAY), on=("h100", "h200"))
    loose = plan_train(WORK, Limits(deadline_s=days * more * DAY), on=("h100", "h200"))
    assert all(each.seconds <= days * DAY for each in tight.front)
    if tight.cheapest:
        assert loose.cheapest.usd <= tight.cheapest.usd


@settings(max_examples=12)
@given(usd=st.floats(1e3, 1e6), more=st.floats(1.0, 5.0))
def test_budgets_are_kept_and_more_money_is_never_slower(usd, more):
    tight = plan_train(WORK, Limits(budget_usd=usd), on=("h100", "h200"))
    loose = plan_train(WORK, Limits(budget_usd=usd * more), on=("h100", "h200"))
    assert all(each.usd <= usd for each in tight.front)
    if tight.fastest:
        assert loose.fastest.seconds <= tight.fastest.seconds
    else:
        assert tight.why


def test_a_limited_front_is_the_part_of_the_free_one_within(free):
    deadline = free.front[len(free.front) // 2].seconds
    limited = plan_train(WORK, Limits(deadline_s=deadline))
    wanted = [(each.usd, each.seconds) for each in free.front if each.seconds <= deadline]
    assert np.allclose([(each.usd, each.seconds) for each in limited.front], wanted)


def test_on_demand_only_and_spare_only(free):
    assert any(each.rented.spare for each in free.front)
    assert not any(each.rented.spare for each in plan_train(WORK, spare=False).front)
    assert all(each.rented.spare for each in plan_train(WORK, spare=True).front)


def test_spare_machines_cost_at_least_their_price_times_their_time():
    for each in plan_train(WORK, spare=True).front:
        alone = each.step_s * WORK.steps / 3600 * each.rented.offer.spot_usd_hour * each.rented.machines
        assert each.usd > alone


def test_a_point_of_the_plan_is_what_an_estimate_says(free):
    for each in (free.cheapest, free.fastest):
        told = free.estimate(each)
        assert told.seconds.value == pytest.approx(each.seconds)
        assert told.usd.value == pytest.approx(each.usd)
        assert told.fits
    named = next(each for each in free.front if not each.rented.spare)
    offer = named.rented.offer
    asked = Terms(cloud=offer.cloud, region=offer.region)
    assert estimate(WORK, offer.accelerator, named.rented.devices, terms=asked).usd.value <= named.usd * (1 + 1e-9)


def test_few_are_shown_with_the_ends_among_them(free):
    shown = free.shown(3)
    assert len(shown) <= 3
    assert (shown[0], shown[-1]) == (free.cheapest, free.fastest)
    assert free.shown(10**6) == free.front


def test_what_misses_its_limits_says_by_how_little():
    plan = plan_train(WORK, Limits(deadline_s=10 * DAY, budget_usd=100.0), on=("h100",))
    assert not plan.front
    assert plan.cheapest is plan.fastest is None
    assert "more than given" in plan.why[0]
    assert "The cheapest way of all costs" in plan.why[1]


def test_a_deadline_that_nothing_meets_says_what_is_fastest():
    plan = plan_train(WORK, Limits(deadline_s=60.0), on=("h100",))
    [why] = plan.why  # nobody gave a budget
    assert "The fastest way of all takes" in why
    assert " h100 of " in why


def test_a_limit_below_zero_is_named_by_itself():
    with pytest.raises(BadInputError, match="in -1 s"):
        Limits(deadline_s=-1.0)
    with pytest.raises(BadInputError, match="for 0 dollars"):
        Limits(budget_usd=0.0)


def test_a_model_that_fits_nowhere_says_what_is_nearest():
    plan = plan_train(TrainWork(model("llama-3.1-405b"), 1e12), Limits(most_devices=8))
    assert "fits nowhere" in plan.why[0]
    assert "may have to hold" in plan.why[1]


def test_machines_on_which_no_layout_is_legal_are_left_out():
    narrow = Dims("narrow", layers=1, hidden=512, heads=1, kv_heads=1, ffn=2048, vocab=1000)
    plan = plan_train(TrainWork(narrow, 1e9, 1024, 1), Limits(most_devices=64))
    assert {each.rented.devices for each in plan.front} == {1}
    assert {each.rented.offer.devices for each in plan.front} == {1}


def test_bad_limits_and_names_are_refused():
    with pytest.raises(BadInputError, match="limits above zero"):
        Limits(budget_usd=0)
    with pytest.raises(UnknownNameError, match="h1000"):
        plan_train(WORK, on=("h1000",))
    with pytest.raises(BadInputError, match="rents h800"):
        plan_train(WORK, on=("h800",))


def test_equal_machines_are_one_lot_and_timed_once():
    lots = Lot.all_of(offers("h100"), spare=False)
    assert sum(len(lot.offers) for lot in lots) == len(offers("h100")) > len(lots)
    plan = plan_train(WORK, Limits(most_devices=64), on=("h100",))
    twice = plan_train(WORK, Limits(most_devices=64), on=("h100",), spare=False)
    assert plan.timed < 1.5 * twice.timed


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=40))
def test_a_front_holds_what_nothing_beats_and_knows_what_it_beats(pairs):
    seconds, usd = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    at = np.arange(len(pairs))
    front = Points(seconds, usd, at, at, at).front()
    kept = set(zip(front.seconds.tolist(), front.usd.tolist(), strict=True))
    beaten = {p for p in pairs if any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in pairs)}
    assert kept == {(float(a), float(b)) for a, b in pairs} - {(float(a), float(b)) for a, b in beaten}
    assert front.beats(seconds, usd).all()
    assert not front.beats(front.seconds - 0.5, front.usd).any()
