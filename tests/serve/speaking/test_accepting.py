"""Guesses are kept as often as they must be for the text to be what it would be without them: counted and tested."""

import numpy as np
import pytest
from scipy.stats import chisquare

from pennyweight.runtimes.guessing import Guess
from pennyweight.serve.speaking.accepting import accepted
from pennyweight.serve.speaking.drawing import LOST, Draw

RNG = np.random.default_rng(7)
TOKENS, GUESSES, TIMES = 8, 2, 10_000
HERE = RNG.normal(0, 1.5, (GUESSES + 1, TOKENS)).astype(np.float32)
THERE = (HERE[:GUESSES] + RNG.normal(0, 1.0, (GUESSES, TOKENS))).astype(np.float32)


def drawing(temperature=1.0, top_p=1.0, seed=None, chance=1):
    made = Draw(temperature, top_p, seed)
    if seed is None:
        made._chance = np.random.default_rng(chance)
    return made


def guessed(draw, there=THERE):
    found = [draw.guess(each) for each in there]
    return Guess([token for token, _ in found], [each for _, each in found if each is not None])


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.6, 1.0), (1.3, 0.8), (1.0, 0.7)])
def test_first_tokens_and_those_after_each_are_drawn_as_without_guesses(temperature, top_p):
    """The model's chances do not depend here on what came before, so each place has its own counts."""
    draw = drawing(temperature, top_p)
    exact = [draw.chances(each) for each in HERE]
    counts, held = np.zeros((GUESSES + 1, TOKENS)), 0
    for _ in range(TIMES):
        guess = guessed(draw)
        made = accepted(HERE, guess, draw)
        held += made[:GUESSES] == guess.tokens
        for at, token in enumerate(made):
            counts[at, token] += 1
    assert counts[0].sum() == TIMES > counts[1].sum() >= counts[2].sum() > 100
    assert held > 100
    first = exact[0] > 0
    assert not counts[0, ~first].any()
    assert chisquare(counts[0, first], TIMES * exact[0][first]).pvalue > 1e-3
    # what comes second is drawn only where the first guess held, which says nothing of the second here
    second = exact[1] > 0
    assert not counts[1, ~second].any()
    assert chisquare(counts[1, second], counts[1].sum() * exact[1][second]).pvalue > 1e-3


def test_a_guess_that_was_drawn_is_kept_as_often_as_both_agree():
    draw = drawing()
    kept = sum(len(accepted(HERE[:2], guessed(draw, THERE[:1]), draw)) == 2 for _ in range(TIMES)) / TIMES
    both = np.minimum(draw.chances(HERE[0]), draw.chances(THERE[0])).sum()
    assert abs(kept - both) < 4 * np.sqrt(0.25 / TIMES)


def test_with_a_seed_a_text_is_that_of_the_seed_whatever_is_guessed():
    plain, draw = drawing(0.9, 0.9, seed=5), drawing(0.9, 0.9, seed=5)
    wanted = [plain.of(HERE[0]) for _ in range(400)]
    made, runs, rng = [], 0, np.random.default_rng(2)
    while len(made) < 400:
        guess = Guess(rng.integers(0, TOKENS, rng.integers(0, 4)).tolist())
        made += accepted(np.repeat(HERE[:1], len(guess.tokens) + 1, axis=0), guess, draw)
        runs += 1
    assert made[:400] == wanted
    assert runs < 390


def test_a_seed_leaves_nothing_to_chance_in_a_guess():
    assert drawing(seed=3).guess(THERE[0]) == (int(THERE[0].argmax()), None)
    assert drawing(0.0).guess(THERE[0]) == (int(THERE[0].argmax()), None)


def test_without_temperature_guesses_hold_as_long_as_they_are_the_likeliest():
    best = HERE.argmax(axis=1).tolist()
    assert accepted(HERE, Guess(best[:2]), drawing(0.0)) == best
    assert accepted(HERE, Guess([best[0], (best[1] + 1) % TOKENS]), drawing(0.0)) == best[:2]
    assert accepted(HERE, Guess([(best[0] + 1) % TOKENS, best[1]]), drawing(0.0)) == best[:1]
    assert accepted(HERE[:1], Guess(), drawing(0.0)) == best[:1]


def test_a_draft_that_knows_fewer_tokens_is_judged_by_those():
    draw, few = drawing(), 3
    counts = np.zeros(TOKENS)
    for _ in range(TIMES):
        counts[accepted(HERE[:2], guessed(draw, THERE[:1, :few]), draw)[0]] += 1
    assert chisquare(counts, TIMES * draw.chances(HERE[0])).pvalue > 1e-3


@pytest.mark.parametrize("seed", [None, 4])
def test_where_the_model_says_no_numbers_the_text_is_lost_and_no_guess_is_kept_behind(seed):
    mad = HERE.copy()
    mad[1] = np.nan
    draw = drawing(seed=seed)
    made = [accepted(mad, guessed(draw), draw) for _ in range(200)]
    assert all(LOST not in each[:-1] for each in made)
    assert any(each[-1] == LOST for each in made)
    assert max(map(len, made)) == 2
