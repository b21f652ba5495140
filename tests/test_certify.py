"""The promise: the chance of any false certificate is at most alpha, whatever the search did before."""

from dataclasses import replace
from itertools import repeat

import numpy as np
import pytest
from scipy.stats import binom

from pennyweight.certify import Blank, certify, cheaper, reachable, sequence
from pennyweight.core import Floor, Front, Run, Score, Slack
from pennyweight.errors import BadInputError, FloorUnreachableError
from pennyweight.evals import load
from pennyweight.evals.studentized import LEAST_UNITS
from pennyweight.testing.paper import Sheet, Split, labelled, number, paper_front


def world(generator, laws, n_select=300, n_certify=400):
    return Sheet(labelled(laws, n_select, generator), labelled(laws, n_certify, generator))


def fixed(n, losses, groups=None):
    """Candidates that lose exactly so many examples to a faultless control."""
    y = np.zeros(n, dtype=int)
    answers = {None: y} | {i: (np.arange(n) < lost).astype(int) for i, lost in enumerate(losses)}
    return Sheet(Split(y, answers, groups), Split(y, answers, groups))


FLOOR = Floor("accuracy", 0.02, confidence=0.9)
# Four candidates, cheapest first; truly 4, 2.1, exactly 2 and 0 points below the control: three break the floor.
USD, LAWS = (0.2, 0.3, 0.4, 0.6), ((0.01, 0.05), (0.005, 0.026), (0.005, 0.025), (0.01, 0.01))
GOOD, REPEATS, ALPHA = {3}, 600, 0.1
TOO_MANY = binom.isf(1e-4, REPEATS, ALPHA)  # a valid method exceeds this once in ten thousand times


def false_rate(certified):
    """In how many of the repeats `certified(front, world)` holds a run that truly breaks the floor."""
    front, generator = paper_front(FLOOR, USD), np.random.default_rng(7)
    return sum(bool(set(certified(front, world(generator, LAWS))) - GOOD) for _ in range(REPEATS))


def test_false_certificates_stay_below_alpha():
    def ours(front, outcomes):
        return [number(trial.run) for trial in certify(front, outcomes).trials if trial.passed]

    assert false_rate(ours) <= TOO_MANY


def test_the_simulation_would_catch_a_method_that_trusts_the_mean():
    def naive(front, outcomes):
        answers, metric = outcomes.certify.answers, load("accuracy")
        least = FLOOR.threshold(metric.score(outcomes.y_certify, answers[None]))
        return [i for i in range(4) if metric.score(outcomes.y_certify, answers[i]).mean >= least]

    assert false_rate(naive) > 2 * TOO_MANY


def test_the_simulation_would_catch_a_certify_split_the_search_has_seen():
    front, generator, false = paper_front(FLOOR, np.linspace(0.1, 0.9, 10)), np.random.default_rng(7), 0
    for _ in range(REPEATS // 3):
        seen = labelled(((0.005, 0.025),) * 10, 400, generator)
        false += certify(front, Sheet(seen, seen)).held
    assert false > binom.isf(1e-4, REPEATS // 3, ALPHA)


def test_the_simulation_would_catch_testing_each_candidate_with_a_normal_interval():
    def wald(front, outcomes):
        held = []
        for i in range(3):
            gain = (outcomes.certify.answers[None] - outcomes.certify.answers[i]).astype(float)
            if (gain.mean() + 0.02) / (gain.std() / 20) > 1.2816:
                held.append(i)
        return held

    assert false_rate(wald) > TOO_MANY


def test_a_truly_good_candidate_is_mostly_certified_given_enough_examples():
    generator, front = np.random.default_rng(1), paper_front(FLOOR, (0.5,))
    held = [certify(front, world(generator, ((0.005, 0.005),), n_certify=1500)).held for _ in range(100)]
    assert np.mean(held) > 0.9


def test_the_cheapest_certified_run_wins():
    certificate = certify(paper_front(FLOOR, (0.2, 0.3, 0.5)), fixed(1000, [4, 2, 0]))
    assert certificate.held
    assert number(certificate.run) == 0
    assert [number(trial.run) for trial in certificate.trials] == [2, 1, 0]
    assert certificate.n == 1000
    assert certificate.alpha == pytest.approx(0.1)
    assert certificate.p_value == certificate.trials[-1].p_value <= 0.1
    assert certificate.test == "exact paired (Tango score)"
    assert "holds" in certificate.explain()


def test_the_sequence_stops_at_the_first_failure_and_asks_for_no_more_fresh_answers():
    outcomes = fixed(1000, [40, 18, 0])
    certificate = certify(paper_front(FLOOR, (0.2, 0.3, 0.5)), outcomes)
    assert [trial.passed for trial in certificate.trials] == [True, False]
    assert number(certificate.run) == 2
    assert outcomes.asked == [None, 2, 1]


def test_when_nothing_passes_the_control_stands_and_says_what_it_would_take():
    front = paper_front(FLOOR, (0.5,))
    certificate = certify(front, fixed(100, [1]))
    assert not certificate.held
    assert certificate.run == front.control
    assert certificate.needed > 100
    assert str(certificate.needed) in certificate.explain()
    assert certify(front, fixed(certificate.needed, [certificate.needed // 100])).held


def test_no_number_is_promised_for_candidates_that_break_the_floor():
    certificate = certify(paper_front(FLOOR, (0.5,)), fixed(1000, [50]))
    assert not certificate.held
    assert certificate.needed is None


def test_without_anything_cheaper_no_fresh_data_are_touched():
    outcomes = fixed(100, [0])
    certificate = certify(paper_front(FLOOR, (1.5,)), outcomes)
    assert not certificate.held
    assert certificate.trials == ()
    assert outcomes.asked == []


def test_a_surer_and_cheaper_run_makes_a_dearer_one_not_worth_testing():
    front = paper_front(FLOOR, (0.3, 0.6), means=(0.8, 0.9))
    chain = sequence(front, fixed(1000, [0, 10]), FLOOR, cheaper(front))
    assert [number(hope.run) for hope in chain] == [0]


def test_a_run_that_answers_like_the_control_goes_before_one_that_was_lucky():
    front = paper_front(FLOOR, (0.3, 0.6))
    y = np.zeros(114, dtype=int)
    control = (np.arange(114) < 4).astype(int)
    lucky = (np.arange(114) < 3).astype(int)  # one more right answer, where the search looked
    split = Split(y, {None: control, 0: lucky, 1: control}, None)
    assert [number(hope.run) for hope in sequence(front, Sheet(split, split), FLOOR, cheaper(front))] == [1, 0]


def test_a_stricter_level_can_be_asked_for():
    front, outcomes = paper_front(FLOOR, (0.5,)), fixed(1000, [12])
    assert certify(front, outcomes).held
    strict = certify(front, outcomes, alpha=0.001)
    assert not strict.held
    assert strict.floor.confidence == pytest.approx(0.999)
    with pytest.raises(BadInputError, match="level"):
        certify(front, outcomes, alpha=0.7)


def test_groups_are_passed_on():
    front = paper_front(Floor("accuracy", 0.05), (0.5,))
    assert certify(front, fixed(1000, [0])).held
    certificate = certify(front, fixed(1000, [0], groups=np.arange(1000) // 25))
    assert not certificate.held  # forty groups are not a thousand examples
    assert certificate.test == "betting over groups"


def test_a_floor_on_an_error_of_regression_is_certified_too():
    generator = np.random.default_rng(0)
    floor = Floor("rmse", 0.1, Slack.RATIO)
    front = paper_front(floor, (0.4, 0.6), means=(0.9, 0.8))
    front = Front(Run(front.control.plan, front.control.bill, Score("rmse", 0.7, 0.01, 500)), front.seen[1:])
    y, error = generator.normal(size=500), generator.normal(size=500)
    answers = {None: y + error, 0: y + 1.05 * error + 0.2 * generator.normal(size=500)}
    answers[1] = y + 1.01 * error + 0.05 * generator.normal(size=500)
    worse = answers | {0: y + 1.5 * error}
    certificate = certify(front, Sheet(Split(y, answers), Split(y, worse)))
    assert number(certificate.run) == 1
    assert [trial.passed for trial in certificate.trials] == [True, False]
    assert certificate.trials[0].score.mean < certificate.trials[0].control.mean * 1.1


def test_too_few_examples_for_an_asymptotic_test_are_refused():
    floor = Floor("rmse", 0.1, Slack.RATIO)
    front = paper_front(floor, (0.4,), means=(0.9,))
    y = np.arange(LEAST_UNITS - 1.0)
    with pytest.raises(BadInputError, match="too few"):
        certify(front, Sheet(Split(y, {None: y + 1, 0: y + 1}), Split(y, {})))


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


def search_on(generator, books, looks=6):
    """Search and certify again and again, each time two candidates that resemble what passed the last time.

    All of them truly break the floor but the first, which is truly good: that it passed or failed tells something.
    """
    laws = [(0.005, 0.01)] + [(0.005, 0.025)] * 2 * looks
    outcomes = world(generator, laws)
    control, *runs = paper_front(FLOOR, np.linspace(0.9, 0.1, len(laws))).seen
    answers, passed, tried = outcomes.select.answers, [None], [runs.pop(0)]
    for book, _ in zip(books, range(looks), strict=False):
        trials = certify(Front(control, (control, *tried)), outcomes, book=book).trials
        passed = [number(trial.run) for trial in trials if trial.passed] or passed
        if any(passed):
            return True
        runs.sort(key=lambda run: np.mean(answers[number(run)] != answers[passed[-1]]))
        tried, runs = runs[:2], runs[2:]
    return False


def test_searching_on_until_something_passes_keeps_false_certificates_below_alpha():
    generator, kept, forgotten = np.random.default_rng(3), 0, 0
    for _ in range(REPEATS // 2):
        kept += search_on(generator, repeat(Blank()))
        forgotten += search_on(generator, iter(Blank, None))
    too_many = binom.isf(1e-4, REPEATS // 2, ALPHA)
    assert kept <= too_many
    assert forgotten > too_many  # the simulation would catch a book that forgets


def test_the_same_again_is_recalled_and_touches_nothing():
    front, book = paper_front(FLOOR, (0.2, 0.3, 0.5)), Blank()
    first = certify(front, fixed(1000, [18, 4, 0]), book=book)
    again = fixed(1000, [18, 4, 0])
    assert certify(front, again, book=book) == first
    assert again.asked == []
    assert len(book.looks()) == 1
    assert first.uses == 0
    assert "before" not in first.explain()


def test_a_run_that_failed_is_not_tested_again_however_often_one_asks():
    front, book = paper_front(FLOOR, (0.5,)), Blank()
    answers = [certify(front, fixed(1000, [15]), book=book) for _ in range(3)]
    assert not answers[0].held
    assert answers[0] == answers[1] == answers[2]
    assert len(book.looks()) == 1


def test_a_cheaper_run_found_later_is_tested_at_what_is_left_of_the_level():
    book, outcomes = Blank(), fixed(1000, [2, 4, 18])
    before = certify(paper_front(FLOOR, (0.9, 0.5)), outcomes, book=book)
    assert [trial.passed for trial in before.trials] == [True, True]
    after = certify(paper_front(FLOOR, (0.9, 0.5, 0.2)), outcomes, book=book)
    assert outcomes.asked == [None, 0, 1, None, 2]
    assert after.run == before.run  # the new one failed, the verdict on the old one stands
    assert (after.uses, after.level) == (0, before.level)
    assert [trial.level for trial in after.trials] == pytest.approx([0.09, 0.09, 0.1 * 0.9 * (0.9 + 0.1 / 3)])


def test_what_is_certified_on_a_used_split_says_so():
    book = Blank()
    certify(paper_front(FLOOR, (0.9,)), fixed(1000, [15]), book=book)
    outcomes = fixed(1000, [15, 0])
    later = certify(paper_front(FLOOR, (0.9, 0.5)), outcomes, book=book)
    assert later.held
    assert later.uses == 1
    assert later.level == pytest.approx(0.1 * 0.9 * 0.1 / 2)
    assert "used once before" in later.explain()
    assert "at level 0.0045; for the full 0.09" in later.explain()


def test_another_floor_is_another_question_on_the_same_split():
    book, outcomes = Blank(), fixed(1000, [15])
    strict = certify(paper_front(FLOOR, (0.9,)), outcomes, book=book)
    loose = certify(paper_front(replace(FLOOR, amount=0.05), (0.9,)), outcomes, book=book)
    assert not strict.held
    assert loose.held
    assert loose.level < strict.level
    assert loose.uses == 1


def test_who_looks_at_the_same_time_and_is_second_starts_over():
    class Late(Blank):
        def add(self, look):
            if not self.looks():  # somebody else has the number, with another run that failed
                super().add(certify_alone(paper_front(FLOOR, (0.9,)), fixed(1000, [15])))
                return False
            return super().add(look)

    def certify_alone(front, outcomes):
        alone = Blank()
        certify(front, outcomes, book=alone)
        return alone.looks()[0]

    book = Late()
    certificate = certify(paper_front(FLOOR, (0.9, 0.5)), fixed(1000, [15, 0]), book=book)
    assert [look.number for look in book.looks()] == [1, 2]
    assert certificate.held
    assert certificate.uses == 1


def test_a_run_that_breaks_the_floor_on_the_select_split_spends_nothing():
    book = Blank()
    certificate = certify(paper_front(FLOOR, (0.5,)), fixed(1000, [40]), book=book)
    assert book.looks() == ()
    assert not certificate.held
    assert "none was tested" in certificate.explain()
