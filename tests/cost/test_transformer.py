from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.catalog.models import model, model_names
from pennyweight.core.dims import Dims
from pennyweight.cost.columns import columns_of
from pennyweight.cost.transformer import (
    active_parameters,
    embedding_parameters,
    expert_parameters,
    forward_flop,
    kv_byte,
    kv_byte_token,
    layer_parameters,
    mtp_parameters,
    parameters,
    seen_tokens,
    split_parameters,
    training_flop,
)
from pennyweight.errors import BadInputError

ALL = [model(name) for name in model_names()]


@st.composite
def shapes(draw):
    """Any dense model or mixture, grouped or latent, with windows or none."""
    heads, width = draw(st.sampled_from([1, 2, 4, 8, 16])), draw(st.integers(1, 64))
    facts = {
        "layers": draw(st.integers(1, 100)),
        "hidden": heads * width,
        "heads": heads,
        "ffn": draw(st.integers(1, 4096)),
        "vocab": draw(st.integers(1, 100_000)),
        "kv_heads": draw(st.sampled_from([1, heads])),
        **{flag: draw(st.booleans()) for flag in ("gated", "tied", "causal", "bias", "qk_norm", "end_bias")},
    }
    if draw(st.booleans()):
        facts |= {"experts": draw(st.integers(2, 64)), "experts_per_token": draw(st.integers(1, 2))}
        facts |= {"moe_ffn": draw(st.integers(1, 512)), "shared_ffn": draw(st.integers(0, 512))}
        facts |= {"dense_layers": draw(st.integers(0, facts["layers"] - 1))}
    if draw(st.booleans()):
        facts |= {"q_rank": draw(st.integers(0, 64)), "kv_rank": draw(st.integers(1, 64))}
        facts |= {"rope_dim": draw(st.integers(1, 8)), "nope_dim": draw(st.integers(1, 16)), "v_dim": 8}
    if draw(st.booleans()):
        facts |= {"window": draw(st.integers(1, 512)), "window_layers": draw(st.integers(0, facts["layers"]))}
    return Dims("drawn", **facts)


@given(st.lists(shapes(), min_size=1, max_size=4), st.integers(1, 4096))
def test_columns_of_models_give_what_each_gives_alone(models, tokens):
    columns = columns_of(models)
    formulas = (
        parameters,
        active_parameters,
        layer_parameters,
        mtp_parameters,
        kv_byte_token,
        lambda d: kv_byte(d, tokens),
        lambda d: forward_flop(d, tokens).total,
        lambda d: training_flop(d, tokens, recompute="full"),
    )
    for formula in formulas:
        np.testing.assert_allclose(formula(columns), [float(formula(each)) for each in models], rtol=1e-12)


def test_columns_of_the_whole_catalog_give_what_each_gives_alone():
    found = forward_flop(columns_of(ALL), 1, 2048, absorbed=True)
    for part in fields(found):
        alone = [float(getattr(forward_flop(each, 1, 2048, absorbed=True), part.name)) for each in ALL]
        np.testing.assert_allclose(getattr(found, part.name), alone, rtol=1e-12)


def test_arrays_that_are_given_are_not_changed():
    columns, tokens = columns_of(ALL[:3]), np.array([1.0, 2.0, 3.0])
    before = {name: values.copy() for name, values in columns.of.items()}
    forward_flop(columns, tokens, tokens + 5)
    kv_byte_token(columns, 2, tokens)
    split_parameters(columns)
    mtp_parameters(columns)
    assert tokens.tolist() == [1.0, 2.0, 3.0]
    for name, values in before.items():
        np.testing.assert_array_equal(columns.of[name], values)


@given(shapes(), st.integers(1, 100))
def test_more_layers_have_more_parameters_flop_and_keys(shape, more):
    deeper = replace(shape, layers=shape.layers + more)
    assert parameters(deeper) > parameters(shape)
    assert forward_flop(deeper, 64).total > forward_flop(shape, 64).total
    assert kv_byte(deeper, 64) > kv_byte(shape, 64)


@given(shapes())
def test_tied_embeddings_save_one_table(shape):
    apart, tied = replace(shape, tied=False), replace(shape, tied=True)
    assert parameters(apart) - parameters(tied) == shape.vocab * shape.hidden
    assert forward_flop(apart, 8).total == forward_flop(tied, 8).total


@given(shapes())
def test_the_parts_sum_up_to_the_whole(shape):
    whole = embedding_parameters(shape) + shape.layers * layer_parameters(shape)
    assert whole == pytest.approx(parameters(shape), rel=1e-12)
    parts = split_parameters(shape)
    assert parts.total == parameters(shape)
    assert parts.experts == shape.moe_layers * shape.experts * expert_parameters(shape)


@given(shapes())
def test_a_prompt_read_token_by_token_costs_what_it_costs_at_once(shape):
    causal = replace(shape, causal=True)
    steps = sum(forward_flop(causal, 1, context).total for context in range(1, 33))
    assert steps == pytest.approx(forward_flop(causal, 32).total, rel=1e-9)


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 250))
def test_pairs_are_counted_as_a_mask_would_show_them(tokens, before, window):
    context = tokens + before
    at, of = np.arange(before, context)[:, None], np.arange(context)
    mask = (of <= at) & (of > at - window)
    assert seen_tokens(tokens, context, window) == mask.sum()


@pytest.mark.parametrize(
    ("name", "weights"),
    [("glm-5", 753_864_139_008), ("glm-4.6", 356_785_898_816), ("deepseek-v4-pro", 1_598_839_674_782)],
)
def test_further_token_layers_make_up_the_rest_of_the_weights(name, weights):
    d = model(name)
    close = 1e-3 if "v4" in name else 1e-12  # what compresses DeepSeek-V4's keys is not counted
    assert parameters(d) + mtp_parameters(d) == pytest.approx(weights, rel=close)
    assert mtp_parameters(d) > 3e9


def test_megatrons_formula_is_ours_with_the_full_square():
    d = model("megatron-175b")
    batch, s, layers, h, v = 1, 2048, 96, 12288, 51200
    said = 96 * batch * s * layers * h**2 * (1 + s / (6 * h) + v / (16 * layers * h))
    recomputed = training_flop(d, s, recompute="full", full_core=True)
    assert recomputed == pytest.approx(said, rel=1e-9)


def test_a_dense_token_takes_two_flop_per_weight_and_training_three_times_that():
    d = model("llama-3-70b")
    matrices = parameters(d) - d.vocab * d.hidden - (2 * d.layers + 1) * d.hidden
    forward = forward_flop(d, 4096)
    assert forward.total - forward.core == 2 * 4096 * matrices
    assert training_flop(d, 4096) == 3 * forward.total
    assert training_flop(d, 4096, recompute="selective") == 3 * forward.total + forward.core


@pytest.mark.parametrize(
    ("name", "byte"),
    [
        ("llama-3-70b", 2 * 80 * 2 * 8 * 128),
        ("gpt2", 2 * 12 * 2 * 768),
        ("deepseek-v3", 2 * 61 * (512 + 64)),
        ("falcon-7b", 2 * 32 * 2 * 64),
        ("qwen3.5-397b", 2 * 15 * 2 * 2 * 256),
    ],
)
def test_a_token_keeps_what_its_attention_needs(name, byte):
    assert kv_byte_token(model(name)) == byte


def test_a_window_bounds_what_is_kept():
    d = model("gpt-oss-120b")
    each = 2 * 2 * 8 * 64
    assert kv_byte(d, 8192) == each * (18 * 8192 + 18 * 128)
    assert kv_byte_token(d, 2, 8192) == kv_byte(d, 8192) / 8192


def test_a_recurrence_keeps_a_state_however_long_the_context():
    d = model("nemotron-3-nano")
    assert kv_byte(d, 2000) - kv_byte(d, 1000) == 1000 * kv_byte_token(d)
    assert kv_byte(d, 0) == 23 * 64 * 64 * 128 * 4


def test_compressed_attention_keeps_what_its_authors_say():
    # DeepSeek-V4-Pro, a million tokens in 16 bits: 9.62 GiB
    assert kv_byte(model("deepseek-v4-pro"), 2**20) / 2**30 == pytest.approx(9.62, abs=0.005)


def test_chosen_tokens_bound_the_core_but_not_the_choosing():
    sparse = model("deepseek-v3.2")
    dense = replace(sparse, index_layers=0, index_topk=0)
    assert forward_flop(sparse, 1, 1024).core > forward_flop(dense, 1, 1024).core
    assert forward_flop(sparse, 1, 131072).core < forward_flop(dense, 1, 131072).core / 4


def test_an_absorbed_decoder_attends_on_latent_vectors():
    d = model("deepseek-v3")
    assert forward_flop(d, 1, 4096, absorbed=True).core == 2 * 4096 * 61 * 128 * (512 + 64 + 512)
    assert forward_flop(d, 1, 4096).core == 2 * 4096 * 61 * 128 * (128 + 64 + 128)


def test_columns_can_be_taken_more_than_once_and_need_one_model():
    columns = columns_of(ALL[:2])
    assert len(columns.take(np.array([0, 1, 0]))) == 3
    assert columns.take(np.array([1])).layers == ALL[1].layers
    assert not hasattr(columns, "name")
    with pytest.raises(BadInputError, match="no models"):
        columns_of([])
