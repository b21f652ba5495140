import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.train.distributed.bits import pack_codes, pack_indices, unpack_codes, unpack_indices
from pennyweight.train.distributed.compressors import Cast, Drawn, Grid, Largest, Zipped
from pennyweight.train.distributed.exchange import LowRank, Packed, Plain, Short
from pennyweight.train.distributed.naming import exchange

CODES = {
    "bf16": (Cast("bfloat16"), 16.1, 1e-4),
    "fp16": (Cast("float16"), 16.1, 1e-6),
    "int8": (Grid(8), 8.1, 1e-3),
    "int4": (Grid(4), 4.1, 0.05),
    "int2": (Grid(2), 2.1, 0.2),
    "onebit": (Grid(1), 1.1, 0.4),
    "zip": (Zipped(Grid(4)), 3.6, 0.05),
    "topk": (Largest(0.05, Grid(1)), 0.4, 0.8),
}


@pytest.mark.parametrize("name", CODES)
def test_a_code_takes_few_bits_and_loses_little(name):
    codec, bits, loss = CODES[name]
    x = torch.randn(20_000)
    packed = codec.pack(x)
    assert packed.dtype == torch.uint8
    assert 8 * len(packed) / len(x) < bits
    again = codec.unpack(packed, len(x))
    assert again.shape == x.shape
    assert (again - x).square().sum() / x.square().sum() < loss


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("count", [1, 2, 511, 513])
def test_vectors_of_any_length_and_any_size_come_back_near(name, count):
    codec = CODES[name][0]
    for x in (torch.zeros(count), 1e-6 * torch.randn(count), 1e3 * torch.randn(count)):
        again = codec.unpack(codec.pack(x), count)
        assert torch.isfinite(again).all()
        assert (again - x).norm() <= x.norm() + 1e-6


def test_the_largest_numbers_are_kept_in_their_places():
    x = torch.tensor([0.1, -8.0, 0.2, 4.0, 0.0])
    again = Largest(0.4, Cast("bfloat16"))
    assert again.unpack(again.pack(x), 5).tolist() == [0.0, -8.0, 0.0, 4.0, 0.0]


def test_a_draw_differs_every_time_and_its_seed_tells_the_places():
    codec = Drawn(0.1, Cast("bfloat16"), torch.Generator().manual_seed(3))
    x = torch.arange(1.0, 201.0)
    first, second = (codec.unpack(codec.pack(x), 200) for _ in range(2))
    assert len(first.nonzero()) == len(second.nonzero()) == 20
    assert not torch.equal(first, second)
    assert torch.equal(first[first > 0], x[first > 0].bfloat16().float())


@given(st.sets(st.integers(0, 5_000), min_size=1), st.integers(0, 10_000))
def test_increasing_indices_come_back_whatever_their_gaps(chosen, more):
    count = max(chosen) + 1 + more
    indices = torch.tensor(sorted(chosen)).numpy()
    packed = pack_indices(indices, count)
    again, used = unpack_indices(packed, count, len(indices))
    assert again.tolist() == sorted(chosen)
    assert used == len(packed)


def test_indices_at_random_take_little_more_than_they_must():
    chosen = torch.randperm(100_000)[:1_000].sort().values.numpy()
    assert 8 * len(pack_indices(chosen, 100_000)) / 1_000 < 8.4  # the entropy is 8.08 bits for each


@given(st.integers(1, 8), st.lists(st.integers(0, 255), min_size=1))
def test_codes_of_any_width_come_back(width, numbers):
    codes = torch.tensor([number % 2**width for number in numbers], dtype=torch.uint8).numpy()
    packed = pack_codes(codes, width)
    assert len(packed) == -(-len(codes) * width // 8)
    assert unpack_codes(packed, width, len(codes)).tolist() == codes.tolist()


def test_names_say_which_exchange():
    assert isinstance(exchange(""), Plain)
    assert exchange("bf16") == Short("bfloat16")
    assert exchange("topk:0.05+onebit") == Packed(Largest(0.05, Grid(1)))
    assert exchange("int4+zip") == Packed(Zipped(Grid(4)))
    low = exchange("powersgd:2+int8")
    assert isinstance(low, LowRank)
    assert low.rank == 2
    assert low.inner[0] == Packed(Grid(8))


@pytest.mark.parametrize("name", ["topk", "topk:2", "powersgd:0", "randomk:x", "int8+topk:0.1", "zip", "int8+int4"])
def test_a_name_that_makes_no_sense_is_refused_with_a_fix(name):
    with pytest.raises(BadInputError, match="To fix: "):
        exchange(name)


def test_an_unknown_compressor_is_said_with_the_nearest():
    with pytest.raises(UnknownNameError, match="int4"):
        exchange("int5")
