"""The threshold of a cascade keeps its promise on data that was not looked at, and never skips a test that failed."""

import numpy as np
import pytest

from pennyweight.evals.deferring import LADDER, Rows, defer, sureness


def drawn(rng, n, overconfident=0.0):
    """A dear model that is right on 97%, and a quick one that is as often right as it is sure, or less often."""
    y = np.zeros(n, dtype=int)
    sure = rng.beta(6, 1, size=n) / 2 + 0.5
    right = rng.random(n) < sure - overconfident
    quick = np.where(right[:, None], np.stack([sure, 1 - sure], 1), np.stack([1 - sure, sure], 1))
    dear = np.eye(2)[(rng.random(n) > 0.97).astype(int)]
    return Rows(y, quick, dear)


def lost(rows, threshold):
    stays = sureness(rows.quick, logits=False) >= np.float32(threshold)
    answers = np.where(stays[:, None], rows.quick, rows.dear)
    return (rows.dear.argmax(1) == rows.y).mean() - (answers.argmax(1) == rows.y).mean()


@pytest.mark.parametrize("overconfident", [0.0, 0.02])
def test_the_promise_is_broken_no_more_often_than_it_says(overconfident):
    rng = np.random.default_rng(0)
    truth = drawn(rng, 200_000, overconfident)
    losses = {threshold: lost(truth, threshold) for threshold in LADDER}
    broken = found = 0
    for _ in range(150):
        deferral = defer(drawn(rng, 800, overconfident), 0.02, 0.9, logits=False)
        found += deferral is not None
        broken += deferral is not None and losses[deferral.threshold] > 0.02
    assert found > 50
    assert broken <= 150 * 0.1 + 3 * np.sqrt(150 * 0.09)


def test_more_may_be_kept_where_more_may_be_lost():
    rows = drawn(np.random.default_rng(1), 2000)
    strict, mild = (defer(rows, give_up, 0.9, logits=False) for give_up in (0.01, 0.05))
    assert mild.threshold < strict.threshold
    assert mild.share < strict.share < 1
    assert strict.p_value <= 0.1


def test_the_ladder_ends_where_a_step_fails():
    rng = np.random.default_rng(2)
    rows = drawn(rng, 2000)
    sure = sureness(rows.quick, logits=False)
    between = (sure > 0.9) & (sure < 0.94)
    rows.quick[between] = rows.quick[between][:, ::-1]
    rows.quick[between] = np.sort(rows.quick[between], axis=1)
    found = defer(rows, 0.02, 0.9, logits=False)
    assert found.threshold >= 0.9


def test_too_few_rows_promise_nothing():
    assert defer(drawn(np.random.default_rng(3), 20), 0.01, 0.9, logits=False) is None


def test_the_ladder_falls_and_stops_at_a_half():
    assert list(LADDER) == sorted(LADDER, reverse=True)
    assert LADDER[0] < 1
    assert LADDER[-1] == 0.5


def test_logits_are_turned_into_probabilities_without_overflow():
    logits = np.array([[1000.0, 0.0], [0.0, 0.0], [-1000.0, -1000.0]])
    assert sureness(logits, logits=True) == pytest.approx([1, 0.5, 0.5])
    assert sureness(np.array([[0.2, 0.8]]), logits=False) == pytest.approx([0.8])
