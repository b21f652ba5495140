"""Packed tensors take what was promised, come back bit by bit, and parts that do not fit are refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save

from pennyweight.backends.torch_packing import pack, parts_of
from pennyweight.errors import CorruptError
from pennyweight.runtimes.torch_packing import unpack

ODD = np.array([np.nan, -np.nan, np.inf, -np.inf, 1e-45, -1e-45, 0.0, -0.0], dtype=np.float32)
ODD_NAN = np.array([0x7FC00001, 0xFF800001, 0x7F800001], dtype=np.uint32).view(
    np.float32
)  # NaN with a message, and signalling


def of(values):
    """The tensor `w` holding `values`."""
    return {"w": torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))}


def through_a_file(tensors):
    stored, records = pack(tensors)
    return unpack(load(save(stored)), records)


def same_bits(one, other):
    return one.shape == other.shape and np.array_equal(one.numpy().view(np.uint32), other.numpy().view(np.uint32))


def scheme(tensors):
    return pack(tensors)[1].get("w", {}).get("parts")


def stored_byte(tensors):
    return len(save(pack(tensors)[0]))


def weights(shape, distinct, zeros, seed=0):
    """Float32 weights of `shape`: `distinct` values (None: all differ), a share `zeros` of them zero."""
    generator = np.random.default_rng(seed)
    dense = generator.normal(size=shape).astype(np.float32)
    if distinct is not None:
        dense = generator.permutation(np.resize(generator.normal(size=distinct), dense.size)).reshape(shape)
    return np.where(generator.random(shape) < zeros, 0, dense).astype(np.float32)


@given(
    shape=st.lists(st.integers(1, 12), max_size=4),
    distinct=st.none() | st.integers(1, 300),
    zeros=st.sampled_from([0.0, 0.02, 0.5, 0.9, 1.0]),
    odd=st.sampled_from([ODD[:0], ODD, ODD_NAN, ODD[-1:]]),
    seed=st.integers(0, 9),
)
def test_every_tensor_comes_back_bit_by_bit(shape, distinct, zeros, odd, seed):
    dense = np.array(weights(shape, distinct, zeros, seed), dtype=np.float32)
    if len(odd):
        places = np.random.default_rng(seed).random(dense.shape) < 0.3
        dense[places] = np.resize(odd, int(places.sum()))
    tensors = of(dense)
    back = through_a_file(tensors)
    assert list(back) == ["w"]
    assert same_bits(back["w"], tensors["w"])


@given(distinct=st.none() | st.integers(1, 300), zeros=st.sampled_from([0.0, 0.3, 0.95, 1.0]), seed=st.integers(0, 9))
def test_no_tensor_takes_more_than_a_dense_one(distinct, zeros, seed):
    tensors = of(weights((60, 50), distinct, zeros, seed))
    assert stored_byte(tensors) <= len(save(tensors))


@pytest.mark.parametrize(
    ("distinct", "zeros", "parts"),
    [
        (None, 0.0, None),
        (None, 0.01, None),
        (None, 0.5, ["bitmap", "values"]),
        (16, 0.0, ["table", "indices"]),
        (15, 0.1, ["table", "indices"]),
        (16, 0.9, ["bitmap", "table", "indices"]),
        (256, 0.0, ["table", "indices"]),
        (257, 0.0, None),
    ],
)
def test_the_smallest_of_the_ways_is_chosen(distinct, zeros, parts):
    assert scheme(of(weights((200, 100), distinct, zeros))) == parts


def test_what_has_no_room_to_shrink_stays_dense():
    assert scheme(of(np.zeros((4, 4)))) is None
    assert scheme(of(np.float32(0))) is None
    assert scheme(of(np.zeros((0, 4)))) is None
    assert parts_of(np.zeros(10_000, dtype=np.float32))


@pytest.mark.parametrize(
    ("distinct", "zeros", "bits_each"), [(None, 0.9, 1 + 0.1 * 32), (16, 0.0, 4), (5, 0.0, 3), (16, 0.9, 1 + 0.1 * 4)]
)
def test_a_tensor_takes_the_bits_that_the_count_promises_and_a_header(distinct, zeros, bits_each):
    size = 40_000
    dense = weights(size, distinct, 0.0)
    dense[np.random.default_rng(1).permutation(size)[: round(zeros * size)]] = 0
    promised = size * bits_each / 8 + 4 * (distinct or 0)
    assert promised <= stored_byte(of(dense)) < promised + 400


def test_minus_zeros_take_one_bit_more_each():
    dense = weights(40_000, None, 0.9)
    zeros = int((dense == 0).sum())
    signed = np.where(dense == 0, np.float32(-0.0), dense)
    assert scheme(of(signed)) == ["bitmap", "signs", "values"]
    assert stored_byte(of(signed)) - stored_byte(of(dense)) == pytest.approx(zeros / 8, abs=100)


def test_other_types_of_numbers_stay_as_they_are():
    tensors = {
        "half": torch.zeros(1000, dtype=torch.bfloat16),
        "whole": torch.zeros(1000, dtype=torch.int64),
        "double": torch.zeros(1000, dtype=torch.float64),
    }
    stored, records = pack(tensors)
    assert records == {}
    assert all(torch.equal(tensors[name], stored[name]) for name in tensors)


def test_packing_twice_gives_equal_bytes():
    tensors = of(weights((64, 64), 16, 0.5))
    assert save(pack(tensors)[0]) == save(pack(tensors)[0])


def both():
    """A tensor of 4,801 weights in all the parts there are: forty values in a table, minus zeros among the zeros."""
    dense = weights(4801, 40, 0.95)
    dense[np.flatnonzero(dense == 0)[::2]] = -0.0
    return pack(of(dense))


@pytest.mark.parametrize("part", ["bitmap", "signs", "table", "indices"])
@pytest.mark.parametrize("change", ["gone", "longer", "shorter", "empty", "type", "axes"])
def test_a_part_of_another_shape_or_type_is_refused(part, change):
    stored, records = both()
    key = f"w..{part}"
    array = stored.pop(key)
    changed = {
        "longer": torch.cat([array, *[array] * 200]),
        "shorter": array[:-1],
        "empty": array[:0],
        "type": array.to(torch.int16),
        "axes": array[None],
    }
    if change in changed:
        stored[key] = changed[change].contiguous()
    if (part, change) == ("table", "shorter"):
        stored[key] = array[:1]  # 39 values are a table as well; an index beyond it is refused below
    with pytest.raises(CorruptError, match="To fix:"):
        unpack(stored, records)


def test_an_index_beyond_the_table_is_refused():
    stored, records = both()
    assert len(stored["w..table"]) == 40
    stored["w..indices"][0] = 0xFF
    with pytest.raises(CorruptError, match="beyond its table"):
        unpack(stored, records)


@pytest.mark.parametrize("part", ["bitmap", "indices"])
def test_bits_behind_the_last_field_are_refused(part):
    stored, records = both()
    spare = {"bitmap": 4801, "indices": 6 * int(np.unpackbits(stored["w..bitmap"].numpy()).sum())}[part] % 8
    assert spare
    stored[f"w..{part}"][-1] |= 1
    with pytest.raises(CorruptError, match="behind its last field"):
        unpack(stored, records)


def test_a_tensor_that_is_also_stored_dense_is_refused():
    stored, records = both()
    with pytest.raises(CorruptError, match="twice"):
        unpack(stored | {"w": torch.ones(3)}, records)


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        {},
        {"shape": [4801]},
        {"shape": None, "parts": ["table", "indices"]},
        {"shape": [4801], "parts": ["bitmap"]},
        {"shape": [4801], "parts": ["indices", "table"]},
        {"shape": [4801], "parts": "table"},
        {"shape": [4801], "parts": ["bitmap", "values"]},
        {"shape": [4800], "parts": ["bitmap", "signs", "table", "indices"]},
        {"shape": [4801, 0], "parts": ["bitmap", "signs", "table", "indices"]},
        {"shape": [-4801, -1], "parts": ["bitmap", "signs", "table", "indices"]},
        {"shape": [4801.0], "parts": ["bitmap", "signs", "table", "indices"]},
        {"shape": [4801, True], "parts": ["bitmap", "signs", "table", "indices"]},
        {"shape": [4801] + [1] * 70, "parts": ["bitmap", "signs", "table", "indices"]},
        {"shape": [2**48] * 16, "parts": ["table", "indices"]},
        {"shape": [10**4000] * 2, "parts": ["bitmap", "signs", "table", "indices"]},
    ],
)
def test_a_record_that_does_not_fit_is_refused(record):
    stored, _ = both()
    with pytest.raises(CorruptError):
        unpack(stored, {"w": record})


@given(data=st.data())
def test_no_bytes_in_the_parts_make_the_reader_fail_in_another_way(data):
    stored, records = both()
    part = data.draw(st.sampled_from(["bitmap", "signs", "indices"]))
    array = np.frombuffer(data.draw(st.binary(max_size=160)), dtype=np.uint8).copy()
    length = len(stored[f"w..{part}"])
    if data.draw(st.booleans()):
        array = np.resize(array, length) if array.size else np.zeros(length, np.uint8)
    stored[f"w..{part}"] = torch.from_numpy(array)
    try:
        back = unpack(stored, records)
    except CorruptError:
        return
    assert back["w"].shape == (4801,)
