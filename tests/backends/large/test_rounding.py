"""Rounding by groups keeps the rules it states, for every type of weight and every size of input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from pennyweight.backends.large.kinds import restored, rounder_of, rounding_for
from pennyweight.backends.large.packed import EVERY, described, described_mixed, rounding_of, roundings_of
from pennyweight.backends.large.rounding import Rounding, as_float32, as_stored, bits_in
from pennyweight.errors import BadInputError


def rounded(values, dtype, rounding):
    bits = as_stored(values, dtype)
    packed = np.empty(len(values) * rounding.bits // 8, np.uint8)
    scales = np.empty(len(values) // rounding.group * rounding.scale_byte(dtype), np.uint8)
    rounder_of(rounding).round(bits.view(np.uint8), dtype, packed, scales)
    return restored(packed, scales, dtype, rounding)


def exact_and_scales(values, dtype, rounding):
    bits = as_stored(values, dtype)
    packed = np.empty(len(values) * rounding.bits // 8, np.uint8)
    scales = np.empty(len(values) // rounding.group * rounding.scale_byte(dtype), np.uint8)
    rounder_of(rounding).round(bits.view(np.uint8), dtype, packed, scales)
    exact, scale = np.empty(len(values), np.float32), np.empty(len(values) // rounding.group, np.float32)
    as_float32(bits, dtype, exact)
    as_float32(bits_in(scales, dtype), dtype, scale)
    return exact, scale


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("rounding", [Rounding(4, 32), Rounding(4, 128), Rounding(8, 64)])
@given(seed=some.integers(0, 2**32 - 1), groups=some.integers(1, 40), size=some.floats(1e-3, 1e3))
def test_no_multiple_of_the_scale_is_nearer(dtype, rounding, seed, groups, size):
    values = (np.random.default_rng(seed).standard_normal(groups * rounding.group) * size).astype(np.float32)
    exact, scale = exact_and_scales(values, dtype, rounding)
    made = rounded(values, dtype, rounding)
    steps = np.repeat(scale, rounding.group)
    codes = made / steps
    assert np.abs(codes - np.round(codes)).max() < 1e-3
    high = rounding.offset - 1
    nearest = np.clip(np.round(exact.astype(np.float64) / steps), -high - 1, high) * steps
    assert (np.abs(made - exact) <= np.abs(nearest - exact) + 1e-4 * steps).all()


def test_more_weights_than_a_tile_are_rounded_as_their_parts_are():
    values = np.random.default_rng(0).standard_normal(128 * 4099).astype(np.float32)
    whole = rounded(values, "BF16", Rounding(4, 128))
    parts = [rounded(values[at : at + 128 * 1000], "BF16", Rounding(4, 128)) for at in range(0, len(values), 128_000)]
    assert (whole == np.concatenate(parts)).all()


@given(some.lists(some.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_bfloat16_is_rounded_as_torch_rounds_it(numbers):
    import torch

    values = np.array(numbers, np.float32)
    other = torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    assert (as_stored(values, "BF16") == other).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_what_is_no_finite_number_is_refused(dtype, bad):
    values = np.ones(256, np.float32)
    values[200] = bad
    with pytest.raises(FloatingPointError):
        rounded(values, dtype, Rounding(4, 128))


def test_a_config_is_understood_again_and_another_one_is_not():
    made = {"quantization_config": described(Rounding(4, 64), ["lm_head"])}
    assert rounding_of(made) == Rounding(4, 64)
    made["quantization_config"]["format"] = "naive-quantized"
    assert rounding_of(made) is None
    assert rounding_of({}) is None


def test_a_config_of_several_widths_names_every_layer_and_is_understood_again():
    ways = {"a.q_proj": Rounding(4, 64), "a.k_proj": Rounding(8, 64), "a.v_proj": Rounding(4, 64)}
    made = {"quantization_config": described_mixed(ways, ["lm_head"])}
    groups = made["quantization_config"]["config_groups"]
    assert [group["targets"] for group in groups.values()] == [["a.q_proj", "a.v_proj"], ["a.k_proj"]]
    assert roundings_of(made) == ways
    assert rounding_of(made) is None
    assert roundings_of({"quantization_config": described(Rounding(4, 64), [])}) == {EVERY: Rounding(4, 64)}
    groups["group_1"]["weights"]["num_bits"] = 5
    assert roundings_of(made) is None


ELEMENTS = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@given(seed=some.integers(0, 2**32 - 1), groups=some.integers(1, 40), size=some.floats(1e-3, 1e3))
def test_of_mxfp4_no_element_is_nearer_and_the_scale_is_the_specified_power_of_two(dtype, seed, groups, size):
    values = (np.random.default_rng(seed).standard_normal(groups * 32) * size).astype(np.float32)
    bits = as_stored(values, dtype)
    packed, scales = np.empty(groups * 16, np.uint8), np.empty(groups, np.uint8)
    rounder_of(rounding_for("mxfp4", None)).round(bits.view(np.uint8), dtype, packed, scales)
    exact = np.empty(len(values), np.float32)
    as_float32(bits, dtype, exact)
    most = np.abs(exact.reshape(-1, 32)).max(axis=1)
    assert (scales.astype(int) - 127 == np.floor(np.log2(most)).astype(int) - 2).all()
    steps = np.repeat(2.0 ** (scales.astype(int) - 127), 32)
    made = restored(packed, scales, dtype, rounding_for("mxfp4", None))
    every = np.concatenate([ELEMENTS, -ELEMENTS]) * steps[:, None]
    nearest = np.abs(every - exact[:, None]).min(axis=1)
    assert np.abs(made - exact) == pytest.approx(nearest, rel=1e-5, abs=1e-6 * size)
    assert np.isin(np.abs(made / steps), ELEMENTS).all()


def test_of_mxfp4_ties_go_to_the_even_code_and_zeros_stay_zero():
    values = np.zeros(64, np.float32)
    values[:9] = [4, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, -5]
    made = rounded(values, "BF16", rounding_for("mxfp4", None))
    assert made[:9].tolist() == [4, 0, 1, 1, 2, 2, 4, 4, -4]
    assert (made[9:] == 0).all()


def test_mxfp4_has_groups_of_its_own():
    with pytest.raises(BadInputError, match="32 weights"):
        rounding_for("mxfp4", 128)
