import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.stats import binom

from pennyweight.errors import BadInputError
from pennyweight.evals import blocks, studentized

ALPHA = 0.05


def remembering(n, memory, rng, tails=None):
    """Numbers of variance one, each of which remembers the last."""
    new = rng.standard_t(tails, n + 3000) / np.sqrt(tails / (tails - 2)) if tails else rng.normal(size=n + 3000)
    return lfilter([1], [1, -memory], new)[3000:] * np.sqrt(1 - memory**2)


def losses(law, n, rng):
    """How much more is lost per token, 0.01 on average, with what tokens have in common."""
    if law == "independent":
        return 0.01 + 0.3 * rng.normal(size=n)
    if law == "rare":
        return 0.01 * (rng.random(n) < 0.02) / 0.02
    if law == "topics":
        return 0.01 + 0.2 * np.repeat(rng.normal(size=n // 200 + 1), 200)[:n] + 0.1 * rng.normal(size=n)
    memory, tails = {"near": (0.9, 3), "far": (0.99, None), "farther": (0.997, None)}[law]
    return 0.01 + 0.3 * remembering(n, memory, rng, tails)


def rate(test, law, tries, n=16_000):
    rng = np.random.default_rng(1)
    return sum(test(losses(law, n, rng)) <= ALPHA for _ in range(tries))


@pytest.mark.parametrize("law", ["independent", "rare", "topics", "near", "far", "farther"])
def test_what_is_on_the_floor_is_certified_no_more_often_than_the_level(law):
    one = np.zeros(16_000, np.int64)
    tries = 120
    false = rate(lambda x: blocks.at_most(x, 0.01, one, 1 - ALPHA).p_value, law, tries)
    assert binom.sf(false - 1, tries, ALPHA) > 0.01, false


def test_a_test_that_takes_tokens_for_independent_certifies_far_too_often():
    def naive(x):
        clear = 0.01 - x
        return studentized.p_value(clear.mean(), clear - clear.mean(), None, ALPHA)

    assert rate(naive, "far", 40, 4000) > 8


def test_the_level_is_kept_over_documents_of_very_different_lengths():
    rng, false, tries = np.random.default_rng(2), 0, 150
    for _ in range(tries):
        sizes = rng.geometric(1 / 150, size=80)
        owners = np.repeat(np.arange(80), sizes)
        apart = 0.2 * rng.normal(size=80)[owners] + rng.normal(size=sizes.sum()) + 0.01
        false += blocks.at_most(apart, 0.01, owners, 1 - ALPHA).p_value <= ALPHA
    assert binom.sf(false - 1, tries, ALPHA) > 0.01, false


def test_one_document_that_is_nearly_all_of_the_text_does_not_hide_how_documents_differ():
    rng, false, tries = np.random.default_rng(6), 0, 200
    owners = np.repeat(np.arange(40), [20_000, *[50] * 39])
    for _ in range(tries):
        apart = 0.2 * rng.normal(size=40)[owners] + 0.1 * rng.normal(size=len(owners)) + 0.01
        false += blocks.at_most(apart, 0.01, owners, 1 - ALPHA).p_value <= ALPHA
    assert binom.sf(false - 1, tries, ALPHA) > 0.01, false


@pytest.mark.parametrize("law", ["rare", "near"])
def test_the_upper_bound_is_the_floor_from_which_on_the_test_is_sure(law):
    apart, one = losses(law, 16_000, np.random.default_rng(7)), np.zeros(16_000, np.int64)
    most = blocks.upper(apart, one, 1 - ALPHA)
    assert most > apart.mean()
    assert blocks.at_most(apart, most + 1e-9, one, 1 - ALPHA).p_value <= ALPHA
    assert blocks.at_most(apart, most - 1e-9, one, 1 - ALPHA).p_value > ALPHA


def test_no_bound_is_surer_than_the_resamples():
    assert blocks.upper(np.zeros(20_000), np.zeros(20_000, np.int64), 0.95) == 0
    assert blocks.upper(np.zeros(20_000), np.zeros(20_000, np.int64), 0.9999) == np.inf


def test_what_clears_the_floor_is_certified():
    rng = np.random.default_rng(3)
    apart = 0.001 + 0.05 * remembering(60_000, 0.9, rng)
    test = blocks.at_most(apart, 0.01, np.zeros(60_000, np.int64), 0.95)
    assert test.p_value < 0.001
    assert test.low > 0
    assert "blocks of" in test.test


def test_losses_that_never_differ_are_certified_and_equal_ones_on_the_floor_are_not():
    one = np.zeros(20_000, np.int64)
    assert blocks.at_most(np.zeros(20_000), 0.01, one, 0.95).p_value < 0.001
    assert blocks.at_most(np.full(20_000, 0.01), 0.01, one, 0.95).p_value == 1


def test_too_few_blocks_are_refused():
    with pytest.raises(BadInputError, match="too few"):
        blocks.at_most(np.zeros(5000), 0.01, np.zeros(5000, np.int64), 0.95)


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=90))
def test_every_token_lies_in_one_block_and_none_reaches_over_documents_that_are_cut(sizes):
    owners = np.repeat(np.arange(len(sizes)), sizes)
    cuts = list(blocks.blocks_of(owners))
    for cut in cuts:
        assert len(cut.codes) == len(owners)
        assert np.isin(np.diff(cut.codes), (0, 1)).all()
        if len(sizes) >= blocks.LEAST_BLOCKS:
            assert all(len(set(cut.codes[owners == each])) == 1 for each in range(len(sizes)))
        else:
            assert all(len(set(owners[cut.codes == each])) == 1 for each in range(cut.n))
    assert all(cut.n >= blocks.LEAST_BLOCKS for cut in cuts[1:])


def test_blocks_of_one_document_are_as_long_as_they_say():
    cut = next(blocks.blocks_of(np.zeros(blocks.LEAST_TOKENS * 40 + 7, np.int64)))
    assert cut.n == 40
    assert np.bincount(cut.codes).tolist() == [blocks.LEAST_TOKENS] * 39 + [blocks.LEAST_TOKENS + 7]


def test_an_interval_holds_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(4)
    one, held = np.zeros(20_000, np.int64), 0
    for _ in range(100):
        low, high = blocks.interval(remembering(20_000, 0.99, rng), one)
        held += low < 0 < high
    assert held >= 90


def test_how_much_is_needed_grows_as_the_floor_comes_nearer_and_is_nothing_beyond_it():
    rng = np.random.default_rng(5)
    apart = 0.3 * remembering(20_000, 0.9, rng)
    apart -= apart.mean()
    one = np.zeros(20_000, np.int64)
    needs = [blocks.tokens_needed(blocks.at_most(apart, most, one, 0.95), 20_000, 0.95) for most in (0.02, 0.01, 0.005)]
    assert needs[0] < needs[1] < needs[2]
    assert blocks.tokens_needed(blocks.at_most(apart, -0.01, one, 0.95), 20_000, 0.95) is None
