"""Memory while serving: weights by precision, and a cache that is split as engines split it."""

from dataclasses import replace

import pytest

from pennyweight.catalog.models import model
from pennyweight.cost.transformer import kv_byte
from pennyweight.cost.transformer_parameters import parameters, split_parameters
from pennyweight.layout.memory.serving import Setting, cache_shards, serving

EIGHT_B = model("llama-3.1-8b")
LATENT = model("deepseek-ai/DeepSeek-R1")
ONE = Setting(batch=16, context=8192)


def test_weights_take_two_bytes_each_and_the_cache_what_its_tokens_take():
    found = serving(EIGHT_B, ONE)
    assert found.weights == pytest.approx(2 * parameters(EIGHT_B))
    assert found.cache == pytest.approx(16 * kv_byte(EIGHT_B, 8192))


def test_narrow_weights_leave_embeddings_and_logits_wide():
    parts = split_parameters(EIGHT_B)
    found = serving(EIGHT_B, replace(ONE, weight_byte=1)).weights
    wide = parts.embedding + parts.logits + parts.beside
    assert found == pytest.approx(2 * wide + parts.mixers + parts.dense)


@pytest.mark.parametrize(("tp", "shards"), [(1, 1), (4, 4), (8, 8), (16, 8)])
def test_a_cache_is_split_over_key_value_heads_and_no_further(tp, shards):
    assert cache_shards(EIGHT_B, replace(ONE, tp=tp)) == shards


def test_a_latent_cache_is_whole_on_every_device():
    assert cache_shards(LATENT, replace(ONE, tp=8)) == 1


def test_longer_contexts_and_larger_batches_take_more():
    assert serving(EIGHT_B, replace(ONE, context=16384)).cache == pytest.approx(2 * serving(EIGHT_B, ONE).cache)
    assert serving(EIGHT_B, replace(ONE, batch=32)).total > serving(EIGHT_B, ONE).total
