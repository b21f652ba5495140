"""Scales that are searched cost less than those of rounding to nearest, in whatever way deviations are counted."""

import numpy as np
import pytest
import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from hypothesis import given
from hypothesis import strategies as some

from pennyweight.backends.large.grids import Grid
from pennyweight.backends.large.kinds import restored, rounder_of, rounding_for
from pennyweight.backends.large.packing import pack, unpack


def cost(grid, groups, scales, importance=1.0):
    made = grid.codes(groups, scales) * scales[:, None]
    return ((made - groups).square() * importance).sum(-1)


@pytest.mark.parametrize(("bits", "least"), [(4, 0.93), (3, 0.85)])
def test_searched_scales_cost_less_than_those_of_rounding_to_nearest(bits, least):
    groups, grid = torch.randn(400, 128) * 0.02, Grid(bits, 128, "BF16")
    plain, searched = cost(grid, groups, grid.plain(groups)), cost(grid, groups, grid.searched(groups))
    assert (searched <= plain).all()
    assert searched.sum().sqrt() < least * plain.sum().sqrt()


@given(seed=some.integers(0, 2**31), bits=some.sampled_from([3, 4, 8]), dtype=some.sampled_from(["BF16", "F16", "F32"]))
def test_no_group_is_worse_off_whatever_counts(seed, bits, dtype):
    torch.manual_seed(seed)
    groups, counts = torch.randn(6, 32) ** 3, torch.rand(3, 32) ** 4 + 1e-6
    grid = Grid(bits, 32, dtype)
    found = grid.searched(groups, counts)
    assert (grid.kept(found) == found).all()
    every = counts.repeat(2, 1)
    assert (cost(grid, groups, found, every) <= cost(grid, groups, grid.plain(groups), every)).all()


def test_many_groups_are_searched_as_few_are():
    groups, counts = torch.randn(9000, 64), torch.rand(3, 64)
    grid = Grid(4, 64, "BF16")
    whole = grid.searched(groups, counts)
    assert (whole[-3:] == grid.searched(groups[-3:], counts)).all()


def test_a_group_of_zeros_stays_zero():
    grid = Grid(4, 32, "F16")
    groups = torch.zeros(2, 32)
    scales = grid.searched(groups)
    assert (grid.codes(groups, scales) * scales[:, None] == 0).all()


def test_rounding_with_searched_scales_moves_weights_less_and_is_read_back():
    values = (np.random.default_rng(0).standard_normal(128 * 300) * 0.02).astype(np.float32)
    apart = {}
    for method in ("rtn", "hqq"):
        rounding = rounding_for("int3", 128)
        packed, scales = np.empty(len(values) * 3 // 8, np.uint8), np.empty(len(values) // 128 * 4, np.uint8)
        rounder_of(rounding, method).round(values.view(np.uint8), "F32", packed, scales)
        apart[method] = np.linalg.norm(restored(packed, scales, "F32", rounding) - values)
    assert apart["hqq"] < 0.85 * apart["rtn"]


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_codes_lie_as_compressed_tensors_has_them(bits):
    codes = np.random.default_rng(bits).integers(0, 1 << bits, (6, 96), dtype=np.uint8)
    room = np.empty(codes.size * bits // 8, np.uint8)
    pack(codes.reshape(-1).copy(), bits, room)
    whole = torch.from_numpy(codes.astype(np.int16) - (1 << (bits - 1))).to(torch.int8)
    assert (room.view("<i4").reshape(6, -1) == pack_to_int32(whole, bits).numpy()).all()
    assert (unpack(room, bits) == codes.reshape(-1)).all()
