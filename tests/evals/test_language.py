import numpy as np
import pytest

from pennyweight import evals
from pennyweight.errors import BadInputError
from pennyweight.evals.likelihood import log_likelihood


def tokens(n=40, length=12, vocabulary=9, seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(vocabulary, size=(n, length)), generator.normal(size=(n, length, vocabulary))


def softmax(logits):
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("name", ["log_loss", "perplexity"])
def test_probabilities_and_log_likelihoods_give_the_same(name):
    y, logits = tokens()
    metric = evals.load(name)
    by_p, by_log = metric.score(y, softmax(logits)), metric.score(y, log_likelihood(y, logits))
    assert by_log.mean == pytest.approx(by_p.mean)
    assert by_log.se == pytest.approx(by_p.se)
    assert by_p.n == 40


def test_perplexity_is_the_exponential_of_the_mean_over_tokens():
    y, logits = tokens()
    p = np.take_along_axis(softmax(logits), y[..., None], axis=2)
    assert evals.load("perplexity").score(y, softmax(logits)).mean == pytest.approx(np.exp(-np.log(p).mean()))


def test_padding_counts_for_nothing():
    y, logits = tokens()
    longer = np.concatenate([y, np.full((40, 3), -100)], axis=1)
    wide = np.concatenate([logits, np.zeros((40, 3, 9))], axis=1)
    for name in ("perplexity", "log_loss", "accuracy"):
        assert evals.load(name).score(longer, softmax(wide)) == evals.load(name).score(y, softmax(logits))
    assert log_likelihood(longer, wide)[:, 12:].sum() == 0


def test_token_accuracy_has_sequences_as_its_examples():
    y, logits = tokens()
    score = evals.load("accuracy").score(y, logits)
    right = logits.argmax(axis=2) == y
    assert score.mean == right.mean()
    assert score.n == 40
    assert score.se == pytest.approx(right.mean(axis=1).std(ddof=1) / np.sqrt(40), rel=0.01)
    assert evals.load("accuracy").losses(y, logits) == pytest.approx(1 - right.mean(axis=1))


def test_sequences_of_unequal_length_weigh_by_their_tokens():
    y, logits = tokens()
    y[:20, 6:] = -1
    draws = np.random.default_rng(1).integers(40, size=(600, 40))
    metric, p = evals.load("perplexity"), log_likelihood(y, logits)
    spread = np.std([metric.measure(y[draw], p[draw]).value for draw in draws])
    assert metric.score(y, p).se == pytest.approx(spread, rel=0.15)


def test_what_does_not_fit_is_refused():
    y, logits = tokens()
    metric = evals.load("perplexity")
    with pytest.raises(BadInputError, match="do not go with"):
        metric.score(y, softmax(logits)[:, :-1])
    with pytest.raises(BadInputError, match="do not go with"):
        metric.score(y.astype(float), softmax(logits))
    with pytest.raises(BadInputError, match="softmax"):
        metric.score(y, logits)
    with pytest.raises(BadInputError, match="above zero"):
        metric.score(y, np.ones(y.shape))
    with pytest.raises(BadInputError, match="padding only"):
        metric.score(np.full((2, 3), -1), np.zeros((2, 3)))
    with pytest.raises(BadInputError, match="padding only"):
        evals.load("accuracy").score(np.full((2, 3), -1), np.zeros((2, 3, 4)))
    with pytest.raises(BadInputError, match="number the classes"):
        metric.score(y + 5, softmax(logits))
    with pytest.raises(BadInputError, match="do not go with"):
        evals.load("accuracy").score(y, np.zeros((40, 12)))
