"""The promise: the chance of any false certificate is at most alpha, whatever the search did before."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
import pytest
from scipy.stats import binom

from pennyweight.certify import certify, reachable, sequence
from pennyweight.core import (
    YES,
    Basis,
    Bill,
    Cost,
    DataSpec,
    Floor,
    Form,
    Front,
    Job,
    Kind,
    Lever,
    Op,
    Plan,
    Run,
    Score,
    Slack,
    Spec,
    Stage,
    Task,
    Verdict,
    Work,
)
from pennyweight.errors import BadInputError, FloorUnreachableError
from pennyweight.evals import load
from pennyweight.evals.studentized import LEAST_UNITS


@dataclass(frozen=True, slots=True)
class Cut(Lever):
    """A lever that is only a name here."""

    label: str = ""
    stage: ClassVar[Stage] = Stage.COMPRESS
    source: ClassVar[str] = "this test"

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        yield cls("a")

    def fits(self, spec: Spec) -> Verdict:
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        return spec

    def pull(self, work: Work) -> Work:
        return work


def a_front(floor, usd, means=None, task=Task.CLASSIFY):
    """A control at one dollar and one run per entry of `usd`; by default the dearer, the better."""
    op = Op("fc", Kind.LINEAR, 4, 2)
    job = Job("test", Spec(Form.MODULE, (op,), DataSpec(100, 16.0, task)), floor)

    def run(plan, price, mean):
        return Run(plan, Bill.of(Basis.MEASURED, serve=Cost(usd=price)), Score(floor.metric, mean, 0.01, 500))

    front = Front.of(run(Plan(job), 1.0, 0.99))
    for i, price in enumerate(usd):
        front = front.add(run(Plan(job, (Cut(str(i)),)), price, means[i] if means else 0.5 + 0.4 * price))
    return front


@dataclass
class Answers:
    """Predictions by lever label ("" is the control) on the two splits, and who was asked for fresh ones."""

    y_select: np.ndarray
    y_certify: np.ndarray
    select: dict
    certify: dict
    groups_select: np.ndarray | None = None
    groups_certify: np.ndarray | None = None
    asked: list = field(default_factory=list)

    def seen(self, run):
        return self.select[label(run)]

    def fresh(self, run):
        self.asked.append(label(run))
        return self.certify[label(run)]


def label(run):
    return run.plan.levers[0].label if run.plan.levers else ""


def drawn(generator, n, laws):
    """Answers of a control that is right on 95% and of one candidate per (won, lost) share; the true class is 0."""
    y = np.zeros(n, dtype=int)
    wrong = generator.random(n) < 0.05
    answers = {"": wrong.astype(int)}
    for i, (won, lost) in enumerate(laws):
        chance = np.where(wrong, 1 - won / 0.05, lost / 0.95)  # of being wrong, given the control
        answers[str(i)] = (generator.random(n) < chance).astype(int)
    return y, answers


def world(generator, laws, n_select=300, n_certify=400):
    y_select, select = drawn(generator, n_select, laws)
    y_certify, fresh = drawn(generator, n_certify, laws)
    return Answers(y_select, y_certify, select, fresh)


def fixed(n, losses):
    """Candidates that lose exactly so many examples to a faultless control."""
    y = np.zeros(n, dtype=int)
    answers = {"": y} | {str(i): (np.arange(n) < lost).astype(int) for i, lost in enumerate(losses)}
    return Answers(y, y, answers, answers)


FLOOR = Floor("accuracy", 0.02, confidence=0.9)
# Four candidates, cheapest first; truly 4, 2.1, exactly 2 and 0 points below the control: three break the floor.
USD, LAWS = (0.2, 0.3, 0.4, 0.6), ((0.01, 0.05), (0.005, 0.026), (0.005, 0.025), (0.01, 0.01))
GOOD, REPEATS, ALPHA = {"3"}, 600, 0.1
TOO_MANY = binom.isf(1e-4, REPEATS, ALPHA)  # a valid method exceeds this once in ten thousand times


def false_rate(certified):
    """In how many of the repeats `certified(front, world)` holds a run that truly breaks the floor."""
    front, generator = a_front(FLOOR, USD), np.random.default_rng(7)
    return sum(bool(set(certified(front, world(generator, LAWS))) - GOOD) for _ in range(REPEATS))


def test_false_certificates_stay_below_alpha():
    def ours(front, outcomes):
        return [label(trial.run) for trial in certify(front, outcomes).trials if trial.passed]

    assert false_rate(ours) <= TOO_MANY


def test_the_simulation_would_catch_a_method_that_trusts_the_mean():
    def naive(front, outcomes):
        control = load("accuracy").score(outcomes.y_certify, outcomes.certify[""])
        scores = {i: load("accuracy").score(outcomes.y_certify, outcomes.certify[i]) for i in "0123"}
        return [i for i, score in scores.items() if score.mean >= FLOOR.threshold(control)]

    assert false_rate(naive) > 2 * TOO_MANY


def test_the_simulation_would_catch_a_certify_split_the_search_has_seen():
    front, generator, false = a_front(FLOOR, np.linspace(0.1, 0.9, 10)), np.random.default_rng(7), 0
    for _ in range(REPEATS // 3):
        leaked = world(generator, ((0.005, 0.025),) * 10)
        leaked.y_select, leaked.select = leaked.y_certify, leaked.certify
        false += certify(front, leaked).held
    assert false > binom.isf(1e-4, REPEATS // 3, ALPHA)


def test_the_simulation_would_catch_testing_each_candidate_with_a_normal_interval():
    def wald(front, outcomes):
        held = []
        for i in "012":
            gain = (outcomes.certify[""] - outcomes.certify[i]).astype(float)
            if (gain.mean() + 0.02) / (gain.std() / 20) > 1.2816:
                held.append(i)
        return held

    assert false_rate(wald) > TOO_MANY


def test_a_truly_good_candidate_is_mostly_certified_given_enough_examples():
    generator, front = np.random.default_rng(1), a_front(FLOOR, (0.5,))
    held = [certify(front, world(generator, ((0.005, 0.005),), n_certify=1500)).held for _ in range(100)]
    assert np.mean(held) > 0.9


def test_the_cheapest_certified_run_wins():
    certificate = certify(a_front(FLOOR, (0.2, 0.3, 0.5)), fixed(1000, [4, 2, 0]))
    assert certificate.held
    assert label(certificate.run) == "0"
    assert [label(trial.run) for trial in certificate.trials] == ["2", "1", "0"]
    assert certificate.n == 1000
    assert certificate.alpha == pytest.approx(0.1)
    assert certificate.p_value == certificate.trials[-1].p_value <= 0.1
    assert certificate.test == "exact paired (Tango score)"
    assert "holds" in certificate.explain()


def test_the_sequence_stops_at_the_first_failure_and_asks_for_no_more_fresh_answers():
    outcomes = fixed(1000, [40, 18, 0])
    certificate = certify(a_front(FLOOR, (0.2, 0.3, 0.5)), outcomes)
    assert [trial.passed for trial in certificate.trials] == [True, False]
    assert label(certificate.run) == "2"
    assert outcomes.asked == ["", "2", "1"]


def test_when_nothing_passes_the_control_stands_and_says_what_it_would_take():
    front = a_front(FLOOR, (0.5,))
    certificate = certify(front, fixed(100, [1]))
    assert not certificate.held
    assert certificate.run == front.control
    assert certificate.needed > 100
    assert str(certificate.needed) in certificate.explain()
    assert certify(front, fixed(certificate.needed, [certificate.needed // 100])).held


def test_no_number_is_promised_for_candidates_that_break_the_floor():
    certificate = certify(a_front(FLOOR, (0.5,)), fixed(1000, [50]))
    assert not certificate.held
    assert certificate.needed is None


def test_without_anything_cheaper_no_fresh_data_are_touched():
    outcomes = fixed(100, [0])
    certificate = certify(a_front(FLOOR, (1.5,)), outcomes)
    assert not certificate.held
    assert certificate.trials == ()
    assert outcomes.asked == []


def test_a_surer_and_cheaper_run_makes_a_dearer_one_not_worth_testing():
    front = a_front(FLOOR, (0.3, 0.6), means=(0.8, 0.9))
    chain = sequence(front, fixed(1000, [0, 10]), FLOOR)
    assert [label(hope.run) for hope in chain] == ["0"]


def test_a_stricter_level_can_be_asked_for():
    front, outcomes = a_front(FLOOR, (0.5,)), fixed(1000, [12])
    assert certify(front, outcomes).held
    strict = certify(front, outcomes, alpha=0.001)
    assert not strict.held
    assert strict.floor.confidence == pytest.approx(0.999)
    with pytest.raises(BadInputError, match="level"):
        certify(front, outcomes, alpha=0.7)


def test_groups_are_passed_on():
    front = a_front(Floor("accuracy", 0.05), (0.5,))
    outcomes = fixed(1000, [0])
    assert certify(front, outcomes).held
    outcomes.groups_select = outcomes.groups_certify = np.arange(1000) // 25
    certificate = certify(front, outcomes)
    assert not certificate.held  # forty groups are not a thousand examples
    assert certificate.test == "betting over groups"


def test_a_floor_on_an_error_of_regression_is_certified_too():
    generator = np.random.default_rng(0)
    floor = Floor("rmse", 0.1, Slack.RATIO)
    front = a_front(floor, (0.4, 0.6), means=(0.9, 0.8), task=Task.REGRESS)
    front = Front(Run(front.control.plan, front.control.bill, Score("rmse", 0.7, 0.01, 500)), front.seen[1:])
    y, error = generator.normal(size=500), generator.normal(size=500)
    answers = {"": y + error, "0": y + 1.5 * error, "1": y + 1.01 * error + 0.05 * generator.normal(size=500)}
    certificate = certify(front, Answers(y, y, answers, answers))
    assert label(certificate.run) == "1"
    assert [trial.passed for trial in certificate.trials] == [True, False]
    assert certificate.trials[0].score.mean < certificate.trials[0].control.mean * 1.1


def test_too_few_examples_for_an_asymptotic_test_are_refused():
    floor = Floor("rmse", 0.1, Slack.RATIO)
    front = a_front(floor, (0.4,), means=(0.9,), task=Task.REGRESS)
    y = np.arange(LEAST_UNITS - 1.0)
    with pytest.raises(BadInputError, match="too few"):
        certify(front, Answers(y, y, {"": y + 1, "0": y + 1}, {}))


def test_an_absolute_floor_out_of_reach_of_the_control_is_an_error():
    floor = Floor("accuracy", 0.99, Slack.ABSOLUTE)
    with pytest.raises(FloorUnreachableError, match=r"reaches accuracy 0\.95"):
        reachable(floor, Score("accuracy", 0.95, 0.005, 2000))
    reachable(floor, Score("accuracy", 0.985, 0.005, 2000))  # within the noise: a lever may still better it
    reachable(floor, Score("accuracy", 0.995, 0.001, 2000))
    reachable(Floor("accuracy", 0.01), Score("accuracy", 0.3, 0.01, 2000))
    errors = Floor("rmse", 1.0, Slack.ABSOLUTE)
    reachable(errors, Score("rmse", 0.9, 0.1, 100))
    with pytest.raises(FloorUnreachableError):
        reachable(errors, Score("rmse", 1.5, 0.1, 100))
