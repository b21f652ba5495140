"""Weights rounded by what goes into their layer move its outputs less, on inputs that nothing was fitted to."""

import pytest
import torch

from pennyweight.backends.large.awq import channel_factors
from pennyweight.backends.large.gptq import gptq
from pennyweight.backends.large.grids import Grid
from pennyweight.backends.large.inputs import SAMPLE, Inputs, moved_share
from pennyweight.errors import BadInputError

WIDTH, GROUP = 256, 64


def drawn(tokens=4096):
    """Inputs that depend on each other, of sizes that differ, as those of language models do."""
    mixing = torch.randn(WIDTH, WIDTH) * torch.logspace(0, -1.5, WIDTH)[:, None]
    return (torch.randn(tokens, WIDTH) @ mixing / 8 + 0.05 * torch.randn(tokens, WIDTH)) * torch.randn(WIDTH).exp()


@pytest.fixture
def case():
    inputs = drawn()
    fitted, held = inputs[:3072], inputs[3072:]
    return torch.randn(192, WIDTH) * 0.02, fitted, held


def nearest(weights, grid, factors=1.0, importance=None):
    groups = (weights * factors).view(-1, grid.group)
    scales = grid.plain(groups) if importance is None else grid.searched(groups, importance.view(-1, grid.group))
    return (grid.codes(groups, scales) * scales[:, None]).view_as(weights) / factors


@pytest.mark.parametrize(("bits", "least"), [(4, 0.5), (3, 0.5)])
def test_gptq_moves_outputs_half_as_far_as_rounding_to_nearest(case, bits, least):
    weights, fitted, held = case
    grid = Grid(bits, GROUP, "BF16")
    codes, scales = gptq(weights, fitted.t() @ fitted / len(fitted), grid)
    assert codes.min() >= grid.low
    assert codes.max() <= grid.high
    assert (codes == codes.round()).all()
    made = codes * scales.repeat_interleave(GROUP, 1)
    assert moved_share(weights, made, held) < least * moved_share(weights, nearest(weights, grid), held)


@pytest.mark.parametrize("bits", [4, 3])
def test_awq_moves_outputs_less_than_rounding_to_nearest(case, bits):
    weights, fitted, held = case
    grid = Grid(bits, GROUP, "BF16")
    factors = channel_factors([weights], fitted[::8], grid)
    assert factors.std() > 0.1
    made = nearest(weights, grid, factors, fitted.square().mean(0) / factors.square())
    assert moved_share(weights, made, held) < 0.8 * moved_share(weights, nearest(weights, grid), held)


def test_the_order_of_inputs_and_what_each_makes_up_for_are_as_by_hand():
    weights, inputs = torch.randn(3, 32), torch.randn(64, 32) * torch.linspace(0.5, 2, 32)
    hessian, grid = inputs.t() @ inputs / 64, Grid(4, 32, "F32")
    codes, _ = gptq(weights, hessian, grid)
    order = hessian.diagonal().argsort(descending=True)
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(32)
    scales = grid.searched(weights, (hessian.diagonal() + 0.01 * hessian.diagonal().mean())[None])
    left, rest = weights.double().clone(), list(order.tolist())
    while rest:  # as the paper has it: round one, let all that are left make up for it
        one = rest.pop(0)
        code = (left[:, one] / scales).round().clamp(grid.low, grid.high)
        assert (code == codes[:, one]).all()
        if rest:
            inner = damped[rest][:, rest].double()
            pull = torch.linalg.solve(inner, damped[rest, one].double())
            left[:, rest] += (left[:, one] - code * scales)[:, None] * pull


def test_inputs_that_are_always_zero_do_no_harm():
    weights, inputs = torch.randn(8, 64), torch.randn(256, 64)
    inputs[:, 5:40] = 0
    codes, scales = gptq(weights, inputs.t() @ inputs / 256, Grid(4, 32, "BF16"))
    assert codes.isfinite().all()
    assert scales.isfinite().all()


def test_inputs_that_are_all_zero_are_rounded_to_nearest_or_better():
    weights, grid = torch.randn(8, 64), Grid(4, 32, "BF16")
    codes, scales = gptq(weights, torch.zeros(64, 64), grid)
    made = codes * scales.repeat_interleave(32, 1)
    assert (made - weights).norm() <= 1.01 * (nearest(weights, grid) - weights).norm()


def test_more_inputs_than_tokens_are_damped():
    weights, inputs = torch.randn(8, 128), torch.randn(10, 128)
    codes, _ = gptq(weights, inputs.t() @ inputs / 10, Grid(4, 32, "BF16"))
    assert codes.isfinite().all()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_inputs_that_are_no_numbers_are_refused(number):
    inputs = torch.randn(64, 32)
    inputs[3, 4] = number
    with pytest.raises(BadInputError, match="infinite"):
        gptq(torch.randn(4, 32), inputs.t() @ inputs, Grid(4, 32, "BF16"))
    with pytest.raises(BadInputError, match="infinite"):
        Inputs(32, 64, moments=True).add(inputs, held=False)


def test_inputs_that_are_nearly_zero_get_no_huge_scales(case):
    weights, fitted, _ = case
    fitted = fitted.clone()
    fitted[:, :GROUP] *= 1e-8
    grid = Grid(4, GROUP, "F16")
    plain = grid.plain(weights.view(-1, GROUP)).view(len(weights), -1)
    _, scales = gptq(weights, fitted.t() @ fitted / len(fitted), grid)
    assert scales.isfinite().all()
    assert (scales[:, 0].abs() < 3 * plain[:, 0]).all()


@pytest.mark.parametrize(("texts", "length"), [(3000, 16), (200, 512), (9, 113)])
def test_no_more_tokens_are_kept_than_the_plan_counts_with(texts, length):
    inputs = Inputs(4, texts * length, moments=False)
    for number in range(texts + texts // 7):
        inputs.add(torch.randn(length, 4), held=number % 8 == 7)
    assert 0 < len(inputs.held) <= SAMPLE
    assert SAMPLE // 2 <= len(inputs.seen) <= SAMPLE


def test_moments_are_of_tokens_seen_and_samples_are_apart():
    inputs, seen, held = Inputs(16, 2048, moments=True), torch.randn(2048, 16), torch.randn(300, 16)
    inputs.add(seen[:1024], held=False)
    inputs.add(held, held=True)
    inputs.add(seen[1024:], held=False)
    assert inputs.hessian == pytest.approx(seen.t() @ seen / 2048, abs=1e-5)
    assert inputs.square == pytest.approx(seen.square().mean(0), rel=1e-5)
    assert (len(inputs.seen), len(inputs.held)) == (512, 300)
