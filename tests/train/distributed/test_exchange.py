import pytest
import torch
import torch.distributed as dist

from pennyweight.train.distributed.exchange import Feedback, Vector
from pennyweight.train.distributed.naming import exchange
from pennyweight.train.wire import Wire

SHAPES = ((40, 30), (40,), (20, 10, 3, 3))
COUNT = 40 * 30 + 40 + 20 * 90
NAMES = ["bf16", "int4", "onebit", "topk:0.05+int8", "randomk:0.2", "powersgd:2", "powersgd:1+int4", "int2+zip"]


@pytest.fixture
def wire(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield Wire(0, 1)
    dist.destroy_process_group()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_told_at_once_is_told_later(wire, name):
    feedback = Feedback(exchange(name))
    x = torch.randn(COUNT)
    first = feedback.mean(Vector(x, SHAPES), wire)
    told = first + sum(feedback.mean(Vector(x, SHAPES), wire) for _ in range(59))
    assert (told / 60 - x).norm() < 0.7 * (first - x).norm()
    assert torch.allclose(told + feedback.error, 60 * x, atol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_that_is_no_number_is_seen_once_and_forgotten(wire, name):
    feedback = Feedback(exchange(name))
    x = torch.randn(COUNT)
    bad = x.clone()
    bad[:] = torch.nan
    assert feedback.mean(Vector(bad, SHAPES), wire).isnan().any()
    for _ in range(2):
        assert feedback.mean(Vector(x, SHAPES), wire).isfinite().all()


def test_nothing_is_lost_without_a_compressor(wire):
    x = torch.randn(COUNT)
    feedback = Feedback(exchange(""))
    assert torch.equal(feedback.mean(Vector(x, SHAPES), wire), x)
    assert feedback.error.abs().max() == 0


def test_a_matrix_of_low_rank_is_told_whole_in_few_numbers(wire):
    x = torch.cat([(torch.randn(40, 2) @ torch.randn(2, 30)).reshape(-1), torch.randn(40), torch.zeros(1800)])
    low = exchange("powersgd:2")
    assert torch.allclose(low.mean(Vector(x, SHAPES), wire).mean, x, atol=1e-4)
    assert [tuple(rows.shape) for rows in low.rows] == [(30, 2), (90, 2)]
