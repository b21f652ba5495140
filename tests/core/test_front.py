import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.core import Basis, Bill, Certificate, Cost, Floor, Front, Plan, Run, Score, Trial
from pennyweight.errors import BadInputError
from pennyweight.testing.paper import Named, paper_job

FLOOR = Floor("accuracy", 0.01)
JOB = paper_job(FLOOR)


def a_run(usd, mean, number=None, **bill):
    plan = Plan(JOB) if number is None else Plan(JOB, (Named(number),))
    lines = {"serve": Cost(usd=usd), **bill}
    unit = Cost(usd=usd / 1000)
    return Run(plan, Bill.of(Basis.MEASURED, unit=unit, **lines), Score("accuracy", mean, 0.001, 1000))


CONTROL = a_run(1.0, 0.95)


def test_there_is_no_front_without_a_control():
    with pytest.raises(BadInputError, match="without levers"):
        Front.of(a_run(1.0, 0.95, 1))


def test_runs_that_something_beats_are_seen_but_not_on_the_front():
    cheap, beaten, better = a_run(0.2, 0.90, 1), a_run(0.3, 0.89, 2), a_run(0.5, 0.96, 3)
    front = Front.of(CONTROL).add(cheap).add(beaten).add(better)
    assert front.seen == (CONTROL, cheap, beaten, better)
    assert front.runs == (cheap, better)  # the control is dearer and worse than one of them


def test_runs_on_part_of_the_data_are_not_on_the_front():
    partial = a_run(0.1, 0.99, 1)
    partial = replace(partial, plan=partial.plan.at(0.5))
    assert Front.of(CONTROL).add(partial).runs == (CONTROL,)


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(80, 99)), max_size=12))
def test_nothing_on_the_front_beats_anything_else_and_all_else_is_beaten(found):
    front = Front.of(CONTROL)
    for number, (usd, points) in enumerate(found):
        front = front.add(a_run(usd / 10, points / 100, number))
    runs = front.runs
    assert not any(one.beats(other) for one in runs for other in runs)
    assert all(run in runs or any(best.beats(run) for best in runs) for run in front.seen)
    assert [run.bill.usd for run in runs] == sorted(run.bill.usd for run in runs)


def test_the_best_is_the_cheapest_that_holds_the_floor_with_its_noise():
    sure, close, bad = a_run(0.6, 0.95, 1), a_run(0.4, 0.9405, 2), a_run(0.2, 0.8, 3)
    front = Front.of(CONTROL).add(sure).add(close).add(bad)
    assert front.best(FLOOR) == sure  # 0.9405 is above 0.94, but not by its error
    assert front.best(Floor("accuracy", 0.02)) == close
    assert front.best(Floor("accuracy", 0.0)) == CONTROL


def test_strangers_are_refused():
    front = Front.of(CONTROL)
    run = a_run(0.5, 0.95, 1)
    with pytest.raises(BadInputError, match="predicted run"):
        front.add(replace(run, bill=Bill.of(Basis.PREDICTED, serve=Cost(usd=0.5))))
    with pytest.raises(BadInputError, match="one job"):
        front.add(replace(run, plan=Plan(replace(JOB, name="other"), (Named(1),))))
    with pytest.raises(BadInputError, match="one metric"):
        front.add(replace(run, score=Score("f1", 0.95, 0.001, 1000)))


def test_adding_leaves_the_old_front_as_it_was():
    front = Front.of(CONTROL)
    assert len(front.add(a_run(0.5, 0.95, 1)).seen) == 2
    assert front.seen == (CONTROL,)
    assert front.measured


def test_the_winner_is_what_the_certificate_says():
    run = a_run(0.5, 0.95, 1)
    front = Front.of(CONTROL).add(run)
    assert front.winner == CONTROL
    trial = Trial(run, run.score, CONTROL.score, 0.01, 0.05)
    certified = replace(front, certificate=Certificate(run, FLOOR, "a test", 1000, 0.05, held=True, trials=(trial,)))
    assert certified.winner == run
    assert certified.certificate.p_value == trial.p_value


def test_the_search_pays_for_itself_after_so_many_predictions():
    run = a_run(0.4, 0.95, 1, train=Cost(usd=0.3))
    certificate = Certificate(run, FLOOR, "a test", 1000, 0.05, held=True)
    front = replace(Front.of(CONTROL).add(run), certificate=certificate)
    spent = Bill.of(Basis.MEASURED, find=Cost(usd=0.6))
    saved_per_prediction = 0.001 - 0.0004
    assert front.break_even() == pytest.approx(0.3 / saved_per_prediction)
    assert replace(front, spent=spent).break_even() == pytest.approx(0.9 / saved_per_prediction)


def test_a_winner_that_saves_nothing_never_pays():
    assert Front.of(CONTROL).break_even() == math.inf
    cheaper_to_train = a_run(0.4, 0.95, 1)
    front = replace(
        Front.of(a_run(1.0, 0.95, train=Cost(usd=5.0))).add(cheaper_to_train),
        certificate=Certificate(cheaper_to_train, FLOOR, "a test", 1000, 0.05, held=True),
    )
    assert front.break_even() == 0


def test_a_certificate_explains_itself():
    run = a_run(0.5, 0.95, 1)
    trial = Trial(run, run.score, CONTROL.score, 0.012, 0.05)
    held = Certificate(run, FLOOR, "exact paired", 1000, 0.05, held=True, trials=(trial,))
    assert "p = 0.012 ≤ 0.05, exact paired, 1000 fresh examples" in held.explain()
    failed = Trial(run, run.score, CONTROL.score, 0.2, 0.05)
    missed = Certificate(CONTROL, FLOOR, "exact paired", 1000, 0.05, held=False, trials=(failed,), needed=4000)
    assert missed.p_value == 1
    assert "About 4000 fresh examples" in missed.explain()
    assert "needed" not in replace(missed, needed=None).explain()
    assert "used" not in missed.explain()
    assert "used 2 times before" in replace(missed, uses=2).explain()
    assert "none was tested" in Certificate(CONTROL, FLOOR, "none", 1000, 0.05, held=False).explain()
