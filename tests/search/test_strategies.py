"""Every strategy, in worlds whose optimum is known."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from search_world import LEVERS, SPEC, Host, Never, Round, Short, Thin, World, search, winner

from pennyweight.control.forecast import chance
from pennyweight.control.stop import Budget, Prospect, worth
from pennyweight.core import Cost, Form, Limits, Phase, Plan
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.search import Strategy, load, names
from pennyweight.search.grid import simplest_first
from pennyweight.search.lattice import Lattice

ALL = ("bayes", "greedy", "grid", "halving")
# full trials' worth, and how far above the cheapest there is the winner may be (the control is at about 8.5)
WITHIN = {"bayes": (30, 1.25), "greedy": (25, 1.6), "grid": (50, 1.05), "halving": (30, 1.5)}


def test_there_are_four_strategies_found_by_their_file():
    assert names() == ALL
    for name in ALL:
        assert issubclass(load(name), Strategy)
        assert load(name).__module__.endswith(name)


def test_a_strategy_there_is_none_of_names_the_nearest():
    with pytest.raises(UnknownNameError, match="greedy"):
        load("gredy")
    for name in ("base", "lattice", "find", "../greedy", "os"):
        with pytest.raises(UnknownNameError, match="no search strategy named"):
            load(name)


def test_no_strategy_brings_optuna_before_it_is_used():
    code = "import sys, pennyweight.search as s; s.names(); s.load('bayes'); sys.exit('optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("seed", [0, 2, 3, 4, 7])
def test_it_finds_the_optimum_or_its_neighbourhood(name, seed):
    world = World(seed, error=0.05)
    most, factor = WITHIN[name]
    runs = search(world, load(name).start(world.scope), 100)
    assert sum(run.plan.fidelity for run in runs) <= most
    assert winner(world, runs).bill.usd <= factor * world.best().bill.usd


@pytest.mark.parametrize("name", ALL)
def test_it_starts_with_the_control_and_asks_for_nothing_twice(name):
    world = World(1)
    runs = search(world, load(name).start(world.scope), 150)
    assert runs[0].plan.is_control
    assert runs[0].plan.fidelity == 1
    assert len({run.plan.key for run in runs}) == len(runs)
    assert len(runs) < 150


@pytest.mark.parametrize("name", ALL)
def test_it_does_not_ask_for_what_it_was_told(name):
    world = World(1)
    strategy = load(name).start(world.scope)
    strategy.tell(world.carry_out(world.scope.control))
    plan = strategy.ask()
    assert plan is not None
    assert not (plan.is_control and plan.fidelity == 1)


@pytest.mark.parametrize("name", ALL)
def test_the_same_tells_give_the_same_asks(name):
    world = World(6, error=0.1)
    one, two = (search(world, load(name).start(world.scope), 20) for _ in range(2))
    assert [run.plan for run in one] == [run.plan for run in two]


@pytest.mark.parametrize("name", ALL)
def test_a_second_search_goes_on_where_the_first_was_cut_off(name):
    world = World(8)
    whole = search(world, load(name).start(world.scope), 20)
    cut = len(whole) // 2
    again = load(name).start(world.scope)
    for run in whole[:cut]:
        again.tell(run)
    assert [run.plan for run in search(world, again, 20 - cut)] == [run.plan for run in whole[cut:]]


@pytest.mark.parametrize("name", ALL)
def test_every_plan_it_asks_for_fits_and_pulls_one_setting_per_lever(name):
    world = World(5)
    for run in search(world, load(name).start(world.scope), 80):
        assert run.plan.spec.ops
        kinds = [type(lever) for lever in run.plan.levers]
        assert len(set(kinds)) == len(kinds)
        assert Never not in kinds


@pytest.mark.parametrize("name", ALL)
def test_it_goes_on_when_plans_cannot_be_carried_out(name):
    world = World(2)
    strategy, failed, runs = load(name).start(world.scope), 0, []
    while len(runs) < 110 and (plan := strategy.ask()) is not None:
        if any(isinstance(lever, Host) for lever in plan.levers) or (plan.is_control and plan.fidelity < 1):
            failed += 1
            continue
        runs.append(world.carry_out(plan))
        strategy.tell(runs[-1])
    assert 0 < failed < 200
    assert winner(world, runs).bill.usd < runs[0].bill.usd


@pytest.mark.parametrize("name", ALL)
def test_without_a_control_there_is_no_search(name):
    strategy = load(name).start(World().scope)
    assert strategy.ask().is_control
    assert strategy.ask() is None
    assert strategy.ask() is None


@pytest.mark.parametrize("name", ALL)
def test_with_nothing_that_fits_the_control_is_all(name):
    for levers in ((), (Never(),)):
        world = World(levers=levers)
        full = [run for run in search(world, load(name).start(world.scope)) if run.plan.fidelity == 1]
        assert [run.plan.is_control for run in full] == [True]


@pytest.mark.parametrize("name", ALL)
def test_an_absolute_floor_and_an_error_metric_are_searched_as_well(name):
    world = World(3)
    job = replace(world.job, floor=replace(world.job.floor, metric="log_loss"))
    scope = replace(world.scope, job=job, floor=job.floor)
    strategy, runs = load(name).start(scope), []
    while len(runs) < 60 and (plan := strategy.ask()) is not None:
        run = world.carry_out(plan)
        runs.append(replace(run, score=replace(run.score, metric="log_loss", mean=1 - run.score.mean)))
        strategy.tell(runs[-1])
    held = [run for run in runs if job.floor.chance(run.score, runs[0].score) >= 0.5 and run.plan.fidelity == 1]
    assert min(run.bill.usd for run in held) < 0.8 * runs[0].bill.usd


def _under_control(world, name, limits):
    """The loop of a search that stops: by its budget, or when nothing promises more than it costs."""
    strategy, budget, runs = load(name).start(world.scope), Budget(limits), []
    while (plan := strategy.ask()) is not None:
        predicted = world.predict(plan)
        effort = predicted.line(Phase.TRAIN) + predicted.line(Phase.COMPRESS)
        if not budget.allows(effort):
            break
        if runs:
            best = winner(world, runs).plan
            likely = chance(plan, runs, world.job.floor, runs[0].score)
            prospect = Prospect(world.predict(plan.at(1)), likely, effort)
            if plan.levers and not worth(world.predict(best), [prospect]):
                break
        runs.append(world.carry_out(plan))
        budget = budget.spend(effort)
        strategy.tell(runs[-1])
    return runs, budget


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("limits", [Limits(trials=4), Limits(usd=0.04), Limits(wall_s=35.0), Limits(usd=1e-9)])
def test_it_stops_where_the_budget_ends(name, limits):
    runs, budget = _under_control(World(4, predictions=1e7), name, limits)
    assert len(runs) <= (limits.trials or 1000)
    assert budget.spent.usd <= (limits.usd or 1)
    assert budget.spent.wall_s <= (limits.wall_s or 1e9)
    assert bool(runs) == (limits != Limits(usd=1e-9))


@pytest.mark.parametrize("name", ALL)
def test_it_stops_when_a_trial_costs_more_than_it_can_save(name):
    runs, _ = _under_control(World(4, predictions=10.0, levers=(*LEVERS[4:],)), name, Limits())
    assert all(run.plan.is_control for run in runs)
    runs, _ = _under_control(World(4, predictions=1e7), name, Limits())
    assert any(run.plan.levers for run in runs)


def test_greedy_does_not_try_what_is_harsher_than_what_broke_the_floor():
    broke_once = False
    for seed in range(6):
        world = World(seed, give_up=1e-3, levers=tuple(Thin(keep) for keep in (0.9, 0.7, 0.5, 0.3, 0.2)))
        control, *runs = search(world, load("greedy").start(world.scope))
        broken = 0.0
        for run in runs:
            keep = run.plan.levers[0].keep
            assert keep > broken
            if world.job.floor.chance(run.score, control.score) < 0.5:
                broken, broke_once = max(broken, keep), True
    assert broke_once


def test_greedy_goes_harsher_on_a_lever_it_kept():
    world = World(0, give_up=0.2, wobble=0.0, levers=tuple(Thin(keep) for keep in (0.9, 0.7, 0.5, 0.3, 0.2)))
    runs = search(world, load("greedy").start(world.scope))
    kept = [run.plan.levers[0].keep for run in runs if run.plan.levers]
    assert kept[-1] == pytest.approx(0.2)
    assert len(kept) > 1
    assert len(kept) < 5


def test_greedy_takes_two_levers_at_once_where_one_makes_the_other_possible():
    world = World(4, predictions=1e5, wobble=0.0, levers=(Round(8), Host("graph8")))
    found = winner(world, search(world, load("greedy").start(world.scope)))
    assert found.plan.levers == (Round(8), Host("graph8"))


def test_grid_takes_what_promises_most_first():
    world = World(0, wobble=0.0)
    lattice = Lattice(world.scope, search(world, load("grid").start(world.scope), 1)[0].score)
    promised = {point: lattice.worth_usd(point, lattice.origin) for point in simplest_first(lattice)}
    first = search(world, load("grid").start(world.scope), 2)[1]
    assert first.plan == lattice.plan(max(promised, key=promised.__getitem__))


def test_grid_leaves_out_what_is_harsher_than_what_clearly_broke_the_floor():
    world = World(0, predictions=1e5, wobble=0.0, levers=(Round(4), Thin(0.9)))
    tried = [run.plan.levers for run in search(world, load("grid").start(world.scope))]
    assert tried == [(), (Round(4),), (Thin(0.9),)]


def test_grid_is_lazy_on_a_lattice_that_could_never_be_listed():
    kinds = [type(f"Thin{n}", (Thin,), {}) for n in range(12)]
    world = World(
        4, give_up=1e-9, levers=tuple(kind(keep) for kind in kinds for keep in (0.99, 0.98, 0.97, 0.96, 0.95, 0.94))
    )
    runs = search(world, load("grid").start(world.scope), 3)
    assert len(runs) == 3
    assert 1 <= len(runs[1].plan.levers) <= 3


def test_halving_gives_most_trials_a_ninth_of_the_data_and_few_all_of_it():
    world = World(0)
    shares = [run.plan.fidelity for run in search(world, load("halving").start(world.scope), 16)]
    assert shares == [1.0, *[1 / 9] * 10, *[1 / 3] * 4, 1.0]


def test_a_plan_in_a_scope_refuses_what_does_not_fit():
    plan = Plan(World().job, (Round(8), Thin(0.5)))
    with pytest.raises(BadInputError, match="does not fit here"):
        _ = plan.spec
    assert SPEC.form is Form.MODULE
    assert Short(0.5).rewrite(SPEC).train.epochs == 5
    assert Cost() == Cost()
