from dataclasses import replace

import pytest

from pennyweight.core.dims import Dims
from pennyweight.errors import BadInputError

PLAIN = {"name": "plain", "layers": 4, "hidden": 64, "heads": 8, "ffn": 256, "vocab": 1000}


def test_what_follows_from_other_numbers_is_filled_in():
    plain = Dims(**PLAIN)
    assert (plain.kv_heads, plain.head_dim, plain.v_dim, plain.embed_dim, plain.moe_ffn) == (8, 8, 8, 64, 0)
    assert Dims(**PLAIN, experts=4, experts_per_token=2).moe_ffn == 256


def test_a_latent_head_is_as_wide_as_its_two_parts():
    assert Dims(**PLAIN, kv_rank=32, nope_dim=16, rope_dim=4, v_dim=16).head_dim == 20


def test_bias_is_short_for_all_four():
    biased = Dims(**PLAIN, bias=True)
    assert biased.qkv_bias
    assert biased.out_bias
    assert biased.ffn_bias
    assert biased.norm_bias


def test_a_copy_keeps_what_was_filled_in():
    assert replace(Dims(**PLAIN), layers=8).head_dim == 8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layers": 0}, "has 0 layers"),
        ({"heads": -1}, "has -1 heads"),
        ({"kv_heads": 3}, "8 heads that 3 key-value heads cannot share"),
        ({"experts": 4}, "sends a token to 0 of 4 experts"),
        ({"experts": 4, "experts_per_token": 5}, "sends a token to 5 of 4 experts"),
        ({"window": -1}, "has -1 window"),
        ({"window_layers": 2}, "window of 0"),
        ({"window": 8, "window_layers": 5}, "has 5 layers with a window or a linear recurrence, of 4"),
        ({"dense_layers": 5}, "of 4"),
    ],
)
def test_contradictions_are_refused_with_a_fix(change, said):
    with pytest.raises(BadInputError, match=said) as caught:
        Dims(**PLAIN | change)
    assert caught.value.fix.startswith("give ")


def test_layers_are_counted_by_what_is_in_them():
    model = Dims(**PLAIN, experts=4, experts_per_token=1, dense_layers=1, ffnless=1, mixerless=1, linear_layers=2)
    assert (model.attention_layers, model.moe_layers) == (1, 2)
