import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pennyweight.errors import BadInputError
from pennyweight.train.ngrams import NGrams

_TOKEN = st.integers(0, 4)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=6, max_size=200), st.integers(1, 5), st.lists(st.integers(0, 4), max_size=6)
)
def test_the_chances_of_all_tokens_add_up_to_one(text, order, before):
    model = NGrams.fit(np.array(text), order=order, vocabulary=5)
    windows = np.array([[0, *before, token] for token in range(5)])
    assert model.chances(windows)[:, -1].sum() == pytest.approx(1)


def test_what_always_follows_becomes_likely():
    text = np.tile([0, 1, 2, 0, 3, 4], 50)
    model = NGrams.fit(text, order=3, vocabulary=5)
    chance = model.chances(np.array([[2, 0, 3], [4, 0, 1], [2, 0, 1]]))[:, -1]
    assert chance[0] > 0.9
    assert chance[1] > 0.9
    assert chance[2] < 0.1


def test_kneser_and_ney_count_what_a_token_follows_not_how_often_it_occurs():
    # 1 occurs often but only ever after 0; 2 occurs less often, after everything.
    text = np.array([0, 1] * 40 + [0, 2, 3, 2, 4, 2, 1, 2] * 4)
    model = NGrams.fit(text, order=2, vocabulary=6)
    never_seen = model.chances(np.array([[5, 1], [5, 2]]))[:, -1]
    assert never_seen[1] > never_seen[0]


def test_a_longer_memory_helps_on_text_that_needs_it():
    rng = np.random.default_rng(0)
    text = rng.integers(0, 4, 20_000)
    text[2::3] = (text[0:-2:3] + text[1:-1:3])[: len(text[2::3])] % 4
    windows = np.lib.stride_tricks.sliding_window_view(text[15_000:], 13)[::12]
    losses = [NGrams.fit(text[:15_000], order=order, vocabulary=4).loss(windows) for order in (1, 3)]
    assert losses[1] < losses[0] - 0.05


def test_windows_know_nothing_of_what_came_before_them():
    text = np.tile([0, 1, 2], 50)
    model = NGrams.fit(text, order=3, vocabulary=3)
    alone, later = model.chances(np.array([[1, 2]]))[0, 0], model.chances(np.array([[0, 1, 2]]))[0, 1]
    assert alone == pytest.approx(NGrams.fit(text, order=3, vocabulary=3).chances(np.array([[1, 2, 0]]))[0, 0])
    assert later >= alone


def test_tokens_outside_the_vocabulary_are_named():
    with pytest.raises(BadInputError, match="A token is 9"):
        NGrams.fit(np.array([0, 9, 1]), order=2, vocabulary=5)


def test_an_order_that_cannot_be_numbered_is_refused_with_the_most_that_can():
    with pytest.raises(BadInputError, match="up to 10"):
        NGrams.fit(np.arange(60), order=12, vocabulary=65)


@settings(max_examples=30, deadline=None)
@given(st.lists(_TOKEN, min_size=8, max_size=120), st.integers(1, 4))
def test_what_it_teaches_is_what_it_would_say_itself(text, order):
    model = NGrams.fit(np.array(text), order=order, vocabulary=5)
    windows = np.array([text[:7]])
    taught = np.exp(model.teach(windows[:, :-1]))
    assert taught.sum(axis=2) == pytest.approx(1, abs=1e-5)
    said = np.take_along_axis(taught, windows[:, 1:, None], axis=2)[..., 0]
    assert said == pytest.approx(model.chances(windows), abs=1e-5)
