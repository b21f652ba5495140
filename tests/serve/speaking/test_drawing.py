"""Tokens are the likeliest or drawn as their chances say, the same for the same seed."""

import numpy as np
import pytest

from pennyweight.serve.speaking.drawing import Draw, drawn

LOGITS = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))


def shares(draw, times=20_000):
    return np.bincount([draw.of(LOGITS) for _ in range(times)], minlength=4) / times


def test_without_temperature_it_is_the_likeliest():
    assert {Draw(temperature=0.0).of(LOGITS) for _ in range(20)} == {0}


def test_tokens_come_as_often_as_the_model_says():
    np.testing.assert_allclose(shares(Draw(seed=1)), [0.5, 0.3, 0.15, 0.05], atol=0.015)


def test_a_temperature_flattens_and_sharpens():
    np.testing.assert_allclose(shares(Draw(0.5, seed=1)), np.array([25, 9, 2.25, 0.25]) / 36.5, atol=0.015)


@pytest.mark.parametrize(("top_p", "left"), [(0.4, [1.0, 0, 0, 0]), (0.7, [0.625, 0.375, 0, 0])])
def test_only_the_likeliest_that_together_have_top_p_are_drawn(top_p, left):
    np.testing.assert_allclose(shares(Draw(1.0, top_p, 1)), left, atol=0.015)


def test_one_seed_draws_the_same_and_others_do_not():
    first, again, other = (Draw(seed=seed) for seed in (5, 5, 6))
    mine = [[draw.of(LOGITS) for _ in range(40)] for draw in (first, again, other)]
    assert mine[0] == mine[1] != mine[2]


def test_each_text_of_a_batch_is_drawn_in_its_own_way():
    batch = np.stack([LOGITS] * 3)
    chosen = [drawn(batch, [Draw(0.0), Draw(seed=4), Draw(0.0)]).tolist() for _ in range(3)]
    assert all(each[0] == each[2] == 0 for each in chosen)
    assert [each[1] for each in chosen] == [Draw(seed=4).of(LOGITS)] * 3


def test_logits_of_any_size_are_drawn_from():
    wild = np.array([1e30, -1e30, 0, 1e30], np.float32)
    assert {Draw(2.0, seed=1).of(wild), Draw(1e-3, 0.0, 1).of(wild)} <= {0, 3}
