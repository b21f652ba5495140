import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_sample_weight

from pennyweight.data.balance import balance, weighed, weights
from pennyweight.data.splits import Arrays, Splits, split
from pennyweight.errors import BadInputError


def test_even_classes_need_no_advice():
    found = balance(np.repeat(list("abc"), 50))
    assert found.classes == ("a", "b", "c")
    assert found.counts == (50, 50, 50)
    assert found.ratio == 1
    assert found.effective == pytest.approx(3)
    assert not found.advice


def test_uneven_classes_are_reported_with_what_to_do():
    found = balance([0] * 980 + [1] * 20)
    assert found.ratio == 49
    assert found.majority == pytest.approx(0.98)
    assert found.effective == pytest.approx(np.exp(-(0.98 * np.log(0.98) + 0.02 * np.log(0.02))))
    assert "always answering 0 is right in 98%" in found.advice
    assert "balanced_accuracy" in found.advice
    assert "class weights" in found.advice
    assert "Fewer than 30 examples of class 1" in found.advice


def test_advice_that_is_followed_is_not_given_again():
    found = balance([0] * 4000 + [1] * 100)
    assert "rather than f1_micro" in found.advise("f1_micro")
    assert "balanced_accuracy" not in found.advise("balanced_accuracy")
    assert "class weights" in found.advise("balanced_accuracy")
    assert not found.advise("balanced_accuracy", weighted=True)


def test_of_many_small_classes_some_are_named():
    found = balance(np.repeat(np.arange(200), 12))
    assert "class 0, 1, 2, 3, 4, 5, 6, 7 and 192 more" in found.advice


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_effective_classes_lie_between_one_and_all(counts):
    found = balance(np.repeat(np.arange(len(counts)), counts))
    assert 1 - 1e-9 <= found.effective <= len(counts) + 1e-9


def test_weights_are_those_of_scikit_learn_scaled_to_mean_one():
    y = np.array([2] * 30 + [0] * 6 + [1] * 3)
    theirs = compute_sample_weight("balanced", y)
    assert weights(y) == pytest.approx(theirs / theirs.mean())
    assert [weights(y)[y == c].sum() for c in range(3)] == pytest.approx([13, 13, 13])


def test_effective_numbers_spare_rare_classes():
    y = np.array(["a"] * 1000 + ["b"])
    plain, mild = weights(y), weights(y, beta=0.99)
    assert mild[-1] / mild[0] == pytest.approx((1 - 0.99**1000) / (1 - 0.99))
    assert mild[-1] / mild[0] < plain[-1] / plain[0]
    with pytest.raises(BadInputError, match="beta"):
        weights(y, beta=1.0)


def test_values_have_no_classes():
    with pytest.raises(BadInputError, match="one class per row"):
        balance(np.array([0.5, 1.5]))


def test_only_training_rows_are_weighed():
    y = np.array([0] * 80 + [1] * 20)
    parts = weighed(split(y[:, None], y))
    assert parts.train.weight == pytest.approx(weights(parts.train.y))
    assert parts.select.weight is None
    assert parts.certify.weight is None


def test_values_and_rows_with_weights_are_not_weighed():
    values, weighty = Arrays(np.zeros(9), np.zeros(9)), Arrays(np.zeros(9), np.arange(9) % 2, weight=np.ones(9))
    with pytest.raises(BadInputError, match="Only classes"):
        weighed(Splits(values, values, values))
    with pytest.raises(BadInputError, match="weights already"):
        weighed(Splits(weighty, weighty, weighty))
